//! Inference messages on HTTP: JSON, with or without the binary tensor extension (W-21 to W-49).
//!
//! Bytes in, values out; no I/O. The invariant: a request names `binary_data` only for a server that announced the
//! extension, so that plain JSON servers understand every message.

use bytes::Bytes;
use hanok_tensor::{BytesElements, DataType, Shape};
use serde_json::{Map, Value, json};

use super::ClientError;
use super::contract::{InferenceAnswer, InferenceCall, ModelContract, TensorContract};
use super::tensor_value::{TensorValue, encode_json, json_shape};

/// How tensors travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// As JSON lists.
    Json,
    /// As bytes behind the JSON part.
    Binary,
}

/// An encoded request body.
#[derive(Clone, Debug)]
pub(crate) struct EncodedRequest {
    /// The body.
    pub(crate) body: Vec<u8>,
    /// Length of its JSON part, when binary parts follow.
    pub(crate) json_length: Option<usize>,
}

/// Encodes a call.
pub(crate) fn encode_request(call: &InferenceCall, encoding: Encoding) -> Result<EncodedRequest, ClientError> {
    let binary = encoding == Encoding::Binary;
    let mut inputs = Vec::with_capacity(call.inputs.len());
    let mut parts = Vec::new();
    for tensor in &call.inputs {
        let mut member = json!({
            "name": tensor.name, "shape": tensor.shape.to_vec(), "datatype": tensor.data_type.name(),
        });
        if binary {
            member["parameters"] = json!({"binary_data_size": tensor.data.len()});
            parts.push(&tensor.data);
        } else {
            member["data"] = json_elements(tensor)?;
        }
        inputs.push(member);
    }
    let mut message = Map::new();
    message.insert("inputs".to_owned(), Value::Array(inputs));
    let outputs: Vec<Value> =
        call.outputs.iter().map(|name| output_member(name, call.classification, binary)).collect();
    let mut parameters = Map::new();
    if let Some(microseconds) = call.timeout_microseconds() {
        parameters.insert("timeout".to_owned(), Value::from(microseconds));
    }
    if !outputs.is_empty() {
        message.insert("outputs".to_owned(), Value::Array(outputs));
    } else if binary {
        parameters.insert("binary_data_output".to_owned(), Value::Bool(true));
    }
    if !parameters.is_empty() {
        message.insert("parameters".to_owned(), Value::Object(parameters));
    }
    let mut body =
        serde_json::to_vec(&Value::Object(message)).map_err(|error| ClientError::reply(error.to_string()))?;
    let json_length = binary.then_some(body.len());
    for part in parts {
        body.extend_from_slice(part);
    }
    Ok(EncodedRequest { body, json_length })
}

fn output_member(name: &str, classification: Option<u32>, binary: bool) -> Value {
    let mut parameters = Map::new();
    if binary {
        parameters.insert("binary_data".to_owned(), Value::Bool(true));
    }
    if let Some(classes) = classification {
        parameters.insert("classification".to_owned(), Value::from(classes));
    }
    let mut member = json!({"name": name});
    if !parameters.is_empty() {
        member["parameters"] = Value::Object(parameters);
    }
    member
}

fn json_elements(tensor: &TensorValue) -> Result<Value, ClientError> {
    if matches!(tensor.data_type, DataType::Fp16 | DataType::Bf16) {
        return Err(ClientError::Unsupported(format!(
            "input `{}` is {}, which JSON cannot carry (W-26): use --encoding binary, or a grpc:// address",
            tensor.name, tensor.data_type
        )));
    }
    if tensor.data_type == DataType::Bytes {
        for element in BytesElements::new(&tensor.data) {
            if element.is_ok_and(|bytes| std::str::from_utf8(bytes).is_err()) {
                return Err(ClientError::Unsupported(format!(
                    "input `{}` holds bytes that are not UTF-8, which JSON cannot carry: use a grpc:// address",
                    tensor.name
                )));
            }
        }
    }
    Ok(Value::Array(tensor.elements(usize::MAX)))
}

/// Decodes an answer; `json_length` is the reply's `Inference-Header-Content-Length`.
pub(crate) fn decode_answer(body: &Bytes, json_length: Option<usize>) -> Result<InferenceAnswer, ClientError> {
    let length = json_length.unwrap_or(body.len());
    let Some(text) = body.get(..length) else {
        return Err(ClientError::reply(format!("the JSON part is {length} bytes of a body of {}", body.len())));
    };
    let message = parse_json(text)?;
    let mut offset = length;
    let mut outputs = Vec::new();
    for member in message["outputs"].as_array().into_iter().flatten() {
        let tensor = tensor_contract(member)?;
        let data = match member["parameters"]["binary_data_size"].as_u64() {
            Some(size) => {
                let end = usize::try_from(size).ok().and_then(|size| offset.checked_add(size));
                let end = end.filter(|&end| end <= body.len()).ok_or_else(|| {
                    ClientError::reply(format!("output `{}` has {size} bytes, fewer follow", tensor.name))
                })?;
                let part = body.slice(offset..end);
                offset = end;
                part
            }
            None => {
                let mut data = Vec::new();
                encode_json(&member["data"], tensor.data_type, &mut data)
                    .map_err(|problem| ClientError::reply(format!("output `{}`: {problem}", tensor.name)))?;
                data.into()
            }
        };
        outputs.push(checked(tensor, data)?);
    }
    let text = |key: &str| message[key].as_str().unwrap_or_default().to_owned();
    Ok(InferenceAnswer { model: text("model_name"), version: text("model_version"), outputs })
}

/// Makes a tensor whose bytes are as long as its shape says.
pub(super) fn checked(tensor: TensorContract, data: Bytes) -> Result<TensorValue, ClientError> {
    let expected = tensor.shape.byte_size(tensor.data_type).map_err(|error| ClientError::reply(error.to_string()))?;
    if let Some(expected) = expected.filter(|&expected| expected != data.len()) {
        return Err(ClientError::reply(format!(
            "output `{}` of shape {}: expected {expected} bytes, actual {}",
            tensor.name,
            tensor.shape,
            data.len()
        )));
    }
    Ok(TensorValue { name: tensor.name, data_type: tensor.data_type, shape: tensor.shape, data })
}

/// Reads a model's metadata.
pub(crate) fn decode_contract(message: &Value) -> Result<ModelContract, ClientError> {
    let side = |key: &str| -> Result<Vec<TensorContract>, ClientError> {
        message[key].as_array().into_iter().flatten().map(tensor_contract).collect()
    };
    let versions = message["versions"].as_array().into_iter().flatten();
    Ok(ModelContract {
        name: message["name"].as_str().unwrap_or_default().to_owned(),
        versions: versions.filter_map(Value::as_str).map(str::to_owned).collect(),
        platform: message["platform"].as_str().unwrap_or_default().to_owned(),
        inputs: side("inputs")?,
        outputs: side("outputs")?,
    })
}

fn tensor_contract(member: &Value) -> Result<TensorContract, ClientError> {
    let name = member["name"].as_str().unwrap_or_default().to_owned();
    let data_type = member["datatype"].as_str().unwrap_or_default();
    let Some(data_type) = DataType::from_name(data_type.as_bytes()) else {
        return Err(ClientError::reply(format!("tensor `{name}` has the datatype `{data_type}`")));
    };
    // Some servers leave the shape of an output out when its data is a nested list.
    let shape = match member["shape"].as_array() {
        Some(dimensions) => dimensions.iter().map(|dimension| dimension.as_i64().unwrap_or(-1)).collect(),
        None => Shape::new(&json_shape(&member["data"]).map_err(ClientError::Reply)?),
    };
    Ok(TensorContract { name, data_type, shape })
}

/// Parses JSON as inference servers write it: bare `NaN` and `Infinity` (W-28) are accepted and become texts.
pub(crate) fn parse_json(text: &[u8]) -> Result<Value, ClientError> {
    serde_json::from_slice(text).or_else(|error| {
        serde_json::from_slice(&quote_not_finite(text))
            .map_err(|_| ClientError::reply(format!("the body is not JSON ({error})")))
    })
}

/// Puts quotes round `NaN`, `Infinity` and `-Infinity` outside texts.
fn quote_not_finite(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 64);
    let (mut within, mut index) = (false, 0);
    while index < text.len() {
        let byte = text[index];
        let word = ["NaN", "Infinity", "-Infinity"].into_iter().find(|word| text[index..].starts_with(word.as_bytes()));
        match word {
            Some(word) if !within => {
                out.push(b'"');
                out.extend_from_slice(word.as_bytes());
                out.push(b'"');
                index += word.len();
                continue;
            }
            _ if within && byte == b'\\' => {
                out.extend_from_slice(&text[index..text.len().min(index + 2)]);
                index += 2;
                continue;
            }
            _ if byte == b'"' => within = !within,
            _ => {}
        }
        out.push(byte);
        index += 1;
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    fn call() -> InferenceCall {
        let input = TensorValue {
            name: "X".into(),
            data_type: DataType::Int32,
            shape: Shape::new(&[1, 2]),
            data: Bytes::from_static(&[1, 0, 0, 0, 2, 0, 0, 0]),
        };
        InferenceCall { model: "m".into(), inputs: vec![input], ..Default::default() }
    }

    #[test]
    fn requests_in_both_encodings() {
        let request = encode_request(&call(), Encoding::Json).unwrap();
        let expected = r#"{"inputs":[{"name":"X","shape":[1,2],"datatype":"INT32","data":[1,2]}]}"#;
        assert_eq!((std::str::from_utf8(&request.body).unwrap(), request.json_length), (expected, None));
        let request = encode_request(&call(), Encoding::Binary).unwrap();
        let expected = r#"{"inputs":[{"name":"X","shape":[1,2],"datatype":"INT32","parameters":{"binary_data_size":8}}],"parameters":{"binary_data_output":true}}"#;
        assert_eq!(std::str::from_utf8(&request.body[..request.json_length.unwrap()]).unwrap(), expected);
        assert_eq!(request.body.len(), expected.len() + 8);
    }

    #[test]
    fn answers_in_both_encodings_and_with_bare_nan() {
        let head = r#"{"model_name":"m","model_version":"3","outputs":[{"name":"A","datatype":"FP32","shape":[1],"parameters":{"binary_data_size":4}},{"name":"\"NaN","datatype":"FP32","shape":[2],"data":[NaN,-Infinity]}]}"#;
        let body = Bytes::from([head.as_bytes(), &1.5_f32.to_le_bytes()].concat());
        let answer = decode_answer(&body, Some(head.len())).unwrap();
        assert_eq!((answer.model.as_str(), answer.version.as_str()), ("m", "3"));
        assert_eq!(answer.outputs[0].elements(9), [json!(1.5)]);
        assert_eq!(answer.outputs[1].elements(9), [json!("NaN"), json!("-Infinity")]);
        assert_eq!(answer.outputs[1].name, "\"NaN");
        assert!(decode_answer(&body.slice(..head.len() + 3), Some(head.len())).is_err());
        assert!(decode_answer(&body, Some(9999)).is_err());
        let short = Bytes::from_static(br#"{"outputs":[{"name":"A","datatype":"FP32","shape":[2],"data":[1]}]}"#);
        assert!(decode_answer(&short, None).unwrap_err().to_string().contains("expected 8 bytes, actual 4"));
    }

    #[test]
    fn json_cannot_carry_half_floats() {
        let mut call = call();
        call.inputs[0].data_type = DataType::Fp16;
        assert!(encode_request(&call, Encoding::Json).unwrap_err().to_string().contains("--encoding binary"));
    }
}
