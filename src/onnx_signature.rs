//! The signature of an ONNX file, as the registry keeps it.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use hanok_model_config::{SignatureTensor, read_onnx_signature};
use hanok_registry::{Signature, TensorSignature};

/// Largest message of protocol buffers, in bytes; weights beyond it lie in files beside the model.
const LARGEST: u64 = 2 << 30;

/// Reads the graph's inputs and outputs; `None` where it does not tell every type and rank.
///
/// # Errors
/// When the file cannot be read, is too large for an ONNX model, or is none.
pub(crate) fn of_file(file: &Path) -> Result<Option<Signature>, String> {
    let source = File::open(file).map_err(|error| error.to_string())?;
    let size = source.metadata().map_err(|error| error.to_string())?.len();
    if size > LARGEST {
        return Err(format!("expected at most {LARGEST} bytes, got {size}"));
    }
    let mut bytes = Vec::new();
    source.take(LARGEST).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    let graph = read_onnx_signature(&bytes).map_err(|error| error.to_string())?.signature;
    let side = |tensors: &[SignatureTensor]| tensors.iter().map(tensor).collect::<Option<Vec<_>>>();
    Ok(side(&graph.inputs).zip(side(&graph.outputs)).map(|(inputs, outputs)| Signature { inputs, outputs }))
}

fn tensor(tensor: &SignatureTensor) -> Option<TensorSignature> {
    let data_type = tensor.data_type?.name().to_owned();
    Some(TensorSignature { name: tensor.name.clone(), data_type, shape: tensor.dims.clone()? })
}
