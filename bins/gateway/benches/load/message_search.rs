//! Cost of a search of the messages of a user with very many, among as many of others.

use std::{
    io::Write as _,
    process::Stdio,
    time::{Duration, Instant},
};

use url::form_urlencoded::byte_serialize;

use crate::{
    Options,
    client::{Connection, request},
    message_texts::{Texts, rare},
    service::Service,
};

/// Messages of a session.
const SESSION: usize = 100;
/// Different texts of each kind of query.
const TEXTS: usize = 25;

/// Fills a service of its own with `messages` messages of one user and as many of others, searches, and prints what it took.
pub async fn run(options: &Options, messages: usize) {
    let mut service = Service::start(options).await;
    let samples = fill(&mut service, messages);
    let mut connection = Connection::open(service.address).await;
    let kinds = kinds(&samples);
    println!("\n{messages} messages of one user, {messages} of {} others\n", service.users.len() - 1);
    first_search(&mut connection, &service).await;
    index(&mut connection, &service, messages).await;
    sizes(&service);
    service.settle();
    println!("| query | answers | hits | p50 ms | p95 ms | slowest ms |");
    println!("|---|---|---|---|---|---|");
    for (kind, texts) in &kinds {
        measure(&mut connection, &service, options, kind, texts).await;
    }
    service.stop();
}

/// Messages of the first user are as many as those of all others, and written in turns with them. Returns some of their texts.
fn fill(service: &mut Service, messages: usize) -> Vec<String> {
    let began = Instant::now();
    let mut texts = Texts::new(14);
    let (others, mut samples) = (service.users.len() - 1, Vec::new());
    let (mut sessions, mut next) = (String::new(), vec![(0_usize, 0_usize); service.users.len()]);
    let mut copy = service
        .psql(&[
            "-c",
            "CREATE TABLE public.loaded (user_id text, session_id uuid, seq bigint, role text, content text)",
        ])
        .args(["-c", "COPY public.loaded FROM STDIN"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut rows = std::io::BufWriter::new(copy.stdin.take().unwrap());
    for number in 0..messages * 2 {
        let user = if number % 2 == 0 { 0 } else { 1 + texts.below(others) };
        let (session, seq) = &mut next[user];
        if *seq == SESSION {
            (*session, *seq) = (*session + 1, 0);
        }
        *seq += 1;
        let id = format!("{user:08x}-0000-4000-8000-{session:012x}");
        if *seq == 1 {
            sessions.push_str(&format!("('load|{user}', '{id}'),"));
        }
        let mut text = texts.message();
        // A word that only few messages have, all over the history.
        if user == 0 && number % (messages / 10) == 0 {
            text.push_str(" Nadelöhr 针眼");
        }
        if user == 0 && samples.len() < 4 * TEXTS && texts.below(messages / 500) == 0 {
            samples.push(text.clone());
        }
        let role = if *seq % 2 == 1 { "user" } else { "assistant" };
        writeln!(rows, "load|{user}\t{id}\t{seq}\t{role}\t{text}").unwrap();
    }
    rows.into_inner().unwrap();
    assert!(copy.wait().unwrap().success());
    let sessions = sessions.trim_end_matches(',');
    let file = std::env::temp_dir().join(format!("sessions-{}.sql", std::process::id()));
    let insert = "INSERT INTO sessions.sessions (user_id, session_id, created_at, updated_at, last_activity, message_count)";
    let counted = "JOIN (SELECT session_id, max(seq) AS messages FROM public.loaded GROUP BY 1) AS counted USING (session_id)";
    let sql = format!(
        "{insert} SELECT user_id, session_id, now(), now(), now(), messages
             FROM (SELECT user_id, session_id::uuid FROM (VALUES {sessions}) AS made (user_id, session_id)) AS made {counted};
         INSERT INTO sessions.messages (user_id, session_id, seq, message_id, role, content, created_at, updated_at)
         SELECT user_id, session_id, seq, gen_random_uuid(), role, content, now(), now() FROM public.loaded ORDER BY ctid;
         DROP TABLE public.loaded;"
    );
    std::fs::write(&file, sql).unwrap();
    assert!(service.psql(&["-v", "ON_ERROR_STOP=1", "-f"]).arg(&file).status().unwrap().success());
    std::fs::remove_file(&file).unwrap();
    service.settle();
    eprintln!("{} messages in {:.0} s", messages * 2, began.elapsed().as_secs_f64());
    samples
}

/// Queries by their kind.
fn kinds(samples: &[String]) -> Vec<(&'static str, Vec<String>)> {
    let words = |number: usize, is_chinese: bool| {
        let of_sample = |text: &String| {
            if is_chinese != text.chars().any(|character| character >= '\u{4e00}') {
                return None;
            }
            let found = match is_chinese {
                true => text.chars().skip(3).take(number).collect(),
                false => text.split(' ').skip(1).take(number).collect::<Vec<_>>().join(" "),
            };
            Some(found).filter(|found: &String| !found.trim().is_empty())
        };
        samples.iter().filter_map(of_sample).take(TEXTS).collect::<Vec<_>>()
    };
    let letters = |number: usize| {
        let is_latin = |text: &&String| text.is_ascii() && text.len() > 30;
        samples
            .iter()
            .filter(is_latin)
            .take(TEXTS)
            .map(|text| text[10..10 + number].to_owned())
            .collect::<Vec<_>>()
    };
    let fixed = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let syllables = |from: usize| (0..TEXTS).map(|nth| rare(from + nth * 997)).collect::<Vec<_>>();
    vec![
        ("common words", fixed(&["the", "people", "THAT", "question", "thing"])),
        ("rare words", syllables(40_000)),
        ("very rare words", fixed(&["nadelöhr", "NADELÖHR", "针眼", "öhr 针"])),
        (
            "absent words",
            (0..TEXTS).map(|nth| format!("{}q{}", rare(20_000 + nth * 991), rare(900 + nth))).collect(),
        ),
        ("1 letter", fixed(&["e", "q", "Z", "ö", "7", "%"])),
        ("2 letters", fixed(&["th", "QU", "zx", "jq", "_x"])),
        ("parts of words, 4 letters", letters(4)),
        ("parts of texts, 9 letters", letters(9)),
        ("4 letters, rare or absent", fixed(&["hert", "inth", "heat", "stin", "rati", "eron"])),
        ("1 Chinese character, common", fixed(&["的", "我", "人", "件", "场"])),
        ("1 Chinese character, rare or absent", fixed(&["鸟", "麟", "齿", "龘", "犇", "驫"])),
        ("2 Chinese characters", words(2, true)),
        ("2 Chinese characters, absent", fixed(&["的龘", "我犇", "鸟的", "件场", "场必"])),
        ("4 Chinese characters", words(4, true)),
        ("8 Chinese characters", words(8, true)),
        ("mixed", fixed(&["的the", "a我们", "ok的", "model模型", "👍的"])),
        ("phrases of 3 words", words(3, false)),
        ("phrases of 6 words", words(6, false)),
        (
            "absent phrases of common words",
            fixed(&[
                "the of and to a in that",
                "and the of have it for not on",
                "of the and the of",
                "that that that",
                "in the to be",
            ]),
        ),
    ]
}

async fn first_search(connection: &mut Connection, service: &Service) {
    let began = Instant::now();
    let (status, next, _) = search(connection, service, "q=xqzjw").await;
    assert_eq!(status, 200);
    println!(
        "First search, without an index: {:.0} ms, more follow: {next}\n",
        began.elapsed().as_secs_f64() * 1e3
    );
}

/// Searches until the index covers the messages: each search that reads many notes its user again.
async fn index(connection: &mut Connection, service: &Service, messages: usize) {
    let began = Instant::now();
    let covered = "SELECT count(*) FROM sessions.messages WHERE user_id = 'load|0' AND id > (SELECT coalesce(max(last_id), 0)
        FROM sessions.search_segments WHERE user_id = 'load|0')";
    loop {
        let rest: usize = service.query(covered).trim().parse().unwrap();
        eprintln!("{rest} messages to index");
        if rest < 2_048 {
            break;
        }
        search(connection, service, "q=xqzjw").await;
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    println!("Index of {messages} messages in {:.0} s\n", began.elapsed().as_secs_f64());
}

fn sizes(service: &Service) {
    let sizes = service.query(
        "SELECT format('%s segments; texts of the user %s, index %s, messages with indexes %s',
             (SELECT count(*) FROM sessions.search_segments),
             pg_size_pretty((SELECT sum(octet_length(content)) FROM sessions.messages WHERE user_id = 'load|0')),
             pg_size_pretty(pg_total_relation_size('sessions.search_segments') + pg_total_relation_size('sessions.search_postings')),
             pg_size_pretty(pg_total_relation_size('sessions.messages')))",
    );
    println!("{}\n", sizes.trim());
}

async fn measure(
    connection: &mut Connection,
    service: &Service,
    options: &Options,
    kind: &str,
    texts: &[String],
) {
    let (mut times, mut hits) = (Vec::new(), Vec::new());
    for round in 0..=options.rounds.max(4) {
        for text in texts {
            let query = format!("q={}", byte_serialize(text.as_bytes()).collect::<String>());
            let began = Instant::now();
            let (status, next, found) = search(connection, service, &query).await;
            assert_eq!(status, 200, "{text}");
            // Once to read into memory what is asked again.
            if round > 0 {
                times.push(began.elapsed().as_secs_f64() * 1e3);
                hits.push(if next { format!("{found}+") } else { found.to_string() });
            }
        }
    }
    times.sort_by(f64::total_cmp);
    hits.sort_by_key(|hits| hits.trim_end_matches('+').parse::<u32>().unwrap());
    let at = |quantile: f64| times[((times.len() - 1) as f64 * quantile).round() as usize];
    println!(
        "| {kind} | {} | {} to {} | {:.1} | {:.1} | {:.1} |",
        times.len(),
        hits[0],
        hits[hits.len() - 1],
        at(0.5),
        at(0.95),
        at(1.0)
    );
}

/// Status, whether more follow, and number of hits.
async fn search(connection: &mut Connection, service: &Service, query: &str) -> (u16, bool, usize) {
    let user = &service.users[0];
    let path = format!("{}/messages/search?{query}", user.path);
    let request = request("GET", &path, &user.token, "");
    let (status, head, body) = connection.send_for_head(request.bytes()).await;
    let found = String::from_utf8_lossy(body).matches("\"snippet\":").count();
    (status, head.contains("x-next-cursor:"), found)
}
