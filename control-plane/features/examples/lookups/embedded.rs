//! Look-ups from the embedded store, as a request makes them: keys in, columns out.

use std::path::Path;
use std::time::{Duration, Instant};

use hanok_features::{Lookup, LookupSettings, OpenStores, Value, WriteRow, system_clock};

use crate::{FEATURES, Figure, Target, declare, key, microseconds, percentile, requests, value, view};

const KEYS: usize = 200_000;

pub(crate) async fn measure() -> Vec<Figure> {
    let folder = tempfile::tempdir().unwrap();
    let set = declare(&format!("embedded: {{path: \"{}\"}}", folder.path().join("features.db").display()));
    let stores = OpenStores::open(&set, Path::new(".")).unwrap();
    let store = stores.writable("main").unwrap();
    let begin = Instant::now();
    let rows: Vec<WriteRow> = (0..KEYS)
        .map(|number| WriteRow {
            key: key(view(&set), number),
            event_micros: system_clock(),
            values: (0..FEATURES).map(|feature| Some(Value::Float64(value(number, feature)))).collect(),
        })
        .collect();
    assert_eq!(store.write(view(&set), &rows).await.unwrap(), KEYS);
    eprintln!("     {KEYS} rows of {FEATURES} features written durably in {:.1} s", begin.elapsed().as_secs_f64());
    let lookup = Lookup::start(&set, "delay", &stores, LookupSettings::default(), system_clock).unwrap();
    vec![
        timed(&lookup, "embedded, 1 key x 20 features, p50", 1, 100_000, 5.0).await,
        timed(&lookup, "embedded, 100 keys x 20 features in one batch, p50", 100, 2_000, 150.0).await,
    ]
}

async fn timed(lookup: &Lookup, name: &'static str, rows: usize, count: usize, target: f64) -> Figure {
    let requests = requests(count, rows, KEYS);
    let mut times: Vec<Duration> = Vec::with_capacity(count);
    for request in &requests {
        let begin = Instant::now();
        let resolved = lookup.resolve(request).await.unwrap();
        times.push(begin.elapsed());
        assert!(!resolved.fell_back());
    }
    times.sort_unstable();
    let p50 = microseconds(percentile(&times, 0.5));
    let p99 = microseconds(percentile(&times, 0.99));
    Figure { name, unit: "us", target: Target::AtMost(target), measured: p50, beside: format!("p99 {p99:.1}") }
}
