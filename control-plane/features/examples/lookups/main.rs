//! The figures of feature lookups: `cargo run --release -p hanok-features --example lookups`.
//!
//! Prints figure, target and what was measured, a line each, and ends with 1 when one does not hold; with `--json` as JSON, a
//! line each, which `benches/run registry` reads. Those with Redis need `redis-server` in PATH; without it they say so.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a measurement fails by panicking")]
#![allow(clippy::print_stdout, reason = "a measurement prints")]

mod embedded;
mod on_redis;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use hanok_features::{FeatureSet, FeatureView, KeyValue, ResolveRequest, read_features};
use serde_json::json;

/// Features of the view that is measured.
const FEATURES: usize = 20;

/// What a figure must be.
#[derive(Clone, Copy)]
enum Target {
    AtMost(f64),
    AtLeast(f64),
}

/// One figure.
struct Figure {
    name: &'static str,
    unit: &'static str,
    target: Target,
    measured: f64,
    /// What else there is to say.
    beside: String,
}

impl Figure {
    fn holds(&self) -> bool {
        match self.target {
            Target::AtMost(most) => self.measured <= most,
            Target::AtLeast(least) => self.measured >= least,
        }
    }

    fn line(&self) -> String {
        let target = match self.target {
            Target::AtMost(most) => format!("at most {most}"),
            Target::AtLeast(least) => format!("at least {least}"),
        };
        let held = if self.holds() { "ok  " } else { "MISS" };
        let Self { name, unit, measured, beside, .. } = self;
        format!("{held} {name}: {target} {unit}; measured {measured:.2} {unit} ({beside})")
    }

    fn json(&self) -> String {
        let target = match self.target {
            Target::AtMost(most) => json!({ "at_most": most }),
            Target::AtLeast(least) => json!({ "at_least": least }),
        };
        json!({ "name": self.name, "unit": self.unit, "target": target, "measured": self.measured }).to_string()
    }
}

/// A view of twenty numbers in a store of this kind, and a service of all of them.
fn declare(store: &str) -> FeatureSet {
    let features: Vec<String> =
        (0..FEATURES).map(|index| format!("{{name: f{index}, type: float64, default: 0}}")).collect();
    let served: Vec<String> = (0..FEATURES).map(|index| format!("planes:f{index}")).collect();
    let text = format!(
        "apiVersion: hanok.dev/v1\nkind: Entity\nmetadata: {{name: plane}}\nspec: {{key: tailnum, type: string}}\n---\n\
         apiVersion: hanok.dev/v1\nkind: OnlineStore\nmetadata: {{name: main}}\nspec: {{{store}}}\n---\n\
         apiVersion: hanok.dev/v1\nkind: FeatureView\nmetadata: {{name: planes}}\n\
         spec: {{entities: [plane], store: main, owner: bench, features: [{}]}}\n---\n\
         apiVersion: hanok.dev/v1\nkind: FeatureService\nmetadata: {{name: delay}}\n\
         spec: {{owner: bench, features: [{}], deadline_milliseconds: 5000}}\n",
        features.join(", "),
        served.join(", ")
    );
    read_features(&text).unwrap()
}

fn key(view: &FeatureView, number: usize) -> Vec<u8> {
    let (name, mut key) = (name(number), Vec::new());
    view.keys.write(|_| KeyValue::String(&name), &mut key).unwrap();
    key
}

fn name(number: usize) -> String {
    format!("N{number:07}")
}

fn value(number: usize, feature: usize) -> f64 {
    f64::from(u32::try_from(number * FEATURES + feature).unwrap())
}

/// Requests for keys that lie far apart, `rows` keys each.
fn requests(count: usize, rows: usize, keys: usize) -> Vec<ResolveRequest> {
    let spread = |place: usize| name(place.wrapping_mul(7_919) % keys);
    let one =
        |index: usize| ResolveRequest::new(rows).texts("tailnum", (0..rows).map(|row| spread(index * rows + row)));
    (0..count).map(one).collect()
}

fn percentile(sorted: &[Duration], share: f64) -> Duration {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a place in a list"
    )]
    let place = ((sorted.len() - 1) as f64 * share) as usize;
    sorted[place]
}

fn microseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

#[tokio::main]
async fn main() -> ExitCode {
    let mut figures = embedded::measure().await;
    figures.extend(on_redis::measure().await);
    let json = std::env::args().any(|argument| argument == "--json");
    for figure in &figures {
        println!("{}", if json { figure.json() } else { figure.line() });
    }
    if figures.iter().all(Figure::holds) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The view of a set.
fn view(set: &FeatureSet) -> &Arc<FeatureView> {
    set.view("planes").unwrap()
}
