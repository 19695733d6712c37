//! `--input NAME=VALUE`: what a person writes becomes a tensor that fits the model's contract.
//!
//! `VALUE` is JSON (nested lists, a scalar, text) or `@FILE`: `.npy`, `.json`, anything else is raw bytes in the
//! protocol's binary encoding. The invariant: the data type is always the contract's; nothing is converted silently.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use bytes::Bytes;
use hanok_tensor::{BytesElements, DataType, Shape};
use serde_json::Value;

use super::contract::{ModelContract, TensorContract};
use super::npy::read_npy;
use super::shape_fit::{fit_shape, shape_of_elements};
use super::tensor_value::{TensorValue, encode_json, json_shape};

/// One `--input`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InputArgument {
    text: String,
}

/// One `--shape NAME:1,3,224,224`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ShapeArgument {
    /// The input.
    pub(crate) name: String,
    /// All its dimensions.
    pub(crate) dimensions: Vec<i64>,
}

impl FromStr for InputArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(Self { text: text.to_owned() })
    }
}

impl FromStr for ShapeArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("expected NAME:DIMENSION,DIMENSION,... such as image:1,3,224,224, actual `{text}`");
        let (name, list) = text.rsplit_once(':').ok_or_else(expected)?;
        let dimensions: Result<Vec<i64>, _> =
            list.split(',').map(|dimension| dimension.trim().parse::<i64>()).collect();
        let dimensions = dimensions.map_err(|_| expected())?;
        if name.is_empty() || dimensions.iter().any(|&dimension| dimension < 0) {
            return Err(expected());
        }
        Ok(Self { name: name.to_owned(), dimensions })
    }
}

impl InputArgument {
    /// The name before the value, where there may be one.
    pub(crate) fn name(&self) -> Option<&str> {
        self.text.split_once('=').map(|(name, _)| name).filter(|name| !name.starts_with(['[', '{', '"', '@']))
    }

    /// The input that is meant and the value: a bare value means the only input.
    fn resolve<'a>(&'a self, contract: &'a ModelContract) -> Result<(&'a TensorContract, &'a str), String> {
        if let Some((name, value)) = self.text.split_once('=')
            && let Some(input) = contract.inputs.iter().find(|input| input.name == name)
        {
            return Ok((input, value));
        }
        let names: Vec<&str> = contract.inputs.iter().map(|input| input.name.as_str()).collect();
        match (&contract.inputs[..], self.text.split_once('=')) {
            ([only], None) => Ok((only, &self.text)),
            ([only], Some((name, _))) if name.starts_with(['[', '{', '"', '@']) => Ok((only, &self.text)),
            (_, Some((name, _))) => {
                Err(format!("model `{}` has no input `{name}`; its inputs are: {}", contract.name, names.join(", ")))
            }
            (_, None) => Err(format!(
                "expected --input NAME=VALUE because model `{}` has several inputs: {}",
                contract.name,
                names.join(", ")
            )),
        }
    }

    /// Reads the value and fits it to the model's contract; `shapes` decides where the contract leaves it open.
    pub(crate) fn tensor(&self, contract: &ModelContract, shapes: &[ShapeArgument]) -> Result<TensorValue, String> {
        let (input, value) = self.resolve(contract)?;
        let wanted = shapes.iter().find(|shape| shape.name == input.name).map(|shape| &shape.dimensions[..]);
        let goal = wanted.unwrap_or(&input.shape);
        let (shape, data) = match value.strip_prefix('@') {
            Some(path) => read_file(Path::new(path), input, goal),
            None => from_json(&inline_json(value, input.data_type)?, input, goal),
        }
        .map_err(|problem| format!("input `{}`: {problem}", input.name))?;
        Ok(TensorValue { name: input.name.clone(), data_type: input.data_type, shape, data })
    }
}

/// Inline text; what is not JSON is text for a `BYTES` input.
fn inline_json(text: &str, data_type: DataType) -> Result<Value, String> {
    match serde_json::from_str(text) {
        Ok(value) => Ok(value),
        Err(_) if data_type == DataType::Bytes => Ok(Value::from(text)),
        Err(error) => Err(format!(
            "expected JSON such as [1,2,3], or @FILE, actual `{}` ({error})",
            text.chars().take(60).collect::<String>()
        )),
    }
}

fn from_json(value: &Value, input: &TensorContract, goal: &[i64]) -> Result<(Shape, Bytes), String> {
    let shape = fit_shape(&json_shape(value)?, goal).map_err(with_shape_remedy)?;
    let mut data = Vec::new();
    encode_json(value, input.data_type, &mut data)?;
    Ok((shape, data.into()))
}

fn with_shape_remedy(problem: impl Into<String>) -> String {
    let problem: String = problem.into();
    format!("{problem}; give lists of that shape, or name the dimensions with --shape NAME:1,2,...")
}

fn read_file(path: &Path, input: &TensorContract, goal: &[i64]) -> Result<(Shape, Bytes), String> {
    let content = std::fs::read(path).map_err(|error| format!("cannot read the file `{}`: {error}", path.display()))?;
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("npy") => {
            let array = read_npy(&content)?;
            if array.data_type != input.data_type {
                return Err(format!(
                    "expected an array of {}, actual {}: convert with array.astype before saving",
                    input.data_type, array.data_type
                ));
            }
            Ok((fit_shape(&array.shape, goal).map_err(with_shape_remedy)?, array.data))
        }
        Some("json") => {
            let value = serde_json::from_slice(&content)
                .map_err(|error| format!("the file `{}` is not JSON: {error}", path.display()))?;
            from_json(&value, input, goal)
        }
        _ => raw(content, input, goal),
    }
}

/// Raw bytes. One element of a `BYTES` input, unless the file holds the length-prefixed encoding already.
fn raw(content: Vec<u8>, input: &TensorContract, goal: &[i64]) -> Result<(Shape, Bytes), String> {
    let Some(size) = input.data_type.element_size() else {
        let count = BytesElements::new(&content).try_fold(0_i64, |count, element| element.map(|_| count + 1));
        let encoded = count.ok().and_then(|count| shape_of_elements(count, goal));
        if let Some(shape) = encoded.filter(|_| !content.is_empty()) {
            return Ok((shape, content.into()));
        }
        let shape = fit_shape(&[], goal).map_err(with_shape_remedy)?;
        let mut data = Vec::with_capacity(content.len() + 4);
        super::tensor_value::push_element(&content, &mut data);
        return Ok((shape, data.into()));
    };
    let elements = i64::try_from(content.len() / size).unwrap_or(i64::MAX);
    match shape_of_elements(elements, goal) {
        Some(shape) if content.len().is_multiple_of(size) => Ok((shape, content.into())),
        _ => Err(with_shape_remedy(format!(
            "{} bytes of {} do not fill shape {}",
            content.len(),
            input.data_type,
            Shape::new(goal)
        ))),
    }
}

/// A file path for examples: `image.npy`.
pub(crate) fn example_file(input: &TensorContract) -> PathBuf {
    let plain: String =
        input.name.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '_' }).collect();
    PathBuf::from(plain.to_lowercase()).with_extension("npy")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    fn contract(inputs: &[(&str, DataType, &[i64])]) -> ModelContract {
        let side = |&(name, data_type, shape): &(&str, DataType, &[i64])| TensorContract {
            name: name.to_owned(),
            data_type,
            shape: Shape::new(shape),
        };
        ModelContract {
            name: "m".into(),
            versions: vec![],
            platform: String::new(),
            inputs: inputs.iter().map(side).collect(),
            outputs: vec![],
        }
    }

    fn tensor(text: &str, contract: &ModelContract, shapes: &[&str]) -> Result<TensorValue, String> {
        let shapes: Vec<ShapeArgument> = shapes.iter().map(|shape| shape.parse().unwrap()).collect();
        text.parse::<InputArgument>()?.tensor(contract, &shapes)
    }

    #[test]
    fn inline_values() {
        let numbers = contract(&[("a", DataType::Int32, &[-1, 2]), ("b", DataType::Int32, &[-1, 1])]);
        assert_eq!(tensor("a=[1,2]", &numbers, &[]).unwrap().shape.to_vec(), [1, 2]);
        assert_eq!(tensor("b=7", &numbers, &[]).unwrap().shape.to_vec(), [1, 1]);
        assert!(tensor("c=7", &numbers, &[]).unwrap_err().contains("its inputs are: a, b"));
        assert!(tensor("[1,2]", &numbers, &[]).unwrap_err().contains("NAME=VALUE"));
        assert!(tensor("a=x", &numbers, &[]).unwrap_err().contains("expected JSON"));
        assert!(tensor("a=[1,2,3]", &numbers, &[]).unwrap_err().contains("expected shape [-1,2], actual [3]"));
        let text = contract(&[("t", DataType::Bytes, &[-1, 1])]);
        assert_eq!(&tensor("t=hello there", &text, &[]).unwrap().data[..4], [11, 0, 0, 0]);
        assert_eq!(tensor(r#"["a","b"]"#, &text, &[]).unwrap().shape.to_vec(), [2, 1]);
        let image = contract(&[("i", DataType::Fp32, &[-1, 1, -1, -1])]);
        assert!(tensor("i=[1,2,3,4]", &image, &[]).unwrap_err().contains("--shape"));
        assert_eq!(tensor("i=[1,2,3,4]", &image, &["i:1,1,2,2"]).unwrap().shape.to_vec(), [1, 1, 2, 2]);
    }

    #[test]
    fn raw_bytes() {
        let input = |data_type| TensorContract { name: "i".into(), data_type, shape: Shape::new(&[-1, 2]) };
        let (shape, _) = raw(vec![0; 16], &input(DataType::Fp32), &[-1, 2]).unwrap();
        assert_eq!(shape.to_vec(), [2, 2]);
        assert!(raw(vec![0; 15], &input(DataType::Fp32), &[-1, 2]).unwrap_err().contains("15 bytes of FP32"));
        let (shape, data) = raw(b"\x01\0\0\0a\x01\0\0\0b".to_vec(), &input(DataType::Bytes), &[-1, 2]).unwrap();
        assert_eq!((shape.to_vec(), data.len()), (vec![1, 2], 10));
        let (shape, data) = raw(b"plain".to_vec(), &input(DataType::Bytes), &[-1, 1]).unwrap();
        assert_eq!((shape.to_vec(), data.len()), (vec![1, 1], 9));
        assert!("image=1,2".parse::<ShapeArgument>().is_err());
        assert!("image:1,-2".parse::<ShapeArgument>().is_err());
    }
}
