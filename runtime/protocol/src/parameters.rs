//! Sorting request parameters into those that the protocol reserves and those that a model reads (W-22, W-23).
//!
//! One rule for both protocols; how a wrong type is answered differs between them and is an argument. A name given
//! twice counts once: the first wins, as in Triton.

use hanok_backend::{ParameterValue, Parameters, SequenceControl, SequenceId, ServingError};

use crate::ReservedParameters;

/// Names that begin so belong to the server.
pub const RESERVED_PREFIX: &str = "triton_";

/// Asks a stream for a final response without outputs (W-88).
const EMPTY_FINAL_RESPONSE: &str = "triton_enable_empty_final_response";

/// Whether a forwarded header may not set the parameter called `name` (W-99).
#[must_use]
pub fn is_reserved_parameter(name: &str) -> bool {
    name.starts_with(RESERVED_PREFIX)
        || matches!(
            name,
            "sequence_id"
                | "sequence_start"
                | "sequence_end"
                | "priority"
                | "timeout"
                | "headers"
                | "binary_data_output"
        )
}

/// Which protocol the parameters came by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ParameterOrigin {
    /// HTTP: a wrong type is a malformed message (500 in Triton); `binary_data_output` is known.
    Http,
    /// gRPC: a wrong type is an invalid argument; the stream's option is known.
    Grpc,
}

/// Collects the parameters of one request.
#[derive(Debug)]
pub(crate) struct ParameterCollector {
    origin: ParameterOrigin,
    limit: usize,
    seen: u8,
    sequence_id: Option<SequenceId>,
    sequence_start: bool,
    sequence_end: bool,
    binary_data_output: bool,
    reserved: ReservedParameters,
    ordinary: Parameters,
}

/// What was collected.
#[derive(Debug)]
pub(crate) struct CollectedParameters {
    pub(crate) reserved: ReservedParameters,
    pub(crate) ordinary: Parameters,
    pub(crate) binary_data_output: bool,
}

impl ParameterCollector {
    pub(crate) const fn new(origin: ParameterOrigin, limit: usize) -> Self {
        Self {
            origin,
            limit,
            seen: 0,
            sequence_id: None,
            sequence_start: false,
            sequence_end: false,
            binary_data_output: false,
            reserved: ReservedParameters {
                sequence: None,
                priority: 0,
                timeout_microseconds: 0,
                empty_final_response: false,
            },
            ordinary: Vec::new(),
        }
    }

    /// Takes one parameter.
    pub(crate) fn add(&mut self, name: &str, value: ParameterValue) -> Result<(), ServingError> {
        match name {
            "sequence_id" if self.first(0) => self.sequence_id = self.sequence_id_of(value)?,
            "sequence_start" if self.first(1) => self.sequence_start = self.boolean(name, &value)?,
            "sequence_end" if self.first(2) => self.sequence_end = self.boolean(name, &value)?,
            "priority" if self.first(3) => {
                // A level above the model's lowest means its default, whatever the number.
                self.reserved.priority = u32::try_from(self.unsigned(name, &value)?).unwrap_or(u32::MAX);
            }
            "timeout" if self.first(4) => self.reserved.timeout_microseconds = self.unsigned(name, &value)?,
            "binary_data_output" if self.origin == ParameterOrigin::Http => {
                if self.first(5) {
                    self.binary_data_output = self.boolean(name, &value)?;
                }
            }
            EMPTY_FINAL_RESPONSE if self.origin == ParameterOrigin::Grpc => {
                if self.first(6) {
                    self.reserved.empty_final_response = self.boolean(name, &value)?;
                }
            }
            "sequence_id" | "sequence_start" | "sequence_end" | "priority" | "timeout" => {}
            _ if name.starts_with(RESERVED_PREFIX) => {
                return Err(ServingError::invalid(
                    "parameter keys starting with 'triton_' are reserved for Triton usage and should not be specified.",
                ));
            }
            _ => self.add_ordinary(name, value)?,
        }
        Ok(())
    }

    fn add_ordinary(&mut self, name: &str, value: ParameterValue) -> Result<(), ServingError> {
        if self.ordinary.iter().any(|(known, _)| **known == *name) {
            return Ok(());
        }
        if self.ordinary.len() >= self.limit {
            return Err(ServingError::invalid(format!("request has more than `{}` parameters", self.limit)));
        }
        self.ordinary.push((name.into(), value));
        Ok(())
    }

    /// Whether the reserved parameter with this number is met for the first time.
    const fn first(&mut self, number: u8) -> bool {
        let bit = 1 << number;
        let first = self.seen & bit == 0;
        self.seen |= bit;
        first
    }

    fn wrong_type(&self, name: &str, expected: &str) -> ServingError {
        let message = format!("Unable to parse '{name}': expected {expected}");
        match self.origin {
            ParameterOrigin::Http => ServingError::malformed(message),
            ParameterOrigin::Grpc => ServingError::invalid(message),
        }
    }

    fn boolean(&self, name: &str, value: &ParameterValue) -> Result<bool, ServingError> {
        match value {
            ParameterValue::Bool(value) => Ok(*value),
            _ => Err(self.wrong_type(name, "a boolean")),
        }
    }

    fn unsigned(&self, name: &str, value: &ParameterValue) -> Result<u64, ServingError> {
        match value {
            ParameterValue::Uint(value) => Ok(*value),
            ParameterValue::Int(value) => {
                u64::try_from(*value).map_err(|_| self.wrong_type(name, "an unsigned integer"))
            }
            _ => Err(self.wrong_type(name, "an unsigned integer")),
        }
    }

    fn sequence_id_of(&self, value: ParameterValue) -> Result<Option<SequenceId>, ServingError> {
        match value {
            ParameterValue::String(text) => Ok((!text.is_empty()).then_some(SequenceId::Text(text))),
            ParameterValue::Uint(_) | ParameterValue::Int(_) => {
                let number = self.unsigned("sequence_id", &value)?;
                Ok((number != 0).then_some(SequenceId::Number(number)))
            }
            _ => Err(self.wrong_type("sequence_id", "an unsigned integer or a string")),
        }
    }

    /// Ends the collection.
    pub(crate) fn finish(mut self) -> CollectedParameters {
        self.reserved.sequence =
            self.sequence_id.map(|id| SequenceControl { id, start: self.sequence_start, end: self.sequence_end });
        CollectedParameters {
            reserved: self.reserved,
            ordinary: self.ordinary,
            binary_data_output: self.binary_data_output,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use hanok_backend::ErrorCode;

    use super::*;

    fn collect(origin: ParameterOrigin, list: &[(&str, ParameterValue)]) -> Result<CollectedParameters, ServingError> {
        let mut collector = ParameterCollector::new(origin, 4);
        for (name, value) in list {
            collector.add(name, value.clone())?;
        }
        Ok(collector.finish())
    }

    #[test]
    fn w22_reserved_prefix_is_refused() {
        for origin in [ParameterOrigin::Http, ParameterOrigin::Grpc] {
            let error = collect(origin, &[("triton_x", ParameterValue::Bool(true))]).unwrap_err();
            assert_eq!(error.triton_code(), ErrorCode::InvalidArgument);
        }
        let stream = [(EMPTY_FINAL_RESPONSE, ParameterValue::Bool(true))];
        assert!(collect(ParameterOrigin::Http, &stream).is_err());
        assert!(collect(ParameterOrigin::Grpc, &stream).unwrap().reserved.empty_final_response);
    }

    #[test]
    fn w23_reserved_parameters_are_typed() {
        let good = collect(
            ParameterOrigin::Http,
            &[
                ("sequence_id", ParameterValue::Int(7)),
                ("sequence_start", ParameterValue::Bool(true)),
                ("sequence_end", ParameterValue::Bool(false)),
                ("priority", ParameterValue::Uint(u64::MAX)),
                ("timeout", ParameterValue::Int(500)),
                ("binary_data_output", ParameterValue::Bool(true)),
                ("own", ParameterValue::Double(0.5)),
                ("own", ParameterValue::Double(1.5)),
            ],
        )
        .unwrap();
        assert_eq!(
            good.reserved.sequence,
            Some(SequenceControl { id: SequenceId::Number(7), start: true, end: false })
        );
        assert_eq!((good.reserved.priority, good.reserved.timeout_microseconds), (u32::MAX, 500));
        assert!(good.binary_data_output);
        assert_eq!(good.ordinary, vec![("own".into(), ParameterValue::Double(0.5))]);

        let bad = [
            ("sequence_id", ParameterValue::Int(-1)),
            ("sequence_id", ParameterValue::Bool(true)),
            ("sequence_start", ParameterValue::Int(1)),
            ("sequence_end", ParameterValue::String("true".into())),
            ("priority", ParameterValue::Int(-1)),
            ("priority", ParameterValue::String("1".into())),
            ("timeout", ParameterValue::Double(1.0)),
            ("binary_data_output", ParameterValue::Int(1)),
        ];
        for pair in bad {
            let error = collect(ParameterOrigin::Http, std::slice::from_ref(&pair)).unwrap_err();
            assert_eq!(error.triton_code(), ErrorCode::Internal, "{pair:?}");
            assert_eq!(error.code(), ErrorCode::InvalidArgument, "{pair:?}");
        }
        let error = collect(ParameterOrigin::Grpc, &[("priority", ParameterValue::Int(-1))]).unwrap_err();
        assert_eq!(error.triton_code(), ErrorCode::InvalidArgument);
    }

    #[test]
    fn no_sequence_for_zero_or_empty_ids() {
        for id in [ParameterValue::Int(0), ParameterValue::String("".into())] {
            assert_eq!(collect(ParameterOrigin::Http, &[("sequence_id", id)]).unwrap().reserved.sequence, None);
        }
    }

    #[test]
    fn number_of_parameters_is_bounded() {
        let many: Vec<(String, ParameterValue)> = (0..5).map(|i| (format!("p{i}"), ParameterValue::Int(i))).collect();
        let list: Vec<(&str, ParameterValue)> = many.iter().map(|(n, v)| (n.as_str(), v.clone())).collect();
        assert!(collect(ParameterOrigin::Http, &list[..4]).is_ok());
        assert!(collect(ParameterOrigin::Http, &list).is_err());
    }

    #[test]
    fn w99_names_that_headers_may_not_set() {
        assert!(is_reserved_parameter("triton_final_response"));
        assert!(is_reserved_parameter("timeout"));
        assert!(!is_reserved_parameter("my_header"));
    }
}
