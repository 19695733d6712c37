//! The running sum of each sequence; Triton's sequence test backend.
//!
//! Control inputs tell where a sequence starts and ends and whether a row holds a request. They follow the
//! configured inputs in the batch, in the order of the configuration's `control_input`. Sums are kept by correlation
//! id, so nothing depends on which slot a sequence was given. Integers wrap round.

use std::collections::HashMap;

use hanok_backend::{Batch, SequenceId, ServingError};
use hanok_model_config::{ModelConfig, Scheduling, SequenceControlInput, SequenceControlKind};
use hanok_tensor::{AlignedBuffer, DataType};

use crate::arithmetic::{self, Operation};

/// Sequences remembered by one instance; beyond it the one untouched for longest is forgotten. A sequence that its
/// client abandoned is never ended for the model, so without a bound they would pile up.
const MAXIMUM_SEQUENCES: usize = 65_536;

/// Sums of the sequences of one instance.
#[derive(Debug, Default)]
pub(crate) struct Sums {
    by_sequence: HashMap<SequenceId, Sum>,
    tick: u64,
}

#[derive(Debug)]
struct Sum {
    row: Vec<u8>,
    touched: u64,
}

pub(crate) fn validate(config: &ModelConfig) -> Result<(), ServingError> {
    let name = &config.name;
    let Scheduling::Sequence(batching) = &config.scheduling else {
        return Err(ServingError::invalid(format!("model `{name}` needs `sequence_batching` in its configuration")));
    };
    let ([input], [output]) = (config.inputs.as_slice(), config.outputs.as_slice()) else {
        return Err(ServingError::invalid(format!("model `{name}` must have one input and one output")));
    };
    if !arithmetic::is_numeric(input.data_type) || output.data_type != input.data_type || output.dims != input.dims {
        return Err(ServingError::invalid(format!(
            "input `{}` and output `{}` of model `{name}` must have one numeric data type and one shape",
            input.name, output.name
        )));
    }
    for kind in [SequenceControlKind::Start, SequenceControlKind::End] {
        if !batching.controls.iter().any(|control| control.kind == kind) {
            return Err(ServingError::invalid(format!(
                "model `{name}` needs a control input of the kind `CONTROL_SEQUENCE_{}`",
                if kind == SequenceControlKind::Start { "START" } else { "END" }
            )));
        }
    }
    Ok(())
}

impl Sums {
    pub(crate) fn execute(&mut self, batch: &mut Batch<'_>) -> Result<(), ServingError> {
        let config = batch.config();
        let data_type = config.inputs[0].data_type;
        let Some(input) = batch.input(0) else {
            return Err(ServingError::invalid(format!("input `{}` must be sent", config.inputs[0].name)));
        };
        let (shape, data) = (input.shape.clone(), input.data);
        let rows = batch.rows().max(1);
        let row_length = data.len() / rows;
        let start = control(batch, SequenceControlKind::Start)?;
        let end = control(batch, SequenceControlKind::End)?;
        let ready = control(batch, SequenceControlKind::Ready)?;
        let on = |values: &Option<Vec<bool>>, row: usize, otherwise: bool| {
            values.as_ref().and_then(|values| values.get(row).copied()).unwrap_or(otherwise)
        };

        // Everything that can fail is looked at before any sum changes, since a failed batch is executed again.
        let mut row = 0;
        for member in batch.members() {
            let request = member.request();
            let sequence = request
                .sequence
                .as_ref()
                .ok_or_else(|| ServingError::invalid("a request to a sequence model must have a correlation id"))?;
            let known = self.by_sequence.get(&sequence.id);
            if on(&ready, row, true) && !on(&start, row, false) && known.is_none_or(|sum| sum.row.len() != row_length) {
                return Err(ServingError::invalid(
                    "the sequence is not known to the model, or its rows had another size before",
                ));
            }
            row += request.rows as usize;
        }

        let mut out = AlignedBuffer::zeroed(data.len());
        let mut row = 0;
        for member in batch.members() {
            let request = member.request();
            let Some(sequence) = request.sequence.as_ref() else { continue };
            for _ in 0..request.rows {
                let range = row * row_length..(row + 1) * row_length;
                if on(&ready, row, true) {
                    let (value, result) = (&data[range.clone()], &mut out[range]);
                    self.add(&sequence.id, on(&start, row, false), data_type, value, result);
                    if on(&end, row, false) {
                        self.by_sequence.remove(&sequence.id);
                    }
                }
                row += 1;
            }
        }
        self.forget_oldest();
        batch.set_output(0, data_type, shape, out.into_bytes());
        Ok(())
    }

    fn add(&mut self, id: &SequenceId, start: bool, data_type: DataType, value: &[u8], result: &mut [u8]) {
        self.tick += 1;
        match self.by_sequence.get_mut(id) {
            Some(sum) if !start && sum.row.len() == value.len() => {
                arithmetic::combine(data_type, Operation::Sum, &sum.row, value, result);
                sum.row.copy_from_slice(result);
                sum.touched = self.tick;
            }
            _ => {
                result.copy_from_slice(value);
                self.by_sequence.insert(id.clone(), Sum { row: value.to_vec(), touched: self.tick });
            }
        }
    }

    fn forget_oldest(&mut self) {
        while self.by_sequence.len() > MAXIMUM_SEQUENCES {
            let oldest = self.by_sequence.iter().min_by_key(|(_, sum)| sum.touched).map(|(id, _)| id.clone());
            let Some(oldest) = oldest else { return };
            self.by_sequence.remove(&oldest);
        }
    }
}

/// One truth value per row of the control input of `kind`; `None` when the configuration has no such control.
fn control(batch: &Batch<'_>, kind: SequenceControlKind) -> Result<Option<Vec<bool>>, ServingError> {
    let config = batch.config();
    let Scheduling::Sequence(batching) = &config.scheduling else { return Ok(None) };
    let Some(position) = batching.controls.iter().position(|control| control.kind == kind) else { return Ok(None) };
    let control = &batching.controls[position];
    let Some(input) = batch.input(config.inputs.len() + position) else {
        return Err(ServingError::internal("a control input of the sequence is missing")
            .with_operator_detail(format!("control `{}` was not given to the model", control.name)));
    };
    let size = control.data_type.element_size().unwrap_or(1);
    Ok(Some(input.data.chunks_exact(size).map(|element| is_true(control, element)).collect()))
}

#[allow(clippy::cast_possible_truncation, reason = "true and false values are small constants of the configuration")]
fn is_true(control: &SequenceControlInput, element: &[u8]) -> bool {
    match (control.data_type, element) {
        (DataType::Fp32, &[a, b, c, d]) => f32::from_le_bytes([a, b, c, d]) == control.true_value as f32,
        (DataType::Int32, &[a, b, c, d]) => i32::from_le_bytes([a, b, c, d]) == control.true_value as i32,
        (_, &[value, ..]) => f64::from(value) == control.true_value,
        (_, &[]) => false,
    }
}
