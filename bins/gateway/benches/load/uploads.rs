//! Uploads: many large files at once, next to what `dd` writes to the same disk.

use std::{
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::Instant,
};

use testkit::{FORM, form};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};

use crate::{
    Options,
    service::{KEY, Service},
};

const MIB: usize = 1024 * 1024;
/// Bytes of each file.
const FILE_BYTES: usize = 50 * MIB;
/// Bytes that a client writes at once.
const PIECE_BYTES: usize = 64 * 1024;

/// Measures rounds of so many uploads at once, each of another user, with a service of its own.
pub async fn run(options: &Options, uploads: usize) {
    let variables = [("FILE_QUOTA_BYTES", "1099511627776")];
    let service = Service::start_with(options, &variables).await;
    let line = "every line of this file is like the others, and all of them are text\n";
    let text = line.repeat(FILE_BYTES / line.len() + 1);
    let body = Arc::new(form("load.txt", "text/plain", &text.as_bytes()[..FILE_BYTES]));
    let mib = uploads * FILE_BYTES / MIB;
    println!("\n{uploads} uploads of {} MiB at once\n", FILE_BYTES / MIB);
    println!(
        "| round | dd conv=fsync MiB/s | uploads MiB/s | / dd | resident before MiB | highest MiB | growth MiB |"
    );
    println!("|---|---|---|---|---|---|---|");
    // The first upload fills pools and caches.
    upload(&service, 0, &body).await;
    for round in 1..=options.rounds {
        let floor = mib as f64 / dd(service.folder(), mib);
        let before = service.resident_kib();
        service.forget_highest_resident();
        let began = Instant::now();
        let mut all = JoinSet::new();
        for number in 0..uploads {
            let (address, path) = (service.address, service.users[number % service.users.len()].path.clone());
            all.spawn(send(address, path, Arc::clone(&body)));
        }
        all.join_all().await;
        let rate = mib as f64 / began.elapsed().as_secs_f64();
        let highest = service.highest_resident_kib();
        let [before_mib, highest_mib, growth_mib] =
            [before, highest, highest.saturating_sub(before)].map(|kib| kib as f64 / 1_024.0);
        println!(
            "| {round} | {floor:.0} | {rate:.0} | {:.2} | {before_mib:.1} | {highest_mib:.1} | {growth_mib:.1} |",
            rate / floor
        );
    }
    service.stop();
}

/// Seconds that `dd` takes to write so many MiB to the disk.
fn dd(folder: &Path, mib: usize) -> f64 {
    let file = folder.join("dd.out");
    let began = Instant::now();
    let written = Command::new("dd")
        .args(["if=/dev/zero", "bs=1M", "conv=fsync", "status=none"])
        .arg(format!("of={}", file.display()))
        .arg(format!("count={mib}"))
        .stdin(Stdio::null())
        .status()
        .unwrap();
    assert!(written.success());
    let took = began.elapsed().as_secs_f64();
    std::fs::remove_file(file).unwrap();
    took
}

async fn upload(service: &Service, user: usize, body: &Arc<Vec<u8>>) {
    send(service.address, service.users[user].path.clone(), Arc::clone(body)).await;
}

async fn send(address: std::net::SocketAddr, user: String, body: Arc<Vec<u8>>) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST {user}/files/upload HTTP/1.1\r\nHost: load\r\nX-API-Key: {KEY}\r\nContent-Type: {FORM}\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    for piece in body.chunks(PIECE_BYTES) {
        stream.write_all(piece).await.unwrap();
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
