//! Checks of the clauses about executions.

use std::sync::Arc;

use bytes::Bytes;
use hanok_tensor::AlignedBuffer;

use super::clause::{Checked, Clause, Verdict, broken};
use super::comparison::outcome_matches;
use super::execution::{Outcome, execute};
use super::fixture::{Fixture, Sample};
use super::{Factory, loading};
use crate::{InferenceRequest, InstancePlacement, Model, ModelInstance, OutputSelection, Placement};

/// Executions of every sample by each of two instances at once.
const CONCURRENT_ROUNDS: usize = 20;

pub(super) fn check(clause: Clause, factory: Factory<'_>, fixture: &Fixture) -> Checked {
    let model = loading::load(factory, fixture)?;
    match clause {
        Clause::ExpectedOutputs => expected_outputs(&model, fixture),
        Clause::BatchEqualsSingles => batch_equals_singles(&model, fixture),
        Clause::OutputsAreKept => outputs_are_kept(&model, fixture),
        Clause::UnalignedInputs => unaligned_inputs(&model, fixture),
        Clause::BadContentFails => bad_content_fails(&model, fixture),
        Clause::InstancesAreIndependent => instances_are_independent(&model, fixture),
        Clause::OnlyWantedOutputs => only_wanted_outputs(&model, fixture),
        _ => instance_outlives_model(model, fixture),
    }
}

pub(super) fn new_instance(model: &Arc<dyn Model>, index: usize) -> Result<Box<dyn ModelInstance>, Verdict> {
    let placement = InstancePlacement { name: format!("fixture_0_{index}"), placement: Placement::Cpu };
    model.create_instance(&placement).map_err(|error| broken(format!("no instance: {error}")))
}

/// Executes `sample` alone and compares what it gets.
fn answers(instance: &mut dyn ModelInstance, fixture: &Fixture, sample: &Sample) -> Result<Outcome, String> {
    let request = sample.request(OutputSelection::All);
    let mut execution = execute(instance, &fixture.config, &[request], &[]);
    let outcome = execution.outcomes.pop().unwrap_or_default();
    outcome_matches(&outcome, sample)?;
    Ok(outcome)
}

fn all_answers(instance: &mut dyn ModelInstance, fixture: &Fixture) -> Checked {
    for (index, sample) in fixture.samples.iter().enumerate() {
        answers(instance, fixture, sample).map_err(|error| broken(format!("sample {index}: {error}")))?;
    }
    Ok(())
}

fn expected_outputs(model: &Arc<dyn Model>, fixture: &Fixture) -> Checked {
    if fixture.samples.is_empty() {
        return Err(broken("the fixture has no sample"));
    }
    all_answers(&mut *new_instance(model, 0)?, fixture)
}

fn batch_equals_singles(model: &Arc<dyn Model>, fixture: &Fixture) -> Checked {
    if fixture.config.max_batch_size < 2 {
        return Err(Verdict::DoesNotApply("the model does not batch"));
    }
    let mut instance = new_instance(model, 0)?;
    // Every size of a batch up to the maximum, samples in turn, as far as their inner shapes agree with the first's.
    let inner = |sample: &Sample| -> Vec<Option<Vec<i64>>> {
        sample.inputs.iter().map(|input| input.as_ref().map(|tensor| tensor.shape[1..].to_vec())).collect()
    };
    let first = fixture.samples.first().map(inner).unwrap_or_default();
    let alike: Vec<&Sample> = fixture.samples.iter().filter(|sample| inner(sample) == first).collect();
    for size in 2..=(2 * alike.len()).clamp(2, 16) {
        let chosen: Vec<&Sample> = alike.iter().cycle().skip(size).take(size).copied().collect();
        if chosen.iter().map(|sample| sample.rows).sum::<u32>() > fixture.config.max_batch_size {
            continue;
        }
        let requests: Vec<_> = chosen.iter().map(|sample| sample.request(OutputSelection::All)).collect();
        let execution = execute(&mut *instance, &fixture.config, &requests, &[]);
        for (index, (outcome, sample)) in execution.outcomes.iter().zip(&chosen).enumerate() {
            outcome_matches(outcome, sample)
                .map_err(|error| broken(format!("request {index} of a batch of {size}: {error}")))?;
        }
    }
    Ok(())
}

fn outputs_are_kept(model: &Arc<dyn Model>, fixture: &Fixture) -> Checked {
    let mut instance = new_instance(model, 0)?;
    let mut kept = Vec::new();
    for _ in 0..2 {
        for sample in &fixture.samples {
            kept.push((sample, answers(&mut *instance, fixture, sample).map_err(broken)?));
        }
    }
    drop(instance);
    for (index, (sample, outcome)) in kept.iter().enumerate() {
        outcome_matches(outcome, sample)
            .map_err(|error| broken(format!("answer {index}, looked at again at the end: {error}")))?;
    }
    Ok(())
}

fn unaligned_inputs(model: &Arc<dyn Model>, fixture: &Fixture) -> Checked {
    let mut instance = new_instance(model, 0)?;
    for (index, sample) in fixture.samples.iter().enumerate() {
        for offset in [1, 2, 3, 5] {
            let mut moved = sample.clone();
            for tensor in moved.inputs.iter_mut().flatten() {
                tensor.data = copied_to_offset(&tensor.data, offset);
            }
            answers(&mut *instance, fixture, &moved)
                .map_err(|error| broken(format!("sample {index}, {offset} bytes off a boundary: {error}")))?;
        }
    }
    Ok(())
}

fn copied_to_offset(data: &[u8], offset: usize) -> Bytes {
    let mut buffer = AlignedBuffer::zeroed(offset + data.len());
    buffer[offset..].copy_from_slice(data);
    buffer.into_bytes().slice(offset..)
}

fn bad_content_fails(model: &Arc<dyn Model>, fixture: &Fixture) -> Checked {
    let mut instance = new_instance(model, 0)?;
    let Some(sample) = fixture.samples.first() else { return Err(broken("the fixture has no sample")) };
    for index in 0..sample.inputs.len() {
        let mut bad = sample.clone();
        let Some(tensor) = bad.inputs[index].as_mut().filter(|tensor| !tensor.data.is_empty()) else { continue };
        tensor.data.truncate(tensor.data.len() - 1);
        let request = bad.request(OutputSelection::All);
        let execution = execute(&mut *instance, &fixture.config, std::slice::from_ref(&request), &[]);
        if execution.outcomes[0].outputs().is_ok() {
            return Err(broken(format!("input {index}, one byte short, was answered as if it were whole")));
        }
        if fixture.config.max_batch_size >= 2 * sample.rows {
            let requests: [InferenceRequest; 2] = [sample.request(OutputSelection::All), request];
            let execution = execute(&mut *instance, &fixture.config, &requests, &[]);
            if execution.outcomes[1].outputs().is_ok() {
                return Err(broken(format!("input {index}, one byte short within a batch, was answered")));
            }
        }
        answers(&mut *instance, fixture, sample)
            .map_err(|error| broken(format!("after a failure the instance no longer works: {error}")))?;
    }
    Ok(())
}

fn instances_are_independent(model: &Arc<dyn Model>, fixture: &Fixture) -> Checked {
    let instances = [new_instance(model, 0)?, new_instance(model, 1)?];
    std::thread::scope(|scope| {
        let threads = instances.map(|mut instance| {
            scope.spawn(move || (0..CONCURRENT_ROUNDS).try_for_each(|_| all_answers(&mut *instance, fixture)))
        });
        for thread in threads {
            thread.join().map_err(|_| broken("an instance panicked"))??;
        }
        Ok(())
    })
}

fn only_wanted_outputs(model: &Arc<dyn Model>, fixture: &Fixture) -> Checked {
    if fixture.config.outputs.len() < 2 {
        return Err(Verdict::DoesNotApply("the model has one output"));
    }
    let mut instance = new_instance(model, 0)?;
    for (wanted, sample) in (0..fixture.config.outputs.len()).zip(fixture.samples.iter().cycle()) {
        let selection = OutputSelection::Only([u16::try_from(wanted).unwrap_or(u16::MAX)].into_iter().collect());
        let execution = execute(&mut *instance, &fixture.config, &[sample.request(selection)], &[]);
        let outputs = execution.outcomes[0].outputs().map_err(broken)?;
        for (index, output) in outputs.into_iter().enumerate() {
            match (output, index == wanted) {
                (Some(output), true) => {
                    super::comparison::tensor_matches(output, &sample.expected[index], sample.tolerance)
                        .map_err(|error| broken(format!("output {index}, asked for alone: {error}")))?;
                }
                (None, true) => return Err(broken(format!("output {index} was asked for and not given"))),
                (Some(_), false) => return Err(broken(format!("output {index} was given to a request without it"))),
                (None, false) => {}
            }
        }
        if let Some(extra) = execution.given.iter().find(|&&given| given != wanted) {
            return Err(broken(format!("output {extra} was given, only output {wanted} was asked for")));
        }
    }
    Ok(())
}

fn instance_outlives_model(model: Arc<dyn Model>, fixture: &Fixture) -> Checked {
    let mut instance = new_instance(&model, 0)?;
    drop(model);
    all_answers(&mut *instance, fixture)
}
