//! Processor time of the three parties, from `/proc`. It tells more than rates do where a machine is shared.

use std::{fs, ops::Sub, time::Duration};

/// Processor time, in user and kernel mode.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cpu {
    pub gateway: Duration,
    pub postgres: Duration,
    pub generator: Duration,
}

/// One process.
struct Used {
    parent: u32,
    own: Duration,
    /// Its own and that of its children which ended.
    with_ended: Duration,
}

impl Cpu {
    /// Of the gateway process, of the server whose first process is `postmaster`, and of this one.
    pub fn new(gateway: u32, postmaster: u32) -> Self {
        let own = |pid| used(pid).map_or(Duration::ZERO, |used| used.own);
        let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| {
            let pid = entry.unwrap().file_name().to_str()?.parse().ok()?;
            used(pid)
        });
        let backends: Duration =
            processes.filter(|process| process.parent == postmaster).map(|process| process.own).sum();
        Self {
            gateway: own(gateway),
            postgres: backends + used(postmaster).map_or(Duration::ZERO, |used| used.with_ended),
            generator: own(std::process::id()),
        }
    }

    /// Microseconds each, for each of `requests`.
    pub fn per_request(&self, requests: usize) -> [f64; 3] {
        [self.gateway, self.postgres, self.generator]
            .map(|time| time.as_secs_f64() * 1e6 / requests.max(1) as f64)
    }
}

impl Sub for Cpu {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            gateway: self.gateway.saturating_sub(earlier.gateway),
            postgres: self.postgres.saturating_sub(earlier.postgres),
            generator: self.generator.saturating_sub(earlier.generator),
        }
    }
}

/// `None` when the process is gone.
fn used(pid: u32) -> Option<Used> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything; what follows are numbers.
    let fields: Vec<&str> = text.rsplit_once(") ")?.1.split(' ').collect();
    // Ticks of a hundredth of a second, on every Linux there is.
    let ticks =
        |place: usize| fields.get(place)?.parse().ok().map(|ticks: u64| Duration::from_millis(ticks * 10));
    let own = ticks(11)? + ticks(12)?;
    Some(Used { parent: fields.get(1)?.parse().ok()?, own, with_ended: own + ticks(13)? + ticks(14)? })
}
