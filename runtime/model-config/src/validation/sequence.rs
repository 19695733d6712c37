//! The sequence batcher with the direct strategy.

use std::collections::HashSet;

use hanok_tensor::DataType;

use super::batching::duration;
use super::report::Report;
use crate::wire::model_sequence_batching::control::Kind;
use crate::wire::model_sequence_batching::{Control, StrategyChoice};
use crate::{InputSpec, SequenceBatching, SequenceControlInput, SequenceControlKind, element_type, wire};

/// The three fields that tell what false and true are.
const ANY_BOOLEAN: &str = "'int32_false_true', 'fp32_false_true' or 'bool_false_true'";

pub(super) fn sequence(
    wire: &wire::ModelSequenceBatching,
    inputs: &[InputSpec],
    report: &mut Report,
) -> SequenceBatching {
    strategy(wire, report);
    if !wire.state.is_empty() {
        report.not_offered("sequence_batching.state", "a model must keep the state of its sequences itself");
    }
    if wire.iterative_sequence {
        report.not_offered("sequence_batching.iterative_sequence", "a request is executed once");
    }
    let mut tensors = HashSet::new();
    let mut kinds = HashSet::new();
    let mut controls = Vec::with_capacity(wire.control_input.len());
    for (index, input) in wire.control_input.iter().enumerate() {
        let path = format!("sequence_batching.control_input[{index}]");
        if input.name.is_empty() {
            report.problem(format!("{path}.name"), "sequence batching control tensor must have a name");
        } else if !tensors.insert(&input.name) {
            let message =
                format!("sequence batching control tensor '{}' is specified for multiple control kinds", input.name);
            report.problem(format!("{path}.name"), message);
        } else if inputs.iter().any(|declared| declared.name == input.name) {
            report.problem(
                format!("{path}.name"),
                format!("`{}` is declared as an input, which clients would have to send", input.name),
            );
        }
        let [control] = input.control.as_slice() else {
            report.problem(
                format!("{path}.control"),
                format!("expected one control for each tensor, got `{}`", input.control.len()),
            );
            continue;
        };
        let path = format!("{path}.control[0]");
        if !kinds.insert(control.kind()) {
            report.problem(
                format!("{path}.kind"),
                format!("sequence batching specifies multiple {} tensors", control.kind().as_str_name()),
            );
        }
        controls.extend(control_input(&input.name, control, &path, report));
    }
    let idle_path = "sequence_batching.max_sequence_idle_microseconds";
    SequenceBatching { max_sequence_idle: duration(wire.max_sequence_idle_microseconds, idle_path, report), controls }
}

/// No strategy means the direct one, as in Triton.
fn strategy(wire: &wire::ModelSequenceBatching, report: &mut Report) {
    let direct = match &wire.strategy_choice {
        None => return,
        Some(StrategyChoice::Oldest(_)) => {
            report.not_offered("sequence_batching.oldest", "sequences are bound to a slot of an instance (`direct`)");
            return;
        }
        Some(StrategyChoice::Direct(direct)) => direct,
    };
    if !(0.0..=1.0).contains(&direct.minimum_slot_utilization) {
        report.problem(
            "sequence_batching.direct.minimum_slot_utilization",
            format!(
                "sequence batching minimum slot utilization must be in range (0.0, 1.0], got `{}`",
                direct.minimum_slot_utilization
            ),
        );
    } else if direct.minimum_slot_utilization > 0.0 {
        report.no_effect(
            "sequence_batching.direct.minimum_slot_utilization",
            "an idle instance never waits for other sequences",
        );
    }
    if direct.max_queue_delay_microseconds > 0 {
        report.no_effect(
            "sequence_batching.direct.max_queue_delay_microseconds",
            "an idle instance never waits for other sequences",
        );
    }
}

fn control_input(name: &str, control: &Control, path: &str, report: &mut Report) -> Option<SequenceControlInput> {
    let kind = match control.kind() {
        Kind::ControlSequenceStart => SequenceControlKind::Start,
        Kind::ControlSequenceEnd => SequenceControlKind::End,
        Kind::ControlSequenceReady => SequenceControlKind::Ready,
        Kind::ControlSequenceCorrid => SequenceControlKind::CorrelationId,
    };
    let (data_type, false_value, true_value) = if kind == SequenceControlKind::CorrelationId {
        (correlation_type(control, path, report)?, 0.0, 0.0)
    } else {
        boolean_values(control, path, report)?
    };
    Some(SequenceControlInput { name: name.to_owned(), kind, data_type, false_value, true_value })
}

fn correlation_type(control: &Control, path: &str, report: &mut Report) -> Option<DataType> {
    if !(control.int32_false_true.is_empty()
        && control.fp32_false_true.is_empty()
        && control.bool_false_true.is_empty())
    {
        let kind = control.kind().as_str_name();
        report.problem(path, format!("sequence batching must not specify {ANY_BOOLEAN} for {kind}"));
    }
    let data_type = element_type::from_wire(control.data_type);
    match data_type {
        Some(DataType::Uint64 | DataType::Int64 | DataType::Uint32 | DataType::Int32 | DataType::Bytes) => data_type,
        _ => {
            let allowed = "TYPE_UINT64, TYPE_INT64, TYPE_UINT32, TYPE_INT32 and TYPE_STRING";
            report.problem(
                format!("{path}.data_type"),
                format!(
                    "unexpected data type for control CONTROL_SEQUENCE_CORRID. Allowed data types are {allowed}, got `{}`",
                    element_type::spelling(control.data_type)
                ),
            );
            None
        }
    }
}

/// Data type and the values that mean false and true.
fn boolean_values(control: &Control, path: &str, report: &mut Report) -> Option<(DataType, f64, f64)> {
    let kind = control.kind().as_str_name();
    if control.data_type != 0 {
        report
            .problem(format!("{path}.data_type"), format!("sequence batching must not specify 'data_type' for {kind}"));
    }
    let given: Vec<(&str, DataType, Vec<f64>)> = [
        (
            "int32_false_true",
            DataType::Int32,
            control.int32_false_true.iter().copied().map(f64::from).collect::<Vec<_>>(),
        ),
        ("fp32_false_true", DataType::Fp32, control.fp32_false_true.iter().copied().map(f64::from).collect()),
        ("bool_false_true", DataType::Bool, control.bool_false_true.iter().copied().map(f64::from).collect()),
    ]
    .into_iter()
    .filter(|(_, _, values)| !values.is_empty())
    .collect();
    match given.as_slice() {
        [] => {
            let message = format!("sequence batching must specify either {ANY_BOOLEAN} for {kind}");
            report.problem(path, message);
        }
        [(_, data_type, values)] if values.len() == 2 => return Some((*data_type, values[0], values[1])),
        [(field, _, values)] => {
            let message = format!(
                "sequence batching control '{field}' must have exactly 2 entries for {kind}, got `{}`",
                values.len()
            );
            report.problem(format!("{path}.{field}"), message);
        }
        _ => {
            let message = format!(
                "sequence batching specifies more than one from 'int32_false_true', 'fp32_false_true' and \
                 'bool_false_true' for {kind}"
            );
            report.problem(path, message);
        }
    }
    None
}
