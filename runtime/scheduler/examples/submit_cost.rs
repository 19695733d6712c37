//! What a submission costs: nanoseconds for one executed on the caller's thread, and microseconds of CPU for one that
//! goes to the instance's thread and back.
//!
//! Run with `cargo run --release -p hanok-scheduler --example submit_cost`. CPU time is that of the process, user and
//! system, from /proc/self/stat (10 ms steps), so each figure is over many requests.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a measuring program")]
#![allow(missing_docs, reason = "a measuring program")]

#[path = "../tests/test_model/mod.rs"]
mod test_model;

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use hanok_scheduler::Submission;

/// User and system time of this process.
fn process_cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

fn per(total: Duration, count: u32) -> f64 {
    total.as_secs_f64() * 1e6 / f64::from(count)
}

fn main() {
    let served = test_model::serve(8, "dynamic_batching { }");
    served.model.keep_log.store(false, SeqCst);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();

    runtime.block_on(async {
        for value in 0..100 {
            if let Submission::Pending(future) = served.scheduler.submit(test_model::request(value)) {
                future.await.unwrap();
            }
        }
    });
    let count = 1_000_000;
    let prepared = test_model::request(1);
    let clone = {
        let start = Instant::now();
        for _ in 0..count {
            std::hint::black_box(prepared.clone());
        }
        start.elapsed()
    };
    let mut inline = 0;
    let start = Instant::now();
    for _ in 0..count {
        match served.scheduler.submit(prepared.clone()) {
            Submission::Done(answer) => {
                inline += 1;
                drop(answer.unwrap());
            }
            Submission::Pending(future) => drop(runtime.block_on(future).unwrap()),
        }
    }
    let elapsed = start.elapsed();
    println!(
        "inline: {:.0} ns a submission with its execution ({:.0} ns of it clones the request), {inline} of {count} inline",
        per(elapsed, count) * 1e3,
        per(clone, count) * 1e3,
    );

    // A model that batches nothing and whose responses must be streamed never runs inline: the hop alone.
    let served = Arc::new(test_model::serve(0, "model_transaction_policy { decoupled: true }"));
    served.model.keep_log.store(false, SeqCst);
    let count = 200_000;
    let mut prepared = test_model::request(1);
    prepared.inputs[0].as_mut().unwrap().shape = hanok_tensor::Shape::new(&[1]);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    for callers in [1u32, 8] {
        let (cpu, start) = (process_cpu(), Instant::now());
        let tasks: Vec<_> = (0..callers)
            .map(|_| {
                let (served, prepared) = (Arc::clone(&served), prepared.clone());
                runtime.spawn(async move {
                    for _ in 0..count / callers {
                        match served.scheduler.submit(prepared.clone()) {
                            Submission::Pending(future) => drop(future.await.unwrap()),
                            Submission::Done(answer) => drop(answer.unwrap()),
                        }
                    }
                })
            })
            .collect();
        runtime.block_on(async {
            for task in tasks {
                task.await.unwrap();
            }
        });
        println!(
            "thread hop, {callers} callers: {:.2} us of CPU and {:.2} us of time a submission",
            per(process_cpu() - cpu, count),
            per(start.elapsed(), count),
        );
    }
}
