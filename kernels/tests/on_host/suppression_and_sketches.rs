//! Suppression, histograms and moments.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]
#![allow(unsafe_code, reason = "launches take addresses")]
#![allow(clippy::cast_possible_truncation, reason = "test data is small")]

use hanok_kernels::{Histogram, MomentOperands, Moments, Suppression, SuppressionOperands};
use proptest::prelude::*;

use crate::emulator::Buffer;
use crate::{Random, check};

#[test]
fn suppression_agrees() {
    let strategy =
        (1..3_usize, prop_oneof![1..70_usize, 150..260_usize], 1..200_u32, (0.0..1.0_f32, any::<bool>()), any::<u64>());
    check(24, strategy, |queue, &(images, count, limit, (threshold, with_classes), seed)| {
        let mut random = Random(seed);
        let all = images * count;
        let boxes: Vec<[f32; 4]> = (0..all)
            .map(|_| {
                let (left, top) = (random.float(10.0), random.float(10.0));
                let mut corners = [left, top, left + random.float(8.0) + 7.0, top + random.float(8.0) + 7.0];
                if random.below(40) == 0 {
                    corners[random.below(4)] = f32::NAN;
                }
                corners
            })
            .collect();
        let mut scores: Vec<f32> = (0..all).map(|_| random.below(50) as f32 / 50.0).collect();
        scores[random.below(all)] = f32::NAN;
        let classes: Vec<i32> =
            if with_classes { (0..all).map(|_| random.below(3) as i32).collect() } else { Vec::new() };
        let operation = Suppression {
            images: images as u32,
            boxes: count as u32,
            limit,
            overlap_threshold: threshold,
            score_threshold: 0.1,
        };
        let box_buffer = Buffer::of(&boxes.concat());
        let (score_buffer, class_buffer) = (Buffer::of(&scores), Buffer::of(&classes));
        let workspace = Buffer::poisoned(operation.workspace_bytes().unwrap() as usize, 0);
        let kept = Buffer::poisoned(images * limit as usize * 4, 0);
        let kept_count = Buffer::poisoned(images * 4, 0);
        let operands = SuppressionOperands {
            boxes: box_buffer.address(),
            scores: score_buffer.address(),
            classes: if with_classes { class_buffer.address() } else { 0 },
            workspace: workspace.address(),
            kept: kept.address(),
            kept_count: kept_count.address(),
        };
        // SAFETY: buffers of this test, of the sizes that the operation says.
        unsafe { operation.launch(queue, &operands).unwrap() };
        let (mut expected, mut expected_count) = (vec![0; images * limit as usize], vec![0; images]);
        operation.reference(&boxes, &scores, &classes, &mut expected, &mut expected_count);
        assert_eq!(kept_count.values::<i32>(), expected_count);
        assert_eq!(kept.values::<i32>(), expected);
        assert!(!workspace.bytes().is_empty(), "and its canaries are whole");
    });
}

#[test]
fn suppression_of_the_most_boxes_agrees() {
    check(1, any::<u64>(), |queue, &seed| {
        let mut random = Random(seed);
        let count = 2500;
        let boxes: Vec<[f32; 4]> = (0..count)
            .map(|_| {
                let (left, top) = (random.float(90.0), random.float(90.0));
                [left, top, left + 3.0, top + 3.0]
            })
            .collect();
        let scores: Vec<f32> = (0..count).map(|_| random.float(1.0)).collect();
        let operation = Suppression {
            images: 1,
            boxes: count as u32,
            limit: 2500,
            overlap_threshold: 0.3,
            score_threshold: f32::NEG_INFINITY,
        };
        let (box_buffer, score_buffer) = (Buffer::of(&boxes.concat()), Buffer::of(&scores));
        let workspace = Buffer::poisoned(operation.workspace_bytes().unwrap() as usize, 0);
        let (kept, kept_count) = (Buffer::poisoned(count * 4, 0), Buffer::poisoned(4, 0));
        let operands = SuppressionOperands {
            boxes: box_buffer.address(),
            scores: score_buffer.address(),
            classes: 0,
            workspace: workspace.address(),
            kept: kept.address(),
            kept_count: kept_count.address(),
        };
        // SAFETY: buffers of this test, of the sizes that the operation says.
        unsafe { operation.launch(queue, &operands).unwrap() };
        let (mut expected, mut expected_count) = (vec![0; count], vec![0; 1]);
        operation.reference(&boxes, &scores, &[], &mut expected, &mut expected_count);
        assert_eq!(kept_count.values::<i32>(), expected_count);
        assert_eq!(kept.values::<i32>(), expected);
        assert!(expected_count[0] > 64 * 8, "the sweep crosses many words");
    });
}

#[test]
fn histograms_agree_and_add_up() {
    let columns = prop_oneof![1..9_usize, 30..70_usize];
    check(
        16,
        (1..900_usize, columns, prop_oneof![1..20_usize, Just(4096)], any::<u64>()),
        |queue, &(rows, columns, edges, seed)| {
            let mut random = Random(seed);
            let mut values: Vec<f32> = (0..rows * columns).map(|_| (random.float(4.0) * 8.0).round() / 8.0).collect();
            for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                values[random.below(rows * columns)] = value;
            }
            let mut limits: Vec<f32> = Vec::new();
            for _ in 0..columns {
                let mut column: Vec<f32> = (0..edges).map(|_| (random.float(3.0) * 8.0).round() / 8.0).collect();
                column.sort_by(f32::total_cmp);
                limits.extend(column);
            }
            let operation = Histogram { rows: rows as u64, columns: columns as u32, edges: edges as u32 };
            let start: Vec<u64> = (0..columns * (edges + 2)).map(|_| random.below(9) as u64).collect();
            let (input, edge_buffer, counts) = (Buffer::of(&values), Buffer::of(&limits), Buffer::of(&start));
            // SAFETY: buffers of this test, of the sizes that the operation says.
            unsafe { operation.launch(queue, input.address(), edge_buffer.address(), counts.address()).unwrap() };
            let mut expected = start;
            operation.reference(&values, &limits, &mut expected);
            assert_eq!(counts.values::<u64>(), expected);
        },
    );
}

#[test]
fn moments_agree_and_add_up() {
    check(16, (1..900_usize, prop_oneof![1..9_usize, 30..70_usize], any::<u64>()), |queue, &(rows, columns, seed)| {
        let mut random = Random(seed);
        let mut values: Vec<f32> =
            (0..rows * columns).map(|index| random.float(2.0) + index as f32 % columns as f32).collect();
        for value in [f32::NAN, f32::INFINITY] {
            values[random.below(rows * columns)] = value;
        }
        let centres: Vec<f32> = (0..columns).map(|column| column as f32).collect();
        let scales: Vec<f32> = (0..columns).map(|_| 1.5 + random.float(0.5)).collect();
        let operation = Moments { rows: rows as u64, columns: columns as u32 };
        let state = Buffer::of(&Moments::empty_state(columns));
        let (input, centre_buffer, scale_buffer) = (Buffer::of(&values), Buffer::of(&centres), Buffer::of(&scales));
        let workspace = Buffer::poisoned(operation.workspace_bytes().unwrap() as usize, 0);
        let operands = MomentOperands {
            input: input.address(),
            centres: centre_buffer.address(),
            scales: scale_buffer.address(),
            workspace: workspace.address(),
            state: state.address(),
        };
        let mut expected = Moments::empty_state(columns);
        for _ in 0..2 {
            // SAFETY: buffers of this test, of the sizes that the operation says.
            unsafe { operation.launch(queue, &operands).unwrap() };
            operation.reference(&values, &centres, &scales, &mut expected);
        }
        assert!(!workspace.bytes().is_empty(), "and its canaries are whole");
        for (index, (found, wanted)) in state.values::<f64>().iter().zip(&expected).enumerate() {
            let near = found == wanted || (found - wanted).abs() <= 1e-4 * (wanted.abs() + rows as f64 * 0.01);
            assert!(near, "field {} of column {}: expected {wanted}, got {found}", index / columns, index % columns);
        }
    });
}
