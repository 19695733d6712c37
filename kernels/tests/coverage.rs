//! Every launch covers its operands exactly once: each kernel's mapping of blocks and threads to elements, in Rust.
//!
//! Written from the mappings that the sources state, over the plans that the launchers use; no compiler is needed. That the
//! sources do what they state is what `on_host` tests. Also: what is refused, and why.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]
#![allow(clippy::cast_possible_truncation, reason = "test data is small")]

use hanok_kernels::{
    Cast, ElementType, Embedding, EmbeddingOperands, Family, Histogram, ImageLayout, ImageNormalise, ImageSource,
    IndexType, KernelError, LARGEST_SHARED_BYTES, LaunchPlan, LayerNorm, LayerNormOperands, MaskType, MeanPooling,
    Moments, PadValue, Padding, SEGMENT_TILE_BYTES, SegmentCopies, SketchTiling, Softmax, Suppression,
    SuppressionOperands, TopK,
};
use proptest::prelude::*;
use proptest::sample::select;

/// Counts of visits; every element must have one.
fn assert_once(visits: &[u8], what: &str) {
    let missed = visits.iter().position(|&count| count != 1);
    assert_eq!(missed, None, "{what}: element {missed:?} is not covered exactly once");
}

/// A plan within what every architecture takes, for a kernel that exists.
fn assert_launchable(plan: &LaunchPlan) {
    assert!(
        plan.family.symbols().contains(&plan.symbol),
        "`{:?}` is a kernel of `{}`",
        plan.symbol,
        plan.family.name()
    );
    assert!(plan.grid.iter().all(|&blocks| blocks > 0) && plan.grid[0] < 1 << 31);
    assert!(plan.grid[1] <= 65_535 && plan.grid[2] <= 65_535);
    let threads: u32 = plan.block.iter().product();
    assert!((1..=1024).contains(&threads) && threads.is_multiple_of(32));
    assert!(plan.shared_bytes <= LARGEST_SHARED_BYTES);
}

/// The number after `_v`, `_w` and the like.
fn suffix(plan: &LaunchPlan, mark: &str) -> usize {
    let name = plan.symbol.as_str();
    let digits = &name[name.rfind(mark).unwrap() + mark.len()..];
    digits.split('_').next().unwrap().parse().unwrap()
}

/// Units that a flat kernel with four units a thread touches.
fn visit_flat(plan: &LaunchPlan, units: usize, mut visit: impl FnMut(usize)) {
    for block in 0..plan.grid[0] as usize {
        for thread in 0..plan.block[0] as usize {
            for step in 0..4 {
                let unit = block * plan.block[0] as usize * 4 + step * plan.block[0] as usize + thread;
                if unit < units {
                    visit(unit);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn casts_cover_every_element(
        elements in 1..9000_usize, offset in 0..4_u64,
        from in select(ElementType::ALL.to_vec()), to in select(ElementType::ALL.to_vec()),
    ) {
        prop_assume!(from != to);
        let cast = Cast { from, to, elements: elements as u64 };
        let plan = cast.plan(4096 + offset * u64::from(from.size_bytes()), 8192).unwrap();
        assert_launchable(&plan);
        let pack = suffix(&plan, "_v");
        let mut visits = vec![0; elements];
        visit_flat(&plan, elements / pack, |unit| (0..pack).for_each(|index| visits[unit * pack + index] += 1));
        // The last block's threads convert what fills no pack.
        if pack > 1 {
            for thread in 0..plan.block[0] as usize {
                if let Some(count) = visits.get_mut(elements / pack * pack + thread) {
                    *count += 1;
                }
            }
        }
        assert_once(&visits, "cast");
    }

    #[test]
    fn padding_and_embedding_cover_every_byte(
        rows in 1..20_u64, columns in 1..50_u32, item in 1..100_u32, offset in 0..17_u64,
    ) {
        let padding = Padding { rows, columns, item_bytes: item };
        let plans = [
            padding.plan_pad(4096 + offset, 8192, 256, &PadValue::new(&[0]).unwrap()).unwrap(),
            padding.plan_unpad(4096 + offset, 8192, 256).unwrap(),
        ];
        let operands = EmbeddingOperands { table: 4096 + offset, indices: 64, output: 8192, refused: 0 };
        let embedding = Embedding { table_rows: 5, row_bytes: columns * item, count: rows, index: IndexType::I64 };
        for plan in plans.into_iter().chain([embedding.plan(&operands).unwrap()]) {
            assert_launchable(&plan);
            let word = suffix(&plan, "_w");
            assert_eq!(4096 + offset, (4096 + offset) / word as u64 * word as u64, "words are aligned");
            let bytes = rows as usize * columns as usize * item as usize;
            assert_eq!(bytes % word, 0);
            let mut visits = vec![0; bytes];
            visit_flat(&plan, bytes / word, |unit| (0..word).for_each(|byte| visits[unit * word + byte] += 1));
            assert_once(&visits, plan.symbol.as_str());
        }
    }

    #[test]
    fn segments_cover_every_byte(
        lengths in prop::collection::vec(0..50_000_u64, 1..20), alignments in prop::collection::vec((0..17_u64, 0..17_u64), 20),
    ) {
        let mut copies = SegmentCopies::new();
        for (index, (&bytes, (source, destination))) in lengths.iter().zip(&alignments).enumerate() {
            let base = (index as u64 + 1) << 20;
            copies.push(base + source, (1 << 40) + base + destination, bytes).unwrap();
        }
        let plans = copies.plans().unwrap();
        assert_eq!(plans.len(), usize::from(lengths.iter().any(|&bytes| bytes > 0)));
        for (plan, entries) in plans.iter().zip(copies.entries()) {
            assert_launchable(plan);
            let mut visits: Vec<Vec<u8>> = entries.iter().map(|entry| vec![0; entry.bytes as usize]).collect();
            for tile in 0..plan.grid[0] {
                // The last segment whose first tile is not after this one.
                let index = entries.iter().rposition(|entry| entry.first_tile <= tile).unwrap();
                let entry = entries[index];
                let begin = (tile - entry.first_tile) * SEGMENT_TILE_BYTES;
                let bytes = SEGMENT_TILE_BYTES.min(entry.bytes - begin);
                let difference = (entry.source ^ entry.destination) & 15;
                let width = if difference == 0 { 16 } else { 1 << difference.trailing_zeros() };
                let misaligned = ((entry.source + u64::from(begin)) % width) as u32;
                let before = if misaligned == 0 { 0 } else { (width as u32 - misaligned).min(bytes) };
                let body = (bytes - before) / width as u32 * width as u32;
                assert!(body == 0 || (entry.destination + u64::from(begin + before)).is_multiple_of(width));
                assert!(before <= 256 && bytes - before - body <= 256, "single bytes have a thread each");
                for byte in (0..before).chain(before..before + body).chain(before + body..bytes) {
                    visits[index][(begin + byte) as usize] += 1;
                }
            }
            visits.iter().for_each(|bytes| assert_once(bytes, "segments"));
        }
    }

    #[test]
    fn row_kernels_cover_every_column(rows in 1..20_u64, columns in 1..3000_u32, element in select(ElementType::FLOATS.to_vec())) {
        let softmax = Softmax { element, rows, columns }.plan(4096, 8192).unwrap();
        let operands = LayerNormOperands { input: 4096, output: 8192, gamma: 0, beta: 256 };
        let norm = LayerNorm { element, rows, columns, epsilon: 0.0 }.plan(&operands).unwrap();
        for plan in [softmax, norm] {
            assert_launchable(&plan);
            let pack = suffix(&plan, "_v");
            let warp = plan.symbol.as_str().ends_with("_warp");
            let (group, groups) = if warp { (32, plan.block[0] / 32) } else { (plan.block[0], 1) };
            assert!(plan.shared_bytes == 0 || plan.shared_bytes == groups * columns * element.size_bytes());
            let mut visits = vec![0; rows as usize * columns as usize];
            for block in 0..plan.grid[0] {
                for row in (block * groups..(block + 1) * groups).filter(|&row| u64::from(row) < rows) {
                    for lane in 0..group {
                        for unit in (lane..columns / pack as u32).step_by(group as usize) {
                            let first = (row * columns) as usize + unit as usize * pack;
                            (0..pack).for_each(|index| visits[first + index] += 1);
                        }
                    }
                }
            }
            assert_once(&visits, plan.symbol.as_str());
        }
    }

    #[test]
    fn images_cover_every_pixel(
        height in 1..40_u32, width in 1..40_u32, channels in select(vec![1_u32, 3, 4]), count in 1..6_usize,
        output in select(ElementType::FLOATS.to_vec()), offset in 0..3_u64, layout in select(ImageLayout::ALL.to_vec()),
    ) {
        let operation = ImageNormalise { height, width, channels, layout, output, scale: [1.0; 4], bias: [0.0; 4] };
        let row_bytes = width * if layout == ImageLayout::Planar { 1 } else { channels };
        let images = vec![ImageSource { address: 4096 + offset, height, width, row_bytes }; count];
        let plan = operation.plan(&images, 8192).unwrap();
        assert_launchable(&plan);
        let pack = suffix(&plan, "_v");
        if plan.symbol.as_str().contains("same") {
            assert_eq!(offset, 0, "whole words only from aligned sources");
        }
        let pixels = (height * width) as usize;
        let mut visits = vec![0; pixels * count];
        for image in 0..plan.grid[1] as usize {
            for group in 0..plan.grid[0] as usize * plan.block[0] as usize {
                if group * pack < pixels {
                    (0..pack).for_each(|index| visits[image * pixels + group * pack + index] += 1);
                }
            }
        }
        assert_once(&visits, "image");
    }

    #[test]
    fn mean_pooling_covers_every_column_and_position(
        batch in 1..5_u64, sequence in 1..40_u32, width in 1..600_u32, element in select(ElementType::FLOATS.to_vec()),
    ) {
        let operation = MeanPooling { element, batch, sequence, width, mask: MaskType::I64 };
        let plan = operation.plan(4096, 512, 8192).unwrap();
        assert_launchable(&plan);
        let pack = suffix(&plan, "_v") as u32;
        let tiles = plan.grid[0] / batch as u32;
        let mut visits = vec![0; (batch as u32 * sequence * width) as usize];
        for block in 0..plan.grid[0] {
            for lane in 0..plan.block[0] {
                let column = (block % tiles * plan.block[0] + lane) * pack;
                for stripe in 0..plan.block[1] {
                    for position in (stripe..sequence).step_by(plan.block[1] as usize).filter(|_| column < width) {
                        let first = (block / tiles * sequence + position) * width + column;
                        (0..pack).for_each(|index| visits[(first + index) as usize] += 1);
                    }
                }
            }
        }
        assert_once(&visits, "mean pooling");
    }

    #[test]
    fn sketches_cover_every_value(rows in 1..2000_u64, columns in 1..100_u32, edges in 1..5000_u32) {
        let mut tilings = vec![Moments { rows, columns }.tiling().unwrap()];
        let histogram = Histogram { rows, columns, edges };
        if edges <= 4096 {
            assert_launchable(&histogram.plan(256, 512, 1024).unwrap());
            tilings.push(histogram.tiling().unwrap());
        } else {
            assert_eq!(histogram.tiling(), Err(KernelError::TooLarge { what: "edges", limit: 4096, actual: edges.into() }));
        }
        for SketchTiling { wide, tiles, row_blocks } in tilings {
            assert!(wide.is_power_of_two() && wide <= 32);
            let stripes = 256 / wide;
            let mut visits = vec![0; rows as usize * columns as usize];
            for block in 0..tiles * row_blocks {
                for thread in 0..256 {
                    let column = block % tiles * wide + thread % wide;
                    let first = block / tiles * stripes + thread / wide;
                    for row in (u64::from(first)..rows).step_by((row_blocks * stripes) as usize).filter(|_| column < columns) {
                        visits[row as usize * columns as usize + column as usize] += 1;
                    }
                }
            }
            assert_once(&visits, "sketch");
        }
    }

    #[test]
    fn every_suppression_fits(images in 1..70_u32, boxes in 1..4097_u32) {
        let operation = Suppression { images, boxes, limit: 5, overlap_threshold: 0.5, score_threshold: 0.0 };
        let operands = SuppressionOperands { boxes: 256, scores: 256, classes: 0, workspace: 512, kept: 4, kept_count: 8 };
        let plans = operation.plans(&operands).unwrap();
        plans.iter().for_each(assert_launchable);
        // A key a box, a thread a row of overlaps, and all words within the two that a lane of the sweep holds.
        assert!(plans[0].shared_bytes >= boxes * 8);
        assert!(plans[1].grid[0] * 64 >= boxes && plans[1].grid[0] <= 64);
        assert!(operation.workspace_bytes().unwrap() >= u64::from(images) * u64::from(boxes) * (24 + u64::from(boxes.div_ceil(64)) * 8));
    }
}

#[test]
fn sizes_beyond_the_hardware_are_refused() {
    let too_large = |result: Result<LaunchPlan, KernelError>| matches!(result, Err(KernelError::TooLarge { .. }));
    let (from, to) = (ElementType::F32, ElementType::F16);
    assert!(too_large(Cast { from, to, elements: u64::MAX }.plan(0, 0)));
    let value = PadValue::new(&[1, 2]).unwrap();
    let padding = Padding { rows: u64::MAX, columns: u32::MAX, item_bytes: 2 };
    assert!(too_large(padding.plan_pad(0, 0, 0, &value)));
    let padding = Padding { rows: u64::MAX / 8, columns: 1 << 20, item_bytes: 2 };
    assert!(too_large(padding.plan_unpad(0, 0, 0)));
    assert!(too_large(Softmax { element: to, rows: 1 << 40, columns: 1 << 20 }.plan(0, 0)));
    assert!(too_large(Softmax { element: to, rows: 1, columns: u32::MAX }.plan(0, 0)));
    assert!(too_large(TopK { element: to, rows: 1, columns: 10, k: 11 }.plan(0, 0, 0)));
    assert!(too_large(TopK { element: to, rows: 1, columns: 4096, k: 1025 }.plan(0, 0, 0)));
    let embedding = Embedding { table_rows: 1, row_bytes: u32::MAX, count: u64::MAX, index: IndexType::I32 };
    assert!(too_large(embedding.plan(&EmbeddingOperands { table: 1, indices: 0, output: 0, refused: 0 })));
    let suppression = Suppression { images: 1, boxes: 4097, limit: 1, overlap_threshold: 0.5, score_threshold: 0.0 };
    assert!(matches!(
        suppression.workspace_bytes(),
        Err(KernelError::TooLarge { what: "boxes", limit: 4096, actual: 4097 })
    ));
    assert!(Moments { rows: (1 << 27) + 1, columns: 1 }.tiling().is_err());
}

#[test]
fn wrong_arguments_say_what_was_expected() {
    let error = Cast { from: ElementType::U8, to: ElementType::U8, elements: 1 }.plan(0, 0).unwrap_err();
    assert_eq!(error.to_string(), "`type of the output`: expected another than the input's, got `u8`");
    let error = Cast { from: ElementType::F32, to: ElementType::U8, elements: 1 }.plan(2, 0).unwrap_err();
    assert_eq!(error.to_string(), "`input`: expected an address aligned to `4` bytes, got `0x2`");
    assert!(Softmax { element: ElementType::U8, rows: 1, columns: 1 }.plan(0, 0).is_err());
    assert!(Softmax { element: ElementType::F32, rows: 0, columns: 1 }.plan(0, 0).is_err());
    assert!(PadValue::new(&[1, 2, 3]).is_err());
    let padding = Padding { rows: 1, columns: 1, item_bytes: 3 };
    assert!(padding.plan_pad(0, 0, 0, &PadValue::new(&[0, 0]).unwrap()).is_err());
    let operands = LayerNormOperands { input: 0, output: 0, gamma: 0, beta: 0 };
    let norm = LayerNorm { element: ElementType::F32, rows: 1, columns: 1, epsilon: f32::NAN };
    assert!(norm.plan(&operands).is_err());
    assert!(SegmentCopies::new().push(u64::MAX, 0, 2).is_err());
    let image = ImageNormalise {
        height: 2,
        width: 2,
        channels: 2,
        layout: ImageLayout::Planar,
        output: ElementType::F32,
        scale: [0.0; 4],
        bias: [0.0; 4],
    };
    let source = ImageSource { address: 0, height: 2, width: 2, row_bytes: 1 };
    assert_eq!(image.plan(&[source], 0).unwrap_err().to_string(), "`channels`: expected 1, 3 or 4, got `2`");
    assert!(ImageNormalise { channels: 3, ..image }.plan(&[source], 0).is_err(), "rows shorter than their pixels");
    for threshold in [-0.1, 1.1, f32::NAN] {
        let operation =
            Suppression { images: 1, boxes: 1, limit: 1, overlap_threshold: threshold, score_threshold: 0.0 };
        assert!(operation.workspace_bytes().is_err());
    }
}

#[test]
fn an_unaligned_operand_costs_width_not_correctness() {
    let plan = |input| Cast { from: ElementType::F32, to: ElementType::F16, elements: 64 }.plan(input, 256).unwrap();
    assert_eq!(plan(512).symbol.as_str(), "cast_f32_f16_v4");
    assert_eq!(plan(516).symbol.as_str(), "cast_f32_f16_v1");
    let plan = |columns| Softmax { element: ElementType::F16, rows: 3, columns }.plan(256, 512).unwrap();
    assert_eq!(plan(1000).symbol.as_str(), "softmax_f16_v8_warp");
    assert_eq!(plan(1001).symbol.as_str(), "softmax_f16_v1_warp");
    assert_eq!(plan(1032).symbol.as_str(), "softmax_f16_v8_block");
    assert_eq!((plan(24_000).shared_bytes, plan(1032).shared_bytes), (0, 2064));
    assert_eq!(plan(8).family, Family::Softmax);
}
