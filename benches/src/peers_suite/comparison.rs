//! What was measured, and how it compares with ours: as a table and as a record.
//!
//! The invariant: a ratio is the median of ratios within one round, never one of figures from different rounds.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::figure::{digits, median};
use crate::generator::Measured;

/// The server that others are compared with.
const OURS: &str = "hanok";

/// One line of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    /// Model.
    pub(super) model: &'static str,
    /// How tensors travel.
    pub(super) wire: &'static str,
    /// Requests in flight.
    pub(super) concurrency: u32,
    /// Which server.
    pub(super) server: &'static str,
}

/// Values by round; a round may lack one.
type Rounds = BTreeMap<u32, f64>;

/// Everything that was measured, and what was not.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    measured: BTreeMap<Key, BTreeMap<u32, Measured>>,
    start_ms: BTreeMap<&'static str, Rounds>,
    resident_mb: BTreeMap<&'static str, Rounds>,
    skipped: Vec<(&'static str, String)>,
    failed: Vec<(&'static str, String)>,
}

/// One figure of a measurement: its name in the record, its heading, the heading of its ratio, and the figure.
type Pick = (&'static str, &'static str, &'static str, fn(&Measured) -> f64);

const PICKS: [Pick; 4] = [
    ("answers_per_second", "answers/s", "of ours", |measured| measured.rate),
    ("p50_us", "p50 us", "over ours", |measured| measured.p50_us),
    ("p99_us", "p99 us", "over ours", |measured| measured.p99_us),
    ("cpu_us_per_request", "CPU us/request", "over ours", |measured| measured.cpu_us),
];

impl Comparison {
    /// A server that is not here.
    pub(super) fn skip(&mut self, server: &'static str, reason: String) {
        self.skipped.push((server, reason));
    }

    /// A server, or a part of its measurements, that did not work.
    pub(super) fn fail(&mut self, server: &'static str, reason: String) {
        if !self.failed.iter().any(|(name, known)| *name == server && *known == reason) {
            self.failed.push((server, reason));
        }
    }

    /// A server was ready after this time.
    pub(super) fn started(&mut self, server: &'static str, round: u32, after: Duration) {
        self.start_ms.entry(server).or_default().insert(round, after.as_secs_f64() * 1e3);
    }

    /// One level of one round.
    pub(super) fn add(&mut self, key: Key, round: u32, measured: Measured) {
        let most = self.resident_mb.entry(key.server).or_default().entry(round).or_default();
        *most = most.max(measured.resident_bytes / 1e6);
        self.measured.entry(key).or_default().insert(round, measured);
    }

    /// Whether every server that is here was measured.
    pub(super) fn is_whole(&self) -> bool {
        self.failed.is_empty()
    }

    /// The lines in the table's order: ours before the others.
    fn keys(&self) -> Vec<Key> {
        let mut keys: Vec<Key> = self.measured.keys().copied().collect();
        keys.sort_by_key(|&key| (key.model, key.wire, key.concurrency, key.server != OURS, key.server));
        keys
    }

    fn rounds(&self, key: Key, pick: fn(&Measured) -> f64) -> Rounds {
        let rounds = self.measured.get(&key).into_iter().flatten();
        rounds.map(|(&round, measured)| (round, pick(measured))).collect()
    }

    /// The tables, and below them what is missing and why.
    pub(super) fn text(&self) -> String {
        let mut head = ["model", "wire", "concurrency", "server"].map(str::to_owned).to_vec();
        for (_, heading, ratio, _) in PICKS {
            head.extend([heading.to_owned(), ratio.to_owned()]);
        }
        let mut rows = vec![head];
        for key in self.keys() {
            let mut row: Vec<String> =
                [key.model, key.wire, &key.concurrency.to_string(), key.server].map(str::to_owned).to_vec();
            for (_, _, _, pick) in PICKS {
                let (own, ours) = (self.rounds(key, pick), self.rounds(Key { server: OURS, ..key }, pick));
                row.extend([cell(&own), ratio_cell(&own, &ours)]);
            }
            rows.push(row);
        }
        let mut text = aligned(&rows);
        let mut rows = vec![["server", "start ms", "over ours", "memory MB", "over ours"].map(str::to_owned).to_vec()];
        for (&server, start) in &self.start_ms {
            let memory = self.resident_mb.get(server).cloned().unwrap_or_default();
            let ours = |all: &BTreeMap<&str, Rounds>| all.get(OURS).cloned().unwrap_or_default();
            let (our_start, our_memory) = (ours(&self.start_ms), ours(&self.resident_mb));
            let cells = [cell(start), ratio_cell(start, &our_start), cell(&memory), ratio_cell(&memory, &our_memory)];
            rows.push(std::iter::once(server.to_owned()).chain(cells).collect());
        }
        text.push('\n');
        text.push_str(&aligned(&rows));
        for (server, reason) in &self.skipped {
            text.push_str(&format!("skipped {server}: {reason}\n"));
        }
        for (server, reason) in &self.failed {
            text.push_str(&format!("FAILED {server}: {reason}\n"));
        }
        text
    }

    /// The same with every round, for the record.
    pub(super) fn record(&self, versions: &BTreeMap<&'static str, Option<String>>) -> Value {
        let with_rounds = |own: &Rounds, ours: &Rounds| json!({ "median": middle(own), "ratio_to_ours": ratio(own, ours), "rounds": own.values().collect::<Vec<_>>() });
        let line = |key: Key| {
            let mut line = json!({
                "model": key.model, "wire": key.wire, "concurrency": key.concurrency, "server": key.server,
            });
            for (name, _, _, pick) in PICKS {
                line[name] = with_rounds(&self.rounds(key, pick), &self.rounds(Key { server: OURS, ..key }, pick));
            }
            line
        };
        let none = Rounds::new();
        let server = |&server: &&'static str| {
            let of = |all: &BTreeMap<&'static str, Rounds>| {
                with_rounds(all.get(server).unwrap_or(&none), all.get(OURS).unwrap_or(&none))
            };
            let version = versions.get(server).cloned().flatten();
            json!({
                "server": server, "version": version, "start_ms": of(&self.start_ms), "resident_mb": of(&self.resident_mb),
            })
        };
        let notes = |notes: &[(&str, String)]| -> Vec<Value> {
            notes.iter().map(|(server, reason)| json!({ "server": server, "reason": reason })).collect()
        };
        json!({
            "servers": self.start_ms.keys().map(server).collect::<Vec<_>>(),
            "measured": self.keys().into_iter().map(line).collect::<Vec<_>>(),
            "skipped": notes(&self.skipped), "failed": notes(&self.failed),
        })
    }
}

fn middle(rounds: &Rounds) -> Option<f64> {
    median(&rounds.values().copied().collect::<Vec<_>>())
}

/// The median of the ratios of those rounds that have both.
fn ratio(own: &Rounds, ours: &Rounds) -> Option<f64> {
    let ratios = own.iter().filter_map(|(round, value)| Some(value / ours.get(round)?));
    median(&ratios.collect::<Vec<_>>()).filter(|ratio| ratio.is_finite())
}

fn cell(rounds: &Rounds) -> String {
    middle(rounds).map_or_else(|| "-".to_owned(), digits)
}

fn ratio_cell(own: &Rounds, ours: &Rounds) -> String {
    ratio(own, ours).map_or_else(|| "-".to_owned(), |ratio| format!("x{}", digits(ratio)))
}

/// Columns of one width; all but words to the right.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let is_number = |cell: &str| cell.trim_start_matches('x').starts_with(|letter: char| letter.is_ascii_digit());
    let is_right = |column: usize| rows.get(1).and_then(|row| row.get(column)).is_some_and(|cell| is_number(cell));
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| {
            if is_right(column) { format!("{cell:>width$}") } else { format!("{cell:width$}") }
        });
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(rate: f64, cpu_us: f64) -> Measured {
        Measured { cpu_us, rate, goodput: rate, p50_us: 100.0, p99_us: 200.0, resident_bytes: 5e7 }
    }

    fn key(server: &'static str) -> Key {
        Key { model: "identity", wire: "gRPC", concurrency: 8, server }
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        let mut comparison = Comparison::default();
        // The machine was twice as fast in the second round, and the third lacks the peer.
        for (round, ours, peer) in [(0, 1000.0, Some(100.0)), (1, 2000.0, Some(200.0)), (2, 9000.0, None)] {
            comparison.add(key(OURS), round, measured(ours, 10.0));
            if let Some(peer) = peer {
                comparison.add(key("slow"), round, measured(peer, 50.0));
            }
            comparison.started(OURS, round, Duration::from_millis(50));
        }
        let record = comparison.record(&BTreeMap::new());
        let line = record["measured"].as_array().into_iter().flatten().find(|line| line["server"] == "slow");
        let line = line.cloned().unwrap_or_default();
        assert_eq!(line["answers_per_second"]["ratio_to_ours"], 0.1);
        assert_eq!(line["answers_per_second"]["median"], 150.0);
        assert_eq!(line["cpu_us_per_request"]["ratio_to_ours"], 5.0);
        let text = comparison.text();
        assert!(text.contains("x0.100") && text.contains("x5.00"), "{text}");
        assert!(comparison.is_whole());
    }

    #[test]
    fn what_is_missing_is_said() {
        let mut comparison = Comparison::default();
        comparison.skip("triton", "no `tritonserver` on PATH".to_owned());
        comparison.fail("slow", "did not get ready".to_owned());
        comparison.fail("slow", "did not get ready".to_owned());
        let text = comparison.text();
        assert!(text.contains("skipped triton: no `tritonserver` on PATH\nFAILED slow: did not get ready\n"), "{text}");
        assert!(!comparison.is_whole());
    }
}
