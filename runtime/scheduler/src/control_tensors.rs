//! The control tensors of a sequence batch: start, end, ready and correlation id of each member.
//!
//! Shape `[rows, 1]`, or `[1]` for a model that does not batch. They follow the configured inputs in the batch, in the
//! order of the configuration.

use hanok_backend::{BatchInput, Member, SequenceId};
use hanok_model_config::{ModelConfig, SequenceControlInput, SequenceControlKind};
use hanok_tensor::{AlignedBuffer, DataType, Shape, concatenate_into, push_bytes_element};

/// Fills one control tensor for all members.
pub(crate) fn fill_control<'a>(
    config: &ModelConfig,
    control: &SequenceControlInput,
    buffer: &'a mut AlignedBuffer,
    members: &[Member<'_>],
) -> BatchInput<'a> {
    let mut bytes = Vec::with_capacity(members.len() * 8);
    for member in members {
        let sequence = member.request().sequence.as_deref();
        let holds = match control.kind {
            SequenceControlKind::Start => sequence.is_some_and(|sequence| sequence.start),
            SequenceControlKind::End => sequence.is_some_and(|sequence| sequence.end),
            SequenceControlKind::Ready => true,
            SequenceControlKind::CorrelationId => {
                push_correlation_id(&mut bytes, control.data_type, sequence.map(|sequence| &sequence.id));
                continue;
            }
        };
        push_value(&mut bytes, control.data_type, if holds { control.true_value } else { control.false_value });
    }
    concatenate_into(buffer, std::iter::once(&bytes[..]));
    let rows = i64::try_from(members.len()).unwrap_or(i64::MAX);
    let shape = if config.batches() { Shape::new(&[rows, 1]) } else { Shape::new(&[1]) };
    BatchInput { shape, data: buffer }
}

#[allow(clippy::cast_possible_truncation, reason = "configured values are 0 and 1, or fit their declared type")]
fn push_value(bytes: &mut Vec<u8>, data_type: DataType, value: f64) {
    match data_type {
        DataType::Fp32 => bytes.extend((value as f32).to_le_bytes()),
        DataType::Bool => bytes.push(u8::from(value != 0.0)),
        _ => bytes.extend((value as i32).to_le_bytes()),
    }
}

/// An id that the declared type cannot hold is cut to its low bits, as in Triton; a text id is hashed to a number.
fn push_correlation_id(bytes: &mut Vec<u8>, data_type: DataType, id: Option<&SequenceId>) {
    if data_type == DataType::Bytes {
        let text = match id {
            Some(SequenceId::Number(number)) => number.to_string(),
            Some(SequenceId::Text(text)) => text.to_string(),
            None => String::new(),
        };
        return push_bytes_element(bytes, text.as_bytes());
    }
    let number = match id {
        Some(SequenceId::Number(number)) => *number,
        Some(SequenceId::Text(text)) => fnv1a(text.as_bytes()),
        None => 0,
    };
    let size = data_type.element_size().unwrap_or(8).min(8);
    bytes.extend(&number.to_le_bytes()[..size]);
}

/// FNV-1a, 64 bits.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_their_declared_form() {
        let mut bytes = Vec::new();
        push_value(&mut bytes, DataType::Fp32, 1.0);
        push_value(&mut bytes, DataType::Int32, 1.0);
        push_value(&mut bytes, DataType::Bool, 1.0);
        assert_eq!(bytes, [0, 0, 0x80, 0x3f, 1, 0, 0, 0, 1]);
        bytes.clear();
        push_correlation_id(&mut bytes, DataType::Uint32, Some(&SequenceId::Number(0x1_0000_0002)));
        push_correlation_id(&mut bytes, DataType::Bytes, Some(&SequenceId::Number(12)));
        assert_eq!(bytes, [2, 0, 0, 0, 2, 0, 0, 0, b'1', b'2']);
        // The published test vector of FNV-1a for "a".
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
    }
}
