//! The table at the end: medians over the rounds, with the spread.

use std::collections::BTreeMap;

use crate::{
    Options,
    scenario::{Measured, SCENARIOS},
};

/// Measurements so far.
pub struct Report {
    options: Options,
    floors: Vec<f64>,
    floor_cpu: Vec<f64>,
    scenarios: BTreeMap<&'static str, Vec<Turn>>,
    memory: Vec<(&'static str, u64)>,
}

struct Turn {
    per_second: f64,
    ratio: f64,
    p50_ms: f64,
    p95_ms: f64,
    p99_ms: f64,
    /// Microseconds a request: gateway, server, generator.
    cpu: [f64; 3],
}

impl Report {
    pub fn new(options: &Options) -> Self {
        Self {
            options: options.clone(),
            floors: Vec::new(),
            floor_cpu: Vec::new(),
            scenarios: BTreeMap::new(),
            memory: Vec::new(),
        }
    }

    pub fn floor(&mut self, (per_second, cpu): (f64, f64)) {
        self.floors.push(per_second);
        self.floor_cpu.push(cpu);
    }

    /// The ratio is to the floor of the same round.
    pub fn scenario(&mut self, name: &'static str, measured: Measured) {
        let floor = self.floors.last().copied().unwrap_or(f64::NAN);
        self.scenarios.entry(name).or_default().push(Turn {
            per_second: measured.per_second(),
            ratio: measured.per_second() / floor,
            p50_ms: measured.quantile_ms(0.50),
            p95_ms: measured.quantile_ms(0.95),
            p99_ms: measured.quantile_ms(0.99),
            cpu: measured.cpu.per_request(measured.items),
        });
    }

    pub fn memory(&mut self, when: &'static str, kib: u64) {
        self.memory.push((when, kib));
    }

    pub fn print(&self) {
        let Options { rounds, seconds, connections, accounts, .. } = self.options;
        println!(
            "\n{rounds} rounds of {seconds} s, {connections} connections, {accounts} accounts; medians, lowest to \
             highest in brackets\n"
        );
        println!("CPU is processor time in microseconds for each request.\n");
        println!(
            "| | per second | x floor | p50 ms | p95 ms | p99 ms | CPU gateway | CPU server | CPU generator |"
        );
        println!("|---|---|---|---|---|---|---|---|---|");
        println!(
            "| pgbench floor (1 update + 1 insert) | {} | 1.00 | | | | | {} | |",
            spread(&self.floors, 0),
            spread(&self.floor_cpu, 0),
        );
        for scenario in SCENARIOS {
            let Some(turns) = self.scenarios.get(scenario.name) else {
                continue;
            };
            let column =
                |pick: fn(&Turn) -> f64, digits| spread(&turns.iter().map(pick).collect::<Vec<_>>(), digits);
            println!(
                "| {} | {} | {} | {} | {} | {} | {} | {} | {} |",
                scenario.name,
                column(|turn| turn.per_second, 0),
                column(|turn| turn.ratio, 2),
                column(|turn| turn.p50_ms, 2),
                column(|turn| turn.p95_ms, 2),
                column(|turn| turn.p99_ms, 2),
                column(|turn| turn.cpu[0], 0),
                column(|turn| turn.cpu[1], 0),
                column(|turn| turn.cpu[2], 0),
            );
        }
        for (when, kib) in &self.memory {
            println!("\nMemory of the gateway, {when}: {:.1} MB", *kib as f64 / 1_024.0);
        }
    }
}

fn spread(values: &[f64], digits: usize) -> String {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let median = sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN);
    match (sorted.first(), sorted.last()) {
        (Some(low), Some(high)) if sorted.len() > 1 => {
            format!("{median:.digits$} ({low:.digits$} - {high:.digits$})")
        }
        _ => format!("{median:.digits$}"),
    }
}
