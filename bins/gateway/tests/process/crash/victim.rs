//! What is killed, and how it comes back.

use std::{
    cell::RefCell,
    fmt, fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use super::choices::Choices;
use crate::process::gateway_process::{Gateway, private_server};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Victim {
    Gateway,
    Database,
}

/// An installation, and what becomes of it.
pub struct World<'a> {
    folder: &'a Path,
    variables: Vec<(&'static str, &'a str)>,
    victim: Victim,
    /// When the last kill was, and how often the server of the database had said by then that it is ready.
    killed: RefCell<Option<(Instant, usize)>>,
    tally: RefCell<Tally>,
}

#[derive(Default)]
struct Tally {
    servers: u64,
    processes: u64,
    restarted: u64,
    away: Vec<Duration>,
}

impl<'a> World<'a> {
    /// A gateway with its private database.
    pub fn private(folder: &'a Path, victim: Victim) -> Self {
        Self { folder, variables: Vec::new(), victim, killed: RefCell::default(), tally: RefCell::default() }
    }

    /// A gateway, to be killed, on a database that goes on.
    pub fn outside(folder: &'a Path, url: &'a str) -> Self {
        let mut world = Self::private(folder, Victim::Gateway);
        world.variables.push(("DATABASE_URL", url));
        world
    }

    pub fn folder(&self) -> &Path {
        self.folder
    }

    pub fn variables(&self) -> &[(&'static str, &'a str)] {
        &self.variables
    }

    /// Where the journal is; of a private database while the gateway runs.
    pub fn database_url(&self) -> String {
        match self.variables.first() {
            Some((_, url)) => (*url).to_owned(),
            None => local_postgres::running_url(&self.folder.join("data")).unwrap().unwrap(),
        }
    }

    pub async fn start(&self) -> Gateway {
        Gateway::start(self.folder, &self.variables).await
    }

    /// Kills the gateway, or the server of its database, or any process of that server.
    pub fn kill(&self, gateway: &Gateway, choices: &Choices) {
        match self.victim {
            Victim::Gateway => {
                *self.killed.borrow_mut() = Some((Instant::now(), 0));
                gateway.signal("-KILL");
            }
            Victim::Database => while !self.kill_database(choices) {},
        }
    }

    /// Kills the server, or one of its processes; false if that one had just ended by itself.
    fn kill_database(&self, choices: &Choices) -> bool {
        let server = private_server(self.folder).unwrap();
        let processes = children(&server);
        let times_ready = self.times_ready();
        let whom = match choices.below(2) {
            0 => &server,
            _ => &processes[choices.below(processes.len() as u64) as usize],
        };
        *self.killed.borrow_mut() = Some((Instant::now(), times_ready));
        let killed = Command::new("kill").args(["-KILL", whom]).output().unwrap();
        let mut tally = self.tally.borrow_mut();
        match (killed.status.success(), *whom == server) {
            (true, true) => tally.servers += 1,
            (true, false) => tally.processes += 1,
            (false, _) => {}
        }
        killed.status.success()
    }

    /// Waits until the killed one is back: a supervisor would start the gateway again if it ended.
    pub async fn restore(&mut self, mut gateway: Gateway) -> Gateway {
        let (killed_at, times_ready) = self.killed.take().unwrap();
        let mut deadline = testkit::Deadline::new();
        if self.victim == Victim::Gateway {
            gateway.wait();
            drop(gateway);
            gateway = self.start().await;
        } else {
            while self.times_ready() == times_ready {
                if let Some(status) = gateway.ended() {
                    assert_eq!(status.code(), Some(1), "{}", gateway.log_tail());
                    self.tally.get_mut().restarted += 1;
                    drop(gateway);
                    gateway = self.start().await;
                    break;
                }
                assert!(deadline.allows_another(), "{}", gateway.log_tail());
                tokio::task::yield_now().await;
            }
        }
        while !gateway.get("/readyz").try_send().await.is_ok_and(|reply| reply.status == 200) {
            assert!(gateway.ended().is_none(), "ended after it was back: {}", gateway.log_tail());
            assert!(deadline.allows_another(), "not ready: {}", gateway.log_tail());
            tokio::task::yield_now().await;
        }
        let tally = self.tally.get_mut();
        tally.away.push(killed_at.elapsed());
        gateway
    }

    /// The kills and the times to recover, in numbers.
    pub fn summary(&self, took: Duration) -> String {
        let mut tally = self.tally.borrow_mut();
        tally.away.sort();
        let seconds = |place: usize| tally.away.get(place).map_or(0.0, Duration::as_secs_f64);
        let mut text = format!(
            "back after {:.2} s (median), {:.2} s at most; {:.0} s in all",
            seconds(tally.away.len() / 2),
            seconds(tally.away.len().saturating_sub(1)),
            took.as_secs_f64()
        );
        if self.victim == Victim::Database {
            text.push_str(&format!(
                "; {} kills of the server, {} of a process of it; the gateway ended {} times",
                tally.servers, tally.processes, tally.restarted
            ));
        }
        text
    }

    /// Said at each start, and after each recovery from the end of one of its processes.
    fn times_ready(&self) -> usize {
        let log = fs::read_to_string(self.folder.join("data/postgres.log")).unwrap();
        log.matches("database system is ready to accept connections").count()
    }
}

impl fmt::Display for World<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.victim, self.variables.is_empty()) {
            (Victim::Gateway, true) => "a gateway with a private database",
            (Victim::Gateway, false) => "a gateway on an outside database",
            (Victim::Database, _) => "a private database",
        })
    }
}

fn children(of: &str) -> Vec<String> {
    let output = Command::new("ps").args(["-o", "pid=", "--ppid", of]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().map(str::to_owned).collect()
}
