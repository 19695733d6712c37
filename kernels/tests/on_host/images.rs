//! The image kernel.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]
#![allow(unsafe_code, reason = "launches take addresses")]
#![allow(clippy::cast_possible_truncation, reason = "test data is small")]

use hanok_kernels::{ElementType, ImageLayout, ImageNormalise, ImageSource};
use proptest::prelude::*;
use proptest::sample::select;

use crate::emulator::Buffer;
use crate::{Random, assert_close, check, floats, step};

#[test]
fn images_are_normalised_and_resized() {
    let strategy = (
        (1..20_u32, 1..20_u32, select(vec![1_u32, 3, 4]), select(ImageLayout::ALL.to_vec()), floats()),
        (1..5_usize, any::<bool>(), any::<u64>()),
    );
    check(40, strategy, |queue, &((height, width, channels, layout, output), (count, same, seed))| {
        let mut random = Random(seed);
        let mut vector = || [random.float(0.02), random.float(0.02), random.float(0.02), random.float(0.02)];
        let operation = ImageNormalise { height, width, channels, layout, output, scale: vector(), bias: vector() };
        let mut sources = Vec::new();
        let mut data = Vec::new();
        for _ in 0..count {
            let (rows, columns) =
                if same { (height, width) } else { (1 + random.below(30) as u32, 1 + random.below(30) as u32) };
            let gap = if same { 0 } else { random.below(5) as u32 };
            let row_bytes = gap + columns * if layout == ImageLayout::Interleaved { channels } else { 1 };
            let planes = if layout == ImageLayout::Planar { channels } else { 1 };
            let buffer = Buffer::new(
                &random.bytes((planes * rows * row_bytes) as usize),
                if same { 0 } else { random.below(3) },
            );
            sources.push(ImageSource { address: buffer.address(), height: rows, width: columns, row_bytes });
            data.push(buffer);
        }
        let bytes = operation.output_image_bytes().unwrap() as usize * count;
        let target = Buffer::poisoned(bytes, 0);
        // SAFETY: buffers of this test, of the sizes that the operation says.
        unsafe { operation.launch(queue, &sources, target.address()).unwrap() };
        let mut expected = vec![0; bytes];
        let slices: Vec<&[u8]> = data.iter().map(Buffer::bytes).collect();
        operation.reference(&sources, &slices, &mut expected);
        assert_close(output, target.bytes(), &expected, step(output), 1e-5);
    });
}

#[test]
fn images_beyond_one_launch_go_on_in_the_next() {
    check(1, any::<u64>(), |queue, &seed| {
        let mut random = Random(seed);
        let source = Buffer::new(&random.bytes(170 * 12), 0);
        let operation = ImageNormalise {
            height: 2,
            width: 2,
            channels: 3,
            layout: ImageLayout::Interleaved,
            output: ElementType::F32,
            scale: [1.0; 4],
            bias: [0.0; 4],
        };
        let images: Vec<ImageSource> = (0..170)
            .map(|index| ImageSource { address: source.address() + 12 * index, height: 2, width: 2, row_bytes: 6 })
            .collect();
        let target = Buffer::poisoned(170 * 48, 0);
        // SAFETY: buffers of this test, of the sizes that the operation says.
        unsafe { operation.launch(queue, &images, target.address()).unwrap() };
        let slices: Vec<&[u8]> = source.bytes().chunks_exact(12).collect();
        let mut expected = vec![0; 170 * 48];
        operation.reference(&images, &slices, &mut expected);
        assert_eq!(target.bytes(), expected);
    });
}
