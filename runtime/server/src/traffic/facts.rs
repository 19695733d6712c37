//! What routing may ask about a request, read from its head and its message where they lie.

use std::cell::OnceCell;

use hanok_backend::{ParameterValue, SequenceControl, SequenceId};
use hanok_protocol::{InferMessage, TensorSource};
use hanok_routing::{FactValue, RequestFacts, SequenceFact, SequenceIdFact};
use hanok_tensor::{BytesElements, DataType};
use http::HeaderMap;
use tonic::metadata::MetadataMap;

use super::Traffic;

/// A request's headers, however its protocol holds them.
#[derive(Clone, Copy, Debug)]
pub(crate) enum RequestHead<'a> {
    /// HTTP headers.
    Http(&'a HeaderMap),
    /// gRPC metadata.
    Grpc(&'a MetadataMap),
}

impl RequestHead<'_> {
    fn get(&self, name: &str) -> Option<&[u8]> {
        match self {
            Self::Http(headers) => headers.get(name).map(http::HeaderValue::as_bytes),
            // Binary metadata are encoded text, no value to match.
            Self::Grpc(metadata) => metadata.get(name).map(tonic::metadata::MetadataValue::as_bytes),
        }
    }
}

/// The facts of one request. Without a message (a raw body) there are no parameters and tensors to ask for.
#[derive(Debug)]
pub(crate) struct MessageFacts<'a, 'm> {
    head: RequestHead<'a>,
    message: Option<&'a InferMessage<'m>>,
    traffic: &'a Traffic,
    number: OnceCell<u64>,
}

impl<'a, 'm> MessageFacts<'a, 'm> {
    pub(crate) const fn new(
        head: RequestHead<'a>,
        message: Option<&'a InferMessage<'m>>,
        traffic: &'a Traffic,
    ) -> Self {
        Self { head, message, traffic, number: OnceCell::new() }
    }
}

impl MessageFacts<'_, '_> {
    /// The request's place in a sequence, as the scheduler knows it.
    pub(super) fn sequence_control(&self) -> Option<&SequenceControl> {
        self.message?.reserved.sequence.as_ref()
    }
}

impl RequestFacts for MessageFacts<'_, '_> {
    fn header(&self, name: &str) -> Option<&[u8]> {
        self.head.get(name)
    }

    fn parameter(&self, name: &str) -> Option<FactValue<'_>> {
        let (_, value) = self.message?.parameters.iter().find(|(known, _)| **known == *name)?;
        match value {
            ParameterValue::Bool(truth) => Some(FactValue::from(*truth)),
            ParameterValue::Int(number) => Some(FactValue::from(*number)),
            ParameterValue::Uint(number) => Some(FactValue::from(*number)),
            ParameterValue::String(text) => Some(FactValue::from(&**text)),
            // No two writings of a fraction are surely the same text.
            ParameterValue::Double(_) => None,
        }
    }

    fn identity(&self) -> Option<&str> {
        let told = self.head.get(self.traffic.identity_header.as_deref()?)?;
        std::str::from_utf8(told).ok().map(str::trim).filter(|identity| !identity.is_empty())
    }

    fn tensor_key(&self, name: &str) -> Option<FactValue<'_>> {
        let input = self.message?.inputs.iter().find(|input| input.name == name)?;
        let TensorSource::Inline(data) = &input.data else { return None };
        first_element(input.data_type, data)
    }

    fn sequence(&self) -> Option<SequenceFact<'_>> {
        let SequenceControl { id, start, end } = self.sequence_control()?;
        let id = match id {
            SequenceId::Number(number) => SequenceIdFact::Number(*number),
            SequenceId::Text(text) => SequenceIdFact::Text(text),
        };
        Some(SequenceFact { id, start: *start, end: *end })
    }

    fn number(&self) -> u64 {
        *self.number.get_or_init(|| self.traffic.draw())
    }

    fn now_microseconds(&self) -> u64 {
        self.traffic.elapsed_microseconds()
    }
}

/// The first element, when it can be a key.
fn first_element(data_type: DataType, data: &[u8]) -> Option<FactValue<'_>> {
    fn head<const N: usize>(data: &[u8]) -> Option<[u8; N]> {
        data.first_chunk::<N>().copied()
    }
    Some(match data_type {
        DataType::Bytes => FactValue::from(BytesElements::new(data).next()?.ok()?),
        DataType::Bool => FactValue::from(*data.first()? != 0),
        DataType::Int8 => FactValue::from(i64::from(i8::from_le_bytes(head(data)?))),
        DataType::Int16 => FactValue::from(i64::from(i16::from_le_bytes(head(data)?))),
        DataType::Int32 => FactValue::from(i64::from(i32::from_le_bytes(head(data)?))),
        DataType::Int64 => FactValue::from(i64::from_le_bytes(head(data)?)),
        DataType::Uint8 => FactValue::from(u64::from(*data.first()?)),
        DataType::Uint16 => FactValue::from(u64::from(u16::from_le_bytes(head(data)?))),
        DataType::Uint32 => FactValue::from(u64::from(u32::from_le_bytes(head(data)?))),
        DataType::Uint64 => FactValue::from(u64::from_le_bytes(head(data)?)),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn keys_do_not_depend_on_the_width_of_an_integer() {
        let text = |data_type, data: &[u8]| first_element(data_type, data).map(|key| key.as_bytes().to_vec());
        assert_eq!(text(DataType::Int8, &[0xff]), Some(b"-1".to_vec()));
        assert_eq!(text(DataType::Int64, &(-1i64).to_le_bytes()), Some(b"-1".to_vec()));
        assert_eq!(text(DataType::Uint16, &[7, 0, 9, 9]), Some(b"7".to_vec()));
        assert_eq!(text(DataType::Bytes, b"\x02\0\0\0ab\x01\0\0\0c"), Some(b"ab".to_vec()));
        assert_eq!(text(DataType::Bytes, b""), None);
        assert_eq!(text(DataType::Int32, &[1, 2]), None);
        assert_eq!(text(DataType::Fp32, &[0; 4]), None);
    }
}
