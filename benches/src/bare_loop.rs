//! ONNX Runtime in a loop, without a server: what an engine's share is compared with.
//!
//! The model is loaded through the same backend and configuration as in the server, and executed batch after batch on
//! one thread; requests, queues and protocols are absent. Runs in a process of its own, whose starter must have set
//! [`hanok_backend_onnxruntime::TELEMETRY_SWITCH`]. Reads numbers of seconds from standard input, a line each; executes for
//! that long and prints one JSON object; ends with its input.

#![allow(clippy::print_stdout, reason = "the report is this process's output")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hanok_backend::conformance::Outcome;
use hanok_backend::{
    Backend as _, Batch, BatchInput, InferenceRequest, InstancePlacement, Member, ModelSource, OutputSelection,
    Placement,
};
use hanok_backend_onnxruntime::{LibrarySearch, OnnxRuntimeBackend, locate};
use hanok_devices::{DiscoverySettings, PinnedPool, PoolSizes, discover};
use hanok_model_config::{CompletionFacts, ModelConfig, load_config, read_onnx_signature};
use hanok_tensor::{AlignedBuffer, DataType, Shape};

use crate::Problem;

/// What inputs hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Data {
    Zero,
    /// Floats from 0 to 1, whole numbers from 0 to 99.
    Random,
}

/// Arguments of the bare loop.
#[derive(Debug, clap::Args)]
pub(crate) struct BareLoopArguments {
    /// The model's folder.
    folder: PathBuf,
    /// Rows per execution.
    #[arg(long, default_value_t = 1)]
    batch: u32,
    /// Execute on the GPU with this ordinal, in the place of the processors.
    #[arg(long)]
    gpu: Option<u32>,
    /// What inputs hold: zeros, or what `hanok bench` generates. A GPU draws less power, and computes faster, on zeros.
    #[arg(long, value_enum, default_value = "zero")]
    data: Data,
    /// The library; without it those of the project folder and of Python packages are searched.
    #[arg(long)]
    library: Option<PathBuf>,
}

/// Runs the loop.
pub(crate) fn run(arguments: &BareLoopArguments) -> Result<(), Problem> {
    let report = locate(&LibrarySearch {
        flag: arguments.library.clone(),
        project_directory: Some(PathBuf::from(".hanok/lib")),
        virtual_environment: std::env::var_os("VIRTUAL_ENV").map(PathBuf::from),
        working_directory: std::env::current_dir().ok(),
        ..Default::default()
    });
    let found = report.found.as_ref().ok_or_else(|| report.to_string())?;
    let backend = OnnxRuntimeBackend::open(&found.path).map_err(|error| error.to_string())?;
    let placement = match arguments.gpu {
        None => Placement::Cpu,
        Some(ordinal) => {
            let found = discover(&DiscoverySettings::default());
            let driver = found.driver.as_ref().map_err(ToString::to_string)?;
            let sizes = PoolSizes::default();
            backend.use_gpus(driver, std::iter::once(ordinal), &sizes, &PinnedPool::new(sizes.pinned_bytes));
            Placement::Gpu(ordinal)
        }
    };
    let config = Arc::new(configuration(&arguments.folder, arguments.gpu.is_some())?);
    let source = ModelSource {
        config: Arc::clone(&config),
        version: 1,
        model_directory: arguments.folder.clone(),
        version_directory: arguments.folder.join("1"),
        settings: std::collections::BTreeMap::new(),
    };
    let model = backend.load(&source).map_err(|error| error.to_string())?;
    let placement = InstancePlacement { name: "bare".to_owned(), placement };
    let mut instance = model.create_instance(&placement).map_err(|error| error.to_string())?;

    let (shapes, buffers) = tensors(&config, arguments.batch, arguments.data)?;
    let request = request(arguments.batch);
    let mut execute = || -> Result<(), Problem> {
        let inputs = shapes.iter().zip(&buffers).map(|(shape, data)| Some(BatchInput { shape: shape.clone(), data }));
        let mut sink = Outcome::default();
        let mut members = [Member::new(&request, &mut sink)];
        let mut batch = Batch::new(&config, inputs.collect(), &mut members);
        instance.execute(&mut batch).map_err(|error| error.to_string())
    };
    for _ in 0..3 {
        execute()?;
    }
    for line in std::io::stdin().lines() {
        let line = line.map_err(|error| format!("cannot read the next length: {error}"))?;
        let limit: f64 = line.trim().parse().map_err(|error| format!("expected seconds, got `{line}`: {error}"))?;
        let limit = Duration::try_from_secs_f64(limit).map_err(|error| format!("`{line}` seconds: {error}"))?;
        let begin = Instant::now();
        let mut executions = 0_u32;
        while begin.elapsed() < limit {
            execute()?;
            executions += 1;
        }
        let seconds = begin.elapsed().as_secs_f64();
        let rows = f64::from(executions) * f64::from(arguments.batch);
        println!(
            "{}",
            serde_json::json!({"rows_per_second": rows / seconds, "executions": executions, "seconds": seconds})
        );
    }
    Ok(())
}

fn configuration(folder: &Path, gpu_available: bool) -> Result<ModelConfig, Problem> {
    let name = folder.file_name().and_then(|name| name.to_str()).ok_or("the model's folder has no name")?;
    let text = std::fs::read_to_string(folder.join("config.pbtxt")).unwrap_or_default();
    let graph =
        std::fs::read(folder.join("1/model.onnx")).map_err(|error| format!("cannot read the model: {error}"))?;
    let signature = read_onnx_signature(&graph).map_err(|error| format!("{error:?}"))?;
    let mut facts = CompletionFacts::new(name);
    facts.gpu_available = gpu_available;
    facts.model_files = vec!["model.onnx".to_owned()];
    let loaded = load_config(&text, &facts, Some(&signature.signature)).map_err(|error| error.to_string())?;
    Ok(loaded.config)
}

/// Every input, and their shapes.
fn tensors(config: &ModelConfig, rows: u32, data: Data) -> Result<(Vec<Shape>, Vec<AlignedBuffer>), Problem> {
    let mut shapes = Vec::new();
    let mut buffers = Vec::new();
    for input in &config.inputs {
        let batch = (config.max_batch_size > 0).then_some(i64::from(rows));
        let shape: Shape = batch.into_iter().chain(input.model_dims().iter().copied()).collect();
        let size = shape.byte_size(input.data_type).map_err(|error| format!("input `{}`: {error}", input.name))?;
        let size = size.ok_or_else(|| format!("input `{}` is text, which the bare loop lacks", input.name))?;
        let mut buffer = AlignedBuffer::zeroed(size);
        if data == Data::Random {
            fill(&mut buffer, input.data_type, &mut 1);
        }
        buffers.push(buffer);
        shapes.push(shape);
    }
    Ok((shapes, buffers))
}

/// SplitMix64 (Steele, Lea and Flood 2014), as the generator has it.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Fills a tensor of `data_type` with numbers that `state` gives, little-endian.
fn fill(bytes: &mut [u8], data_type: DataType, state: &mut u64) {
    let width = data_type.element_size().unwrap_or(1);
    for element in bytes.chunks_exact_mut(width) {
        let bits = next(state);
        #[allow(clippy::cast_precision_loss, reason = "24 bits are exact in a float")]
        let unit = (bits >> 40) as f32 / 16_777_216.0;
        match data_type {
            DataType::Fp16 => element.copy_from_slice(&half::f16::from_f32(unit).to_le_bytes()),
            DataType::Bf16 => element.copy_from_slice(&half::bf16::from_f32(unit).to_le_bytes()),
            DataType::Fp32 => element.copy_from_slice(&unit.to_le_bytes()),
            DataType::Fp64 => element.copy_from_slice(&f64::from(unit).to_le_bytes()),
            DataType::Bool => element[0] = u8::from(bits % 2 == 1),
            _ => element[0] = u8::try_from(bits % 100).unwrap_or(0),
        }
    }
}

fn request(rows: u32) -> InferenceRequest {
    InferenceRequest {
        id: "".into(),
        regions: None,
        inputs: smallvec::SmallVec::new(),
        rows,
        outputs: OutputSelection::All,
        parameters: Vec::new(),
        sequence: None,
        priority: 0,
        timeout_microseconds: 0,
        received: Instant::now(),
        deadline: None,
        trace: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_numbers_are_those_of_their_types() {
        let numbers = |data_type: DataType| {
            let mut bytes = vec![0; 800];
            fill(&mut bytes, data_type, &mut 1);
            bytes
        };
        for bytes in numbers(DataType::Fp16).as_chunks::<2>().0 {
            assert!((0.0..=1.0).contains(&half::f16::from_le_bytes(*bytes).to_f32()));
        }
        for bytes in numbers(DataType::Fp32).as_chunks::<4>().0 {
            assert!((0.0..1.0).contains(&f32::from_le_bytes(*bytes)));
        }
        let tokens = numbers(DataType::Int64);
        assert!(tokens.as_chunks::<8>().0.iter().all(|bytes| i64::from_le_bytes(*bytes) < 100));
        assert!(tokens.iter().any(|&byte| byte > 50));
    }
}
