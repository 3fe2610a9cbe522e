//! What the database alone can do: pgbench with one update and one insert a transaction, on the same server.

use std::{fs, path::PathBuf, process::Command, time::Duration};

use crate::{Options, service::Service};

/// Bare tables and a pgbench script.
pub struct Floor {
    pgbench: PathBuf,
    script: tempfile::NamedTempFile,
    url: String,
    clients: String,
}

impl Floor {
    /// Makes the tables: as many accounts as the service has.
    pub fn prepare(service: &Service, options: &Options) -> Self {
        service.sql(&format!(
            "CREATE SCHEMA floor;
             CREATE TABLE floor.accounts (id int PRIMARY KEY, balance bigint NOT NULL) WITH (fillfactor = 60);
             CREATE TABLE floor.entries (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, account_id int NOT NULL,
               amount bigint NOT NULL, balance_after bigint NOT NULL, created_at timestamptz NOT NULL DEFAULT now());
             INSERT INTO floor.accounts SELECT n, 1000000000000 FROM generate_series(1, {}) n;",
            options.accounts
        ));
        let script = tempfile::NamedTempFile::new().unwrap();
        let sql = format!(
            "\\set id random(1, {})\n\
             WITH a AS (UPDATE floor.accounts SET balance = balance - 1 WHERE id = :id RETURNING id, balance) \
             INSERT INTO floor.entries (account_id, amount, balance_after) SELECT id, 1, balance FROM a;\n",
            options.accounts
        );
        fs::write(script.path(), sql).unwrap();
        Self {
            pgbench: service.bin_dir.join("pgbench"),
            script,
            url: service.server.superuser_url("app"),
            clients: options.connections.to_string(),
        }
    }

    /// Transactions per second, and the server's processor time for each in microseconds.
    pub fn run(&self, service: &Service, turn: Duration) -> (f64, f64) {
        let cpu = service.cpu();
        let output = Command::new(&self.pgbench)
            .args([
                "-n",
                "-M",
                "prepared",
                "-j",
                "2",
                "-c",
                &self.clients,
                "-T",
                &turn.as_secs().to_string(),
                "-f",
            ])
            .arg(self.script.path())
            .arg(&self.url)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let rate =
            text.lines().find_map(|line| line.strip_prefix("tps = ")).and_then(|rest| rest.split(' ').next());
        match rate.and_then(|rate| rate.parse().ok()) {
            Some(rate) => {
                let used = (service.cpu() - cpu).postgres.as_secs_f64();
                (rate, used * 1e6 / (rate * turn.as_secs_f64()))
            }
            None => panic!("pgbench: {text}{}", String::from_utf8_lossy(&output.stderr)),
        }
    }
}
