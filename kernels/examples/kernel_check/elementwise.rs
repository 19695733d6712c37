//! Checks of the kernels that move or convert elements: segments, padding, cast, embedding, images.
#![allow(unsafe_code, reason = "launches take addresses")]
#![allow(clippy::cast_possible_truncation, reason = "sizes of the check, all small")]

use std::error::Error;

use hanok_kernels::{
    Cast, ElementType, Embedding, EmbeddingOperands, ImageLayout, ImageNormalise, ImageSource, IndexType, PadValue,
    Padding, SegmentCopies,
};

use crate::bench::{Bench, Buffer, Compare};

type Outcome = Result<(), Box<dyn Error>>;

pub(crate) fn check(bench: &mut Bench<'_>) -> Outcome {
    for (name, requests, bytes, odd) in
        [("64 x 4 MiB", 64, 4 << 20, false), ("128 ragged", 128, 2 << 20, true), ("64 x 602112", 64, 602_112, false)]
    {
        segments(bench, name, requests, bytes, odd)?;
    }
    padding(bench)?;
    for (from, to) in [
        (ElementType::U8, ElementType::F16),
        (ElementType::U8, ElementType::F32),
        (ElementType::F32, ElementType::F16),
        (ElementType::F16, ElementType::F32),
        (ElementType::F32, ElementType::BF16),
        (ElementType::F32, ElementType::I8),
    ] {
        cast(bench, from, to)?;
    }
    embedding(bench)?;
    for output in [ElementType::F16, ElementType::F32] {
        for layout in ImageLayout::ALL {
            image(bench, output, layout, 224)?;
        }
        image(bench, output, ImageLayout::Interleaved, 300)?;
    }
    Ok(())
}

/// `ragged`: lengths from 1 byte to `largest`, at any address.
fn segments(bench: &mut Bench<'_>, name: &str, requests: usize, largest: usize, ragged: bool) -> Outcome {
    let mut lengths = vec![largest; requests];
    if ragged {
        lengths.fill_with(|| 1 + bench.random.below(largest as u64) as usize);
    }
    let total: usize = lengths.iter().sum();
    let contents: Vec<Vec<u8>> = lengths.iter().map(|&length| bench.random.bytes(length)).collect();
    let sources = contents.iter().map(|bytes| bench.upload(bytes)).collect::<Result<Vec<Buffer>, _>>()?;
    let batch = bench.poisoned(total)?;
    let slices: Vec<(u64, u64)> =
        sources.iter().zip(&lengths).map(|(buffer, &length)| (buffer.address(), length as u64)).collect();
    let copies = SegmentCopies::gather(batch.address(), slices)?;
    let queue = bench.queue();
    // SAFETY: all ranges are buffers of this function.
    unsafe { copies.launch(&queue) }?;
    let found = bench.download(&batch)?;
    let wanted = contents.concat();
    bench.enter(format!("gather {name}"), (2 * total as u64, 0), Compare::Bytes, (&found, &wanted), |_| {
        // SAFETY: as above.
        unsafe { copies.launch(&queue) }
    })?;
    let back = lengths.iter().map(|&length| bench.poisoned(length)).collect::<Result<Vec<Buffer>, _>>()?;
    let slices: Vec<(u64, u64)> =
        back.iter().zip(&lengths).map(|(buffer, &length)| (buffer.address(), length as u64)).collect();
    let copies = SegmentCopies::scatter(batch.address(), slices)?;
    // SAFETY: as above.
    unsafe { copies.launch(&queue) }?;
    let mut found = Vec::new();
    for buffer in &back {
        found.extend(bench.download(buffer)?);
    }
    bench.enter(format!("scatter {name}"), (2 * total as u64, 0), Compare::Bytes, (&found, &wanted), |_| {
        // SAFETY: as above.
        unsafe { copies.launch(&queue) }
    })
}

fn padding(bench: &mut Bench<'_>) -> Outcome {
    let (rows, columns, item) = (512_usize, 512_u32, 768 * 2_usize);
    let mut offsets = vec![0_i64];
    for _ in 0..rows {
        let length = bench.random.below(u64::from(columns) + 1) as i64;
        offsets.push(offsets[offsets.len() - 1] + length);
    }
    let items = usize::try_from(offsets[rows])?;
    let contents = bench.random.bytes(items * item);
    let (packed, padded) = (bench.upload(&contents)?, bench.poisoned(rows * columns as usize * item)?);
    let table: Vec<u8> = offsets.iter().flat_map(|offset| offset.to_le_bytes()).collect();
    let table = bench.upload(&table)?;
    let operation = Padding { rows: rows as u64, columns, item_bytes: u32::try_from(item)? };
    let value = PadValue::new(&[0x34, 0x12])?;
    let queue = bench.queue();
    let (from, to, offset_address) = (packed.address(), padded.address(), table.address());
    // SAFETY: buffers of this function, of the sizes that the operation says.
    unsafe { operation.launch_pad(&queue, from, to, offset_address, &value) }?;
    let found = bench.download(&padded)?;
    let mut wanted = vec![0; found.len()];
    operation.reference_pad(&contents, &mut wanted, &offsets, &value);
    let bytes = (contents.len() + found.len()) as u64;
    bench.enter("pad 512 x 512 x 768 f16".to_owned(), (bytes, 0), Compare::Bytes, (&found, &wanted), |_| {
        // SAFETY: as above.
        unsafe { operation.launch_pad(&queue, from, to, offset_address, &value) }
    })?;
    let back = bench.poisoned(contents.len())?;
    let target = back.address();
    // SAFETY: as above.
    unsafe { operation.launch_unpad(&queue, to, target, offset_address) }?;
    let found = bench.download(&back)?;
    let bytes = 2 * contents.len() as u64;
    bench.enter("unpad 512 x 512 x 768 f16".to_owned(), (bytes, 0), Compare::Bytes, (&found, &contents), |_| {
        // SAFETY: as above.
        unsafe { operation.launch_unpad(&queue, to, target, offset_address) }
    })
}

fn cast(bench: &mut Bench<'_>, from: ElementType, to: ElementType) -> Outcome {
    // Odd, so that the rest is seen too.
    let elements = (48 << 20) + 3;
    let contents = bench.random.elements(from, elements, 200.0);
    let (input, output) = (bench.upload(&contents)?, bench.poisoned(elements * to.size_bytes() as usize)?);
    let operation = Cast { from, to, elements: elements as u64 };
    let queue = bench.queue();
    let (source, target) = (input.address(), output.address());
    // SAFETY: buffers of this function, of the sizes that the operation says.
    unsafe { operation.launch(&queue, source, target) }?;
    let found = bench.download(&output)?;
    let mut wanted = vec![0; found.len()];
    operation.reference(&contents, &mut wanted);
    let bytes = (contents.len() + found.len()) as u64;
    let name = format!("cast {} to {}", from.name(), to.name());
    bench.enter(name, (bytes, elements as u64), Compare::Bytes, (&found, &wanted), |_| {
        // SAFETY: as above.
        unsafe { operation.launch(&queue, source, target) }
    })
}

fn embedding(bench: &mut Bench<'_>) -> Outcome {
    let (table_rows, row_bytes, count) = (120_000_u64, 768 * 2_u32, 100_000_usize);
    let contents = bench.random.bytes(usize::try_from(table_rows)? * row_bytes as usize);
    // A few beyond the table.
    let indices: Vec<u8> = (0..count).flat_map(|_| bench.random.below(table_rows + 50).to_le_bytes()).collect();
    let buffers = [bench.upload(&contents)?, bench.upload(&indices)?, bench.upload(&[0; 4])?];
    let output = bench.poisoned(count * row_bytes as usize)?;
    let operation = Embedding { table_rows, row_bytes, count: count as u64, index: IndexType::I64 };
    let operands = EmbeddingOperands {
        table: buffers[0].address(),
        indices: buffers[1].address(),
        output: output.address(),
        refused: buffers[2].address(),
    };
    let queue = bench.queue();
    // SAFETY: buffers of this function, of the sizes that the operation says.
    unsafe { operation.launch(&queue, &operands) }?;
    let mut found = bench.download(&output)?;
    let bytes = 2 * found.len() as u64 + indices.len() as u64;
    found.extend(bench.download(&buffers[2])?);
    let mut wanted = vec![0; count * row_bytes as usize];
    let refused = operation.reference(&contents, &indices, &mut wanted);
    wanted.extend(refused.to_le_bytes());
    bench.enter(
        "embedding 100000 of 120000 x 768 f16".to_owned(),
        (bytes, 0),
        Compare::Bytes,
        (&found, &wanted),
        |_| {
            // SAFETY: as above.
            unsafe { operation.launch(&queue, &operands) }
        },
    )
}

fn image(bench: &mut Bench<'_>, output: ElementType, layout: ImageLayout, side: u32) -> Outcome {
    // Sets of operands in turn: one batch alone would lie in the cache.
    let (count, sets) = (64, 8);
    let operation = ImageNormalise {
        height: 224,
        width: 224,
        channels: 3,
        layout,
        output,
        scale: [0.017, 0.0175, 0.0174, 0.0],
        bias: [-2.1, -2.0, -1.8, 0.0],
    };
    let image_bytes = (side * side * 3) as usize;
    let row_bytes = if layout == ImageLayout::Interleaved { side * 3 } else { side };
    let mut data: Vec<Vec<u8>> = Vec::new();
    let mut buffers: Vec<Buffer> = Vec::new();
    for _ in 0..count * sets {
        data.push(bench.random.bytes(image_bytes));
        buffers.push(bench.upload(&data[data.len() - 1])?);
    }
    let sources: Vec<ImageSource> = buffers
        .iter()
        .map(|buffer| ImageSource { address: buffer.address(), height: side, width: side, row_bytes })
        .collect();
    let batches: Vec<&[ImageSource]> = sources.chunks(count).collect();
    let output_bytes = usize::try_from(operation.output_image_bytes()?)? * count;
    let targets = (0..sets).map(|_| bench.poisoned(output_bytes)).collect::<Result<Vec<Buffer>, _>>()?;
    let addresses: Vec<u64> = targets.iter().map(Buffer::address).collect();
    let queue = bench.queue();
    // SAFETY: buffers of this function, of the sizes that the operation says.
    unsafe { operation.launch(&queue, batches[0], addresses[0]) }?;
    let found = bench.download(&targets[0])?;
    let mut wanted = vec![0; output_bytes];
    let slices: Vec<&[u8]> = data[..count].iter().map(Vec::as_slice).collect();
    operation.reference(batches[0], &slices, &mut wanted);
    let bytes = (image_bytes * count + output_bytes) as u64;
    let values = u64::from(operation.height * operation.width * operation.channels) * count as u64;
    let name = format!("image {count} x {side}^2 {layout:?} to {}", output.name()).to_lowercase();
    let operations = values * if side == 224 { 2 } else { 10 };
    bench.enter(name, (bytes, operations), Compare::Elements(output), (&found, &wanted), |number| {
        // SAFETY: as above.
        unsafe { operation.launch(&queue, batches[number % sets], addresses[number % sets]) }
    })
}
