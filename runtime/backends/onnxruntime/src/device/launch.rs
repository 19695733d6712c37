//! From a batch to work on the streams: everything is put there, and nothing is waited for.

#![allow(unsafe_code, reason = "device memory is named by address")]

use std::collections::HashMap;
use std::time::Instant;

use hanok_backend::{Batch, ServingError};
use hanok_devices::{DeviceBuffer, DeviceError, DevicePool, RingRange, StagingRing, Stream};
use hanok_tensor::Shape;
use smallvec::SmallVec;
use std::sync::Arc;

use super::device_instance::{DeviceInstance, InFlight, Parts};
use super::flight::{Landed, Load, Marks, Output};
use super::graphs::{Graphs, present};
use super::inputs::{Inputs, Seat};
use super::outputs::Outputs;
use super::staging::Staging;
use super::trouble::Trouble;
use crate::failure::Failure;
use crate::instance::copied;
use crate::output_shapes::{InputShapes, OutputShapes};
use crate::session::{Loaded, Name, RunOptions, run};
use crate::value::{MemoryInfo, Value};

/// A copy between a block of a flight and a graph's own buffer.
struct Fixed {
    block: u64,
    graph: u64,
    length: usize,
}

/// Addresses that the model computes with.
struct Addresses {
    inputs: SmallVec<[u64; 4]>,
    outputs: SmallVec<[Option<u64>; 4]>,
    /// Where a graph has buffers of its own: copies to them, and back.
    to_graph: Vec<Fixed>,
    from_graph: Vec<Fixed>,
}

impl DeviceInstance {
    /// Puts copies, execution and copies back on the streams. On the way out of an error nothing of it is under way.
    pub(super) fn launch(&mut self, batch: &Batch<'_>, marks: &Marks) -> Result<Load, Trouble> {
        let began = Instant::now();
        let alone = self.flights.is_empty();
        let Self { parts, going, coming, variants, graphs, wait_for_capture, kept, staging, list, .. } = self;
        let Parts { library, loaded, shapes, memory, stream, generation, device } = &mut **parts;
        let (loaded, stream, going, coming): (&Loaded, &Stream, &Stream, &Stream) = (loaded, stream, going, coming);
        let rows = batch.rows();
        let graph = graph(graphs, shapes, loaded, batch);
        let padded = graph.map_or(rows, |number| graphs.rows(number));
        let mut inputs = Inputs::plan(library, loaded, batch, padded, graph.is_none())?;
        // A graph writes all outputs, whoever wants which.
        let bound: SmallVec<[usize; 4]> =
            (0..loaded.fetches.len()).filter(|&index| graph.is_some() || batch.wants_output(index)).collect();
        let mut outputs = Outputs::default();
        for &index in &bound {
            match expect(shapes, loaded, index, padded, &inputs.shapes) {
                None => outputs.add_unknown(),
                Some(known) if !batch.wants_output(index) => outputs.add_unwanted(known),
                Some(known) => {
                    let free = graph.is_none().then_some(&inputs);
                    outputs.add(batch, index, known, (padded, device.ordinal()), free)?;
                }
            }
        }

        let mut load = Load { rows, padded, regions: std::mem::take(&mut inputs.regions), ..Load::default() };
        hold_outputs(batch, &outputs, &mut load);
        let arriving = block(&generation.pool, inputs.block_bytes(), &mut load)?;
        let leaving = block(&generation.pool, outputs.layout.length(), &mut load)?;
        let (runs, scattered) = outputs.leave(leaving);
        let staged = [
            if inputs.are_staged() { inputs.layout.length() } else { 0 },
            if runs.is_empty() { 0 } else { outputs.layout.length() },
        ];
        reserve(staging, staged, alone, &mut load)?;
        let addresses = match graph {
            None => addresses(&inputs, &outputs, arriving, leaving),
            Some(number) => fixed_addresses(&inputs, &outputs, (arriving, leaving), number, kept, &generation.pool)?,
        };
        let copies = inputs.gather(load.going.as_ref().map_or(&mut [], |range| staging.bytes(range)), arriving)?;
        load.gathering = began.elapsed();
        load.begun = Some(began + load.gathering);

        let copier = generation.copier();
        let mut in_flight = InFlight(Some([going, stream, coming]));
        marks.copying.record(going)?;
        if let Some(range) = &load.going {
            let bytes = staging.bytes(range);
            for (begin, length) in copies.staged.iter() {
                // SAFETY: the piece is not touched before the last mark was waited for, and the block is this flight's alone
                // until then; on the way out of an error the streams are waited for.
                unsafe { going.copy_in(arriving + begin as u64, &bytes[begin..begin + length])? };
            }
        }
        // SAFETY: the regions are held by the load and the block is this flight's, both until the last mark; a generation that
        // lives keeps its context, and with it what was opened there.
        unsafe { copier.copy(going, list, &copies.pieces)? };
        marks.copied.record(going)?;
        stream.wait_for(&marks.copied)?;
        for Fixed { block, graph, length } in addresses.to_graph.iter().filter(|fixed| fixed.length > 0) {
            // SAFETY: the block is this flight's; the graph's buffer is used on this stream alone, in order.
            unsafe { stream.copy_across(*graph, *block, *length)? };
        }
        marks.computing.record(stream)?;
        let context = &generation.context;
        // Whoever may not capture now computes without the graph, with the same addresses.
        let capture = graph.filter(|&number| graphs.is_new(number)).map(|_| match *wait_for_capture {
            Some(deadline) => context.capture_by(deadline),
            None => context.capture(),
        });
        let used = graph.filter(|_| !matches!(capture, Some(None)));
        let beside = capture.as_ref().is_none_or(Option::is_none).then(|| context.beside_captures());
        used.map_or(Ok(()), |number| variants.prepare(loaded, number))?;
        let options = used.map_or(&variants.ahead, |number| &variants.graphs[number]);
        let computation = Computation {
            loaded,
            memory,
            options,
            waiting: &variants.waiting,
            bound: &bound,
            inputs: &mut inputs,
            addresses: &addresses,
        };
        let computed = computation.run(shapes, &mut outputs);
        if let Some(number) = used {
            // What a failed execution captured may be a part.
            graphs.note(number, computed.as_ref().is_ok_and(|computed| !computed.mistaken));
        }
        let values = computed?.allocated;
        drop((capture, beside));
        marks.computed.record(stream)?;

        let known = outputs.expected.iter().any(Option::is_some);
        if known {
            for Fixed { block, graph, length } in &addresses.from_graph {
                // SAFETY: as for the copies to the graph's buffers.
                unsafe { stream.copy_across(*block, *graph, *length)? };
            }
            marks.ready.record(stream)?;
            coming.wait_for(&marks.ready)?;
            // SAFETY: as for the inputs; a region that is written to is its client's, who waits for the answer.
            unsafe { copier.copy(coming, list, &scattered)? };
            if let Some(range) = &load.coming {
                let bytes = staging.bytes(range);
                for (begin, length) in runs.iter() {
                    // SAFETY: as for the inputs: nobody touches the piece before the last mark was waited for.
                    unsafe { coming.copy_out(&mut bytes[begin..begin + length], leaving + begin as u64)? };
                }
            }
        } else {
            coming.wait_for(&marks.computed)?;
        }
        marks.done.record(coming)?;
        load.outputs = arrivals(&bound, batch, outputs, values, &mut load)?;
        in_flight.0 = None;
        Ok(load)
    }
}

/// The graph that computes the batch: none where the shape of an output cannot be told before, since it is bound.
fn graph(graphs: &mut Graphs, shapes: &OutputShapes, loaded: &Loaded, batch: &Batch<'_>) -> Option<usize> {
    let rows = graphs.bucket(batch.rows())?;
    let known = |index| expect(shapes, loaded, index, rows, &InputShapes::new()).is_some();
    if !(0..loaded.fetches.len()).all(known) {
        return None;
    }
    graphs.choose(batch.rows(), present(loaded.feeds.iter().map(|feed| batch.input(feed.index).is_some()))?)
}

/// Holds the regions that outputs are written to.
fn hold_outputs(batch: &Batch<'_>, outputs: &Outputs, load: &mut Load) {
    for &(member, index) in &outputs.placed {
        let regions = batch.members()[member].request().regions.as_ref();
        if let Some(output) = regions.and_then(|regions| regions.output(usize::from(index))) {
            load.regions.push(output.slice.clone());
        }
    }
}

/// A block of the pool, held by the load; 0 where nothing is needed.
fn block(pool: &Arc<DevicePool>, length: usize, load: &mut Load) -> Result<u64, DeviceError> {
    if length == 0 {
        return Ok(0);
    }
    let buffer = pool.allocate(length)?;
    let address = buffer.address();
    load.buffers.push(buffer);
    Ok(address)
}

/// Takes pinned memory for inputs and outputs.
fn reserve(staging: &mut Staging, [going, coming]: [usize; 2], alone: bool, load: &mut Load) -> Result<(), Trouble> {
    let aligned = |length: usize| length.checked_next_multiple_of(StagingRing::ALIGNMENT).unwrap_or(usize::MAX);
    staging.reserve(aligned(going).saturating_add(aligned(coming)), alone)?;
    let mut take = |length: usize| -> Result<Option<RingRange>, ServingError> {
        let none = || ServingError::internal("the staging memory of an instance is too small for its batches");
        (length > 0).then(|| staging.take(length).ok_or_else(none)).transpose()
    };
    load.going = take(going)?;
    load.coming = take(coming)?;
    Ok(())
}

fn seated(seat: Seat, block: u64) -> u64 {
    match seat {
        Seat::Block(offset) => block + offset as u64,
        Seat::Region(address) => address,
        // Its graph's buffer is its only place.
        Seat::Graph => 0,
    }
}

fn addresses(inputs: &Inputs<'_>, outputs: &Outputs, arriving: u64, leaving: u64) -> Addresses {
    let expected = outputs.expected.iter();
    Addresses {
        inputs: inputs.moved.iter().map(|input| seated(input.seat, arriving)).collect(),
        outputs: expected.map(|expected| expected.as_ref().map(|output| seated(output.seat, leaving))).collect(),
        to_graph: Vec::new(),
        from_graph: Vec::new(),
    }
}

/// The buffers with which the graph of this number was or will be captured: for all inputs that are there, and all outputs.
fn fixed_addresses(
    inputs: &Inputs<'_>,
    outputs: &Outputs,
    (arriving, leaving): (u64, u64),
    number: usize,
    kept: &mut HashMap<(usize, usize), DeviceBuffer>,
    pool: &Arc<DevicePool>,
) -> Result<Addresses, Trouble> {
    let plain = addresses(inputs, outputs, arriving, leaving);
    let mut fixed = |slot: usize, block: u64, length: usize| -> Result<Fixed, Trouble> {
        if let Some(buffer) = kept.get(&(number, slot)) {
            if buffer.length() != length {
                return Err(ServingError::internal("a tensor of a captured graph changed its size").into());
            }
            return Ok(Fixed { block, graph: buffer.address(), length });
        }
        let buffer = pool.allocate(length)?;
        let graph = buffer.address();
        kept.insert((number, slot), buffer);
        Ok(Fixed { block, graph, length })
    };
    let (mut to_graph, mut from_graph) = (Vec::new(), Vec::new());
    for (slot, (input, &block)) in inputs.moved.iter().zip(&plain.inputs).enumerate() {
        to_graph.push(fixed(slot, block, input.length)?);
    }
    let mut places: SmallVec<[Option<u64>; 4]> = SmallVec::new();
    for (slot, (output, block)) in (inputs.moved.len()..).zip(outputs.expected.iter().zip(&plain.outputs)) {
        places.push(match (output, block) {
            (Some(output), &Some(block)) => {
                let made = fixed(slot, block, output.length)?;
                let address = made.graph;
                if output.seat != Seat::Graph {
                    from_graph.push(made);
                }
                Some(address)
            }
            _ => None,
        });
    }
    Ok(Addresses { inputs: to_graph.iter().map(|made| made.graph).collect(), outputs: places, to_graph, from_graph })
}

/// Values that the library allocated, by place among the outputs that are bound.
type Allocated = SmallVec<[Option<(Shape, bytes::Bytes)>; 4]>;

/// What an execution came to.
struct Computed {
    allocated: Allocated,
    /// Whether a shape was expected wrongly.
    mistaken: bool,
}

/// One execution of the model.
struct Computation<'a, 'b> {
    loaded: &'a Loaded,
    memory: &'a MemoryInfo,
    options: &'a RunOptions,
    /// In their place, where the library allocates outputs.
    waiting: &'a RunOptions,
    bound: &'a [usize],
    inputs: &'a mut Inputs<'b>,
    addresses: &'a Addresses,
}

impl Computation<'_, '_> {
    /// Runs the model. Where a shape was expected wrongly, it is run again and the library allocates: `outputs` then are all
    /// unknown.
    fn run(self, shapes: &mut OutputShapes, outputs: &mut Outputs) -> Result<Computed, Trouble> {
        let Self { loaded, memory, options, waiting, bound, inputs, addresses } = self;
        let (mut names, mut values): (SmallVec<[Name<'_>; 4]>, SmallVec<[Value<'_>; 4]>) = Default::default();
        for (name, value) in inputs.strings.drain(..) {
            names.push(name);
            values.push(value);
        }
        for (input, &address) in inputs.moved.iter().zip(&addresses.inputs) {
            // SAFETY: the address is that of a buffer or region of this length, held until the last mark.
            values.push(unsafe { Value::over_memory(memory, input.data_type, &input.shape, address, input.length)? });
            names.push(input.name);
        }
        let output_names: SmallVec<[Name<'_>; 4]> =
            bound.iter().map(|&index| loaded.fetches[index].name.as_c_str().into()).collect();
        let compute = |outputs: &Outputs| {
            let mut places: SmallVec<[Option<Value<'_>>; 4]> = SmallVec::new();
            for ((&index, expected), address) in bound.iter().zip(&outputs.expected).zip(&addresses.outputs) {
                places.push(match (expected, address) {
                    (Some(expected), &Some(address)) => {
                        let data_type = loaded.fetches[index].data_type;
                        // SAFETY: as for the inputs; nothing else writes there until the last mark.
                        Some(unsafe {
                            Value::over_memory(memory, data_type, &expected.shape, address, expected.length)?
                        })
                    }
                    _ => None,
                });
            }
            let options = if outputs.expected.iter().any(Option::is_none) { waiting } else { options };
            run(&loaded.session, options, &names, &values, &output_names, places)
        };
        let mut result = compute(outputs);
        let mut mistaken = None;
        if result.as_ref().is_err_and(Failure::is_about_an_output_shape) && outputs.expected.iter().any(Option::is_some)
        {
            mistaken = Some(std::mem::take(outputs));
            bound.iter().for_each(|_| outputs.add_unknown());
            result = compute(outputs);
        }
        let mut allocated = Allocated::new();
        for (position, (&index, value)) in bound.iter().zip(result?).enumerate() {
            let Some(mut value) = value else {
                allocated.push(None);
                continue;
            };
            let (shape, data) = copied(&mut value, loaded.fetches[index].data_type)?;
            match mistaken.as_ref().and_then(|mistaken| mistaken.expected[position].as_ref()) {
                Some(expected) if expected.shape != shape => shapes.was_wrong(index),
                _ => shapes.learn(index, &inputs.shapes, &shape),
            }
            allocated.push(Some((shape, data)));
        }
        Ok(Computed { allocated, mistaken: mistaken.is_some() })
    }
}

/// What comes of each output, now that it is under way.
fn arrivals(
    bound: &[usize],
    batch: &Batch<'_>,
    outputs: Outputs,
    values: Allocated,
    load: &mut Load,
) -> Result<Vec<Output>, ServingError> {
    load.placed = outputs.placed;
    load.refused = outputs.refused;
    let mut arriving = Vec::with_capacity(bound.len());
    for ((&index, expected), value) in bound.iter().zip(outputs.expected).zip(values) {
        if !batch.wants_output(index) {
            continue;
        }
        let (shape, landed) = match (expected, value) {
            (Some(expected), _) => {
                let offset = if let Seat::Block(offset) = expected.seat { offset } else { 0 };
                let (length, copied) = (expected.length, expected.host);
                (expected.shape, Landed::Staged { offset, length, copied })
            }
            (None, Some((shape, data))) => (shape, Landed::Host(data)),
            (None, None) => return Err(ServingError::internal("onnxruntime gave no value for an output")),
        };
        arriving.push(Output { index, shape, landed });
    }
    Ok(arriving)
}

fn expect(
    shapes: &OutputShapes,
    loaded: &Loaded,
    index: usize,
    rows: usize,
    inputs: &InputShapes,
) -> Option<(Shape, usize)> {
    let shape = shapes.predict(index, rows, inputs)?;
    let length = shape.byte_size(loaded.fetches[index].data_type).ok().flatten()?;
    (length > 0).then_some((shape, length))
}
