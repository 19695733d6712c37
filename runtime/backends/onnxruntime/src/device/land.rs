//! The end of a batch on the device: its last mark is waited for, and its outputs are handed over.

use std::time::Instant;

use bytes::Bytes;
use hanok_backend::{Batch, ServingError, client_output_shape};
use hanok_tensor::AlignedBuffer;

use super::device_instance::{DeviceInstance, InFlight};
use super::flight::{Flight, Landed, Load};
use super::trouble::Trouble;

impl DeviceInstance {
    /// Waits for `flight` and gives its outputs to `batch`.
    pub(super) fn land(&mut self, flight: &mut Flight, batch: &mut Batch<'_>) -> Result<(), Trouble> {
        let Self { parts, going, coming, staging, .. } = self;
        let Flight { marks, load } = flight;
        let mut in_flight = InFlight(Some([going, &parts.stream, coming]));
        marks.done.wait()?;
        in_flight.0 = None;
        if let (true, Some(begun)) = (batch.is_traced(), load.begun) {
            batch.set_device_spans(marks.spans(begun, Instant::now())?);
        }
        let times = marks.times(load.gathering)?;
        batch.set_device_times(times);
        let Load { rows, padded, .. } = *load;
        tracing::trace!(
            rows,
            padded,
            input_us = times.input_ns / 1000,
            infer_us = times.infer_ns / 1000,
            output_us = times.output_ns / 1000,
            "on a GPU"
        );

        let config = batch.config();
        let staged = load.coming.as_ref().map_or(&mut [][..], |range| staging.bytes(range));
        for output in load.outputs.drain(..) {
            let mut shape = output.shape;
            let spec = &config.outputs[output.index];
            let is_padded = padded != rows
                && config.batches()
                && shape.first().is_some_and(|&first| usize::try_from(first) == Ok(padded));
            let kept = |length: usize| if is_padded { length / padded * rows } else { length };
            let data = match output.landed {
                Landed::Host(mut data) => {
                    data.truncate(kept(data.len()));
                    data
                }
                // All of it is in regions.
                Landed::Staged { copied, .. } if copied.is_empty() => Bytes::new(),
                Landed::Staged { offset, length, copied } => {
                    let mut buffer = AlignedBuffer::zeroed(kept(length));
                    for (begin, length) in copied {
                        let end = (begin + length).min(buffer.len());
                        buffer[begin..end].copy_from_slice(&staged[offset + begin..offset + end]);
                    }
                    buffer.into_bytes()
                }
            };
            if is_padded {
                shape[0] = i64::try_from(rows).unwrap_or(i64::MAX);
            }
            let shape = match &spec.reshape {
                None => shape,
                Some(_) => client_output_shape(spec, &shape, config.batches()).ok_or_else(|| {
                    ServingError::internal(format!(
                        "output `{}` of the model has the shape `{shape}`, expected `{}`",
                        spec.name,
                        spec.model_dims()
                    ))
                })?,
            };
            batch.set_output(output.index, spec.data_type, shape, data);
        }
        if let Some(last) = load.coming.take().or(load.going.take()) {
            staging.release_through(last);
        }
        for (member, index) in load.placed.drain(..) {
            batch.members_mut()[member].note_placed(index);
        }
        for (member, error) in load.refused.drain(..) {
            batch.members_mut()[member].respond(Err(error));
        }
        Ok(())
    }
}
