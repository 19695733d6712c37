//! Tensors as bytes: data types, shapes, and buffers that are copied once.
//!
//! This crate knows no model, no protocol and no device. Its invariant: every size is computed with
//! checked arithmetic, so that a hostile shape is an error and never a wrapped number.

mod buffer;
mod bytes_elements;
mod concatenate;
mod data_type;
mod shape;

pub use buffer::AlignedBuffer;
pub use bytes_elements::{BytesElementError, BytesElements, count_bytes_elements, push_bytes_element};
pub use concatenate::concatenate_into;
pub use data_type::DataType;
pub use shape::{Shape, ShapeError};
