//! Trace settings over both protocols (W-77, W-78, W-92): what a client changes, and what it is told.
//!
//! Values are texts, as Triton's are. What Triton passes over in silence (names and levels that it does not know, text behind a
//! number) is refused here. One level of Triton's is not offered and refused by name: TENSORS.

use std::collections::BTreeMap;
use std::path::Path;

use hanok_backend::ServingError;
use hanok_telemetry::{Change, TraceChanges, TraceLevel, TraceSettings};
use serde_json::{Map, Value, json};

use crate::v2_grpc::wire::inference::{TraceSettingResponse, trace_setting_request, trace_setting_response};

const FILE: &str = "trace_file";
const LEVEL: &str = "trace_level";
const RATE: &str = "trace_rate";
const COUNT: &str = "trace_count";
const FREQUENCY: &str = "log_frequency";
const MODE: &str = "trace_mode";
/// The one mode that is offered.
const TRITON: &str = "triton";

/// What the client gives for one setting.
enum Given<'a> {
    /// Nothing: it is cleared.
    Nothing,
    Texts(Vec<&'a str>),
}

impl Given<'_> {
    fn read<T>(
        &self,
        name: &str,
        read: impl FnOnce(&str) -> Result<T, ServingError>,
    ) -> Result<Change<T>, ServingError> {
        match self {
            Self::Nothing => Ok(Change::Clear),
            Self::Texts(texts) => match texts[..] {
                [text] => read(text).map(Change::Set),
                _ => Err(ServingError::invalid(format!("expect only 1 value for '{name}'"))),
            },
        }
    }
}

/// Reads the body of a POST: an object of texts, a list of them for the level, null for what is cleared.
///
/// # Errors
/// Triton's, by name; nothing is to be changed then.
pub fn trace_changes_of_body(body: &[u8]) -> Result<TraceChanges, ServingError> {
    let parsed: Value =
        serde_json::from_slice(body).map_err(|_| ServingError::malformed("failed to parse the request JSON buffer"))?;
    let Value::Object(settings) = parsed else {
        return Err(ServingError::malformed("trace settings must be a JSON object"));
    };
    refuse_file(settings.contains_key(FILE))?;
    changes(settings.iter().map(|(name, value)| Ok((name.as_str(), given(name, value)?))))
}

fn given<'a>(name: &str, value: &'a Value) -> Result<Given<'a>, ServingError> {
    let text = |value: &'a Value| {
        value.as_str().ok_or_else(|| ServingError::malformed("attempt to access JSON non-string as string"))
    };
    match value {
        Value::Null => Ok(Given::Nothing),
        Value::Array(levels) if name == LEVEL => levels.iter().map(text).collect::<Result<_, _>>().map(Given::Texts),
        _ if name == LEVEL => Err(ServingError::malformed("attempt to access JSON non-array as array")),
        value => Ok(Given::Texts(vec![text(value)?])),
    }
}

/// Reads the settings of a `TraceSetting` call: lists of texts, an empty one for what is cleared.
///
/// # Errors
/// As [`trace_changes_of_body`].
pub fn trace_changes_of_message(
    settings: &BTreeMap<String, trace_setting_request::SettingValue>,
) -> Result<TraceChanges, ServingError> {
    refuse_file(settings.contains_key(FILE))?;
    changes(settings.iter().map(|(name, setting)| {
        let texts: Vec<&str> = setting.value.iter().map(String::as_str).collect();
        Ok((name.as_str(), if texts.is_empty() { Given::Nothing } else { Given::Texts(texts) }))
    }))
}

fn refuse_file(named: bool) -> Result<(), ServingError> {
    if named {
        return Err(ServingError::unsupported("trace file location can not be updated through network protocol"));
    }
    Ok(())
}

fn changes<'a>(
    settings: impl Iterator<Item = Result<(&'a str, Given<'a>), ServingError>>,
) -> Result<TraceChanges, ServingError> {
    let mut changes = TraceChanges::default();
    for setting in settings {
        let (name, given) = setting?;
        match name {
            LEVEL => changes.level = level(&given)?,
            RATE => changes.rate = given.read(name, |text| number(name, text, (0, i64::from(u32::MAX))))?,
            COUNT => changes.count = given.read(name, count)?,
            FREQUENCY => {
                changes.log_frequency = given.read(name, |text| number(name, text, (0, i64::from(u32::MAX))))?;
            }
            MODE if matches!(&given, Given::Texts(texts) if texts[..] == [TRITON]) => {}
            MODE => {
                return Err(ServingError::unsupported("trace mode can not be updated through network protocol"));
            }
            _ => return Err(ServingError::invalid(format!("unknown trace setting '{name}'"))),
        }
    }
    Ok(changes)
}

fn level(given: &Given<'_>) -> Result<Change<TraceLevel>, ServingError> {
    let Given::Texts(texts) = given else { return Ok(Change::Clear) };
    let mut change = Change::Keep;
    for &text in texts {
        change = Change::Set(match text {
            "OFF" if texts.len() == 1 => TraceLevel::Off,
            "OFF" => return Err(ServingError::invalid("Expect only one trace level 'OFF' is specified")),
            "TIMESTAMPS" => TraceLevel::Timestamps,
            "TENSORS" => {
                return Err(ServingError::unsupported("trace level 'TENSORS' is not supported by this server yet"));
            }
            _ => {
                return Err(ServingError::invalid(format!(
                    "unknown trace level '{text}', expected 'OFF' or 'TIMESTAMPS'"
                )));
            }
        });
    }
    Ok(change)
}

fn count(text: &str) -> Result<i32, ServingError> {
    match text.trim_start().parse::<i64>() {
        Ok(below) if (i64::from(i32::MIN)..-1).contains(&below) => {
            Err(ServingError::invalid(format!("Unable to parse 'trace_count'. Expecting value >= -1, got:{text}")))
        }
        _ => number(COUNT, text, (-1, i64::from(i32::MAX))),
    }
}

/// A whole number within the range, ends included.
fn number<T: TryFrom<i64>>(name: &str, text: &str, (least, most): (i64, i64)) -> Result<T, ServingError> {
    let text = text.trim_start();
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(ServingError::invalid(format!("Unable to parse '{name}', got: {text}")));
    }
    let within = text.parse::<i64>().ok().filter(|number| (least..=most).contains(number));
    within.and_then(|number| T::try_from(number).ok()).ok_or_else(|| {
        ServingError::invalid(format!(
            "Unable to parse '{name}', value is out of range [ {least}, {most} ], got: {text}"
        ))
    })
}

/// The settings in force, as clients are told.
#[derive(Clone, Copy, Debug)]
pub struct TraceView<'a> {
    /// The values.
    pub settings: TraceSettings,
    /// The file that was named at the start.
    pub file: Option<&'a Path>,
}

impl TraceView<'_> {
    /// The body of an HTTP reply.
    #[must_use]
    pub fn body(&self) -> String {
        let mut members = Map::new();
        for (name, texts) in self.members() {
            let value = if name == LEVEL { json!(texts) } else { json!(texts.concat()) };
            members.insert(name.to_owned(), value);
        }
        Value::Object(members).to_string()
    }

    /// The answer to `TraceSetting`.
    #[must_use]
    pub fn message(&self) -> TraceSettingResponse {
        let value = |value: Vec<String>| trace_setting_response::SettingValue { value };
        let settings = self.members().into_iter().map(|(name, texts)| (name.to_owned(), value(texts))).collect();
        TraceSettingResponse { settings }
    }

    fn members(&self) -> [(&'static str, Vec<String>); 6] {
        let level = match self.settings.level {
            TraceLevel::Off => "OFF",
            TraceLevel::Timestamps => "TIMESTAMPS",
        };
        let file = self.file.map(|file| file.display().to_string()).unwrap_or_default();
        [
            (LEVEL, vec![level.to_owned()]),
            (RATE, vec![self.settings.rate.to_string()]),
            (COUNT, vec![self.settings.count.to_string()]),
            (FREQUENCY, vec![self.settings.log_frequency.to_string()]),
            (FILE, vec![file]),
            (MODE, vec![TRITON.to_owned()]),
        ]
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;
    use hanok_backend::ErrorCode;
    use proptest::prelude::*;

    fn body(text: &str) -> Result<TraceChanges, ServingError> {
        trace_changes_of_body(text.as_bytes())
    }

    fn message(settings: &[(&str, &[&str])]) -> Result<TraceChanges, ServingError> {
        let value = |texts: &[&str]| trace_setting_request::SettingValue {
            value: texts.iter().map(|&text| text.to_owned()).collect(),
        };
        trace_changes_of_message(&settings.iter().map(|(name, texts)| ((*name).to_owned(), value(texts))).collect())
    }

    #[test]
    fn w77_texts_and_null_are_changes() {
        let changes =
            body(r#"{"trace_level":["TIMESTAMPS"],"trace_rate":"6","trace_count":"-1","log_frequency":null}"#);
        let expected = TraceChanges {
            level: Change::Set(TraceLevel::Timestamps),
            rate: Change::Set(6),
            count: Change::Set(-1),
            log_frequency: Change::Clear,
        };
        assert_eq!(changes.unwrap(), expected);
        let same: &[(&str, &[&str])] = &[
            ("trace_level", &["TIMESTAMPS"]),
            ("trace_rate", &["6"]),
            ("trace_count", &["-1"]),
            ("log_frequency", &[]),
        ];
        assert_eq!(message(same).unwrap(), expected);
        assert_eq!(body("{}").unwrap(), TraceChanges::default());
        assert_eq!(body(r#"{"trace_level":[],"trace_mode":"triton"}"#).unwrap(), TraceChanges::default());
    }

    #[test]
    fn w77_errors_are_tritons() {
        use ErrorCode::{Internal, InvalidArgument, Unsupported};
        for (text, code, told) in [
            (r#"{"trace_file":"a"}"#, Unsupported, "trace file location can not be updated through network protocol"),
            (r#"{"trace_file":null}"#, Unsupported, "trace file location can not be updated through network protocol"),
            (r#"{"trace_rate":5}"#, Internal, "attempt to access JSON non-string as string"),
            (r#"{"trace_level":"OFF"}"#, Internal, "attempt to access JSON non-array as array"),
            (r#"{"trace_level":[1]}"#, Internal, "attempt to access JSON non-string as string"),
            (r#"{"trace_rate""#, Internal, "failed to parse the request JSON buffer"),
            ("[]", Internal, "trace settings must be a JSON object"),
            (
                r#"{"trace_level":["OFF","TIMESTAMPS"]}"#,
                InvalidArgument,
                "Expect only one trace level 'OFF' is specified",
            ),
            (
                r#"{"trace_level":["TENSORS"]}"#,
                Unsupported,
                "trace level 'TENSORS' is not supported by this server yet",
            ),
            (
                r#"{"trace_level":["MAX"]}"#,
                InvalidArgument,
                "unknown trace level 'MAX', expected 'OFF' or 'TIMESTAMPS'",
            ),
            (r#"{"trace_rate":"a"}"#, InvalidArgument, "Unable to parse 'trace_rate', got: a"),
            (r#"{"trace_rate":""}"#, InvalidArgument, "Unable to parse 'trace_rate', got: "),
            (r#"{"log_frequency":"1x"}"#, InvalidArgument, "Unable to parse 'log_frequency', got: 1x"),
            (
                r#"{"trace_rate":"10000000000"}"#,
                InvalidArgument,
                "Unable to parse 'trace_rate', value is out of range [ 0, 4294967295 ], got: 10000000000",
            ),
            (
                r#"{"trace_count":"10000000000"}"#,
                InvalidArgument,
                "Unable to parse 'trace_count', value is out of range [ -1, 2147483647 ], got: 10000000000",
            ),
            (
                r#"{"trace_count":"-2"}"#,
                InvalidArgument,
                "Unable to parse 'trace_count'. Expecting value >= -1, got:-2",
            ),
            (r#"{"trace_rat":"2"}"#, InvalidArgument, "unknown trace setting 'trace_rat'"),
            (
                r#"{"trace_mode":"opentelemetry"}"#,
                Unsupported,
                "trace mode can not be updated through network protocol",
            ),
        ] {
            let error = body(text).unwrap_err();
            assert_eq!((error.triton_code(), error.message()), (code, told), "{text}");
        }
        let error = message(&[("trace_rate", &["1", "2"])]).unwrap_err();
        assert_eq!(error.message(), "expect only 1 value for 'trace_rate'");
        let error = message(&[("trace_file", &[])]).unwrap_err();
        assert_eq!(error.code(), Unsupported);
    }

    #[test]
    fn both_wires_tell_the_same() {
        let settings = TraceSettings { level: TraceLevel::Timestamps, rate: 7, count: 3, log_frequency: 2 };
        let view = TraceView { settings, file: Some(Path::new("/t/trace.json")) };
        let expected = concat!(
            r#"{"trace_level":["TIMESTAMPS"],"trace_rate":"7","trace_count":"3","log_frequency":"2","#,
            r#""trace_file":"/t/trace.json","trace_mode":"triton"}"#
        );
        assert_eq!(view.body(), expected);
        let message = view.message();
        assert_eq!(message.settings["trace_level"].value, ["TIMESTAMPS"]);
        assert_eq!(message.settings["trace_file"].value, ["/t/trace.json"]);
        let nowhere = TraceView { settings: TraceSettings::default(), file: None };
        assert!(nowhere.body().contains(r#""trace_level":["OFF"],"trace_rate":"1000","trace_count":"-1""#));
        assert_eq!(nowhere.message().settings["trace_file"].value, [""]);
    }

    proptest! {
        #[test]
        fn numbers_are_read_as_they_are_told(rate in any::<u32>(), count in -1_i32.., frequency in any::<u32>()) {
            let settings = TraceSettings { level: TraceLevel::Off, rate, count, log_frequency: frequency };
            let told: Value = serde_json::from_str(&TraceView { settings, file: None }.body()).unwrap();
            let mut again = told.clone();
            again.as_object_mut().unwrap().remove(FILE);
            let read = trace_changes_of_body(again.to_string().as_bytes()).unwrap();
            prop_assert_eq!(read.rate, Change::Set(rate));
            prop_assert_eq!(read.count, Change::Set(count));
            prop_assert_eq!(read.log_frequency, Change::Set(frequency));
        }

        #[test]
        fn no_body_panics(bytes in prop::collection::vec(any::<u8>(), 0..64), text in "\\PC{0,12}") {
            drop(trace_changes_of_body(&bytes));
            let written = json!({ RATE: text, COUNT: text }).to_string();
            drop(trace_changes_of_body(written.as_bytes()));
        }
    }
}
