//! What a traced request is told of its way: in order, the same for all members of a batch, and as far as it came.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod test_model;

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use hanok_backend::InferenceRequest;
use hanok_scheduler::Submission;
use hanok_telemetry::{Activity, TraceClock, TraceTimes};
use test_model::{FAIL, pending, request, serve, wait};

const WHOLE: [&str; 5] = ["QUEUE_START", "COMPUTE_START", "COMPUTE_INPUT_END", "COMPUTE_OUTPUT_START", "COMPUTE_END"];

fn traced(clock: TraceClock, value: i32) -> (InferenceRequest, Arc<TraceTimes>) {
    let times = Arc::new(TraceTimes::new(clock));
    (InferenceRequest { trace: Some(Arc::clone(&times)), ..request(value) }, times)
}

fn names(times: &TraceTimes) -> Vec<&'static str> {
    times.moments().into_iter().map(|(activity, _)| activity.name()).collect()
}

fn at(times: &TraceTimes, wanted: Activity) -> u64 {
    times.moments().into_iter().find(|(activity, _)| *activity == wanted).unwrap().1
}

#[test]
fn members_of_a_batch_are_computed_at_once_and_queued_each_for_itself() {
    let clock = TraceClock::new(Instant::now(), Duration::from_secs(1));
    let served = serve(4, "dynamic_batching { }");
    served.model.hold();
    let before = served.model.inside.load(SeqCst);
    let (lone, of_lone) = traced(clock, 1);
    let lone = pending(served.scheduler.submit(lone));
    served.model.wait_inside(before + 1);
    let (second, of_second) = traced(clock, 2);
    let (third, of_third) = traced(clock, 3);
    let waiting = [second, request(9), third].map(|request| pending(served.scheduler.submit(request)));
    assert_eq!(names(&of_third), ["QUEUE_START"], "it waits");
    served.model.release();
    for future in std::iter::once(lone).chain(waiting) {
        wait(Submission::Pending(future)).unwrap();
    }
    for times in [&of_lone, &of_second, &of_third] {
        assert_eq!(names(times), WHOLE);
    }
    for activity in [Activity::ComputeStart, Activity::ComputeInputEnd, Activity::ComputeOutputStart] {
        assert_eq!(at(&of_second, activity), at(&of_third, activity), "{}", activity.name());
    }
    assert!(at(&of_second, Activity::QueueStart) < at(&of_third, Activity::QueueStart));
    assert!(at(&of_lone, Activity::ComputeEnd) <= at(&of_third, Activity::ComputeStart));
}

#[test]
fn a_member_that_is_tried_again_alone_tells_of_the_time_that_counted() {
    let clock = TraceClock::new(Instant::now(), Duration::from_secs(1));
    let served = serve(4, "dynamic_batching { }");
    served.model.hold();
    let before = served.model.inside.load(SeqCst);
    let first = pending(served.scheduler.submit(request(1)));
    served.model.wait_inside(before + 1);
    let (good, of_good) = traced(clock, 2);
    let (bad, of_bad) = traced(clock, FAIL);
    let (good, bad) = (pending(served.scheduler.submit(good)), pending(served.scheduler.submit(bad)));
    served.model.release();
    wait(Submission::Pending(first)).unwrap();
    wait(Submission::Pending(good)).unwrap();
    wait(Submission::Pending(bad)).unwrap_err();
    assert_eq!(names(&of_good), WHOLE);
    assert_eq!(names(&of_bad), WHOLE[..3], "it was computed and gave nothing");
    assert!(at(&of_bad, Activity::ComputeStart) >= at(&of_good, Activity::ComputeEnd), "one after the other");
}
