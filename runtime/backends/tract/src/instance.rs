//! One instance: takes a batch apart into runs and puts their results together.

use std::sync::Arc;

use hanok_backend::{Batch, ModelInstance, ServingError, client_output_shape, model_input_shape};
use hanok_tensor::{DataType, Shape};
use smallvec::SmallVec;

use crate::failure;
use crate::graph::Axis;
use crate::input_tensor::InputReader;
use crate::model::LoadedModel;
use crate::output_tensor::{OutputWriter, whole};
use crate::plan::Plan;
use crate::runner::Runner;
use crate::shaped_plans::CAPACITY;

/// Computes batches of one model; memory is its own, plans are shared.
#[derive(Debug)]
pub(crate) struct TractInstance {
    model: Arc<LoadedModel>,
    /// Most recently made last.
    runners: Vec<Runner>,
}

impl TractInstance {
    /// An instance that is ready for the plans that there are.
    pub(crate) fn new(model: Arc<LoadedModel>) -> Result<Self, ServingError> {
        let mut instance = Self { model, runners: Vec::new() };
        for plan in instance.model.ready_plans() {
            instance.runner(&plan)?;
        }
        Ok(instance)
    }

    fn runner(&mut self, plan: &Arc<Plan>) -> Result<usize, ServingError> {
        if let Some(position) = self.runners.iter().position(|runner| runner.runs(plan)) {
            return Ok(position);
        }
        if self.runners.len() >= 2 * CAPACITY {
            self.runners.remove(0);
        }
        let runner = Runner::new(plan).map_err(|error| failure::execution(&self.model.contract.model, &error))?;
        self.runners.push(runner);
        Ok(self.runners.len() - 1)
    }

    /// Shapes that the model sees, checked against what it wants.
    fn model_shapes(&self, batch: &Batch<'_>) -> Result<SmallVec<[Shape; 4]>, ServingError> {
        let model = &*self.model;
        let batches = model.contract.max_rows.is_some();
        let ports = model.contract.inputs.iter().zip(&model.axes);
        ports
            .enumerate()
            .map(|(index, (port, axes))| {
                let Some(input) = batch.input(index) else {
                    return Err(ServingError::invalid(format!(
                        "input '{}' of model '{}' is missing, and backend 'tract' cannot leave inputs out",
                        port.name, model.contract.model
                    )));
                };
                let shape = match model.config.inputs.get(index) {
                    Some(spec) => model_input_shape(spec, &input.shape, batches),
                    None => Some(input.shape.clone()),
                };
                let fits = |shape: &Shape| {
                    shape.len() == axes.len()
                        && shape.iter().zip(axes).all(|(&dimension, axis)| match axis {
                            Axis::Rows => usize::try_from(dimension) == Ok(batch.rows()),
                            Axis::Fixed(size) => usize::try_from(dimension) == Ok(*size),
                            Axis::Variable(_) => dimension >= 0,
                        })
                };
                shape.filter(fits).ok_or_else(|| {
                    ServingError::invalid(format!(
                        "unexpected shape for input '{}' for model '{}'. Expected {}, got {}",
                        port.name,
                        model.contract.model,
                        expected_shape(axes),
                        input.shape
                    ))
                })
            })
            .collect()
    }

    /// Runs one plan on the next `rows` rows of every input and gives the values of all outputs.
    fn run(
        &mut self,
        plan: &Arc<Plan>,
        readers: &mut [InputReader<'_>],
        shapes: &[Vec<usize>],
        (rows, run_rows): (usize, usize),
    ) -> Result<impl Iterator<Item = tract_onnx::prelude::TValue> + use<>, ServingError> {
        let position = self.runner(plan)?;
        let model = &*self.model;
        let failed = |error| failure::execution(&model.contract.model, &error);
        let runner = &mut self.runners[position];
        for (index, (port, reader)) in model.contract.inputs.iter().zip(readers).enumerate() {
            let mut shape: SmallVec<[usize; 6]> = SmallVec::from_slice(&shapes[index]);
            if model.axes[index].first() == Some(&Axis::Rows) {
                shape[0] = run_rows;
            }
            reader.fill(port, runner.input(index, &shape).map_err(failed)?, rows)?;
        }
        Ok(runner.run().map_err(failed)?.into_iter())
    }
}

fn expected_shape(axes: &[Axis]) -> Shape {
    let dimension = |axis: &Axis| match axis {
        Axis::Fixed(size) => i64::try_from(*size).unwrap_or(i64::MAX),
        Axis::Rows | Axis::Variable(_) => -1,
    };
    axes.iter().map(dimension).collect()
}

impl ModelInstance for TractInstance {
    fn execute(&mut self, batch: &mut Batch<'_>) -> Result<(), ServingError> {
        let model = Arc::clone(&self.model);
        let contract = &model.contract;
        let shapes = self.model_shapes(batch)?;
        let total = if contract.max_rows.is_some() { batch.rows() } else { 1 };
        let inputs = contract.inputs.iter().zip(&shapes).enumerate();
        let mut readers: SmallVec<[InputReader<'_>; 4]> = SmallVec::new();
        for (index, (port, shape)) in inputs {
            let data = batch.input(index).map_or(&[][..], |input| input.data);
            readers.push(InputReader::new(port, shape, total, data)?);
        }
        let sizes: Vec<Vec<usize>> =
            shapes.iter().map(|shape| shape.iter().map(|&size| usize::try_from(size).unwrap_or(0)).collect()).collect();
        let wanted: SmallVec<[bool; 4]> = (0..contract.outputs.len()).map(|index| batch.wants_output(index)).collect();

        if contract.max_rows.is_none() {
            let run = model.next_run(&sizes, 1)?;
            let values = self.run(&run.plan, &mut readers, &sizes, (1, 1))?;
            for (index, value) in values.enumerate().filter(|&(index, _)| wanted[index]) {
                let (shape, bytes) = whole(&contract.outputs[index], value)?;
                give(batch, &model, index, &shape, bytes)?;
            }
            return Ok(());
        }

        let mut writers: SmallVec<[OutputWriter; 4]> =
            contract.outputs.iter().map(|_| OutputWriter::default()).collect();
        let mut left = total;
        while left > 0 {
            let run = model.next_run(&sizes, left)?;
            let values = self.run(&run.plan, &mut readers, &sizes, (run.rows, run.run_rows))?;
            for (index, value) in values.enumerate().filter(|&(index, _)| wanted[index]) {
                writers[index].add_rows(&contract.outputs[index], value, (run.rows, run.run_rows, total))?;
            }
            left -= run.rows;
        }
        for (index, writer) in writers.into_iter().enumerate().filter(|&(index, _)| wanted[index]) {
            let (shape, bytes) = writer.finish();
            give(batch, &model, index, &shape, bytes)?;
        }
        Ok(())
    }
}

/// Hands an output over in the shape that clients see.
fn give(
    batch: &mut Batch<'_>,
    model: &LoadedModel,
    index: usize,
    shape: &Shape,
    bytes: bytes::Bytes,
) -> Result<(), ServingError> {
    let port = &model.contract.outputs[index];
    let spec = &model.config.outputs[index];
    let Some(seen) = client_output_shape(spec, shape, model.contract.max_rows.is_some()) else {
        return Err(ServingError::internal(format!(
            "output '{}' has shape {shape}, which does not fit the reshape of the configuration",
            port.name
        )));
    };
    let data_type: DataType = port.data_type;
    batch.set_output(index, data_type, seen, bytes);
    Ok(())
}
