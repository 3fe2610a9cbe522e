//! Latency that the gateway adds to the tokens of replies, and its memory, with many replies at a time.
//!
//! The model is this program in another process. It writes into each token when it sent it.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use kernel::{Clock as _, SystemClock};
use serde_json::json;
use testkit::{ChatScript, ChatServer};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{Options, client::request, service::Service};

/// Tokens a second of a reply.
const TOKENS_A_SECOND: u32 = 20;
/// Time in which the replies begin.
const BEGIN: Duration = Duration::from_secs(2);
/// Longest wait for a token.
const PATIENCE: Duration = Duration::from_secs(60);

/// The model: prints its address and answers until its input ends.
pub async fn serve_model(tokens: usize) {
    let server = ChatServer::start().await;
    let pace = Duration::from_secs(1) / TOKENS_A_SECOND;
    server.answers([ChatScript::new()
        .times(tokens)
        .every(pace)
        .finish("stop")
        .usage(10, tokens as u64)
        .done()]);
    println!("{}", server.url());
    std::io::stdout().flush().unwrap();
    tokio::task::spawn_blocking(|| std::io::stdin().lines().count()).await.unwrap();
}

/// The process of the model.
struct Model {
    process: Child,
    url: String,
}

impl Model {
    fn start(tokens: usize) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--serve-model", &tokens.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut url = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut url).unwrap();
        Self { process, url: url.trim().to_owned() }
    }

    fn address(&self) -> SocketAddr {
        self.url.trim_start_matches("http://").trim_end_matches("/v1").parse().unwrap()
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// Streams so many replies at a time, straight from the model and through the gateway, and prints what it took.
pub async fn run(options: &Options, streams: usize) {
    let tokens = usize::try_from(options.seconds).unwrap() * TOKENS_A_SECOND as usize;
    let model = Model::start(tokens);
    let options = Options { accounts: streams, ..options.clone() };
    let variables = [
        ("CHAT_BASE_URL", model.url.as_str()),
        ("CHAT_MODEL", "small"),
        ("CONNECTIONS_PER_ADDRESS", "100000"),
    ];
    let mut service = Service::start_with(&options, &variables).await;
    let idle = service.resident_kib();
    println!("\n{streams} replies at a time, {tokens} tokens each, {TOKENS_A_SECOND} a second\n");
    println!("| | tokens | p50 ms | p99 ms | p99.9 ms | slowest ms | first token p99 ms |");
    println!("|---|---|---|---|---|---|---|");
    for round in 1..=options.rounds {
        let body = json!({"model": "small", "stream": true, "messages": [{"role": "user", "content": "Hi"}]});
        let direct = request("POST", "/v1/chat/completions", "", &body.to_string());
        let direct = String::from_utf8(direct.bytes().to_vec()).unwrap();
        let direct = direct.replacen("\r\n", "\r\nContent-Type: application/json\r\n", 1).into_bytes();
        measure("straight from the model", model.address(), std::iter::repeat_n(direct, streams), tokens)
            .await;
        service.settle();
        service.forget_highest_resident();
        let (cpu, commits, began) = (service.cpu(), commits(&service), Instant::now());
        let body = json!({"content": format!("Hi {round}"), "stream": true}).to_string();
        let through = service.users.iter().map(|user| {
            let path = format!("/api/sessions/{}/messages", user.session);
            request("POST", &path, &user.token, &body).bytes().to_vec()
        });
        measure("through the gateway", service.address, through, tokens).await;
        let (cpu, took) = (service.cpu() - cpu, began.elapsed().as_secs_f64());
        println!(
            "|   memory {} MB (idle {}), commits a second {:.0}, processors: gateway {:.0} %, server {:.0} %, clients {:.0} % | | | | | | |",
            service.highest_resident_kib() / 1024,
            idle / 1024,
            (commits_since(&service, commits)) as f64 / took,
            cpu.gateway.as_secs_f64() / took * 100.0,
            cpu.postgres.as_secs_f64() / took * 100.0,
            cpu.generator.as_secs_f64() / took * 100.0,
        );
    }
    if options.statements {
        service.print_statements();
    }
    service.stop();
}

fn commits(service: &Service) -> u64 {
    let sql = "SELECT xact_commit FROM pg_stat_database WHERE datname = 'app'";
    service.query(sql).trim().parse().unwrap()
}

fn commits_since(service: &Service, before: u64) -> u64 {
    commits(service).saturating_sub(before)
}

/// Sends all requests and reads their answers.
async fn measure(
    name: &str,
    address: SocketAddr,
    requests: impl ExactSizeIterator<Item = Vec<u8>>,
    tokens: usize,
) {
    let count = u32::try_from(requests.len()).unwrap();
    let mut clients = JoinSet::new();
    for (request, number) in requests.zip(0..) {
        clients.spawn(async move {
            sleep(BEGIN * number / count).await;
            read(address, &request).await
        });
    }
    let (mut delays, mut firsts) = (Vec::new(), Vec::new());
    for read in clients.join_all().await {
        assert_eq!(read.len(), tokens, "tokens of a reply");
        firsts.extend(read.first());
        delays.extend(read);
    }
    let at = |delays: &mut Vec<u64>, quantile: f64| {
        delays.sort_unstable();
        delays[((delays.len() - 1) as f64 * quantile).round() as usize] as f64 / 1e3
    };
    println!(
        "| {name} | {} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} |",
        delays.len(),
        at(&mut delays, 0.5),
        at(&mut delays, 0.99),
        at(&mut delays, 0.999),
        at(&mut delays, 1.0),
        at(&mut firsts, 0.99),
    );
}

/// The delays of the tokens of an answer in microseconds, by the times in them.
async fn read(address: SocketAddr, request: &[u8]) -> Vec<u64> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream.write_all(request).await.unwrap();
    let (mut bytes, mut delays) = (Vec::with_capacity(16 * 1024), Vec::new());
    loop {
        let read = timeout(PATIENCE, stream.read_buf(&mut bytes)).await.unwrap().unwrap();
        let now = u64::try_from(SystemClock.now().unix_timestamp_nanos() / 1_000).unwrap();
        assert!(read > 0, "an answer broke off: {}", String::from_utf8_lossy(&bytes));
        let lines = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        for line in std::str::from_utf8(&bytes[..lines]).unwrap().lines() {
            // The event after it repeats the text.
            if line == "event: message.completed" || line.starts_with("data: [DONE]") {
                return delays;
            }
            let text = line.split_once("\"content\":\"").and_then(|(_, rest)| rest.split('"').next());
            let times = text.unwrap_or_default().split_ascii_whitespace();
            delays.extend(times.map(|time| now.saturating_sub(time.parse().unwrap())));
        }
        bytes.drain(..lines);
    }
}
