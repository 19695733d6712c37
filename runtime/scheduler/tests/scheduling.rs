//! The scheduler with real threads: answers, batches, failures, cancellation, ends.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod test_model;

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::Ordering::SeqCst;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use hanok_backend::ErrorCode;
use hanok_scheduler::{ResponseFuture, Submission, UnreadBudget};
use hanok_telemetry::BatchTrigger;
use test_model::{
    Answer, FAIL, LOSE, PANIC, PATIENCE, Served, output, pending, request, rows, serve, wait, wait_at_rest,
};

fn is_ready(future: &mut ResponseFuture) -> bool {
    pin!(future).poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

/// Holds the model inside the execution of a request with this value.
fn occupy(served: &Served, value: i32) -> ResponseFuture {
    served.model.hold();
    let before = served.model.inside.load(SeqCst);
    let future = pending(served.scheduler.submit(request(value)));
    served.model.wait_inside(before + 1);
    future
}

fn wait_until(instant: Instant) {
    while Instant::now() < instant {
        std::thread::yield_now();
    }
}

#[test]
fn what_waits_together_is_executed_together() {
    let served = serve(4, "dynamic_batching { }");
    let first = occupy(&served, 1);
    let others: Vec<_> =
        [&[2][..], &[3, 4], &[5], &[6]].map(|values| pending(served.scheduler.submit(rows(values)))).into();
    assert_eq!((served.scheduler.queued(), served.scheduler.in_flight()), (4, 5));
    assert_eq!(served.statistics.snapshot().queue_depth, 4);
    served.model.release();
    assert_eq!(output(&wait(Submission::Pending(first)).unwrap()), [3]);
    let answers: Vec<_> = others.into_iter().map(|other| output(&wait(Submission::Pending(other)).unwrap())).collect();
    assert_eq!(answers, [vec![5], vec![7, 9], vec![11], vec![13]]);
    let batches: Vec<_> = served.model.log().into_iter().map(|executed| executed.rows).collect();
    assert_eq!(batches, [vec![1], vec![2, 3, 4, 5], vec![6]]);
    // A batch is counted after it is answered.
    wait_at_rest(&served);
    let snapshot = served.statistics.snapshot();
    assert_eq!((snapshot.inference_count, snapshot.execution_count, snapshot.queue_depth), (6, 3, 0));
}

#[test]
fn a_delay_gathers_a_batch() {
    let served = serve(4, "dynamic_batching { max_queue_delay_microseconds: 10000000 }");
    let futures: Vec<_> = (0..4).map(|value| pending(served.scheduler.submit(request(value)))).collect();
    for (value, future) in futures.into_iter().enumerate() {
        assert_eq!(output(&wait(Submission::Pending(future)).unwrap()), [2 * i32::try_from(value).unwrap() + 1]);
    }
    assert_eq!(served.model.log().len(), 1);
}

#[test]
fn a_model_without_batching_gets_one_request_at_a_time() {
    let served = serve(0, "");
    served.model.hold();
    let one = |value: i32| {
        let mut request = request(value);
        request.inputs[0].as_mut().unwrap().shape = hanok_tensor::Shape::new(&[1]);
        pending(served.scheduler.submit(request))
    };
    let futures: Vec<_> = (0..3).map(one).collect();
    served.model.release();
    for future in futures {
        assert!(wait(Submission::Pending(future)).is_ok());
    }
    assert_eq!(served.model.log().len(), 3);
}

#[test]
fn a_cancelled_request_stops_counting_at_once_and_is_never_executed() {
    let served = serve(8, "dynamic_batching { }");
    let first = occupy(&served, 1);
    let gone = pending(served.scheduler.submit(request(2)));
    let kept = pending(served.scheduler.submit(request(3)));
    drop(gone);
    assert_eq!(served.scheduler.queued(), 1);
    assert_eq!(served.statistics.snapshot().queue_depth, 1);
    drop(first);
    served.model.release();
    assert!(wait(Submission::Pending(kept)).is_ok());
    assert_eq!(served.model.values(), [1, 3]);
    for _ in 0..10_000 {
        served.model.hold();
        drop(served.scheduler.submit(request(4)));
    }
    served.model.release();
    served.scheduler.drain();
    assert!(served.scheduler.wait_drained(Instant::now() + PATIENCE));
    assert_eq!((served.scheduler.in_flight(), served.statistics.snapshot().queue_depth), (0, 0));
}

#[test]
fn an_expired_request_is_never_executed() {
    let served = serve(8, "dynamic_batching { }");
    let first = occupy(&served, 1);
    // Far enough for the request to be queued before it.
    let deadline = Instant::now() + Duration::from_millis(300);
    let mut late = request(2);
    late.deadline = Some(deadline);
    let late = pending(served.scheduler.submit(late));
    wait_until(deadline);
    served.model.release();
    let error = wait(Submission::Pending(late)).unwrap_err();
    assert_eq!((error.code(), error.message()), (ErrorCode::DeadlineExceeded, "Request timeout expired"));
    let mut past = request(3);
    past.deadline = Some(deadline);
    assert_eq!(wait(served.scheduler.submit(past)).unwrap_err().code(), ErrorCode::DeadlineExceeded);
    assert!(wait(Submission::Pending(first)).is_ok());
    assert_eq!(served.model.values(), [1]);
}

#[test]
fn queue_policies_have_the_words_that_clients_know() {
    let served = serve(
        8,
        "dynamic_batching { default_queue_policy { max_queue_size: 2 default_timeout_microseconds: 300000 } }",
    );
    let first = occupy(&served, 1);
    let queued = [pending(served.scheduler.submit(request(2))), pending(served.scheduler.submit(request(3)))];
    let full = wait(served.scheduler.submit(request(4))).unwrap_err();
    assert_eq!((full.code(), full.message()), (ErrorCode::Unavailable, "Exceeds maximum queue size"));
    wait_until(Instant::now() + Duration::from_millis(301));
    served.model.release();
    for late in queued {
        let error = wait(Submission::Pending(late)).unwrap_err();
        assert_eq!((error.code(), error.message()), (ErrorCode::Unavailable, "Request timeout expired"));
    }
    assert!(wait(Submission::Pending(first)).is_ok());
    assert_eq!(served.model.values(), [1]);
}

#[test]
fn priorities_overtake() {
    let served = serve(1, "dynamic_batching { priority_levels: 2 default_priority_level: 2 }");
    let first = occupy(&served, 1);
    let with = |value, priority| {
        let mut request = request(value);
        request.priority = priority;
        pending(served.scheduler.submit(request))
    };
    let futures = [with(2, 2), with(3, 1), with(4, 0), with(5, 1)];
    served.model.release();
    for future in futures.into_iter().chain([first]) {
        assert!(wait(Submission::Pending(future)).is_ok());
    }
    assert_eq!(served.model.values(), [1, 3, 5, 2, 4]);
}

#[test]
fn a_lost_instance_fails_its_batch_once_and_is_replaced() {
    let served = serve(8, "dynamic_batching { }");
    let first = occupy(&served, 1);
    let batch = [LOSE, 2].map(|value| pending(served.scheduler.submit(request(value))));
    served.model.release();
    assert!(wait(Submission::Pending(first)).is_ok());
    for answer in batch {
        let error = wait(Submission::Pending(answer)).unwrap_err();
        assert_eq!(error.message(), "the test wants a lost instance", "nobody is executed again on a lost instance");
    }
    assert_eq!(output(&wait(served.scheduler.submit(request(4))).unwrap()), [9]);
    assert_eq!(served.model.created.load(SeqCst), 2);
    // An error without a loss replaces nothing.
    assert!(wait(served.scheduler.submit(request(FAIL))).is_err());
    assert!(wait(served.scheduler.submit(request(4))).is_ok());
    assert_eq!(served.model.created.load(SeqCst), 2);
}

#[test]
fn a_panic_fails_its_batch_and_replaces_the_instance() {
    let served = serve(8, "dynamic_batching { }");
    let error = wait(served.scheduler.submit(request(PANIC))).unwrap_err();
    assert_eq!(error.code(), ErrorCode::Internal);
    assert_eq!(error.message(), "the model failed while executing the request");
    assert!(error.operator_detail().unwrap().contains("the test wants a panic"));
    assert_eq!(output(&wait(served.scheduler.submit(request(4))).unwrap()), [9]);
    assert_eq!(served.model.created.load(SeqCst), 2);
    for _ in 0..5 {
        assert!(served.scheduler.is_healthy());
        assert!(wait(served.scheduler.submit(request(PANIC))).is_err());
        // The answer goes out before the instance is given back.
        wait_at_rest(&served);
    }
    assert!(!served.scheduler.is_healthy());
    assert!(wait(served.scheduler.submit(request(5))).is_ok());
    wait_at_rest(&served);
    assert!(served.scheduler.is_healthy());
}

#[test]
fn a_panic_on_the_callers_thread_is_no_different() {
    let served = serve(8, "dynamic_batching { }");
    let (error, lost) = inline(&served, PANIC);
    assert_eq!(error.unwrap_err().code(), ErrorCode::Internal);
    assert!(wait(served.scheduler.submit(request(1))).is_ok());
    assert_eq!(served.model.created.load(SeqCst), 2 + lost);
}

#[test]
fn an_instance_that_cannot_be_replaced_is_tried_again() {
    let served = serve(8, "dynamic_batching { }");
    served.model.refuse_instances.store(true, SeqCst);
    assert!(wait(served.scheduler.submit(request(PANIC))).is_err());
    let refused = wait(served.scheduler.submit(request(1))).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::Unavailable);
    served.model.refuse_instances.store(false, SeqCst);
    let end = Instant::now() + PATIENCE;
    while wait(served.scheduler.submit(request(2))).is_err() {
        assert!(Instant::now() < end);
        std::thread::yield_now();
    }
    assert!(served.scheduler.is_healthy());
}

#[test]
fn one_bad_member_does_not_fail_its_neighbours() {
    let served = serve(8, "dynamic_batching { }");
    let first = occupy(&served, 1);
    let members = [2, FAIL, 3].map(|value| pending(served.scheduler.submit(request(value))));
    served.model.release();
    let [before, bad, after] = members.map(|member| wait(Submission::Pending(member)));
    assert_eq!(output(&before.unwrap()), [5]);
    assert_eq!(bad.unwrap_err().message(), "the test wants an error");
    assert_eq!(output(&after.unwrap()), [7]);
    assert!(wait(Submission::Pending(first)).is_ok());
    let retried = || {
        let triggers = served.statistics.snapshot().triggers;
        triggers.into_iter().find(|(trigger, ..)| *trigger == BatchTrigger::Retry).map(|(_, _, rows)| rows)
    };
    // An execution is counted after it is answered.
    let end = Instant::now() + PATIENCE;
    while retried() != Some(2) {
        assert!(Instant::now() < end, "{:?} rows", retried());
        std::thread::yield_now();
    }
}

/// Executes until the model's time is known.
fn learn(served: &Served) {
    for value in 0..200 {
        wait(served.scheduler.submit(request(value))).unwrap();
        wait_at_rest(served);
    }
}

/// The answer to a request that was executed on this thread, and how many were not: where a busy machine makes a quick
/// model look slow, it is asked until it looks quick again.
fn inline(served: &Served, value: i32) -> (Answer, usize) {
    let end = Instant::now() + PATIENCE;
    let mut queued = 0;
    loop {
        learn(served);
        match served.scheduler.submit(request(value)) {
            Submission::Done(answer) => return (answer, queued),
            Submission::Pending(future) => drop(wait(Submission::Pending(future))),
        }
        wait_at_rest(served);
        queued += 1;
        assert!(Instant::now() < end, "never executed on this thread, {queued} times queued");
    }
}

#[test]
fn a_lone_request_to_a_quick_model_is_executed_where_it_stands() {
    let served = serve(8, "dynamic_batching { }");
    assert!(matches!(served.scheduler.submit(request(0)), Submission::Pending(_)));
    let (answer, _) = inline(&served, 20);
    assert_eq!(output(&answer.unwrap()), [41]);
    let here = std::thread::current().name().unwrap_or_default().to_owned();
    let log = served.model.log();
    assert_eq!(log.last().unwrap().thread, here);
    assert_eq!(log.first().unwrap().thread, "m_0");
}

#[test]
fn what_came_during_an_inline_execution_is_not_forgotten() {
    let served = serve(8, "dynamic_batching { }");
    let end = Instant::now() + PATIENCE;
    // On a busy machine a quick model may look slow; then this was no inline execution.
    while !came_during_an_inline_execution(&served) {
        assert!(Instant::now() < end, "never executed on a caller's thread");
    }
    assert_eq!(served.model.log().last().unwrap().thread, "m_0");
}

/// Whether the first of two requests was executed on its caller's thread; both are answered in any case.
fn came_during_an_inline_execution(served: &Served) -> bool {
    learn(served);
    served.model.hold();
    let before = served.model.inside.load(SeqCst);
    std::thread::scope(|scope| {
        let inline = scope.spawn(|| match served.scheduler.submit(request(1)) {
            Submission::Done(answer) => answer.is_ok(),
            Submission::Pending(future) => {
                assert!(wait(Submission::Pending(future)).is_ok());
                false
            }
        });
        served.model.wait_inside(before + 1);
        let meanwhile = pending(served.scheduler.submit(request(2)));
        // Longer than the budget of a caller's thread, so that the instance's own thread has to go on.
        wait_until(Instant::now() + Duration::from_millis(1));
        served.model.release();
        assert_eq!(output(&wait(Submission::Pending(meanwhile)).unwrap()), [5]);
        inline.join().unwrap()
    })
}

#[test]
fn answers_keep_the_order_of_requests_where_the_policy_asks_for_it() {
    let served =
        serve(1, "dynamic_batching { preserve_ordering: true } instance_group [ { kind: KIND_CPU count: 2 } ]");
    let mut slow = occupy(&served, 1);
    let mut second = {
        let future = pending(served.scheduler.submit(request(2)));
        served.model.wait_inside(2);
        future
    };
    let mut third = pending(served.scheduler.submit(request(3)));
    assert!(!is_ready(&mut slow) && !is_ready(&mut second) && !is_ready(&mut third));
    served.model.release();
    // Whichever instance ends first, when a later answer is there, the earlier ones are.
    let end = Instant::now() + PATIENCE;
    while !is_ready(&mut third) {
        assert!(Instant::now() < end);
    }
    assert!(is_ready(&mut second) && is_ready(&mut slow));
}

#[test]
fn draining_executes_what_is_queued_and_refuses_the_rest() {
    let served = serve(8, "dynamic_batching { max_queue_delay_microseconds: 10000000 }");
    let queued = pending(served.scheduler.submit(request(1)));
    assert!(!served.scheduler.wait_drained(Instant::now()));
    served.scheduler.drain();
    assert_eq!(wait(served.scheduler.submit(request(2))).unwrap_err().code(), ErrorCode::Unavailable);
    assert!(served.scheduler.wait_drained(Instant::now() + PATIENCE));
    assert_eq!(output(&wait(Submission::Pending(queued)).unwrap()), [3]);
}

#[test]
fn dropping_answers_what_is_queued() {
    let served = serve(8, "dynamic_batching { }");
    let executing = occupy(&served, 1);
    let queued = pending(served.scheduler.submit(request(2)));
    let Served { model, scheduler, statistics } = served;
    let dropping = std::thread::spawn(move || drop(scheduler));
    assert_eq!(wait(Submission::Pending(queued)).unwrap_err().code(), ErrorCode::Unavailable);
    model.release();
    dropping.join().unwrap();
    assert!(wait(Submission::Pending(executing)).is_ok());
    assert_eq!(model.values(), [1]);
    assert_eq!(statistics.snapshot().queue_depth, 0);
}

#[test]
fn streams_give_every_response_and_an_end() {
    let served = serve(0, "model_transaction_policy { decoupled: true }");
    served.model.streams.store(true, SeqCst);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let collect = |count: i32| {
        let mut stream = served.scheduler.submit_stream(request(count), &UnreadBudget::new(1 << 20));
        let mut responses = Vec::new();
        runtime.block_on(async {
            while let Some(response) = stream.next().await {
                responses.push(response);
            }
        });
        responses
    };
    let three = collect(3);
    assert_eq!(three.iter().map(|response| response.last).collect::<Vec<_>>(), [false, false, false, true]);
    let values: Vec<_> =
        three.iter().filter_map(|one| one.result.as_ref()).map(|one| output(one.as_ref().unwrap())).collect();
    assert_eq!(values, [[0], [1], [2]]);
    let none = collect(0);
    assert!(none.len() == 1 && none[0].last && none[0].result.is_none());
    // One response suits an ordinary request, more or none do not.
    assert_eq!(output(&wait(served.scheduler.submit(request(1))).unwrap()), [0]);
    for count in [0, 2] {
        assert_eq!(wait(served.scheduler.submit(request(count))).unwrap_err().code(), ErrorCode::Unsupported);
    }
}

#[test]
fn a_stream_that_nobody_reads_is_cancelled() {
    let served = serve(0, "model_transaction_policy { decoupled: true }");
    served.model.streams.store(true, SeqCst);
    let mut stream = served.scheduler.submit_stream(request(5000), &UnreadBudget::new(4 << 20));
    served.model.wait_inside(1);
    wait_at_rest(&served);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut count = 0;
    let last = runtime.block_on(async {
        loop {
            let response = stream.next().await.expect("there is a last one");
            count += 1;
            if response.last {
                return response;
            }
        }
    });
    assert_eq!(count, 1025);
    assert_eq!(last.result.unwrap().unwrap_err().code(), ErrorCode::ResourceExhausted);
}

#[test]
fn warming_up_reaches_every_instance_and_counts_nothing() {
    let served = serve(8, "dynamic_batching { } instance_group [ { kind: KIND_CPU count: 3 } ]");
    assert_eq!(output(&served.scheduler.execute_warmup(request(3)).unwrap()), [7]);
    let mut threads: Vec<_> = served.model.log().into_iter().map(|executed| executed.thread).collect();
    threads.sort();
    assert_eq!(threads, ["m_0_0", "m_0_1", "m_0_2"]);
    let snapshot = served.statistics.snapshot();
    assert_eq!((snapshot.inference_count, snapshot.execution_count), (0, 0));
    assert!(served.scheduler.execute_warmup(request(FAIL)).is_err());
}
