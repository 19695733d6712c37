//! Many threads, inline and queued execution mixed, cancellations at random: nothing lost, nothing twice, no wake-up lost.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]
#![allow(clippy::print_stdout, reason = "seeds and counts are worth reading when a test fails")]

mod test_model;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use hanok_scheduler::Submission;
use test_model::{FAIL, PANIC, output, rows, serve};

/// Repeatable numbers (splitmix64).
fn mix(seed: u64) -> u64 {
    let mut mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn storm(max_batch_size: u32, extra: &str, busy_ns: usize, seed: u64) {
    println!("seed {seed}, busy {busy_ns} ns, {extra}");
    let served = Arc::new(serve(max_batch_size, extra));
    served.model.keep_log.store(false, SeqCst);
    served.model.busy_ns.store(busy_ns, SeqCst);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_time().build().unwrap();
    let (inline, answered, failed, cancelled) = <(AtomicUsize, AtomicUsize, AtomicUsize, AtomicUsize)>::default();
    let counts = Arc::new((inline, answered, failed, cancelled));
    let tasks: Vec<_> = (0..12u64)
        .map(|task| {
            let (served, counts) = (Arc::clone(&served), Arc::clone(&counts));
            runtime.spawn(async move {
                for step in 0..4000u64 {
                    let random = mix(seed ^ (task << 32) ^ step);
                    let value = i32::try_from(random >> 40).unwrap() + 1000;
                    let mut values: Vec<i32> =
                        (0..1 + i32::try_from(random % 3).unwrap()).map(|row| value + row).collect();
                    if max_batch_size == 1 {
                        values.truncate(1);
                    }
                    match random >> 8 & 0x3ff {
                        0 => values[0] = FAIL,
                        1 => values[0] = PANIC,
                        _ => {}
                    }
                    let expected: Vec<i32> = values.iter().map(|value| value * 2 + 1).collect();
                    let answer = match served.scheduler.submit(rows(&values)) {
                        Submission::Done(answer) => {
                            counts.0.fetch_add(1, SeqCst);
                            answer
                        }
                        Submission::Pending(future) if random >> 20 & 0xf == 0 => {
                            drop(future);
                            counts.3.fetch_add(1, SeqCst);
                            continue;
                        }
                        Submission::Pending(future) => {
                            let patience = Duration::from_secs(20);
                            tokio::time::timeout(patience, future).await.expect("no wake-up is lost")
                        }
                    };
                    match answer {
                        Ok(response) => {
                            assert_eq!(output(&response), expected);
                            counts.1.fetch_add(1, SeqCst);
                        }
                        Err(_) => {
                            counts.2.fetch_add(1, SeqCst);
                        }
                    }
                    if random & 0x70 == 0 {
                        tokio::task::yield_now().await;
                    }
                }
            })
        })
        .collect();
    runtime.block_on(async {
        for task in tasks {
            task.await.expect("no task fails");
        }
    });
    served.scheduler.drain();
    assert!(served.scheduler.wait_drained(Instant::now() + Duration::from_secs(20)));
    let all = [&counts.0, &counts.1, &counts.2, &counts.3].map(|count| count.load(SeqCst));
    println!("inline {}, answered {}, failed {}, cancelled {}", all[0], all[1], all[2], all[3]);
    assert_eq!(all[1] + all[2] + all[3], 12 * 4000);
    assert!(all[1] > 12 * 4000 / 2);
    assert_eq!((served.scheduler.in_flight(), served.statistics.snapshot().queue_depth), (0, 0));
    assert!(served.model.most_rows.load(SeqCst) <= max_batch_size as usize);
}

/// An execution so short that callers seldom meet, and one so long that they meet all the time while it still runs on
/// their threads.
const SHORT_AND_LONG: [usize; 2] = [0, 30_000];

#[test]
fn one_instance() {
    for busy in SHORT_AND_LONG {
        storm(8, "dynamic_batching { }", busy, 1);
    }
}

#[test]
fn one_instance_with_a_delay() {
    for busy in SHORT_AND_LONG {
        storm(8, "dynamic_batching { max_queue_delay_microseconds: 200 preferred_batch_size: [ 4 ] }", busy, 2);
    }
}

#[test]
fn several_instances_in_order() {
    let extra = "dynamic_batching { preserve_ordering: true } instance_group [ { kind: KIND_CPU count: 3 } ]";
    for busy in SHORT_AND_LONG {
        storm(8, extra, busy, 3);
    }
}

#[test]
fn several_instances_with_a_delay() {
    let extra = "dynamic_batching { max_queue_delay_microseconds: 100 } instance_group [ { kind: KIND_CPU count: 3 } ]";
    for busy in SHORT_AND_LONG {
        storm(8, extra, busy, 4);
    }
}

#[test]
fn no_batching() {
    for busy in SHORT_AND_LONG {
        storm(1, "", busy, 5);
    }
}
