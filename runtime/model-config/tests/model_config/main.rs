//! The crate from outside: golden files made by independent tools, whole configurations, and properties.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]
#![allow(clippy::cast_possible_truncation, reason = "random numbers are meant to be cut")]

mod completion;
mod every_field;
mod json_form;
mod onnx_files;
mod properties;
mod text_form;
mod validation;
mod wire_schema;
