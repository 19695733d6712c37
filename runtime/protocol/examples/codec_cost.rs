//! What the protocol costs on its own: nanoseconds per request, and the speed of float arrays beside `serde_json`'s.
//!
//! `cargo run --release -p hanok-protocol --example codec_cost`. Each figure is the median of repeated runs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a measuring program")]
#![allow(clippy::cast_precision_loss, reason = "figures for people")]

use std::hint::black_box;
use std::time::Instant;

use bytes::Bytes;
use hanok_backend::{InferenceResponse, OutputTensor, Parameters};
use hanok_model_config::{CompletionFacts, ModelConfig, load_config};
use hanok_protocol::v2_http::{HttpLimits, Method, parse_infer, route, write_infer_response};
use hanok_protocol::{InferReply, ReplyOutput, TensorSource, prepare, reply_outputs};
use hanok_tensor::{DataType, Shape};
use smallvec::smallvec;

const REPETITIONS: usize = 15;

/// Nanoseconds that this thread has spent on a processor: the kernel's account, deaf to busy neighbours.
fn thread_cpu_ns() -> u64 {
    let account = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    account.split_whitespace().next().unwrap().parse().unwrap()
}

/// Median nanoseconds of processor time of one call.
fn median_ns(calls: u32, mut call: impl FnMut()) -> f64 {
    call();
    let mut times: Vec<f64> = (0..REPETITIONS)
        .map(|_| {
            // The account is brought up to date when the thread is rescheduled.
            std::thread::yield_now();
            let start = thread_cpu_ns();
            for _ in 0..calls {
                call();
            }
            std::thread::yield_now();
            (thread_cpu_ns() - start) as f64 / f64::from(calls)
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[REPETITIONS / 2]
}

fn reply<'a>(name: &'a str, parameters: &'a Parameters, shape: &[i64], data: Bytes, binary: bool) -> InferReply<'a> {
    let output = ReplyOutput { name, data_type: DataType::Fp32, shape: Shape::new(shape), data, binary, placed: false };
    InferReply { id: "1", model_name: "identity_fp32", model_version: 1, parameters, outputs: smallvec![output] }
}

fn first_input(body: &Bytes, json_length: usize) -> Bytes {
    let message = parse_infer(body, json_length, "identity_fp32", &HttpLimits::default()).unwrap();
    match &message.inputs[0].data {
        TensorSource::Inline(data) => data.clone(),
        TensorSource::SharedMemory(_) => Bytes::new(),
    }
}

fn main() {
    let parameters = Parameters::new();
    println!(
        "route of an infer path: {:.0} ns",
        median_ns(100_000, || {
            black_box(route(Method::Post, black_box("/v2/models/identity_fp32/infer")));
        })
    );

    let json = r#"{"id":"1","inputs":[{"name":"INPUT0","shape":[1,16],"datatype":"FP32","parameters":{"binary_data_size":64}}],"outputs":[{"name":"OUTPUT0","parameters":{"binary_data":true}}]}"#;
    let body = Bytes::from([json.as_bytes(), &[0; 64]].concat());
    let parse = median_ns(50_000, || {
        black_box(parse_infer(black_box(&body), json.len(), "identity_fp32", &HttpLimits::default()).unwrap());
    });
    let data = first_input(&body, json.len());
    let write = median_ns(50_000, || {
        let reply = reply("OUTPUT0", &parameters, &[1, 16], data.clone(), true);
        black_box(write_infer_response(black_box(&reply)).unwrap());
    });
    println!("identity FP32 [1,16], binary: parse {parse:.0} ns, write {write:.0} ns");

    let config = identity();
    let whole = median_ns(50_000, || {
        let message = parse_infer(black_box(&body), json.len(), "identity_fp32", &HttpLimits::default()).unwrap();
        let (mut request, plan) = prepare(message, &config, Instant::now(), None).unwrap();
        let input = request.inputs[0].take().unwrap();
        let output = OutputTensor { data_type: DataType::Fp32, shape: input.shape, data: input.data };
        let mut response = InferenceResponse { outputs: smallvec![Some(output)], ..InferenceResponse::default() };
        let outputs = reply_outputs(&mut response, &plan, &config, &[]).unwrap();
        let reply = InferReply {
            id: &request.id,
            model_name: &config.name,
            model_version: 1,
            parameters: &response.parameters,
            outputs,
        };
        black_box(write_infer_response(&reply).unwrap());
    });
    println!("the same from body to body, validated: {whole:.0} ns");

    let values: Vec<f32> = (0_u16..30).map(|index| f32::from(index) * 0.731 + 0.01).collect();
    let json = format!(
        r#"{{"inputs":[{{"name":"INPUT0","shape":[1,30],"datatype":"FP32","data":{}}}]}}"#,
        serde_json::to_string(&values).unwrap()
    );
    let body = Bytes::from(json);
    let parse = median_ns(50_000, || {
        black_box(parse_infer(black_box(&body), body.len(), "m", &HttpLimits::default()).unwrap());
    });
    let data = first_input(&body, body.len());
    let write = median_ns(50_000, || {
        let reply = reply("OUTPUT0", &parameters, &[1, 30], data.clone(), false);
        black_box(write_infer_response(black_box(&reply)).unwrap());
    });
    println!("30 floats as JSON ({} bytes): parse {parse:.0} ns, write {write:.0} ns", body.len());

    float_arrays(&parameters);
}

fn identity() -> ModelConfig {
    let text = r#"name: "identity_fp32" backend: "builtin" max_batch_size: 8
        input [ { name: "INPUT0" data_type: TYPE_FP32 dims: [-1] } ]
        output [ { name: "OUTPUT0" data_type: TYPE_FP32 dims: [-1] } ]"#;
    load_config(text, &CompletionFacts::new("identity_fp32"), None).unwrap().config
}

/// 150,528 floats (an image of 3 x 224 x 224), in the three forms that clients send.
fn float_arrays(parameters: &Parameters) {
    let mut state: u64 = 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1_u32 << 24) as f32 * 5.0 - 2.5
    };
    let values: Vec<f32> = (0..150_528).map(|_| next()).collect();
    let widened: Vec<f64> = values.iter().map(|value| f64::from(*value)).collect();
    let short: Vec<f32> = values.iter().map(|value| (value * 1000.0).round() / 1000.0).collect();
    let forms = [
        ("shortest single", serde_json::to_string(&values).unwrap()),
        ("widened to double, as Python prints", serde_json::to_string(&widened).unwrap()),
        ("three decimals", serde_json::to_string(&short).unwrap()),
    ];
    for (form, array) in forms {
        let text = format!(r#"{{"inputs":[{{"name":"X","shape":[1,150528],"datatype":"FP32","data":{array}}}]}}"#);
        let body = Bytes::from(text);
        let megabytes = array.len() as f64 / 1e6;
        let ours = median_ns(5, || {
            black_box(parse_infer(black_box(&body), body.len(), "m", &HttpLimits::default()).unwrap());
        });
        let theirs = median_ns(5, || {
            black_box(serde_json::from_str::<Vec<f32>>(black_box(&array)).unwrap());
        });
        println!(
            "150,528 floats, {form} ({megabytes:.2} MB): {:.0} MB/s, {:.2} ms; serde_json Vec<f32> {:.0} MB/s, {:.2} ms; ratio {:.1}",
            megabytes / ours * 1e9,
            ours / 1e6,
            megabytes / theirs * 1e9,
            theirs / 1e6,
            theirs / ours
        );
    }
    let data: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let data = Bytes::from(data);
    let mut length = 0;
    let ours = median_ns(5, || {
        let reply = reply("X", parameters, &[1, 150_528], data.clone(), false);
        length = black_box(write_infer_response(black_box(&reply)).unwrap()).length();
    });
    println!("150,528 floats written: {:.0} MB/s, {:.2} ms", length as f64 / ours * 1e3, ours / 1e6);
}
