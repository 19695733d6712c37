//! Failures that ONNX Runtime reports, and what a client and an operator may read of them.
//!
//! The library's texts hold paths of models and of its own source files; those never reach a client.

#![allow(unsafe_code, reason = "the C API of ONNX Runtime")]

use std::ffi::CStr;

use hanok_backend::{ErrorCode, ServingError};
use ort::sys;

/// A failed call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The library's code, as a number because newer libraries have more of them.
    pub(crate) code: i32,
    pub(crate) message: String,
}

/// Turns the result of a call into ours and frees it.
pub(crate) fn check(status: sys::OrtStatusPtr) -> Result<(), Failure> {
    if status.0.is_null() { Ok(()) } else { Err(take(status)) }
}

#[cold]
fn take(status: sys::OrtStatusPtr) -> Failure {
    let api = ort::api();
    // SAFETY: the function has this C signature; reading the enumeration as its underlying number cannot give a value
    // that the type does not have.
    let get_code: unsafe extern "system" fn(*const sys::OrtStatus) -> i32 =
        unsafe { std::mem::transmute(api.GetErrorCode) };
    // SAFETY: `status` is a failure that we own and have not freed yet.
    let code = unsafe { get_code(status.0) };
    // SAFETY: as above; the text lives as long as the status.
    let message = unsafe { CStr::from_ptr((api.GetErrorMessage)(status.0)) }.to_string_lossy().into_owned();
    // SAFETY: freed once, not used afterwards.
    unsafe { (api.ReleaseStatus)(status.0) };
    Failure { code, message }
}

const FAIL: i32 = sys::OrtErrorCode::ORT_FAIL as i32;
const INVALID_ARGUMENT: i32 = sys::OrtErrorCode::ORT_INVALID_ARGUMENT as i32;
const NOT_IMPLEMENTED: i32 = sys::OrtErrorCode::ORT_NOT_IMPLEMENTED as i32;

impl<R> From<ort::Error<R>> for Failure {
    fn from(error: ort::Error<R>) -> Self {
        Self { code: sys::OrtErrorCode::from(error.code()) as i32, message: error.message().to_owned() }
    }
}

impl Failure {
    /// Whether a given output may have had another shape than the computed one.
    pub(crate) fn is_about_an_output_shape(&self) -> bool {
        self.message.contains("OrtValue provided for output") || self.message.contains("hape verification failed")
    }

    /// The error of a model that does not load.
    pub(crate) fn into_load_error(self, model: &str) -> ServingError {
        let code = match self.code {
            NOT_IMPLEMENTED => ErrorCode::Unsupported,
            _ if is_memory(&self.message) => ErrorCode::ResourceExhausted,
            _ => ErrorCode::InvalidArgument,
        };
        let text = without_paths(&self.message);
        ServingError::new(code, format!("onnxruntime cannot load model `{model}`: {text}"))
            .with_operator_detail(self.message)
    }

    /// The error of an execution.
    pub(crate) fn into_run_error(self) -> ServingError {
        let code = match self.code {
            INVALID_ARGUMENT => ErrorCode::InvalidArgument,
            NOT_IMPLEMENTED => ErrorCode::Unsupported,
            _ if is_memory(&self.message) => ErrorCode::ResourceExhausted,
            _ => ErrorCode::Internal,
        };
        let text = without_paths(&self.message);
        ServingError::new(code, format!("onnxruntime execute failure {}: {text}", self.code))
            .with_operator_detail(self.message)
    }

    /// A failure with a text of our own.
    pub(crate) fn other(message: impl Into<String>) -> Self {
        Self { code: FAIL, message: message.into() }
    }
}

fn is_memory(message: &str) -> bool {
    ["Failed to allocate memory", "Available memory of ", "bad_alloc"].iter().any(|text| message.contains(text))
}

/// `text` without words that look like a path, an address in memory, or a place in the library's source; one line.
fn without_paths(text: &str) -> String {
    let words = text.split_whitespace().filter(|word| {
        let word = word.trim_matches(|character: char| !character.is_alphanumeric() && character != '/');
        let is_path = word.contains('/') && !word.starts_with("http");
        let is_source = [".cc", ".cpp", ".h", ".so", ".onnx"]
            .iter()
            .any(|end| word.split([':', '(']).next().is_some_and(|name| name.ends_with(end)));
        !(is_path || is_source || word.contains("0x") || word.contains('\\'))
    });
    let mut line = words.collect::<Vec<_>>().join(" ");
    if line.len() > 500 {
        let end = (0..=500).rev().find(|&end| line.is_char_boundary(end)).unwrap_or(0);
        line.truncate(end);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts as ONNX Runtime 1.31.1 gives them, with a folder put in.
    #[test]
    fn clients_read_no_paths() {
        let cases = [
            (
                "Load model from /srv/models/secret/1/model.onnx failed:Protobuf parsing failed.",
                "Load model from failed:Protobuf parsing failed.",
            ),
            (
                "/onnxruntime_src/onnxruntime/core/graph/model.cc:182 onnxruntime::Model::Model(onnx::ModelProto&&) Unknown model file format version.",
                "onnxruntime::Model::Model(onnx::ModelProto&&) Unknown model file format version.",
            ),
            (
                "Got invalid dimensions for input: X for the following indices",
                "Got invalid dimensions for input: X for the following indices",
            ),
            ("at 0x7f0011 in ../lib.so", "at in"),
        ];
        for (text, expected) in cases {
            assert_eq!(without_paths(text), expected);
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_with_a_slash_survives(text in "[ a-z/.:()]{0,200}") {
            proptest::prop_assert!(!without_paths(&text).contains('/'));
        }
    }
}
