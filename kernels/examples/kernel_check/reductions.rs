//! Checks of the kernels that reduce: softmax, layer norm, top-k, mean pooling, suppression, sketches.
#![allow(unsafe_code, reason = "launches take addresses")]
#![allow(clippy::cast_possible_truncation, reason = "sizes of the check, all small")]

use std::error::Error;

use hanok_kernels::{
    ElementType, Histogram, LayerNorm, LayerNormOperands, MaskType, MeanPooling, MomentOperands, Moments, Softmax,
    Suppression, SuppressionOperands, TopK,
};

use crate::bench::{Bench, Compare};

type Outcome = Result<(), Box<dyn Error>>;

pub(crate) fn check(bench: &mut Bench<'_>) -> Outcome {
    for element in ElementType::FLOATS {
        // A warp to a row, a block to a row, rows that shared memory does not hold, and rows that are not aligned.
        for (rows, columns) in [(65_536, 1000), (16_384, 4096), (2048, 32_000), (16_384, 999)] {
            softmax(bench, element, rows, columns)?;
        }
        for (rows, columns) in [(65_536, 768), (16_384, 4096)] {
            layer_norm(bench, element, rows, columns)?;
        }
        mean_pooling(bench, element)?;
    }
    top_k(bench, ElementType::F32, 16_384, 1000, 5)?;
    top_k(bench, ElementType::F16, 512, 128_000, 50)?;
    suppression(bench)?;
    sketches(bench, 1 << 19, 64)?;
    sketches(bench, 1 << 24, 1)
}

fn softmax(bench: &mut Bench<'_>, element: ElementType, rows: usize, columns: u32) -> Outcome {
    let operation = Softmax { element, rows: rows as u64, columns };
    let contents = bench.random.elements(element, rows * columns as usize, 8.0);
    let (input, output) = (bench.upload(&contents)?, bench.poisoned(contents.len())?);
    let (source, target) = (input.address(), output.address());
    let queue = bench.queue();
    // SAFETY: buffers of this function, of the sizes that the operation says.
    unsafe { operation.launch(&queue, source, target) }?;
    let found = bench.download(&output)?;
    let mut wanted = vec![0; contents.len()];
    operation.reference(&contents, &mut wanted);
    let counts = (2 * contents.len() as u64, 6 * operation.rows * u64::from(columns));
    let name = format!("softmax {} {rows} x {columns}", element.name());
    bench.enter(name, counts, Compare::Elements(element), (&found, &wanted), |_| {
        // SAFETY: as above.
        unsafe { operation.launch(&queue, source, target) }
    })
}

fn layer_norm(bench: &mut Bench<'_>, element: ElementType, rows: usize, columns: u32) -> Outcome {
    let operation = LayerNorm { element, rows: rows as u64, columns, epsilon: 1e-5 };
    let contents = bench.random.elements(element, rows * columns as usize, 4.0);
    let gamma = bench.random.elements(element, columns as usize, 2.0);
    let beta = bench.random.elements(element, columns as usize, 2.0);
    let buffers = [bench.upload(&contents)?, bench.upload(&gamma)?, bench.upload(&beta)?];
    let output = bench.poisoned(contents.len())?;
    let operands = LayerNormOperands {
        input: buffers[0].address(),
        output: output.address(),
        gamma: buffers[1].address(),
        beta: buffers[2].address(),
    };
    let queue = bench.queue();
    // SAFETY: buffers of this function, of the sizes that the operation says.
    unsafe { operation.launch(&queue, &operands) }?;
    let found = bench.download(&output)?;
    let mut wanted = vec![0; contents.len()];
    operation.reference(&contents, &mut wanted, &gamma, &beta);
    let counts = (2 * (contents.len() + gamma.len()) as u64, 7 * operation.rows * u64::from(columns));
    let name = format!("layer norm {} {rows} x {columns}", element.name());
    bench.enter(name, counts, Compare::Elements(element), (&found, &wanted), |_| {
        // SAFETY: as above.
        unsafe { operation.launch(&queue, &operands) }
    })
}

fn mean_pooling(bench: &mut Bench<'_>, element: ElementType) -> Outcome {
    let (batch, sequence, width) = (1024_u64, 128_u32, 768_u32);
    let operation = MeanPooling { element, batch, sequence, width, mask: MaskType::I64 };
    let contents = bench.random.elements(element, batch as usize * sequence as usize * width as usize, 4.0);
    // Sequences as they come: full at the front, masked behind.
    let mut mask = Vec::new();
    let mut kept = 0;
    for _ in 0..batch {
        let length = 1 + bench.random.below(sequence.into());
        kept += length;
        mask.extend((0..u64::from(sequence)).flat_map(|position| u64::from(position < length).to_le_bytes()));
    }
    let (input, mask_buffer) = (bench.upload(&contents)?, bench.upload(&mask)?);
    let output_bytes = batch as usize * (width * element.size_bytes()) as usize;
    let output = bench.poisoned(output_bytes)?;
    let addresses = [input.address(), mask_buffer.address(), output.address()];
    let queue = bench.queue();
    // SAFETY: buffers of this function, of the sizes that the operation says.
    unsafe { operation.launch(&queue, addresses[0], addresses[1], addresses[2]) }?;
    let found = bench.download(&output)?;
    let mut wanted = vec![0; output_bytes];
    operation.reference(&contents, &mask, &mut wanted);
    let row_bytes = u64::from(width * element.size_bytes());
    let counts = ((kept + batch) * row_bytes + mask.len() as u64, kept * u64::from(width));
    let name = format!("mean pooling {} {batch} x {sequence} x {width}", element.name());
    bench.enter(name, counts, Compare::Elements(element), (&found, &wanted), |_| {
        // SAFETY: as above.
        unsafe { operation.launch(&queue, addresses[0], addresses[1], addresses[2]) }
    })
}

fn top_k(bench: &mut Bench<'_>, element: ElementType, rows: usize, columns: u32, k: u32) -> Outcome {
    let operation = TopK { element, rows: rows as u64, columns, k };
    let contents = bench.random.elements(element, rows * columns as usize, 8.0);
    let chosen = rows * k as usize;
    let buffers = [bench.upload(&contents)?, bench.poisoned(chosen * 4)?, bench.poisoned(chosen * 4)?];
    let addresses = [buffers[0].address(), buffers[1].address(), buffers[2].address()];
    let queue = bench.queue();
    // SAFETY: buffers of this function, of the sizes that the operation says.
    unsafe { operation.launch(&queue, addresses[0], addresses[1], addresses[2]) }?;
    let found = [bench.download(&buffers[1])?, bench.download(&buffers[2])?].concat();
    let (mut values, mut indices) = (vec![0.0_f32; chosen], vec![0_i32; chosen]);
    operation.reference(&contents, &mut values, &mut indices);
    let mut wanted: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    wanted.extend(indices.iter().flat_map(|index| index.to_le_bytes()));
    let counts = ((contents.len() + chosen * 8) as u64, 10 * rows as u64 * u64::from(columns));
    let name = format!("top {k} {} {rows} x {columns}", element.name());
    bench.enter(name, counts, Compare::Bytes, (&found, &wanted), |_| {
        // SAFETY: as above.
        unsafe { operation.launch(&queue, addresses[0], addresses[1], addresses[2]) }
    })
}

fn suppression(bench: &mut Bench<'_>) -> Outcome {
    let (images, boxes, limit) = (64_usize, 1024_usize, 300_usize);
    let operation = Suppression {
        images: u32::try_from(images)?,
        boxes: u32::try_from(boxes)?,
        limit: u32::try_from(limit)?,
        overlap_threshold: 0.5,
        score_threshold: 0.05,
    };
    let all = images * boxes;
    let mut corners = Vec::with_capacity(all);
    for _ in 0..all {
        let (left, top) = (bench.random.float(300.0), bench.random.float(300.0));
        corners.push([left, top, left + bench.random.float(40.0) + 45.0, top + bench.random.float(40.0) + 45.0]);
    }
    let scores: Vec<f32> = (0..all).map(|_| bench.random.float(1.0).abs()).collect();
    let classes: Vec<i32> = (0..all).map(|_| bench.random.below(5) as i32).collect();
    let bytes_of = |values: &[f32]| -> Vec<u8> { values.iter().flat_map(|value| value.to_le_bytes()).collect() };
    let class_bytes: Vec<u8> = classes.iter().flat_map(|class| class.to_le_bytes()).collect();
    let inputs =
        [bench.upload(&bytes_of(&corners.concat()))?, bench.upload(&bytes_of(&scores))?, bench.upload(&class_bytes)?];
    let workspace = bench.poisoned(usize::try_from(operation.workspace_bytes()?)?)?;
    let outputs = [bench.poisoned(images * limit * 4)?, bench.poisoned(images * 4)?];
    let operands = SuppressionOperands {
        boxes: inputs[0].address(),
        scores: inputs[1].address(),
        classes: inputs[2].address(),
        workspace: workspace.address(),
        kept: outputs[0].address(),
        kept_count: outputs[1].address(),
    };
    let queue = bench.queue();
    // SAFETY: buffers of this function, of the sizes that the operation says.
    unsafe { operation.launch(&queue, &operands) }?;
    let found = [bench.download(&outputs[0])?, bench.download(&outputs[1])?].concat();
    let (mut kept, mut kept_count) = (vec![0; images * limit], vec![0; images]);
    operation.reference(&corners, &scores, &classes, &mut kept, &mut kept_count);
    let wanted: Vec<u8> = kept.iter().chain(&kept_count).flat_map(|index| index.to_le_bytes()).collect();
    let counts = ((all * 24 + all * boxes / 16) as u64, (all * boxes / 2 * 15) as u64);
    let name = format!("suppression {images} x {boxes} boxes");
    bench.enter(name, counts, Compare::Bytes, (&found, &wanted), |_| {
        // SAFETY: as above.
        unsafe { operation.launch(&queue, &operands) }
    })
}

fn sketches(bench: &mut Bench<'_>, rows: u64, columns: u32) -> Outcome {
    let width = columns as usize;
    let values: Vec<f32> = (0..rows as usize * width).map(|_| bench.random.float(3.0)).collect();
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let input = bench.upload(&bytes)?;
    let queue = bench.queue();

    let histogram = Histogram { rows, columns, edges: 20 };
    let edges: Vec<f32> = (0..width * 20).map(|index| (index % 20) as f32 * 0.3 - 2.9).collect();
    let edge_bytes: Vec<u8> = edges.iter().flat_map(|edge| edge.to_le_bytes()).collect();
    let edge_buffer = bench.upload(&edge_bytes)?;
    let counts = bench.upload(&vec![0; width * histogram.bins() as usize * 8])?;
    let addresses = [input.address(), edge_buffer.address(), counts.address()];
    // SAFETY: buffers of this function, of the sizes that the operation says.
    unsafe { histogram.launch(&queue, addresses[0], addresses[1], addresses[2]) }?;
    let found = bench.download(&counts)?;
    let mut expected = vec![0_u64; width * histogram.bins() as usize];
    histogram.reference(&values, &edges, &mut expected);
    let wanted: Vec<u8> = expected.iter().flat_map(|count| count.to_le_bytes()).collect();
    let cost = (bytes.len() as u64, 5 * values.len() as u64);
    let name = format!("histogram {rows} x {columns}, 20 edges");
    bench.enter(name, cost, Compare::Bytes, (&found, &wanted), |_| {
        // SAFETY: as above.
        unsafe { histogram.launch(&queue, addresses[0], addresses[1], addresses[2]) }
    })?;

    let moments = Moments { rows, columns };
    let (centres, scales) = (vec![0.25_f32; width], vec![1.5_f32; width]);
    let raw = |values: &[f32]| -> Vec<u8> { values.iter().flat_map(|value| value.to_le_bytes()).collect() };
    let buffers = [bench.upload(&raw(&centres))?, bench.upload(&raw(&scales))?];
    let workspace = bench.poisoned(usize::try_from(moments.workspace_bytes()?)?)?;
    let start: Vec<u8> = Moments::empty_state(width).iter().flat_map(|number| number.to_le_bytes()).collect();
    let state = bench.upload(&start)?;
    let operands = MomentOperands {
        input: input.address(),
        centres: buffers[0].address(),
        scales: buffers[1].address(),
        workspace: workspace.address(),
        state: state.address(),
    };
    // SAFETY: buffers of this function, of the sizes that the operation says.
    unsafe { moments.launch(&queue, &operands) }?;
    let found = bench.download(&state)?;
    let mut expected = Moments::empty_state(width);
    moments.reference(&values, &centres, &scales, &mut expected);
    let wanted: Vec<u8> = expected.iter().flat_map(|number| number.to_le_bytes()).collect();
    let cost = (bytes.len() as u64, 10 * values.len() as u64);
    bench.enter(format!("moments {rows} x {columns}"), cost, Compare::Doubles, (&found, &wanted), |_| {
        // SAFETY: as above.
        unsafe { moments.launch(&queue, &operands) }
    })
}
