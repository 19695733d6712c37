//! What the repository's models do not exercise: every data type, shapes that depend on values, wrong requests, wrong
//! files.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod graph;
mod library;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use graph::{Message, ModelFolder, model, node, tensor_type, value};
use hanok_backend::conformance::{Fixture, Sample, check, execute};
use hanok_backend::{
    Backend, BatchInput, ErrorCode, InstancePlacement, ModelInstance, OutputSelection, Placement, ServingError,
};
use hanok_backend_onnxruntime::OnnxRuntimeBackend;
use hanok_tensor::{DataType, Shape, push_bytes_element};

fn conforms(backend: OnnxRuntimeBackend, fixture: &Fixture) {
    if let Err(broken) = check(&|| Ok(Arc::new(backend)), fixture) {
        panic!("{}: {broken}", fixture.config.name);
    }
}

fn instance(backend: OnnxRuntimeBackend, fixture: &Fixture) -> Result<Box<dyn ModelInstance>, ServingError> {
    let placement = InstancePlacement { name: "model_0_0".to_owned(), placement: Placement::Cpu };
    backend.load(&fixture.source())?.create_instance(&placement)
}

/// The error of the one request that `sample` is.
fn refused(backend: OnnxRuntimeBackend, fixture: &Fixture, sample: &Sample) -> ServingError {
    let mut instance = instance(backend, fixture).unwrap();
    execute(&mut *instance, &fixture.config, &[sample.request(OutputSelection::All)], &[]).result.unwrap_err()
}

fn floats(values: &[f32]) -> Bytes {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn longs(values: &[i64]) -> Bytes {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn tensor(kind: &str, name: &str, data_type: DataType, dims: &str) -> String {
    format!("{kind} [ {{ name: \"{name}\" data_type: {} dims: [ {dims} ] }} ]\n", data_type.config_name())
}

#[test]
fn every_data_type_passes_through() {
    let Some(backend) = library::backend() else { return };
    for data_type in DataType::ALL {
        let value_type = tensor_type(data_type, &[None, Some(3)]);
        let bytes =
            model(&[node("Identity", &["X"], &["Y"])], &[], &[value("X", &value_type)], &[value("Y", &value_type)]);
        let folder = ModelFolder::new(&bytes);
        let config = format!(
            "backend: \"onnxruntime\" max_batch_size: 4\n{}{}",
            tensor("input", "X", data_type, "3"),
            tensor("output", "Y", data_type, "3")
        );
        let data = |seed: u8| -> Bytes {
            match data_type {
                DataType::Bytes => {
                    let mut data = Vec::new();
                    for text in [&b"nul \0 inside"[..], b"", &[seed, 0xff, 0x00]] {
                        push_bytes_element(&mut data, text);
                    }
                    data.into()
                }
                DataType::Bool => vec![1, 0, seed % 2].into(),
                _ => (0..3 * data_type.element_size().unwrap())
                    .map(|index| seed ^ u8::try_from(index).unwrap())
                    .collect(),
            }
        };
        let fixture = [5, 6].into_iter().fold(folder.fixture(&config), |fixture, seed| {
            fixture.sample(Sample::new(1).input(&[1, 3], data(seed)).output(data_type, &[1, 3], data(seed)))
        });
        conforms(backend, &fixture);
    }
}

#[test]
fn shapes_that_depend_on_values_are_those_computed() {
    let Some(backend) = library::backend() else { return };
    let bytes = model(
        &[node("NonZero", &["X"], &["Y"])],
        &[],
        &[value("X", &tensor_type(DataType::Fp32, &[None]))],
        &[value("Y", &tensor_type(DataType::Int64, &[Some(1), None]))],
    );
    let folder = ModelFolder::new(&bytes);
    let config = format!(
        "backend: \"onnxruntime\"\n{}{}",
        tensor("input", "X", DataType::Fp32, "-1"),
        tensor("output", "Y", DataType::Int64, "1, -1")
    );
    let sample = |values: &[f32], positions: &[i64]| {
        Sample::new(1).input(&[i64::try_from(values.len()).unwrap()], floats(values)).output(
            DataType::Int64,
            &[1, i64::try_from(positions.len()).unwrap()],
            longs(positions),
        )
    };
    let fixture = folder
        .fixture(&config)
        .sample(sample(&[1.0, 0.0, 2.0], &[0, 2]))
        .sample(sample(&[0.0, 0.0, 2.0], &[2]))
        .sample(sample(&[0.0, 0.0, 0.0], &[]))
        .sample(sample(&[1.0, 0.0, 2.0], &[0, 2]));
    conforms(backend, &fixture);
}

#[test]
fn a_configured_shape_that_is_wrong_does_not_win() {
    let Some(backend) = library::backend() else { return };
    let value_type = tensor_type(DataType::Fp32, &[None]);
    let bytes = model(&[node("Relu", &["X"], &["Y"])], &[], &[value("X", &value_type)], &[value("Y", &value_type)]);
    let folder = ModelFolder::new(&bytes);
    let config = format!(
        "backend: \"onnxruntime\"\n{}{}",
        tensor("input", "X", DataType::Fp32, "-1"),
        tensor("output", "Y", DataType::Fp32, "3")
    );
    let fixture = folder.fixture(&config).sample(Sample::new(1).input(&[2], floats(&[-1.0, 2.0])).output(
        DataType::Fp32,
        &[2],
        floats(&[0.0, 2.0]),
    ));
    conforms(backend, &fixture);
}

#[test]
fn clients_see_their_own_dimensions() {
    let Some(backend) = library::backend() else { return };
    let value_type = tensor_type(DataType::Fp32, &[None, Some(4)]);
    let bytes = model(&[node("Relu", &["X"], &["Y"])], &[], &[value("X", &value_type)], &[value("Y", &value_type)]);
    let folder = ModelFolder::new(&bytes);
    let config = "backend: \"onnxruntime\" max_batch_size: 4
        input [ { name: \"X\" data_type: TYPE_FP32 dims: [ 2, 2 ] reshape { shape: [ 4 ] } } ]
        output [ { name: \"Y\" data_type: TYPE_FP32 dims: [ 4, 1 ] reshape { shape: [ 4 ] } } ]";
    let fixture =
        folder.fixture(config).sample(Sample::new(1).input(&[1, 2, 2], floats(&[1.0, -2.0, 3.0, -4.0])).output(
            DataType::Fp32,
            &[1, 4, 1],
            floats(&[1.0, 0.0, 3.0, 0.0]),
        ));
    conforms(backend, &fixture);
}

#[test]
fn control_inputs_of_sequences_reach_the_graph() {
    let Some(backend) = library::backend() else { return };
    let value_type = tensor_type(DataType::Int32, &[None, Some(1)]);
    let bytes = model(
        &[node("Add", &["X", "START"], &["Y"])],
        &[],
        &[value("X", &value_type), value("START", &value_type)],
        &[value("Y", &value_type)],
    );
    let folder = ModelFolder::new(&bytes);
    let config = format!(
        "backend: \"onnxruntime\" max_batch_size: 4\n{}{}sequence_batching {{ control_input [ {{ name: \"START\" \
         control [ {{ kind: CONTROL_SEQUENCE_START int32_false_true: [ 0, 1 ] }} ] }} ] }}",
        tensor("input", "X", DataType::Int32, "1"),
        tensor("output", "Y", DataType::Int32, "1")
    );
    let fixture = folder.fixture(&config);
    let mut instance = instance(backend, &fixture).unwrap();
    let integer = |value: i32| Bytes::copy_from_slice(&value.to_le_bytes());
    let requests = [5, 7].map(|value| Sample::new(1).input(&[1, 1], integer(value)).request(OutputSelection::All));
    let starts: Vec<u8> = [1_i32, 0].iter().flat_map(|value| value.to_le_bytes()).collect();
    let controls = [BatchInput { shape: Shape::new(&[2, 1]), data: &starts }];
    let execution = execute(&mut *instance, &fixture.config, &requests, &controls);
    let answers = execution.outcomes.iter().map(|outcome| outcome.outputs().unwrap()[0].unwrap().data.clone());
    assert_eq!(answers.collect::<Vec<_>>(), [integer(6), integer(7)]);
}

#[test]
fn a_request_that_the_graph_refuses_is_the_clients_mistake() {
    let Some(backend) = library::backend() else { return };
    let value_type = tensor_type(DataType::Fp32, &[Some(2)]);
    let bytes = model(&[node("Relu", &["X"], &["Y"])], &[], &[value("X", &value_type)], &[value("Y", &value_type)]);
    let folder = ModelFolder::new(&bytes);
    let config = format!(
        "backend: \"onnxruntime\"\n{}{}",
        tensor("input", "X", DataType::Fp32, "-1"),
        tensor("output", "Y", DataType::Fp32, "-1")
    );
    let fixture = folder.fixture(&config);
    let error = refused(backend, &fixture, &Sample::new(1).input(&[3], floats(&[1.0, 2.0, 3.0])));
    assert_eq!(error.code(), ErrorCode::InvalidArgument);
    assert!(error.message().contains("invalid dimensions for input: X"), "{error}");
    let error = refused(backend, &fixture, &Sample::new(1).input(&[2], floats(&[1.0])));
    assert_eq!(error.message(), "the `4` bytes of input `X` are not a FP32 tensor of shape `[2]`");
}

#[test]
fn a_failing_operator_tells_no_path() {
    let Some(backend) = library::backend() else { return };
    let value_type = tensor_type(DataType::Fp32, &[None]);
    let bytes = model(
        &[node("Add", &["A", "B"], &["Y"])],
        &[],
        &[value("A", &value_type), value("B", &value_type)],
        &[value("Y", &value_type)],
    );
    let folder = ModelFolder::new(&bytes);
    let config = format!(
        "backend: \"onnxruntime\"\n{}{}{}",
        tensor("input", "A", DataType::Fp32, "-1"),
        tensor("input", "B", DataType::Fp32, "-1"),
        tensor("output", "Y", DataType::Fp32, "-1")
    );
    let sample = Sample::new(1).input(&[2], floats(&[1.0, 2.0])).input(&[3], floats(&[1.0, 2.0, 3.0]));
    let error = refused(backend, &folder.fixture(&config), &sample);
    assert_eq!(error.code(), ErrorCode::Internal);
    assert!(error.message().contains("Add"), "{error}");
    assert!(!error.message().contains('/'), "{error}");
    assert!(error.operator_detail().unwrap().contains('/'), "the operator reads the library's whole text: {error}");
}

#[test]
fn truth_values_are_zero_or_one() {
    let Some(backend) = library::backend() else { return };
    let value_type = tensor_type(DataType::Bool, &[None]);
    let bytes = model(&[node("Not", &["X"], &["Y"])], &[], &[value("X", &value_type)], &[value("Y", &value_type)]);
    let folder = ModelFolder::new(&bytes);
    let config = format!(
        "backend: \"onnxruntime\"\n{}{}",
        tensor("input", "X", DataType::Bool, "-1"),
        tensor("output", "Y", DataType::Bool, "-1")
    );
    let error = refused(backend, &folder.fixture(&config), &Sample::new(1).input(&[2], vec![1, 2]));
    assert_eq!(
        (error.code(), error.message()),
        (ErrorCode::InvalidArgument, "input `X` must hold truth values of 0 or 1")
    );
}

#[test]
fn weights_in_further_files_stay_in_the_folder() {
    let Some(backend) = library::backend() else { return };
    let value_type = tensor_type(DataType::Fp32, &[Some(2)]);
    let graph = |location: &str| {
        let entry = Message::default().bytes(1, "location").bytes(2, location);
        let weights = Message::default().number(1, 2).number(2, 1).bytes(8, "W").message(13, &entry).number(14, 1);
        model(&[node("Add", &["X", "W"], &["Y"])], &[weights], &[value("X", &value_type)], &[value("Y", &value_type)])
    };
    let config = format!(
        "backend: \"onnxruntime\"\n{}{}",
        tensor("input", "X", DataType::Fp32, "2"),
        tensor("output", "Y", DataType::Fp32, "2")
    );
    let inside = ModelFolder::new(&graph("weights.bin"));
    std::fs::write(inside.path.join("1/weights.bin"), floats(&[10.0, 20.0])).unwrap();
    let sample = Sample::new(1).input(&[2], floats(&[1.0, 2.0])).output(DataType::Fp32, &[2], floats(&[11.0, 22.0]));
    let fixture = inside.fixture(&config).sample(sample);
    let mut computing = instance(backend, &fixture).unwrap();
    let request = fixture.samples[0].request(OutputSelection::All);
    let execution = execute(&mut *computing, &fixture.config, &[request], &[]);
    assert_eq!(execution.outcomes[0].outputs().unwrap()[0].unwrap().data, floats(&[11.0, 22.0]));

    let outside = ModelFolder::new(&graph("../../weights.bin"));
    std::fs::write(outside.path.parent().unwrap().join("weights.bin"), floats(&[10.0, 20.0])).unwrap();
    let error = instance(backend, &outside.fixture(&config)).unwrap_err();
    assert_eq!(error.message(), "model `model` keeps weights in a file that lies outside of the model's folder");
}

#[test]
fn load_errors_name_what_is_wrong() {
    let Some(backend) = library::backend() else { return };
    let value_type = tensor_type(DataType::Fp32, &[None]);
    let relu = model(&[node("Relu", &["X"], &["Y"])], &[], &[value("X", &value_type)], &[value("Y", &value_type)]);
    let folder = ModelFolder::new(&relu);
    let message = |input: &str, output: &str, more: &str| {
        let config = format!("backend: \"onnxruntime\"\n{input}{output}{more}");
        instance(backend, &folder.fixture(&config)).unwrap_err().message().to_owned()
    };
    let (x, y) = (tensor("input", "X", DataType::Fp32, "-1"), tensor("output", "Y", DataType::Fp32, "-1"));
    let wrong = tensor("input", "Z", DataType::Fp32, "-1");
    assert_eq!(message(&wrong, &y, ""), "model `model` has no input `Z`, it has `X`");
    let wrong = tensor("output", "Y", DataType::Int32, "-1");
    assert_eq!(message(&x, &wrong, ""), "output `Y` of model `model` has the data type `FP32`, configured is `INT32`");
    let threads = "parameters { key: \"intra_op_thread_count\" value { string_value: \"-3\" } }";
    let text = message(&x, &y, threads);
    assert_eq!(text, "parameter `intra_op_thread_count` must be a whole number from 0 to 1024, got `-3`");

    let strange =
        model(&[node("NoSuchOperator", &["X"], &["Y"])], &[], &[value("X", &value_type)], &[value("Y", &value_type)]);
    let error = instance(backend, &ModelFolder::new(&strange).fixture(&format!("backend: \"onnxruntime\"\n{x}{y}")))
        .unwrap_err();
    assert!(error.message().contains("NoSuchOperator") && !error.message().contains('/'), "{error}");

    let sequence = Message::default().message(4, &Message::default().message(1, &value_type));
    let listed =
        model(&[node("SequenceConstruct", &["X"], &["Y"])], &[], &[value("X", &value_type)], &[value("Y", &sequence)]);
    let error = instance(backend, &ModelFolder::new(&listed).fixture(&format!("backend: \"onnxruntime\"\n{x}{y}")))
        .unwrap_err();
    assert_eq!(error.code(), ErrorCode::Unsupported);
    assert!(error.message().contains("only tensors are served"), "{error}");
}

#[test]
fn files_that_are_no_onnx_runtime_are_refused() {
    let Some(backend) = library::backend() else { return };
    let error = OnnxRuntimeBackend::open(Path::new("/nowhere/libonnxruntime.so")).unwrap_err();
    assert_eq!(error.message(), "another ONNX Runtime is open in this process");
    assert_eq!(OnnxRuntimeBackend::open(backend.path()).unwrap().version(), backend.version());
    assert!(backend.version().starts_with("1."), "{}", backend.version());
}
