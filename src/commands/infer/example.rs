//! A command line that infers with a model, made from its contract.
//!
//! Values are zeros: right in type and shape, not in meaning.

use hanok_tensor::DataType;

use crate::client::{ModelContract, ServerAddress, TensorContract, example_file};

/// Most values of an input that are written out; larger inputs come from a file.
const INLINE_VALUES: i64 = 32;

/// The lines to copy, each indented, with a note for every file that they need.
pub(super) fn command_line(contract: &ModelContract, server: &ServerAddress, version: Option<&str>) -> String {
    let mut line = format!("  hanok infer {}", contract.name);
    let mut notes = String::new();
    if server.to_string() != "http://127.0.0.1:8000" {
        line.push_str(&format!(" --server {server}"));
    }
    if let Some(version) = version {
        line.push_str(&format!(" --version {version}"));
    }
    for input in &contract.inputs {
        let dimensions: Vec<i64> = input.shape.iter().map(|&dimension| dimension.max(1)).collect();
        if dimensions.iter().product::<i64>() <= INLINE_VALUES {
            line.push_str(&format!(" --input '{}={}'", input.name, nested(element(input), &dimensions)));
        } else {
            let file = example_file(input);
            line.push_str(&format!(" --input '{}=@{}'", input.name, file.display()));
            notes.push_str(&format!(
                "  with {0} from Python: numpy.save('{0}', array.astype('{1}'))  # shape {2}\n",
                file.display(),
                numpy_name(input.data_type),
                input.shape
            ));
        }
    }
    format!("{line}\n{notes}")
}

const fn element(input: &TensorContract) -> &'static str {
    match input.data_type {
        DataType::Bytes => "\"text\"",
        DataType::Bool => "false",
        DataType::Fp16 | DataType::Bf16 | DataType::Fp32 | DataType::Fp64 => "0.0",
        _ => "0",
    }
}

fn nested(element: &str, dimensions: &[i64]) -> String {
    match dimensions {
        [] => element.to_owned(),
        [count, inner @ ..] => {
            let item = nested(element, inner);
            let items = vec![item; usize::try_from(*count).unwrap_or(0)];
            format!("[{}]", items.join(","))
        }
    }
}

const fn numpy_name(data_type: DataType) -> &'static str {
    match data_type {
        DataType::Bool => "bool",
        DataType::Uint8 => "uint8",
        DataType::Uint16 => "uint16",
        DataType::Uint32 => "uint32",
        DataType::Uint64 => "uint64",
        DataType::Int8 => "int8",
        DataType::Int16 => "int16",
        DataType::Int32 => "int32",
        DataType::Int64 => "int64",
        DataType::Fp16 | DataType::Bf16 => "float16",
        DataType::Fp32 => "float32",
        DataType::Fp64 => "float64",
        DataType::Bytes => "bytes",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use hanok_tensor::Shape;

    use super::*;

    #[test]
    fn the_line_can_be_copied() {
        let input = |name: &str, data_type, shape: &[i64]| TensorContract {
            name: name.to_owned(),
            data_type,
            shape: Shape::new(shape),
        };
        let contract = ModelContract {
            name: "m".into(),
            versions: vec!["1".into()],
            platform: "onnx".into(),
            inputs: vec![input("a", DataType::Fp32, &[-1, 2]), input("Im age", DataType::Uint8, &[-1, 8, 8])],
            outputs: vec![],
        };
        let text = command_line(&contract, &"localhost:9000".parse().unwrap(), Some("1"));
        let line = "  hanok infer m --server http://localhost:9000 --version 1 --input 'a=[[0.0,0.0]]' --input 'Im age=@im_age.npy'";
        assert_eq!(text.lines().next(), Some(line));
        assert!(text.contains("numpy.save('im_age.npy', array.astype('uint8'))  # shape [-1,8,8]"));
    }
}
