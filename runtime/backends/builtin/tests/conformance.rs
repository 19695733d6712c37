//! Every built-in model against the contract, with answers worked out by hand.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::sync::Arc;

use bytes::Bytes;
use hanok_backend::conformance::{Clause, Execution, Fixture, Report, Sample, check, execute};
use hanok_backend::{
    Backend, BatchInput, ErrorCode, InferenceRequest, InstancePlacement, ModelInstance, OutputSelection, Placement,
    SequenceControl, SequenceId, ServingError,
};
use hanok_backend_builtin::BuiltinBackend;
use hanok_tensor::{DataType, Shape, push_bytes_element};

fn conforms(fixture: &Fixture) -> Report {
    match check(&|| Ok(Arc::new(BuiltinBackend::new())), fixture) {
        Ok(report) => report,
        Err(broken) => panic!("{broken}"),
    }
}

fn instance(fixture: &Fixture) -> Result<Box<dyn ModelInstance>, ServingError> {
    let placement = InstancePlacement { name: "model_0_0".to_owned(), placement: Placement::Cpu };
    BuiltinBackend::new().load(&fixture.source())?.create_instance(&placement)
}

fn config(name: &str, model: &str, rest: &str) -> Fixture {
    let text = format!(
        "backend: \"builtin\"\n{rest}\nparameters {{ key: \"model\" value {{ string_value: \"{model}\" }} }}\n"
    );
    Fixture::from_config_text(name, &text).unwrap()
}

fn integers(values: &[i32]) -> Bytes {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn texts(values: &[&str]) -> Bytes {
    let mut data = Vec::new();
    for value in values {
        push_bytes_element(&mut data, value.as_bytes());
    }
    data.into()
}

const IDENTITY: &str = "max_batch_size: 8
    input [ { name: \"INPUT0\" data_type: TYPE_INT32 dims: [ -1 ] }, { name: \"INPUT1\" data_type: TYPE_STRING dims: [ 2 ] } ]
    output [ { name: \"OUTPUT0\" data_type: TYPE_INT32 dims: [ -1 ] }, { name: \"OUTPUT1\" data_type: TYPE_STRING dims: [ 2 ] } ]";

#[test]
fn identity_conforms() {
    let sample = |rows: u32, values: &[i32], words: &[&str]| {
        let rows_i64 = i64::from(rows);
        let shape = [rows_i64, i64::try_from(values.len()).unwrap() / rows_i64];
        Sample::new(rows)
            .input(&shape, integers(values))
            .input(&[rows_i64, 2], texts(words))
            .output(DataType::Int32, &shape, integers(values))
            .output(DataType::Bytes, &[rows_i64, 2], texts(words))
    };
    let fixture = config("same", "identity", IDENTITY).sample(sample(1, &[1, 2, 3], &["a", ""])).sample(sample(
        2,
        &[4, 5, 6, 7, 8, 9],
        &["", "long word", "c", "d"],
    ));
    let report = conforms(&fixture);
    assert_eq!(report.kept.len() + report.skipped.len(), Clause::ALL.len());
    assert_eq!(report.skipped.len(), 3, "only the clauses about files do not apply");
}

#[test]
fn identity_copies_nothing_for_a_lone_request() {
    let fixture = config("same", "identity", IDENTITY);
    let sample = Sample::new(1).input(&[1, 3], integers(&[1, 2, 3])).input(&[1, 2], texts(&["a", "b"]));
    let request = sample.request(OutputSelection::All);
    let address = request.inputs[0].as_ref().unwrap().data.as_ptr();
    let execution = execute(&mut *instance(&fixture).unwrap(), &fixture.config, &[request], &[]);
    assert_eq!(execution.outcomes[0].outputs().unwrap()[0].unwrap().data.as_ptr(), address);
}

#[test]
fn identity_speaks_the_clients_dimensions() {
    let fixture = config(
        "flat",
        "identity",
        "max_batch_size: 4
        input [ { name: \"I\" data_type: TYPE_INT32 dims: [ 2, 2 ] reshape { shape: [ 4 ] } } ]
        output [ { name: \"O\" data_type: TYPE_INT32 dims: [ 4, 1 ] reshape { shape: [ 4 ] } } ]",
    )
    .sample(Sample::new(1).input(&[1, 2, 2], integers(&[1, 2, 3, 4])).output(
        DataType::Int32,
        &[1, 4, 1],
        integers(&[1, 2, 3, 4]),
    ));
    conforms(&fixture);
}

#[test]
fn add_sub_conforms() {
    let fixture = config(
        "sums",
        "add_sub",
        "max_batch_size: 8
        input [ { name: \"INPUT0\" data_type: TYPE_INT32 dims: [ 2 ] }, { name: \"INPUT1\" data_type: TYPE_INT32 dims: [ 2 ] } ]
        output [ { name: \"OUTPUT0\" data_type: TYPE_INT32 dims: [ 2 ] }, { name: \"OUTPUT1\" data_type: TYPE_INT32 dims: [ 2 ] } ]",
    )
    .sample(
        Sample::new(1)
            .input(&[1, 2], integers(&[1, i32::MAX]))
            .input(&[1, 2], integers(&[10, 1]))
            .output(DataType::Int32, &[1, 2], integers(&[11, i32::MIN]))
            .output(DataType::Int32, &[1, 2], integers(&[-9, i32::MAX - 1])),
    );
    conforms(&fixture);
    let words = config(
        "words",
        "add_sub",
        "input [ { name: \"A\" data_type: TYPE_STRING dims: [ 2 ] }, { name: \"B\" data_type: TYPE_STRING dims: [ 2 ] } ]
        output [ { name: \"SUM\" data_type: TYPE_STRING dims: [ 2 ] }, { name: \"DIFFERENCE\" data_type: TYPE_STRING dims: [ 2 ] } ]",
    )
    .sample(
        Sample::new(1)
            .input(&[2], texts(&["5", "-3"]))
            .input(&[2], texts(&["7", "3"]))
            .output(DataType::Bytes, &[2], texts(&["12", "0"]))
            .output(DataType::Bytes, &[2], texts(&["-2", "-6"])),
    );
    conforms(&words);
}

#[test]
fn faults_fail_only_their_own_request() {
    let rest = "max_batch_size: 8
        input [ { name: \"I\" data_type: TYPE_INT32 dims: [ 1 ] } ] output [ { name: \"O\" data_type: TYPE_INT32 dims: [ 1 ] } ]";
    let sample = |value: i32| {
        Sample::new(1).input(&[1, 1], integers(&[value])).output(DataType::Int32, &[1, 1], integers(&[value]))
    };
    for kind in ["fail", "panic", "sleep"] {
        conforms(&config("faulty", kind, rest).sample(sample(0)).sample(sample(2)));
    }
    let fixture = config("faulty", "fail", rest);
    let mut instance = instance(&fixture).unwrap();
    let requests = [sample(1), sample(-1)].map(|sample| sample.request(OutputSelection::All));
    let execution = execute(&mut *instance, &fixture.config, &requests, &[]);
    assert_eq!(execution.result.unwrap_err().code(), ErrorCode::Internal);
}

#[test]
fn a_panic_is_a_panic() {
    let fixture = config(
        "faulty",
        "panic",
        "input [ { name: \"I\" data_type: TYPE_INT32 dims: [ 1 ] } ] output [ { name: \"O\" data_type: TYPE_INT32 dims: [ 1 ] } ]",
    );
    let mut instance = instance(&fixture).unwrap();
    let request = Sample::new(1).input(&[1], integers(&[-1])).request(OutputSelection::All);
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        execute(&mut *instance, &fixture.config, &[request], &[]);
    }));
    assert!(result.is_err());
}

/// The values of the given output in every response, as INT32 bits.
fn streamed(execution: &Execution, output: usize) -> Vec<i32> {
    let outcome = &execution.outcomes[0];
    assert!(outcome.ended);
    assert_eq!(outcome.sent_after_end, 0);
    let values = outcome.responses.iter().map(|response| {
        let tensor = response.as_ref().unwrap().outputs[output].clone().unwrap();
        assert_eq!(tensor.shape, Shape::new(&[1]));
        i32::from_le_bytes(tensor.data.as_ref().try_into().unwrap())
    });
    values.collect()
}

#[test]
fn repeat_gives_one_response_per_element() {
    let fixture = config(
        "repeat_int32",
        "repeat",
        "model_transaction_policy { decoupled: true }
        input [ { name: \"IN\" data_type: TYPE_INT32 dims: [ -1 ] }, { name: \"DELAY\" data_type: TYPE_UINT32 dims: [ -1 ] },
                { name: \"WAIT\" data_type: TYPE_UINT32 dims: [ 1 ] } ]
        output [ { name: \"OUT\" data_type: TYPE_INT32 dims: [ 1 ] }, { name: \"IDX\" data_type: TYPE_UINT32 dims: [ 1 ] } ]",
    );
    let mut instance = instance(&fixture).unwrap();
    let mut run = |values: &[i32], delays: &[i32]| {
        let sample = Sample::new(1)
            .input(&[i64::try_from(values.len()).unwrap()], integers(values))
            .input(&[i64::try_from(delays.len()).unwrap()], integers(delays))
            .input(&[1], integers(&[0]));
        execute(&mut *instance, &fixture.config, &[sample.request(OutputSelection::All)], &[])
    };
    let execution = run(&[4, 2, 0, 1], &[0, 1, 0, 0]);
    assert_eq!(streamed(&execution, 0), [4, 2, 0, 1]);
    assert_eq!(streamed(&execution, 1), [0, 1, 2, 3]);
    assert_eq!(streamed(&run(&[], &[]), 0), [0_i32; 0]);
    let mismatch = run(&[1, 2], &[0]);
    assert_eq!(mismatch.outcomes[0].responses[0].as_ref().unwrap_err().code(), ErrorCode::InvalidArgument);
}

#[test]
fn square_gives_as_many_responses_as_its_value() {
    let fixture = config(
        "square_int32",
        "square",
        "model_transaction_policy { decoupled: true }
        input [ { name: \"IN\" data_type: TYPE_INT32 dims: [ 1 ] } ] output [ { name: \"OUT\" data_type: TYPE_INT32 dims: [ 1 ] } ]",
    );
    let mut instance = instance(&fixture).unwrap();
    let mut run = |value: i32| {
        let request = Sample::new(1).input(&[1], integers(&[value])).request(OutputSelection::All);
        execute(&mut *instance, &fixture.config, &[request], &[])
    };
    assert_eq!(streamed(&run(3), 0), [3, 3, 3]);
    assert_eq!(streamed(&run(0), 0), [0_i32; 0]);
    assert_eq!(run(-1).outcomes[0].responses[0].as_ref().unwrap_err().code(), ErrorCode::InvalidArgument);
}

#[test]
fn sums_run_along_interleaved_sequences() {
    let fixture = config(
        "simple_sequence",
        "sequence_accumulator",
        "max_batch_size: 8
        sequence_batching { control_input [
            { name: \"START\" control [ { kind: CONTROL_SEQUENCE_START int32_false_true: [ 0, 1 ] } ] },
            { name: \"END\" control [ { kind: CONTROL_SEQUENCE_END int32_false_true: [ 0, 1 ] } ] },
            { name: \"READY\" control [ { kind: CONTROL_SEQUENCE_READY int32_false_true: [ 0, 1 ] } ] } ] }
        input [ { name: \"INPUT\" data_type: TYPE_INT32 dims: [ 1 ] } ]
        output [ { name: \"OUTPUT\" data_type: TYPE_INT32 dims: [ 1 ] } ]",
    );
    let mut instance = instance(&fixture).unwrap();
    // (sequence, value, start, end) of every row of a batch, and the expected sums.
    let mut run = |rows: &[(u64, i32, bool, bool)]| -> Result<Vec<i32>, ServingError> {
        let requests: Vec<InferenceRequest> = rows
            .iter()
            .map(|&(sequence, value, start, end)| {
                let mut request = Sample::new(1).input(&[1, 1], integers(&[value])).request(OutputSelection::All);
                let id = SequenceId::Number(sequence);
                request.sequence = Some(Box::new(SequenceControl { id, start, end }));
                request
            })
            .collect();
        let flags = |choose: fn(&(u64, i32, bool, bool)) -> bool| -> Bytes {
            integers(&rows.iter().map(|row| i32::from(choose(row))).collect::<Vec<_>>())
        };
        let columns = [flags(|row| row.2), flags(|row| row.3), flags(|_| true)];
        let shape = Shape::new(&[i64::try_from(rows.len()).unwrap(), 1]);
        let controls: Vec<BatchInput<'_>> =
            columns.iter().map(|data| BatchInput { shape: shape.clone(), data }).collect();
        let execution = execute(&mut *instance, &fixture.config, &requests, &controls);
        execution.result?;
        let sums = execution.outcomes.iter().map(|outcome| {
            let data = outcome.outputs().unwrap()[0].unwrap().data.clone();
            i32::from_le_bytes(data.as_ref().try_into().unwrap())
        });
        Ok(sums.collect())
    };
    assert_eq!(run(&[(7, 1, true, false)]).unwrap(), [1]);
    assert_eq!(run(&[(8, 100, true, false), (7, 2, false, false)]).unwrap(), [100, 3]);
    assert_eq!(run(&[(7, 3, false, true), (8, 200, false, false)]).unwrap(), [6, 300]);
    assert_eq!(run(&[(7, 5, true, true)]).unwrap(), [5], "a new start begins at nothing");
    assert_eq!(run(&[(7, 1, false, false)]).unwrap_err().code(), ErrorCode::InvalidArgument);
    assert_eq!(run(&[(8, 1, false, true), (9, 1, false, false)]).unwrap_err().code(), ErrorCode::InvalidArgument);
    assert_eq!(run(&[(8, 1, false, true)]).unwrap(), [301], "a failed batch changes no sum");
}

#[test]
fn load_errors_name_what_is_wrong() {
    let message = |fixture: &Fixture| instance(fixture).unwrap_err().message().to_owned();
    let one = "input [ { name: \"I\" data_type: TYPE_INT32 dims: [ 1 ] } ] output [ { name: \"O\" data_type: TYPE_INT32 dims: [ 1 ] } ]";
    let typo = message(&config("m", "identiti", one));
    assert!(typo.contains("`add_sub`") && typo.ends_with("got `identiti`; did you mean `identity`?"), "{typo}");
    let square = message(&config("m", "square", one));
    assert_eq!(square, "model `m` needs `model_transaction_policy { decoupled: true }`");
    let delayed = format!("{one} parameters {{ key: \"execute_delay_ms\" value {{ string_value: \"soon\" }} }}");
    let delay = message(&config("m", "identity", &delayed));
    assert_eq!(delay, "parameter `execute_delay_ms` of model `m` must be a whole number from 0 to 3600000, got `soon`");
    let types = "input [ { name: \"I\" data_type: TYPE_INT32 dims: [ 1 ] } ] output [ { name: \"O\" data_type: TYPE_FP32 dims: [ 1 ] } ]";
    let types = message(&config("m", "identity", types));
    assert_eq!(types, "output `O` of model `m` must have the data type `INT32` of input `I`, got `FP32`");
}
