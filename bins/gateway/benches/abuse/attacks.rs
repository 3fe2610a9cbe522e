//! The attacks. Each is a task that runs until it is stopped, and returns a summary. They run in a process of their own.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};

use crate::service::{Client, KEY, Target, attack, request, request_with};

type Running = Pin<Box<dyn Future<Output = String> + Send>>;
type Attack = fn(Arc<Target>, Arc<AtomicBool>) -> Running;

/// Runs those whose name contains `only` until the standard input ends, and prints what became of each.
pub async fn run(target: Target, only: &str) {
    let (target, on) = (Arc::new(target), Arc::new(AtomicBool::new(true)));
    let mut tasks = Vec::new();
    for (name, attack) in all() {
        if name.contains(only) {
            tasks.push((name, tokio::spawn(attack(Arc::clone(&target), Arc::clone(&on)))));
        }
    }
    let ended = || std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
    tokio::task::spawn_blocking(ended).await.unwrap().unwrap();
    on.store(false, Ordering::Release);
    for (name, task) in tasks {
        println!("{name}: {}", task.await.unwrap());
    }
}

/// All of them, by name.
fn all() -> [(&'static str, Attack); 10] {
    [
        ("large lists of zeros", |service, on| Box::pin(zeros(service, on))),
        ("large lists of zeros of a service", |service, on| Box::pin(zeros_of_a_service(service, on))),
        ("large wrong values", |service, on| Box::pin(wrong_values(service, on))),
        ("bytes of a user without credit", |service, on| Box::pin(bytes(service, on))),
        ("readers that stand still", |service, on| Box::pin(stalled(service, on))),
        ("large batches with a key", |service, on| Box::pin(keyed(service, on))),
        ("late chunks", |service, on| Box::pin(late_chunks(service, on))),
        ("sockets that ask and do not read", |service, on| Box::pin(deaf(service, on))),
        ("idle sockets", |service, on| Box::pin(idle(service, on))),
        ("bodies and heads that drip", |service, on| Box::pin(dripping(service, on))),
    ]
}

/// Sends the same request again and again on so many connections, and counts the answers by status.
async fn repeat(service: &Target, on: &Arc<AtomicBool>, connections: usize, sent: Vec<u8>) -> String {
    let sent = Arc::new(sent);
    let mut tasks = JoinSet::new();
    for _ in 0..connections {
        let (address, on, sent) = (service.address, Arc::clone(on), Arc::clone(&sent));
        tasks.spawn(async move {
            let mut answers: BTreeMap<String, u64> = BTreeMap::new();
            while on.load(Ordering::Acquire) {
                let Ok(mut client) = attack(address, None).await.and_then(Client::new) else {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                };
                while on.load(Ordering::Acquire) {
                    let limit = Duration::from_secs(40);
                    let answer = match tokio::time::timeout(limit, client.send(&sent)).await {
                        Ok(Ok(status)) => status.to_string(),
                        Ok(Err(_)) => "closed".to_owned(),
                        Err(_) => "none".to_owned(),
                    };
                    let is_last = answer != "200";
                    *answers.entry(answer).or_default() += 1;
                    if is_last {
                        // What is refused too often does not make a tight loop of the attack itself.
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        break;
                    }
                }
            }
            answers
        });
    }
    let mut all: BTreeMap<String, u64> = BTreeMap::new();
    while let Some(answers) = tasks.join_next().await {
        for (answer, count) in answers.unwrap_or_default() {
            *all.entry(answer).or_default() += count;
        }
    }
    format!("{all:?}")
}

fn list_of_zeros(bytes: usize) -> String {
    format!("[0{}]", ",0".repeat(bytes / 2))
}

async fn zeros(service: Arc<Target>, on: Arc<AtomicBool>) -> String {
    let body = format!("{{\"records\":{}}}", list_of_zeros(16_000_000));
    let sent = request("POST", "/api/v1/usage/batch", &service.attacker.token, &body);
    repeat(&service, &on, 4, sent).await
}

async fn zeros_of_a_service(service: Arc<Target>, on: Arc<AtomicBool>) -> String {
    let sent = request("POST", "/api/v1/usage/batch", KEY, &list_of_zeros(16_000_000));
    repeat(&service, &on, 4, sent).await
}

async fn wrong_values(service: Arc<Target>, on: Arc<AtomicBool>) -> String {
    let body = format!("{{\"amount\":{}}}", list_of_zeros(2_000_000));
    let path = format!("{}/credits/consume", service.other.path);
    repeat(&service, &on, 4, request("POST", &path, KEY, &body)).await
}

async fn bytes(service: Arc<Target>, on: Arc<AtomicBool>) -> String {
    let record = json!({"user_id": service.attacker.id, "event_type": "x", "charge": true, "credits_charged": 1_000_000,
        "request_data": {"text": "x".repeat(200_000)}});
    let body = json!({"records": vec![record; 60]}).to_string();
    let sent = request("POST", "/api/v1/usage/batch", &service.attacker.token, &body);
    repeat(&service, &on, 4, sent).await
}

/// Asks for much and takes nothing of it: the documentation, which is there for anyone.
async fn stalled(service: Arc<Target>, on: Arc<AtomicBool>) -> String {
    let mut streams = Vec::new();
    for _ in 0..200 {
        if let Ok(mut stream) = attack(service.address, Some(4 * 1024)).await {
            let asked = b"GET /docs/assets/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n".repeat(8);
            if stream.write_all(&asked).await.is_ok() {
                streams.push(stream);
            }
        }
    }
    wait(&on).await;
    format!("{} connections", streams.len())
}

/// Large objects whose every value is hashed for the key of its request.
async fn keyed(service: Arc<Target>, on: Arc<AtomicBool>) -> String {
    let zeros = list_of_zeros(250_000);
    let record =
        format!(r#"{{"user_id":"{}","event_type":"x","request_data":{{"a":{zeros}}}}}"#, service.attacker.id);
    let body = format!(r#"{{"records":[{}]}}"#, vec![record; 55].join(","));
    let key = "Idempotency-Key: the same\r\n";
    let sent = request_with("POST", "/api/v1/usage/batch", KEY, key, &body);
    repeat(&service, &on, 2, sent).await
}

/// Bodies in chunks that come long after their requests began, to win back what the byte limit has taken.
async fn late_chunks(service: Arc<Target>, on: Arc<AtomicBool>) -> String {
    let mut answers = 0;
    let head = format!(
        "POST {}/credits/consume HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n \r\n",
        service.attacker.path, service.attacker.token
    );
    let chunk = format!("{:x}\r\n{}\r\n0\r\n\r\n", 1_000_000, " ".repeat(1_000_000));
    while on.load(Ordering::Acquire) {
        let mut streams = Vec::new();
        for _ in 0..20 {
            if let Ok(mut stream) = attack(service.address, None).await
                && stream.write_all(head.as_bytes()).await.is_ok()
            {
                streams.push(stream);
            }
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
        for mut stream in streams {
            let (mut reader, mut writer) = stream.split();
            let mut answer = [0; 4_096];
            let (_sent, read) = tokio::join!(
                tokio::time::timeout(Duration::from_secs(5), writer.write_all(chunk.as_bytes())),
                tokio::time::timeout(Duration::from_secs(5), reader.read(&mut answer))
            );
            answers += u64::from(matches!(read, Ok(Ok(1..))));
        }
    }
    format!("{answers} answers")
}

/// Asks for much on many connections, reads nothing, and opens those again that are closed.
async fn deaf(service: Arc<Target>, on: Arc<AtomicBool>) -> String {
    let asked = b"GET /docs/assets/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n".repeat(12);
    let mut opened = 0;
    let mut streams = std::collections::VecDeque::new();
    while on.load(Ordering::Acquire) {
        let connecting = tokio::time::timeout(Duration::from_secs(1), attack(service.address, Some(2_048)));
        if let Ok(Ok(mut stream)) = connecting.await {
            opened += 1;
            if stream.write_all(&asked).await.is_ok() {
                streams.push_back(stream);
            }
        }
        if streams.len() > 300 {
            streams.pop_front();
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    format!("{opened} connections")
}

/// Keeps so many sockets open that send nothing; those that are closed are opened again.
async fn idle(service: Arc<Target>, on: Arc<AtomicBool>) -> String {
    let mut opened = 0;
    let mut sockets: Vec<TcpStream> = Vec::new();
    while on.load(Ordering::Acquire) {
        sockets.retain(|socket| !matches!(socket.try_read(&mut [0; 512]), Ok(0)));
        while sockets.len() < 220 {
            match attack(service.address, None).await {
                Ok(socket) => sockets.push(socket),
                Err(_) => break,
            }
            opened += 1;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    format!("{opened} connections")
}

async fn dripping(service: Arc<Target>, on: Arc<AtomicBool>) -> String {
    let mut tasks = JoinSet::new();
    let path = format!("{}/credits/consume", service.attacker.path);
    let body =
        String::from_utf8(request("POST", &path, &service.attacker.token, &" ".repeat(1_000))).unwrap();
    let body = body.trim_end_matches(' ').to_owned();
    for number in 0..40 {
        let begun = if number % 2 == 0 { body.clone() } else { "GET /livez HTTP/1.1\r\nX: ".to_owned() };
        let (address, on) = (service.address, Arc::clone(&on));
        tasks.spawn(async move {
            let mut closed = 0_u64;
            while on.load(Ordering::Acquire) {
                let Ok(mut stream) = attack(address, None).await else {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                };
                let mut is_open = stream.write_all(begun.as_bytes()).await.is_ok();
                let mut answer = [0; 4_096];
                while is_open && on.load(Ordering::Acquire) {
                    let read = tokio::time::timeout(Duration::from_secs(1), stream.read(&mut answer)).await;
                    is_open = !matches!(read, Ok(Ok(0) | Err(_))) && stream.write_all(b" ").await.is_ok();
                }
                closed += 1;
            }
            closed
        });
    }
    let mut closed = 0;
    while let Some(count) = tasks.join_next().await {
        closed += count.unwrap_or(0);
    }
    format!("closed {closed} times")
}

async fn wait(on: &AtomicBool) {
    while on.load(Ordering::Acquire) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
