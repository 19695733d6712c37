//! Which graphs are captured, when, and with what, over the driver's stand-in, where nothing is captured in truth.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hanok_backend::conformance::Fixture;
use hanok_backend::{ErrorCode, ModelInstance, OutputSelection};
use hanok_devices::PoolSizes;

use super::overlap_tests::assert_equal;
use super::region_tests::{execute, fixtures};
use super::tests::{COPY_IN, StagedOnHost};
use super::{DeviceInstance, PATIENCE};

/// A model with several outputs that batches.
fn several_outputs() -> Fixture {
    let fits = |fixture: &Fixture| fixture.config.outputs.len() > 1 && fixture.config.max_batch_size > 1;
    fixtures().into_iter().find(fits).expect("a model of the repository has two outputs")
}

#[test]
fn a_graph_is_bound_to_every_output_whoever_wants_which() {
    let Some((backend, _alone)) = StagedOnHost::open(true, &PoolSizes::default()) else { return };
    let fixture = several_outputs();
    let mut instance = backend.staged(&fixture.source()).unwrap().make().unwrap();
    let bound = |instance: &DeviceInstance| -> BTreeMap<(usize, usize), u64> {
        instance.kept.iter().map(|(&slot, buffer)| (slot, buffer.address())).collect()
    };
    let (inputs, outputs) = (fixture.config.inputs.len(), fixture.config.outputs.len());
    let only = |index: u16| fixture.samples[0].request(OutputSelection::Only(smallvec::smallvec![index]));
    let (last, first) = (only(u16::try_from(outputs - 1).unwrap()), only(0));
    let all = fixture.samples[0].request(OutputSelection::All);
    execute(&mut instance, &fixture, &[&last]);
    let before = bound(&instance);
    assert_eq!(before.len(), inputs + outputs, "those that nobody wants yet have their places too");
    let lent = backend.in_regions(&fixture, 0, 0, 0);
    for requests in [vec![&all], vec![&first], vec![&last], vec![&lent.request]] {
        let answers = execute(&mut instance, &fixture, &requests);
        let answer = answers[0].as_ref().unwrap();
        for (index, expected) in fixture.samples[0].expected.iter().enumerate() {
            let wanted = requests[0].outputs.wants(index);
            assert_eq!(answer.outputs[index].is_some(), wanted);
            if wanted && requests[0].regions.is_none() {
                assert_eq!(answer.outputs[index].as_ref().unwrap().data, expected.data);
            }
        }
        assert_eq!(bound(&instance), before, "the graph's addresses are those that it was captured with");
    }
    // Another batch size has another graph, whose addresses are its own.
    execute(&mut instance, &fixture, &[&first, &all]);
    let after = bound(&instance);
    assert_eq!(after.len(), 2 * before.len());
    assert!(before.iter().all(|(slot, address)| after[slot] == *address));
}

#[test]
fn a_graph_is_captured_only_while_nobody_takes_memory() {
    let Some((backend, _alone)) = StagedOnHost::open(true, &PoolSizes::default()) else { return };
    let fixture = several_outputs();
    let mut instance = backend.staged(&fixture.source()).unwrap().make().unwrap();
    let all = fixture.samples[0].request(OutputSelection::All);
    let context = Arc::clone(&backend.device.generation().unwrap().context);
    let beside = context.beside_captures();
    let without = execute(&mut instance, &fixture, &[&all]);
    assert!(instance.graphs.is_new(0), "it is computed without");
    drop(beside);
    assert_equal(&execute(&mut instance, &fixture, &[&all]), &without);
    assert!(!instance.graphs.is_new(0));
}

#[test]
fn graphs_of_all_sizes_are_captured_at_load() {
    let Some((backend, _alone)) = StagedOnHost::open(true, &PoolSizes::default()) else { return };
    let fixture = several_outputs();
    let model = backend.staged(&fixture.source()).unwrap();
    let all = fixture.samples[0].request(OutputSelection::All);
    let without = execute(&mut model.make().unwrap(), &fixture, &[&all]);
    let mut instance = model.make().unwrap();
    let sizes = instance.graphs.sizes().count();
    assert!(sizes > 1, "{:?}", fixture.config);
    instance.capture_graphs(&fixture.config, PATIENCE).unwrap();
    assert_eq!(instance.graphs.captured(), sizes);
    let places = instance.kept.len();
    assert_eq!(places, sizes * (fixture.config.inputs.len() + fixture.config.outputs.len()));
    let present = (1 << fixture.config.inputs.len()) - 1;
    for rows in 1..=fixture.config.max_batch_size as usize {
        let number = instance.graphs.choose(rows, present).unwrap();
        assert!(!instance.graphs.is_new(number), "no batch of `{rows}` rows captures one");
    }
    assert_equal(&execute(&mut instance, &fixture, &[&all]), &without);
    assert_eq!((instance.kept.len(), instance.graphs.captured()), (places, sizes));
}

#[test]
fn what_cannot_be_captured_at_load_is_captured_later() {
    let Some((backend, _alone)) = StagedOnHost::open(true, &PoolSizes::default()) else { return };
    let fixture = several_outputs();
    let model = backend.staged(&fixture.source()).unwrap();
    let all = fixture.samples[0].request(OutputSelection::All);
    let context = Arc::clone(&backend.device.generation().unwrap().context);

    let beside = context.beside_captures();
    let mut instance = model.make().unwrap();
    instance.capture_graphs(&fixture.config, Duration::ZERO).expect("others do not keep it from serving");
    assert_eq!(instance.graphs.captured(), 0);
    drop(beside);
    execute(&mut instance, &fixture, &[&all]);
    assert_eq!(instance.graphs.captured(), 1);

    let mut instance = model.make().unwrap();
    backend.fail(COPY_IN, 1, 1);
    instance.capture_graphs(&fixture.config, PATIENCE).expect("nor does a refused call");
    assert_eq!(instance.graphs.captured(), 1, "the largest");
    execute(&mut instance, &fixture, &[&all]);
    assert_eq!(instance.graphs.captured(), 2);

    let mut instance = model.make().unwrap();
    backend.fail(COPY_IN, 700, 1);
    let error = instance.capture_graphs(&fixture.config, PATIENCE).unwrap_err();
    assert_eq!((error.code(), instance.is_lost()), (ErrorCode::Unavailable, true), "{error}");
}
