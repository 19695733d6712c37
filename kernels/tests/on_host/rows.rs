//! Kernels that reduce rows: softmax, layer norm, top-k, mean pooling.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]
#![allow(unsafe_code, reason = "launches take addresses")]
#![allow(clippy::cast_possible_truncation, reason = "test data is small")]

use hanok_kernels::{ElementType, LayerNorm, LayerNormOperands, MaskType, MeanPooling, Softmax, TopK};
use proptest::prelude::*;
use proptest::sample::select;

use crate::emulator::{Buffer, Plain};
use crate::{Random, assert_close, check, floats, step};

/// Rows for the warp kind, the block kind, and rows too long for shared memory.
fn rows_and_columns() -> impl Strategy<Value = (usize, usize)> {
    prop_oneof![
        (1..10_usize, 1..70_usize),
        (1..6_usize, (1..17_usize).prop_map(|eighths| eighths * 8)),
        (1..3_usize, 1000..1300_usize),
        (1..3_usize, (130..300_usize).prop_map(|eighths| eighths * 8)),
        (Just(1_usize), 24_000..24_100_usize),
    ]
}

/// Puts values that break sums into some rows.
fn spoil(random: &mut Random, element: ElementType, bytes: &mut [u8], rows: usize, columns: usize) {
    for row in 0..rows {
        let place = row * columns + random.below(columns);
        match random.below(6) {
            0 => element.write(bytes, place, f32::NEG_INFINITY),
            1 => element.write(bytes, place, f32::INFINITY),
            2 => element.write(bytes, place, f32::NAN),
            3 => (0..columns).for_each(|column| element.write(bytes, row * columns + column, f32::NEG_INFINITY)),
            _ => {}
        }
    }
}

#[test]
fn softmax_agrees() {
    check(
        24,
        (rows_and_columns(), floats(), 0..2_usize, any::<u64>()),
        |queue, &((rows, columns), element, shifted, seed)| {
            let mut random = Random(seed);
            let mut bytes = random.elements(element, rows * columns, 30.0);
            if seed % 2 == 0 {
                spoil(&mut random, element, &mut bytes, rows, columns);
            }
            let operation = Softmax { element, rows: rows as u64, columns: columns as u32 };
            let input = Buffer::new(&bytes, shifted * element.size_bytes() as usize);
            let output = Buffer::poisoned(bytes.len(), 0);
            // SAFETY: buffers of this test, of the sizes that the operation says.
            unsafe { operation.launch(queue, input.address(), output.address()).unwrap() };
            let mut expected = vec![0; bytes.len()];
            operation.reference(&bytes, &mut expected);
            assert_close(element, output.bytes(), &expected, 1e-5_f32.max(step(element)), 1e-7);
        },
    );
}

#[test]
fn layer_norm_agrees() {
    let strategy = (rows_and_columns(), floats(), (any::<bool>(), any::<bool>()), any::<u64>());
    check(24, strategy, |queue, &((rows, columns), element, (scaled, shifted), seed)| {
        let mut random = Random(seed);
        let bytes = random.elements(element, rows * columns, 5.0);
        let gamma = if scaled { random.elements(element, columns, 2.0) } else { Vec::new() };
        let beta = if shifted { random.elements(element, columns, 2.0) } else { Vec::new() };
        let operation = LayerNorm { element, rows: rows as u64, columns: columns as u32, epsilon: 1e-5 };
        let buffers = [Buffer::new(&bytes, 0), Buffer::new(&gamma, 0), Buffer::new(&beta, 0)];
        let output = Buffer::poisoned(bytes.len(), 0);
        let operands = LayerNormOperands {
            input: buffers[0].address(),
            output: output.address(),
            gamma: if scaled { buffers[1].address() } else { 0 },
            beta: if shifted { buffers[2].address() } else { 0 },
        };
        // SAFETY: buffers of this test, of the sizes that the operation says.
        unsafe { operation.launch(queue, &operands).unwrap() };
        let mut expected = vec![0; bytes.len()];
        operation.reference(&bytes, &mut expected, &gamma, &beta);
        // Two nearly equal values of a half type leave a deviation of a few steps: hence the absolute part.
        assert_close(element, output.bytes(), &expected, 2.0 * step(element), 4e-5);
    });
}

#[test]
fn layer_norm_of_nan_is_nan() {
    check(2, any::<u64>(), |queue, &seed| {
        let mut random = Random(seed);
        let mut bytes = random.elements(ElementType::F32, 3 * 40, 5.0);
        ElementType::F32.write(&mut bytes, 45, f32::NAN);
        ElementType::F32.write(&mut bytes, 85, f32::INFINITY);
        let operation = LayerNorm { element: ElementType::F32, rows: 3, columns: 40, epsilon: 1e-5 };
        let (input, output) = (Buffer::new(&bytes, 0), Buffer::poisoned(480, 0));
        let operands = LayerNormOperands { input: input.address(), output: output.address(), gamma: 0, beta: 0 };
        // SAFETY: buffers of this test, of the sizes that the operation says.
        unsafe { operation.launch(queue, &operands).unwrap() };
        let values: Vec<f32> = output.values();
        assert!(values[..40].iter().all(|value| value.is_finite()));
        assert!(values[40..].iter().all(|value| value.is_nan()));
    });
}

#[test]
fn top_k_agrees() {
    let strategy = (1..4_usize, prop_oneof![1..40_usize, 200..1500_usize], floats(), any::<u64>());
    check(24, strategy, |queue, &(rows, columns, element, seed)| {
        let mut random = Random(seed);
        // Few distinct values make ties at the boundary.
        let mut bytes = random.elements(element, rows * columns, 3.0);
        if seed % 3 == 0 {
            for index in 0..rows * columns {
                element.write(&mut bytes, index, random.below(4) as f32 - 2.0);
            }
        }
        for _ in 0..random.below(4) {
            let value = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0][random.below(4)];
            element.write(&mut bytes, random.below(rows * columns), value);
        }
        let k = 1 + random.below(columns.min(1024));
        let operation = TopK { element, rows: rows as u64, columns: columns as u32, k: k as u32 };
        let input = Buffer::new(&bytes, 0);
        let (values, indices) = (Buffer::poisoned(rows * k * 4, 0), Buffer::poisoned(rows * k * 4, 0));
        // SAFETY: buffers of this test, of the sizes that the operation says.
        unsafe { operation.launch(queue, input.address(), values.address(), indices.address()).unwrap() };
        let (mut expected_values, mut expected_indices) = (vec![0.0; rows * k], vec![0; rows * k]);
        operation.reference(&bytes, &mut expected_values, &mut expected_indices);
        assert_eq!(indices.values::<i32>(), expected_indices);
        assert_close(ElementType::F32, values.bytes(), &f32::bytes(&expected_values), 0.0, 0.0);
    });
}

#[test]
fn mean_pooling_agrees() {
    let strategy = (
        (1..4_usize, 1..30_usize, prop_oneof![1..50_usize, (1..40_usize).prop_map(|eighths| eighths * 8)]),
        floats(),
        select(MaskType::ALL.to_vec()),
        any::<u64>(),
    );
    check(24, strategy, |queue, &((batch, sequence, width), element, mask, seed)| {
        let mut random = Random(seed);
        let mut bytes = random.elements(element, batch * sequence * width, 4.0);
        let keep: Vec<i64> = (0..batch * sequence).map(|_| [0, 1, 1, 256 * 3][random.below(4)]).collect();
        let mask_bytes = match mask {
            MaskType::U8 => keep.iter().map(|&value| u8::from(value != 0)).collect(),
            MaskType::I32 => i32::bytes(&keep.iter().map(|&value| value as i32).collect::<Vec<_>>()),
            MaskType::I64 => i64::bytes(&keep),
        };
        // What is masked is never looked at.
        for (place, _) in keep.iter().enumerate().filter(|(_, value)| **value == 0) {
            element.write(&mut bytes, place * width, f32::NAN);
        }
        let operation =
            MeanPooling { element, batch: batch as u64, sequence: sequence as u32, width: width as u32, mask };
        let (input, mask_buffer) = (Buffer::new(&bytes, 0), Buffer::new(&mask_bytes, 0));
        let output = Buffer::poisoned(batch * width * element.size_bytes() as usize, 0);
        // SAFETY: buffers of this test, of the sizes that the operation says.
        unsafe { operation.launch(queue, input.address(), mask_buffer.address(), output.address()).unwrap() };
        let mut expected = vec![0; output.bytes().len()];
        operation.reference(&bytes, &mask_bytes, &mut expected);
        assert_close(element, output.bytes(), &expected, step(element), 2e-6);
    });
}
