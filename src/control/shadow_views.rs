//! Shadows of this process as the control plane shows them: examples as JSON tensors.

use half::{bf16, f16};
use hanok_api::{ExampleTensor, SHOWN_ELEMENTS, ShadowExample, ShadowQuery, ShadowView};
use hanok_server::ShadowReport;
use hanok_shadow::{Disagreement, StoredTensor};
use hanok_tensor::{BytesElements, DataType};
use serde_json::{Value, json};

/// The shadows that are asked for.
pub(super) fn views(reports: &[ShadowReport], query: &ShadowQuery) -> Vec<ShadowView> {
    let asked =
        |report: &&ShadowReport| query.model.as_deref().is_none_or(|model| model == &*report.target.public_model);
    let view = |report: &ShadowReport| ShadowView {
        public_model: report.target.public_model.to_string(),
        candidate_model: report.target.model.to_string(),
        candidate_version: report.version_text(),
        compare: report.target.compare.to_string(),
        counts: json!(report.counts),
        examples: report.examples.iter().map(example).collect(),
    };
    reports.iter().filter(asked).map(view).collect()
}

fn example(found: &Disagreement) -> ShadowExample {
    let tensors = |stored: &[StoredTensor]| stored.iter().map(tensor).collect();
    ShadowExample {
        request_id: found.request_id.to_string(),
        at_microseconds: found.at_microseconds,
        primary_version: found.primary_version,
        candidate_version: found.candidate_version,
        outputs: json!(found.comparison.tensors),
        inputs: tensors(&found.inputs),
        primary: tensors(&found.primary),
        candidate: tensors(&found.candidate),
    }
}

fn tensor(stored: &StoredTensor) -> ExampleTensor {
    ExampleTensor {
        name: stored.name.to_string(),
        datatype: stored.data_type.name().to_owned(),
        shape: stored.shape.to_vec(),
        data: elements(stored.data_type, &stored.data),
    }
}

/// The first elements; what was cut off in the middle of one is left out.
fn elements(data_type: DataType, data: &[u8]) -> Vec<Value> {
    fn numbers<const N: usize>(data: &[u8], value: impl Fn([u8; N]) -> Value) -> Vec<Value> {
        data.as_chunks::<N>().0.iter().take(SHOWN_ELEMENTS).map(|bytes| value(*bytes)).collect()
    }
    match data_type {
        DataType::Bool => numbers(data, |[byte]| json!(byte != 0)),
        DataType::Uint8 => numbers(data, |bytes| json!(u8::from_le_bytes(bytes))),
        DataType::Uint16 => numbers(data, |bytes| json!(u16::from_le_bytes(bytes))),
        DataType::Uint32 => numbers(data, |bytes| json!(u32::from_le_bytes(bytes))),
        DataType::Uint64 => numbers(data, |bytes| json!(u64::from_le_bytes(bytes))),
        DataType::Int8 => numbers(data, |bytes| json!(i8::from_le_bytes(bytes))),
        DataType::Int16 => numbers(data, |bytes| json!(i16::from_le_bytes(bytes))),
        DataType::Int32 => numbers(data, |bytes| json!(i32::from_le_bytes(bytes))),
        DataType::Int64 => numbers(data, |bytes| json!(i64::from_le_bytes(bytes))),
        DataType::Fp16 => numbers(data, |bytes| json!(f16::from_le_bytes(bytes).to_f32())),
        DataType::Bf16 => numbers(data, |bytes| json!(bf16::from_le_bytes(bytes).to_f32())),
        DataType::Fp32 => numbers(data, |bytes| json!(f32::from_le_bytes(bytes))),
        DataType::Fp64 => numbers(data, |bytes| json!(f64::from_le_bytes(bytes))),
        DataType::Bytes => BytesElements::new(data)
            .map_while(Result::ok)
            .take(SHOWN_ELEMENTS)
            .map(|text| json!(String::from_utf8_lossy(text)))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_those_of_the_tensor_and_what_is_cut_is_left_out() {
        let cut = [1.5_f32.to_le_bytes(), f32::NAN.to_le_bytes()].concat();
        assert_eq!(elements(DataType::Fp32, &cut), [json!(1.5), Value::Null]);
        assert_eq!(elements(DataType::Fp32, &cut[..6]), [json!(1.5)]);
        assert_eq!(elements(DataType::Int64, &(-3_i64).to_le_bytes()), [json!(-3)]);
        assert_eq!(elements(DataType::Fp16, &[0x00, 0x3c]), [json!(1.0)]);
        assert_eq!(elements(DataType::Bytes, b"\x02\0\0\0ab\x05\0\0\0cu"), [json!("ab")]);
        assert_eq!(elements(DataType::Uint8, &[7; 1000]).len(), SHOWN_ELEMENTS);
    }
}
