//! Sequences in the scheduler: their controls, their slots, and how they end.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod test_model;

use hanok_backend::{SequenceControl, SequenceId};
use hanok_scheduler::Submission;
use test_model::{PANIC, pending, request, serve, wait, wait_at_rest};

const SEQUENCE: &str = "sequence_batching { max_sequence_idle_microseconds: 60000000
    control_input [ { name: \"START\" control [ { kind: CONTROL_SEQUENCE_START int32_false_true: [ 0, 1 ] } ] },
                    { name: \"END\" control [ { kind: CONTROL_SEQUENCE_END int32_false_true: [ 0, 1 ] } ] },
                    { name: \"READY\" control [ { kind: CONTROL_SEQUENCE_READY int32_false_true: [ 0, 1 ] } ] },
                    { name: \"CORRID\" control [ { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_UINT64 } ] } ] }";

fn in_sequence(value: i32, id: u64, start: bool, end: bool) -> hanok_backend::InferenceRequest {
    let mut request = request(value);
    request.sequence = Some(Box::new(SequenceControl { id: SequenceId::Number(id), start, end }));
    request
}

#[test]
fn sequences_carry_their_controls() {
    let served = serve(2, SEQUENCE);
    served.model.hold();
    let first = pending(served.scheduler.submit(in_sequence(10, 1, true, false)));
    served.model.wait_inside(1);
    let others = [(11, 1, false, true), (20, 2, true, false), (30, 3, true, true)]
        .map(|(value, id, start, end)| pending(served.scheduler.submit(in_sequence(value, id, start, end))));
    served.model.release();
    for future in others.into_iter().chain([first]) {
        assert!(wait(Submission::Pending(future)).is_ok());
    }
    let log = served.model.log();
    assert_eq!(
        log.iter().map(|executed| executed.rows.clone()).collect::<Vec<_>>(),
        [vec![10], vec![11, 20], vec![30]]
    );
    let expected: [Vec<u8>; 4] = [
        [0i32, 1].iter().flat_map(|value| value.to_le_bytes()).collect(),
        [1i32, 0].iter().flat_map(|value| value.to_le_bytes()).collect(),
        [1i32, 1].iter().flat_map(|value| value.to_le_bytes()).collect(),
        [1u64, 2].iter().flat_map(|value| value.to_le_bytes()).collect(),
    ];
    assert_eq!(log[1].controls, expected);
    let error = wait(served.scheduler.submit(in_sequence(1, 1, false, false))).unwrap_err();
    assert!(error.message().contains("must specify the START flag"));
    assert!(wait(served.scheduler.submit(in_sequence(21, 2, false, true))).is_ok());
}

#[test]
fn a_waiting_sequence_ends_when_the_caller_of_its_start_leaves() {
    let served = serve(1, SEQUENCE);
    assert!(wait(served.scheduler.submit(in_sequence(1, 1, true, false))).is_ok());
    let start = pending(served.scheduler.submit(in_sequence(2, 2, true, false)));
    let middle = pending(served.scheduler.submit(in_sequence(3, 2, false, false)));
    drop(start);
    assert_eq!(served.scheduler.queued(), 0);
    assert!(wait(Submission::Pending(middle)).is_err());
    let error = wait(served.scheduler.submit(in_sequence(4, 2, false, false))).unwrap_err();
    assert!(error.message().contains("must specify the START flag"));
    // The slot is still the first one's, and comes free when it ends.
    let next = pending(served.scheduler.submit(in_sequence(5, 3, true, true)));
    assert!(wait(served.scheduler.submit(in_sequence(6, 1, false, true))).is_ok());
    assert!(wait(Submission::Pending(next)).is_ok());
    assert_eq!(served.model.values(), [1, 6, 5]);
}

#[test]
fn a_panic_ends_the_sequences_of_its_instance() {
    let served = serve(2, SEQUENCE);
    assert!(wait(served.scheduler.submit(in_sequence(1, 1, true, false))).is_ok());
    assert!(wait(served.scheduler.submit(in_sequence(PANIC, 1, false, false))).is_err());
    wait_at_rest(&served);
    assert!(wait(served.scheduler.submit(in_sequence(2, 1, false, false))).is_err());
    assert!(wait(served.scheduler.submit(in_sequence(3, 1, true, true))).is_ok());
}
