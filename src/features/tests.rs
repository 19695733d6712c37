//! The step in front of a model, over a store that counts what it is asked.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hanok_backend::{ErrorCode, InferenceRequest, InputTensor, OutputSelection, ParameterValue, ServingError};
use hanok_features::{KeyParts, KeyValue, OnlineStore, OpenStores, ReadFuture, StoreRead, Value, read_features};
use hanok_model_config::{CompletionFacts, ModelConfig, load_config};
use hanok_repository::{FeatureSource as _, FeatureStep, FilledRequest};
use hanok_tensor::{DataType, Shape};

use super::FeatureServices;

const DECLARED: &str = r"
apiVersion: hanok.dev/v1
kind: Entity
metadata: {name: origin}
spec: {type: string}
---
apiVersion: hanok.dev/v1
kind: Entity
metadata: {name: hour}
spec: {type: int64}
---
apiVersion: hanok.dev/v1
kind: OnlineStore
metadata: {name: main}
spec: {embedded: {path: unused.db}}
---
apiVersion: hanok.dev/v1
kind: FeatureView
metadata: {name: weather}
spec:
  entities: [origin, hour]
  store: main
  owner: flights
  features: [{name: wind, type: int32, default: -1}, {name: sky, type: string, fallback: fail}]
---
apiVersion: hanok.dev/v1
kind: FeatureView
metadata: {name: airports}
spec: {entities: [origin], store: main, owner: flights, features: [{name: place, type: list<float32>, fallback: missing}]}
---
apiVersion: hanok.dev/v1
kind: FeatureService
metadata: {name: delay}
spec: {owner: flights, features: [weather:wind, weather:sky, airports:place]}
";

const MODEL: &str = r#"backend: "builtin" max_batch_size: 8
input [ { name: "wind" data_type: TYPE_FP32 dims: [ 1 ] },
        { name: "origin" data_type: TYPE_STRING dims: [ 1 ] },
        { name: "place" data_type: TYPE_FP32 dims: [ 2 ] },
        { name: "sky" data_type: TYPE_STRING dims: [ 1 ] },
        { name: "seats" data_type: TYPE_INT32 dims: [ 1 ] } ]
output [ { name: "OUTPUT0" data_type: TYPE_FP32 dims: [ 1 ] } ]
parameters { key: "feature_service" value { string_value: "delay" } }"#;

/// Knows every origin but `QQQ`, and notes how many keys each read had.
#[derive(Debug, Default)]
struct CountingStore {
    reads: Mutex<Vec<usize>>,
}

impl OnlineStore for CountingStore {
    fn read<'a>(&'a self, read: &'a StoreRead) -> ReadFuture<'a> {
        Box::pin(async move {
            // Whoever comes while this read is under way is read with the next.
            tokio::task::yield_now().await;
            self.reads.lock().unwrap().push(read.views.iter().map(|view| view.keys.len()).sum());
            let mut answers = Vec::new();
            for view in &read.views {
                let mut columns = view.empty_answer();
                for (row, key) in view.keys.iter().enumerate() {
                    let key = KeyParts::read(key).unwrap();
                    let origin = key.values.iter().find_map(|(_, value)| match value {
                        KeyValue::String(text) => Some(*text),
                        _ => None,
                    });
                    if origin == Some("QQQ") {
                        continue;
                    }
                    for (column, feature) in view.features().enumerate() {
                        let float = Value::Float32;
                        let value = match feature.name.as_str() {
                            "wind" => Value::Int32(7),
                            "sky" => Value::String(format!("clear over {}", origin.unwrap())),
                            _ => Value::List(hanok_features::ElementType::Float32, vec![float(1.5), float(-2.5)]),
                        };
                        columns.set_value(column, row, &value, None)?;
                    }
                }
                answers.push(columns);
            }
            Ok(answers)
        })
    }
}

fn model(text: &str) -> ModelConfig {
    load_config(text, &CompletionFacts::new("flights".to_owned()), None).unwrap().config
}

fn services(store: &Arc<CountingStore>) -> FeatureServices {
    let stores = OpenStores::default().with("main", Arc::clone(store) as Arc<dyn OnlineStore>);
    FeatureServices::new(read_features(DECLARED).unwrap(), stores, tokio::runtime::Handle::current())
}

fn step(store: &Arc<CountingStore>, text: &str) -> Result<Arc<dyn FeatureStep>, ServingError> {
    services(store).step(&model(text), "delay")
}

fn texts(texts: &[&str]) -> InputTensor {
    let mut data = Vec::new();
    for text in texts {
        data.extend_from_slice(&u32::try_from(text.len()).unwrap().to_le_bytes());
        data.extend_from_slice(text.as_bytes());
    }
    InputTensor { shape: shape(texts.len(), 1), data: data.into() }
}

fn shape(rows: usize, elements: i64) -> Shape {
    Shape::new(&[i64::try_from(rows).unwrap(), elements])
}

fn hours(hours: &[i64]) -> InputTensor {
    let data: Vec<u8> = hours.iter().flat_map(|hour| hour.to_le_bytes()).collect();
    InputTensor { shape: shape(hours.len(), 1), data: data.into() }
}

fn floats(rows: usize, values: &[f32]) -> InputTensor {
    let data: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    InputTensor { shape: shape(rows, i64::try_from(values.len() / rows).unwrap()), data: data.into() }
}

/// A request by the client's inputs: origin, seats, hour, wind, place, sky.
fn request(rows: u32, inputs: [Option<InputTensor>; 6]) -> InferenceRequest {
    InferenceRequest {
        id: "".into(),
        regions: None,
        inputs: inputs.into_iter().collect(),
        rows,
        outputs: OutputSelection::All,
        parameters: Vec::new(),
        sequence: None,
        priority: 0,
        timeout_microseconds: 0,
        received: Instant::now(),
        deadline: Some(Instant::now() + Duration::from_secs(60)),
        trace: None,
    }
}

fn seats(rows: usize) -> InputTensor {
    InputTensor { shape: shape(rows, 1), data: Bytes::from(vec![1; rows * 4]) }
}

#[tokio::test]
async fn clients_see_keys_in_the_place_of_what_features_fill() {
    let step = step(&Arc::default(), MODEL).unwrap();
    let client = step.client_config();
    let seen: Vec<_> =
        client.inputs.iter().map(|input| (input.name.as_str(), input.data_type, input.optional)).collect();
    assert_eq!(
        seen,
        [
            ("origin", DataType::Bytes, false),
            ("seats", DataType::Int32, false),
            ("hour", DataType::Int64, true),
            ("wind", DataType::Fp32, true),
            ("place", DataType::Fp32, true),
            ("sky", DataType::Bytes, true),
        ]
    );
    assert_eq!(step.sent_inputs(), 3);
    assert_eq!(client.outputs, model(MODEL).outputs);
}

#[tokio::test]
async fn features_become_tensors_beside_those_of_the_client() {
    let store = Arc::default();
    let step = step(&store, MODEL).unwrap();
    let mut asked = request(2, [Some(texts(&["JFK", "EWR"])), Some(seats(2)), Some(hours(&[5, 5])), None, None, None]);
    asked.parameters =
        vec![("hanok_features".into(), ParameterValue::Bool(true)), ("own".into(), ParameterValue::Int(1))];
    let FilledRequest { request: filled, told } = step.fill(asked).await.unwrap();
    let inputs: Vec<_> = filled.inputs.iter().map(|input| input.as_ref().unwrap()).collect();
    let expected = [
        floats(2, &[7.0, 7.0]),
        texts(&["JFK", "EWR"]),
        floats(2, &[1.5, -2.5, 1.5, -2.5]),
        texts(&["clear over JFK", "clear over EWR"]),
        seats(2),
    ];
    for (input, expected) in inputs.iter().zip(&expected) {
        assert_eq!((&input.shape, &input.data), (&expected.shape, &expected.data));
    }
    assert_eq!(filled.parameters, [("own".into(), ParameterValue::Int(1))]);
    let (name, ParameterValue::String(text)) = &told[0] else { panic!("{told:?}") };
    assert_eq!(
        (&**name, &**text),
        ("hanok_features", r#"{"wind":{"from":{"store":2}},"sky":{"from":{"store":2}},"place":{"from":{"store":2}}}"#)
    );
}

#[tokio::test]
async fn what_the_client_sends_overrides_and_is_not_looked_up() {
    let store = Arc::<CountingStore>::default();
    let step = step(&store, MODEL).unwrap();
    // The view of wind and sky is given whole: its hour is not needed, and its default is not used.
    let own = [Some(texts(&["QQQ"])), Some(seats(1)), None, Some(floats(1, &[3.0])), None, Some(texts(&["fog"]))];
    let filled = step.fill(request(1, own)).await.unwrap().request;
    assert_eq!(filled.inputs[0].as_ref().unwrap().data, floats(1, &[3.0]).data);
    assert_eq!(filled.inputs[3].as_ref().unwrap().data, texts(&["fog"]).data);
    let place = &filled.inputs[2].as_ref().unwrap();
    assert_eq!(&place.shape, &shape(1, 2));
    assert!(place.data.as_chunks::<4>().0.iter().all(|bytes| f32::from_le_bytes(*bytes).is_nan()));
    assert_eq!(*store.reads.lock().unwrap(), [1]);
}

#[tokio::test]
async fn failures_of_the_look_up_are_the_request_s() {
    let step = step(&Arc::default(), MODEL).unwrap();
    let fails = async |inputs| step.fill(request(1, inputs)).await.unwrap_err();
    let error = fails([Some(texts(&["JFK"])), Some(seats(1)), None, None, None, None]).await;
    assert_eq!(error.code(), ErrorCode::InvalidArgument);
    assert_eq!(error.message(), "key `hour`: expected values of type `int64` for view `weather`, got none");
    let error = fails([Some(texts(&["QQQ"])), Some(seats(1)), Some(hours(&[5])), None, None, None]).await;
    assert_eq!(error.code(), ErrorCode::NotFound);
    assert_eq!(error.message(), "feature `weather:sky` of row `0`: the store has no row for the key");
}

#[tokio::test]
async fn requests_of_every_model_of_a_service_are_read_together() {
    let store = Arc::<CountingStore>::default();
    let services = services(&store);
    let steps = [services.step(&model(MODEL), "delay").unwrap(), services.step(&model(MODEL), "delay").unwrap()];
    let ask = |number: usize| {
        let step = Arc::clone(&steps[number % 2]);
        async move {
            let origin = format!("A{number}");
            let inputs = [Some(texts(&[&origin])), Some(seats(1)), Some(hours(&[5])), None, None, None];
            step.fill(request(1, inputs)).await.unwrap().request.inputs[3].as_ref().unwrap().data.clone()
        }
    };
    let asked = (0..100).map(|number| tokio::spawn(ask(number)));
    for (number, answered) in asked.collect::<Vec<_>>().into_iter().enumerate() {
        assert_eq!(answered.await.unwrap(), texts(&[&format!("clear over A{number}")]).data);
    }
    let reads = store.reads.lock().unwrap().clone();
    assert_eq!(reads.iter().sum::<usize>(), 200);
    assert!(reads.len() <= 10, "{reads:?}");
    let metrics = services.metrics();
    assert!(metrics.contains("hanok_feature_requests_total{service=\"delay\"} 100\n"), "{metrics}");
    assert!(metrics.contains("hanok_feature_values_total{service=\"delay\",from=\"store\"} 300\n"), "{metrics}");
}

/// Never answers.
#[derive(Debug)]
struct HangingStore;

impl OnlineStore for HangingStore {
    fn read<'a>(&'a self, _: &'a StoreRead) -> ReadFuture<'a> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test]
async fn fallbacks_come_before_the_request_s_own_deadline() {
    let stores = OpenStores::default().with("main", Arc::new(HangingStore));
    let declared = DECLARED
        .replace("type: string, fallback: fail", "type: string, default: clear")
        .replace("weather:sky, airports:place]", "weather:sky, airports:place], deadline_milliseconds: 60000");
    let services = FeatureServices::new(read_features(&declared).unwrap(), stores, tokio::runtime::Handle::current());
    let step = services.step(&model(MODEL), "delay").unwrap();
    let mut asked = request(1, [Some(texts(&["JFK"])), Some(seats(1)), Some(hours(&[5])), None, None, None]);
    let deadline = Instant::now() + Duration::from_secs(4);
    asked.deadline = Some(deadline);
    let filled = step.fill(asked).await.unwrap().request;
    assert!(Instant::now() < deadline);
    assert_eq!(filled.inputs[0].as_ref().unwrap().data, floats(1, &[-1.0]).data);
}

#[tokio::test]
async fn what_does_not_fit_is_refused_when_the_model_is_loaded() {
    let refused = |text: &str| step(&Arc::default(), text).unwrap_err().message().to_owned();
    let start = "feature service `delay` does not fit model 'flights': ";
    assert_eq!(
        refused(&MODEL.replace(r#""sky" data_type: TYPE_STRING"#, r#""sky" data_type: TYPE_INT32"#)),
        format!("{start}spec.features[1]: expected a feature that fits `INT32` of input `sky`, got `string`")
    );
    assert_eq!(
        refused(&MODEL.replace(r#""sky""#, r#""skys""#)),
        format!("{start}spec.features[1]: expected the name of an input of the model, got `sky`; did you mean `skys`?")
    );
    assert_eq!(
        refused(&MODEL.replace(r#""origin" data_type: TYPE_STRING"#, r#""origin" data_type: TYPE_FP32"#)),
        format!("{start}join key `origin` is `string`, and the input of that name `TYPE_FP32`")
    );
    assert_eq!(
        refused(&MODEL.replace(
            r#""origin" data_type: TYPE_STRING dims: [ 1 ]"#,
            r#""origin" data_type: TYPE_STRING dims: [ 2 ]"#
        )),
        format!("{start}join key `origin` has one value a row, and the input of that name `2`")
    );
    let unknown = services(&Arc::default()).step(&model(MODEL), "delai").unwrap_err();
    assert_eq!(
        unknown.message(),
        "the configuration of model 'flights' names what is not declared: feature service `delai` does not exist; did you mean `delay`?"
    );
}
