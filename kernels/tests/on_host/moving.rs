//! Kernels that move or convert elements: segments, padding, cast, embedding.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]
#![allow(unsafe_code, reason = "launches take addresses")]
#![allow(clippy::cast_possible_truncation, reason = "test data is small")]

use hanok_kernels::{Cast, ElementType, Embedding, EmbeddingOperands, IndexType, PadValue, Padding, SegmentCopies};
use proptest::prelude::*;
use proptest::sample::select;

use crate::emulator::{Buffer, Plain};
use crate::{Random, assert_close, check};

#[test]
fn segments_are_gathered_and_scattered() {
    let lengths = prop::collection::vec(prop_oneof![Just(0_usize), 1..200_usize, 16_000..40_000_usize], 1..12);
    check(12, (lengths, 0..17_usize, any::<u64>()), |queue, (lengths, offset, seed)| {
        let mut random = Random(*seed);
        let sources: Vec<Buffer> =
            lengths.iter().map(|&length| Buffer::new(&random.bytes(length), random.below(17))).collect();
        let total: usize = lengths.iter().sum();
        let slices = |buffers: &[Buffer]| -> Vec<(u64, u64)> {
            buffers.iter().zip(lengths).map(|(buffer, &length)| (buffer.address(), length as u64)).collect()
        };
        let batch = Buffer::poisoned(total, *offset);
        let gather = SegmentCopies::gather(batch.address(), slices(&sources)).unwrap();
        // SAFETY: all ranges are buffers of this test.
        unsafe { gather.launch(queue).unwrap() };
        let expected: Vec<u8> = sources.iter().flat_map(|source| source.bytes().to_vec()).collect();
        assert_eq!(batch.bytes(), expected);
        let back: Vec<Buffer> = lengths.iter().map(|&length| Buffer::poisoned(length, random.below(17))).collect();
        let scatter = SegmentCopies::scatter(batch.address(), slices(&back)).unwrap();
        // SAFETY: as above.
        unsafe { scatter.launch(queue).unwrap() };
        for (copied, source) in back.iter().zip(&sources) {
            assert_eq!(copied.bytes(), source.bytes());
        }
        // The reference writes the same.
        let again = Buffer::poisoned(total, *offset);
        // SAFETY: as above.
        unsafe { SegmentCopies::gather(again.address(), slices(&sources)).unwrap().reference() };
        assert_eq!(again.bytes(), expected);
    });
}

#[test]
fn many_segments_take_several_launches() {
    check(2, any::<u64>(), |queue, seed| {
        let mut random = Random(*seed);
        let mut copies = SegmentCopies::new();
        for round in 0..2 {
            let source = Buffer::new(&random.bytes(400 * 7), 1);
            let target = Buffer::poisoned(400 * 7, 3);
            copies.clear();
            for index in 0..400 {
                copies.push(source.address() + 7 * index, target.address() + 7 * index, 7).unwrap();
            }
            assert_eq!(copies.plans().unwrap().len(), 3, "400 ranges, 168 a launch");
            // SAFETY: all ranges are buffers of this test.
            unsafe { copies.launch(queue).unwrap() };
            assert_eq!(target.bytes(), source.bytes(), "round {round}");
        }
    });
}

#[test]
fn rows_are_padded_and_unpadded() {
    let shape = (1..9_usize, 1..40_u32, prop_oneof![1..5_u32, Just(24), Just(48), Just(768)]);
    check(
        24,
        (shape, select(vec![1_usize, 2, 4, 8, 16]), any::<u64>()),
        |queue, &((rows, columns, factor), pad, seed)| {
            let mut random = Random(seed);
            let item = factor as usize * pad;
            let mut offsets = vec![0_i64];
            for _ in 0..rows {
                let length = random.below(columns as usize + 6) as i64;
                offsets.push(offsets.last().unwrap() + length);
            }
            let items = *offsets.last().unwrap() as usize;
            let padding = Padding { rows: rows as u64, columns, item_bytes: item as u32 };
            let value = PadValue::new(&random.bytes(pad)).unwrap();
            let packed = Buffer::new(&random.bytes(items * item), pad * random.below(3));
            let padded = Buffer::poisoned(rows * columns as usize * item, pad * random.below(3));
            let table = Buffer::of(&offsets);
            // SAFETY: buffers of this test, of the sizes that the operation says.
            unsafe { padding.launch_pad(queue, packed.address(), padded.address(), table.address(), &value).unwrap() };
            let mut expected = vec![0; padded.bytes().len()];
            padding.reference_pad(packed.bytes(), &mut expected, &offsets, &value);
            assert_eq!(padded.bytes(), expected);
            let back = Buffer::poisoned(items * item, 0);
            // SAFETY: as above.
            unsafe { padding.launch_unpad(queue, padded.address(), back.address(), table.address()).unwrap() };
            let mut expected = vec![0xa5; items * item];
            padding.reference_unpad(padded.bytes(), &mut expected, &offsets);
            assert_eq!(back.bytes(), expected);
        },
    );
}

#[test]
fn every_pair_of_types_is_cast() {
    // Values at which types end, and the neighbours of halves.
    let special = [
        0.0,
        -0.0,
        0.5,
        1.5,
        2.5,
        -0.5,
        -1.5,
        127.0,
        127.5,
        128.0,
        -128.0,
        -128.5,
        -129.0,
        254.5,
        255.0,
        255.5,
        256.0,
        65_504.0,
        65_519.0,
        65_520.0,
        1e-7,
        5.96e-8,
        2.9e-8,
        1e30,
        -1e30,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        f32::MIN_POSITIVE,
    ];
    for from in ElementType::ALL {
        for to in ElementType::ALL.into_iter().filter(|&to| to != from) {
            check(3, (1..2600_usize, 0..2_usize, any::<u64>()), |queue, &(elements, shifted, seed)| {
                let mut random = Random(seed);
                let mut bytes = random.elements(from, elements, 300.0);
                for (index, value) in special.iter().enumerate().take(elements) {
                    from.write(&mut bytes, index, *value);
                }
                let cast = Cast { from, to, elements: elements as u64 };
                let input = Buffer::new(&bytes, shifted * from.size_bytes() as usize);
                let output = Buffer::poisoned(elements * to.size_bytes() as usize, 0);
                // SAFETY: buffers of this test, of the sizes that the operation says.
                unsafe { cast.launch(queue, input.address(), output.address()).unwrap() };
                let mut expected = vec![0; output.bytes().len()];
                cast.reference(&bytes, &mut expected);
                assert_close(to, output.bytes(), &expected, 0.0, 0.0);
            });
        }
    }
}

#[test]
fn embedding_agrees() {
    let strategy = (
        1..20_usize,
        prop_oneof![1..7_u32, Just(24), Just(48), Just(1536)],
        1..60_usize,
        select(IndexType::ALL.to_vec()),
        any::<u64>(),
    );
    check(24, strategy, |queue, &(table_rows, row_bytes, count, index, seed)| {
        let mut random = Random(seed);
        let chosen: Vec<i64> = (0..count).map(|_| random.below(table_rows + 4) as i64 - 2).collect();
        let indices = match index {
            IndexType::I32 => i32::bytes(&chosen.iter().map(|&value| value as i32).collect::<Vec<_>>()),
            IndexType::I64 => i64::bytes(&chosen),
        };
        let operation = Embedding { table_rows: table_rows as u64, row_bytes, count: count as u64, index };
        let table = Buffer::new(&random.bytes(table_rows * row_bytes as usize), 0);
        let index_buffer = Buffer::new(&indices, 0);
        let output = Buffer::poisoned(count * row_bytes as usize, 0);
        let refused = Buffer::of(&[5_u32]);
        let operands = EmbeddingOperands {
            table: table.address(),
            indices: index_buffer.address(),
            output: output.address(),
            refused: refused.address(),
        };
        // SAFETY: buffers of this test, of the sizes that the operation says.
        unsafe { operation.launch(queue, &operands).unwrap() };
        let mut expected = vec![0; output.bytes().len()];
        let expected_refused = operation.reference(table.bytes(), &indices, &mut expected);
        assert_eq!(output.bytes(), expected);
        assert_eq!(refused.values::<u32>(), [5 + expected_refused]);
    });
}
