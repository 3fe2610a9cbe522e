//! Cost of reading the last messages of a session with very many, next to one with a hundred.

use std::time::Instant;

use crate::{
    Options,
    client::{Connection, request},
    service::{Service, User},
};

const FEW: usize = 100;
const READ: usize = 20;
/// Requests of each session in a round.
const REQUESTS: usize = 1_000;

/// Fills a session with `messages` messages and one with a hundred, reads both in turns, and prints what it took.
pub async fn run(options: &Options, messages: usize) {
    let mut service = Service::start(options).await;
    fill(&service, &service.users[0], messages);
    fill(&service, &service.users[1], FEW);
    service.settle();
    let sessions = [(&service.users[0], messages), (&service.users[1], FEW)];
    let mut connection = Connection::open(service.address).await;
    let (mut times, mut ratios) = ([Vec::new(), Vec::new()], Vec::new());
    for round in 0..=options.rounds {
        let mut of_round = [Vec::new(), Vec::new()];
        for _ in 0..REQUESTS {
            for ((user, messages), times) in sessions.iter().zip(&mut of_round) {
                let began = Instant::now();
                read_last(&mut connection, user, *messages).await;
                times.push(began.elapsed().as_secs_f64() * 1e3);
            }
        }
        // Once to read into memory what is asked again.
        if round > 0 {
            let [many, few] = of_round.each_mut().map(|times| quantile(times, 0.5));
            ratios.push(many / few);
            times.iter_mut().zip(of_round).for_each(|(all, times)| all.extend(times));
        }
    }
    println!("\nThe last {READ} messages of a session\n\n| messages | p50 ms | p95 ms |\n|---|---|---|");
    for ((_, messages), times) in sessions.iter().zip(&mut times) {
        println!("| {messages} | {:.2} | {:.2} |", quantile(times, 0.5), quantile(times, 0.95));
    }
    let (lowest, highest) = (quantile(&mut ratios, 0.0), quantile(&mut ratios, 1.0));
    println!(
        "\nRatio of the medians of a round: {:.2} ({lowest:.2} - {highest:.2})",
        quantile(&mut ratios, 0.5)
    );
    service.stop();
}

fn fill(service: &Service, user: &User, messages: usize) {
    let (name, session) = (format!("load|{}", user.number), &user.session);
    let text = "repeat('Hello, how can AI help with coding? ', 5)";
    service.sql(&format!(
        "INSERT INTO sessions.messages (user_id, session_id, seq, message_id, role, content, created_at, updated_at)
         SELECT '{name}', '{session}', seq, gen_random_uuid(), 'user', {text}, now(), now()
         FROM generate_series(1, {messages}) AS seq;
         UPDATE sessions.sessions SET message_count = {messages} WHERE session_id = '{session}'"
    ));
}

async fn read_last(connection: &mut Connection, user: &User, messages: usize) {
    let path = format!("/api/v1/sessions/{}/messages?limit={READ}&offset={}", user.session, messages - READ);
    let (status, body) = connection.send(request("GET", &path, &user.token, "").bytes()).await;
    assert_eq!(status, 200);
    assert_eq!(String::from_utf8_lossy(body).matches("\"message_metadata\":").count(), READ);
}

fn quantile(times: &mut [f64], quantile: f64) -> f64 {
    times.sort_by(f64::total_cmp);
    times[((times.len() - 1) as f64 * quantile).round() as usize]
}
