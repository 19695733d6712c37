//! An answer for people (a table) and for programs (JSON).

use std::time::Duration;

use serde_json::{Value, json};

use crate::client::{InferenceAnswer, TensorValue};
use crate::commands::text_table::TextTable;

/// A headline and one row per output; at most `limit` values of each.
pub(super) fn answer_table(answer: &InferenceAnswer, elapsed: Duration, limit: usize) -> String {
    let mut table = TextTable::new(&["output", "datatype", "shape", "values"]);
    for output in &answer.outputs {
        table.row([output.name.clone(), output.data_type.to_string(), output.shape.to_string(), values(output, limit)]);
    }
    let version = if answer.version.is_empty() { String::new() } else { format!(" version {}", answer.version) };
    format!("{}{version}, {:.2} ms\n\n{table}", answer.model, elapsed.as_secs_f64() * 1e3)
}

/// The v2 protocol's own form of an answer, with nested lists.
pub(super) fn answer_json(answer: &InferenceAnswer) -> Value {
    let output = |tensor: &TensorValue| {
        json!({
            "name": tensor.name, "datatype": tensor.data_type.name(), "shape": tensor.shape.to_vec(),
            "data": nested(&mut tensor.elements(usize::MAX).into_iter(), &tensor.shape),
        })
    };
    json!({
        "model_name": answer.model, "model_version": answer.version,
        "outputs": answer.outputs.iter().map(output).collect::<Vec<Value>>(),
    })
}

fn values(tensor: &TensorValue, limit: usize) -> String {
    let count = tensor.element_count();
    let elements = tensor.elements(limit);
    if count <= limit {
        return nested(&mut elements.into_iter(), &tensor.shape).to_string();
    }
    let shown: Vec<String> = elements.iter().map(Value::to_string).collect();
    format!("{} ... and {} more (--limit {count} shows all)", shown.join(","), count - shown.len())
}

fn nested(elements: &mut dyn Iterator<Item = Value>, shape: &[i64]) -> Value {
    match shape {
        [] => elements.next().unwrap_or(Value::Null),
        [count, inner @ ..] => (0..*count).map(|_| nested(elements, inner)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use hanok_tensor::{DataType, Shape};

    use super::*;

    #[test]
    fn values_are_nested_and_limited() {
        let tensor = TensorValue {
            name: "o".into(),
            data_type: DataType::Uint8,
            shape: Shape::new(&[2, 3]),
            data: vec![1, 2, 3, 4, 5, 6].into(),
        };
        assert_eq!(values(&tensor, 6), "[[1,2,3],[4,5,6]]");
        assert_eq!(values(&tensor, 2), "1,2 ... and 4 more (--limit 6 shows all)");
        let answer = InferenceAnswer { model: "m".into(), version: "1".into(), outputs: vec![tensor] };
        assert_eq!(answer_json(&answer)["outputs"][0]["data"], json!([[1, 2, 3], [4, 5, 6]]));
        assert!(answer_table(&answer, Duration::from_millis(2), 9).starts_with("m version 1, 2.00 ms\n\noutput"));
    }
}
