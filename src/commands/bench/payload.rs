//! The request that is sent again and again: inputs given or generated, encoded once.

use std::sync::Arc;

use bytes::{BufMut as _, Bytes, BytesMut};
use half::{bf16, f16};
use hanok_tensor::{DataType, Shape};

use super::BenchArguments;
use super::arrivals::Random;
use super::connection::Payload;
use crate::client::{
    ClientError, Encoding, InferenceCall, JSON_LENGTH_HEADER, ModelContract, Protocol, ServerAddress, ShapeArgument,
    TensorContract, TensorValue, encode_grpc_request, encode_http_request, model_path, push_element,
};
use crate::commands::error::CommandError;
use std::time::Duration;

/// What generated inputs hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum DataSource {
    /// Zeros, false, empty texts.
    Zero,
    /// Floats from 0 to 1, whole numbers from 0 to 99, texts of eight letters.
    Random,
}

/// All inputs of the model: those given on the command line, the others generated.
pub(super) fn inputs(arguments: &BenchArguments, contract: &ModelContract) -> Result<Vec<TensorValue>, CommandError> {
    let given = arguments.input.iter().map(|input| input.tensor(contract, &arguments.shape));
    let given = given.collect::<Result<Vec<_>, String>>().map_err(CommandError::Input)?;
    let mut random = Random::new(arguments.seed);
    let mut inputs = Vec::with_capacity(contract.inputs.len());
    for input in &contract.inputs {
        let tensor = match given.iter().find(|tensor| tensor.name == input.name) {
            Some(tensor) => repeat_rows(tensor, input, arguments.batch)?,
            None => {
                let shape = generated_shape(input, &arguments.shape, arguments.batch)?;
                generate(input, shape, arguments.data, &mut random)?
            }
        };
        inputs.push(tensor);
    }
    Ok(inputs)
}

/// Repeats a single row to make a batch; other batches must be given whole.
fn repeat_rows(tensor: &TensorValue, input: &TensorContract, batch: u32) -> Result<TensorValue, CommandError> {
    let rows = tensor.shape.first().copied();
    if batch == 1 || rows == Some(i64::from(batch)) {
        return Ok(tensor.clone());
    }
    if input.shape.first() != Some(&-1) || rows != Some(1) {
        return Err(CommandError::input(format!(
            "--batch {batch} cannot be made from input `{}` of shape {}: give one row, or {batch}",
            tensor.name, tensor.shape
        )));
    }
    let mut shape = tensor.shape.clone();
    shape[0] = i64::from(batch);
    Ok(TensorValue { shape, data: tensor.data.repeat(batch as usize).into(), ..tensor.clone() })
}

fn generated_shape(input: &TensorContract, shapes: &[ShapeArgument], batch: u32) -> Result<Shape, CommandError> {
    if let Some(named) = shapes.iter().find(|shape| shape.name == input.name) {
        return Ok(Shape::new(&named.dimensions));
    }
    let mut shape = input.shape.clone();
    match shape.first_mut() {
        Some(first) if *first < 0 => *first = i64::from(batch),
        _ if batch > 1 => {
            return Err(CommandError::input(format!(
                "--batch {batch} needs a model that batches, input `{}` has shape {}",
                input.name, input.shape
            )));
        }
        _ => {}
    }
    if shape.iter().any(|&dimension| dimension < 0) {
        let example: Vec<String> =
            shape.iter().map(|&dimension| if dimension < 0 { "8".into() } else { dimension.to_string() }).collect();
        return Err(CommandError::input(format!(
            "the model leaves dimensions of input `{}` open ({}): name them, such as --shape {}:{}",
            input.name,
            input.shape,
            input.name,
            example.join(",")
        )));
    }
    Ok(shape)
}

fn generate(
    input: &TensorContract,
    shape: Shape,
    source: DataSource,
    random: &mut Random,
) -> Result<TensorValue, CommandError> {
    let count =
        shape.element_count().map_err(|error| CommandError::input(format!("input `{}`: {error}", input.name)))?;
    let mut data = Vec::new();
    for _ in 0..count {
        let (unit, whole) = match source {
            DataSource::Zero => (0.0, 0),
            DataSource::Random => (random.unit(), u8::try_from(random.bits() % 100).unwrap_or(0)),
        };
        match input.data_type {
            DataType::Bool => data.push(whole & 1),
            DataType::Fp16 => data.extend(f16::from_f64(unit).to_le_bytes()),
            DataType::Bf16 => data.extend(bf16::from_f64(unit).to_le_bytes()),
            #[allow(clippy::cast_possible_truncation, reason = "any value within 0 and 1 will do")]
            DataType::Fp32 => data.extend((unit as f32).to_le_bytes()),
            DataType::Fp64 => data.extend(unit.to_le_bytes()),
            DataType::Bytes if source == DataSource::Zero => push_element(b"", &mut data),
            DataType::Bytes => {
                let bits = random.bits().to_le_bytes();
                push_element(&bits.map(|byte| b'a' + byte % 26), &mut data);
            }
            other => {
                let size = other.element_size().unwrap_or(1);
                data.extend(u64::from(whole).to_le_bytes().into_iter().take(size));
            }
        }
    }
    Ok(TensorValue { name: input.name.clone(), data_type: input.data_type, shape, data: data.into() })
}

/// Encodes the call for its protocol.
pub(super) fn prepare(
    call: &InferenceCall,
    address: &ServerAddress,
    encoding: Encoding,
    timeout: Option<Duration>,
) -> Result<Payload, ClientError> {
    let authority: Arc<str> = Arc::from(address.authority.as_str());
    let call = InferenceCall { timeout, ..call.clone() };
    if address.protocol == Protocol::Grpc {
        let message = encode_grpc_request(&call);
        let length = u32::try_from(message.len()).map_err(|_| {
            ClientError::Unsupported("a gRPC message holds at most 4 GiB: use a smaller --batch".into())
        })?;
        let mut framed = BytesMut::with_capacity(message.len() + 5);
        framed.put_u8(0);
        framed.put_u32(length);
        framed.put_slice(&message);
        return Ok(Payload::Grpc { authority, message: framed.freeze() });
    }
    let encoded = encode_http_request(&call, encoding)?;
    let path = model_path(&call.model, call.version.as_deref(), "/infer");
    let content = if encoded.json_length.is_some() { "application/octet-stream" } else { "application/json" };
    let mut request = format!(
        "POST {}{path} HTTP/1.1\r\nHost: {authority}\r\nContent-Type: {content}\r\nContent-Length: {}\r\n",
        address.prefix,
        encoded.body.len()
    );
    if let Some(length) = encoded.json_length {
        request.push_str(&format!("{JSON_LENGTH_HEADER}: {length}\r\n"));
    }
    request.push_str("\r\n");
    let request: Bytes = [request.into_bytes(), encoded.body].concat().into();
    Ok(Payload::Http { authority, request: Arc::from(&request[..]) })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    fn input(data_type: DataType, shape: &[i64]) -> TensorContract {
        TensorContract { name: "x".into(), data_type, shape: Shape::new(shape) }
    }

    #[test]
    fn generated_inputs_are_as_long_as_their_shape() {
        for data_type in DataType::ALL {
            for source in [DataSource::Zero, DataSource::Random] {
                let contract = input(data_type, &[-1, 3]);
                let shape = generated_shape(&contract, &[], 2).unwrap();
                let tensor = generate(&contract, shape, source, &mut Random::new(1)).unwrap();
                assert_eq!(tensor.elements(usize::MAX).len(), 6, "{data_type}");
                let expected = tensor.shape.byte_size(data_type).unwrap();
                assert!(expected.is_none_or(|size| size == tensor.data.len()));
            }
        }
    }

    #[test]
    fn open_dimensions_and_batches_are_explained() {
        let contract = input(DataType::Fp32, &[-1, 3, -1]);
        let problem = generated_shape(&contract, &[], 4).unwrap_err().to_string();
        assert!(problem.ends_with("--shape x:4,3,8"), "{problem}");
        assert!(generated_shape(&input(DataType::Fp32, &[3]), &[], 2).is_err());
        let row = TensorValue {
            name: "x".into(),
            data_type: DataType::Uint8,
            shape: Shape::new(&[1, 2]),
            data: vec![1, 2].into(),
        };
        let three = repeat_rows(&row, &input(DataType::Uint8, &[-1, 2]), 3).unwrap();
        assert_eq!((three.shape.to_vec(), &three.data[..]), (vec![3, 2], &[1, 2, 1, 2, 1, 2][..]));
        assert!(repeat_rows(&three, &input(DataType::Uint8, &[-1, 2]), 2).is_err());
    }
}
