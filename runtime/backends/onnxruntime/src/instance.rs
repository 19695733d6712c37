//! Executes batches: inputs where they lie, outputs into memory that becomes the answer.
//!
//! Where an output's shape cannot be told before, the library allocates it and it is copied once.

use std::sync::Arc;

use bytes::Bytes;
use hanok_backend::{Batch, ModelInstance, ServingError, client_output_shape, model_input_shape};
use hanok_tensor::{AlignedBuffer, DataType, Shape, count_bytes_elements};
use smallvec::SmallVec;

use crate::failure::Failure;
use crate::library::Library;
use crate::output_shapes::{InputShapes, OutputShapes};
use crate::session::{Feed, Loaded, Name, RunOptions, run};
use crate::value::Value;

/// One instance; the session behind it is shared.
#[derive(Debug)]
pub(crate) struct OnnxRuntimeInstance {
    pub(crate) library: &'static Library,
    pub(crate) loaded: Arc<Loaded>,
    pub(crate) options: RunOptions,
    pub(crate) shapes: OutputShapes,
}

/// An output of a shape that is known before, and the memory for it.
struct Predicted {
    shape: Shape,
    buffer: AlignedBuffer,
}

type Predictions = SmallVec<[Option<Predicted>; 4]>;

impl ModelInstance for OnnxRuntimeInstance {
    fn execute(&mut self, batch: &mut Batch<'_>) -> Result<(), ServingError> {
        let config = batch.config();
        let loaded = Arc::clone(&self.loaded);
        let mut input_names: SmallVec<[Name<'_>; 4]> = SmallVec::new();
        let mut inputs: SmallVec<[Value<'_>; 4]> = SmallVec::new();
        let mut input_shapes = InputShapes::new();
        for feed in &loaded.feeds {
            let Some(input) = batch.input(feed.index) else { continue };
            let shape = match config.inputs.get(feed.index).filter(|spec| spec.reshape.is_some()) {
                Some(spec) => &model_input_shape(spec, &input.shape, config.batches()).ok_or_else(|| {
                    ServingError::invalid(format!("input `{}` does not fit its dimensions", spec.name))
                })?,
                None => &input.shape,
            };
            inputs.push(self.input(feed, shape, input.data)?);
            input_names.push(feed.name.as_c_str().into());
            input_shapes.push(i64::try_from(shape.len()).unwrap_or(i64::MAX));
            input_shapes.extend_from_slice(shape);
        }

        let wanted: SmallVec<[usize; 4]> =
            (0..loaded.fetches.len()).filter(|&index| batch.wants_output(index)).collect();
        let output_names: SmallVec<[Name<'_>; 4]> =
            wanted.iter().map(|&index| loaded.fetches[index].name.as_c_str().into()).collect();
        let mut predictions: Predictions =
            wanted.iter().map(|&index| self.predict(index, batch.rows(), &input_shapes)).collect();
        let mut mistaken = None;
        let mut result = self.compute(&wanted, &input_names, &inputs, &output_names, &mut predictions);
        if result.as_ref().is_err_and(Failure::is_about_an_output_shape) && predictions.iter().any(Option::is_some) {
            let mut nothing: Predictions = wanted.iter().map(|_| None).collect();
            result = self.compute(&wanted, &input_names, &inputs, &output_names, &mut nothing);
            mistaken = Some(std::mem::replace(&mut predictions, nothing));
        }
        let values = result.map_err(Failure::into_run_error)?;

        for (position, ((&index, prediction), value)) in wanted.iter().zip(predictions).zip(values).enumerate() {
            let (shape, data) = match (prediction, value) {
                (Some(predicted), _) => (predicted.shape, predicted.buffer.into_bytes()),
                (None, Some(mut value)) => {
                    let (shape, data) =
                        copied(&mut value, loaded.fetches[index].data_type).map_err(Failure::into_run_error)?;
                    match mistaken.as_ref().and_then(|mistaken| mistaken[position].as_ref()) {
                        Some(predicted) if predicted.shape != shape => self.shapes.was_wrong(index),
                        _ => self.shapes.learn(index, &input_shapes, &shape),
                    }
                    (shape, data)
                }
                (None, None) => return Err(ServingError::internal("onnxruntime gave no value for an output")),
            };
            let output = &config.outputs[index];
            let shape = if output.reshape.is_none() {
                shape
            } else {
                client_output_shape(output, &shape, config.batches()).ok_or_else(|| {
                    ServingError::internal(format!(
                        "output `{}` of the model has the shape `{shape}`, expected `{}`",
                        output.name,
                        output.model_dims()
                    ))
                })?
            };
            batch.set_output(index, output.data_type, shape, data);
        }
        Ok(())
    }
}

impl OnnxRuntimeInstance {
    fn input<'a>(&self, feed: &Feed, shape: &Shape, data: &'a [u8]) -> Result<Value<'a>, ServingError> {
        check_input(feed, shape, data)?;
        let value = match feed.data_type {
            DataType::Bytes => Value::strings(self.library, shape, data),
            data_type => Value::input(self.library, data_type, shape, data),
        };
        value.map_err(Failure::into_run_error)
    }

    fn predict(&self, index: usize, rows: usize, inputs: &InputShapes) -> Option<Predicted> {
        let shape = self.shapes.predict(index, rows, inputs)?;
        let length = shape.byte_size(self.loaded.fetches[index].data_type).ok().flatten()?;
        (length > 0).then(|| Predicted { shape, buffer: AlignedBuffer::zeroed(length) })
    }

    /// Runs the graph; values that the library allocated come back, the others are in `predictions`.
    fn compute(
        &self,
        wanted: &[usize],
        input_names: &[Name<'_>],
        inputs: &[Value<'_>],
        output_names: &[Name<'_>],
        predictions: &mut Predictions,
    ) -> Result<SmallVec<[Option<Value<'static>>; 4]>, Failure> {
        let mut outputs: SmallVec<[Option<Value<'_>>; 4]> = SmallVec::new();
        for (&index, prediction) in wanted.iter().zip(predictions.iter_mut()) {
            outputs.push(match prediction {
                Some(Predicted { shape, buffer }) => {
                    Some(Value::output(self.library, self.loaded.fetches[index].data_type, shape, buffer)?)
                }
                None => None,
            });
        }
        run(&self.loaded.session, &self.options, input_names, inputs, output_names, outputs)
    }
}

/// Refuses `data` that is no tensor of `shape` and the feed's type.
pub(crate) fn check_input(feed: &Feed, shape: &Shape, data: &[u8]) -> Result<(), ServingError> {
    let counted = || shape.element_count().is_ok_and(|count| count_bytes_elements(data) == Ok(count));
    if feed.data_type == DataType::Bytes && shape.byte_size(feed.data_type).is_ok() && counted() {
        return Ok(());
    }
    check_size(feed, shape, data.len())?;
    check_truth(feed, data)
}

/// Refuses a tensor whose `length` in bytes is not that of `shape` and the feed's type, one of a fixed size.
pub(crate) fn check_size(feed: &Feed, shape: &Shape, length: usize) -> Result<(), ServingError> {
    if shape.byte_size(feed.data_type) == Ok(Some(length)) {
        return Ok(());
    }
    Err(ServingError::invalid(format!(
        "the `{length}` bytes of input `{}` are not a {} tensor of shape `{shape}`",
        feed.name.to_string_lossy(),
        feed.data_type
    )))
}

/// Refuses truth values other than 0 and 1: in C++ any other bit pattern is undefined behaviour.
pub(crate) fn check_truth(feed: &Feed, data: &[u8]) -> Result<(), ServingError> {
    if feed.data_type == DataType::Bool && data.iter().any(|&value| value > 1) {
        return Err(ServingError::invalid(format!(
            "input `{}` must hold truth values of 0 or 1",
            feed.name.to_string_lossy()
        )));
    }
    Ok(())
}

/// The shape and the bytes of a value of the library's own.
pub(crate) fn copied(value: &mut Value<'static>, expected: DataType) -> Result<(Shape, Bytes), Failure> {
    let (data_type, shape) = value.data_type_and_shape()?;
    if data_type != Some(expected) {
        return Err(Failure::other(format!("an output is not of the data type {expected} that the graph declares")));
    }
    let size = |_| Failure::other("an output has an impossible shape");
    let data = match shape.byte_size(expected).map_err(size)? {
        Some(length) => Bytes::copy_from_slice(value.bytes(length)?),
        None => Bytes::from(value.encoded_strings(shape.element_count().map_err(size)?)?),
    };
    Ok((shape, data))
}
