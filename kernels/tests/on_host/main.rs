//! The kernels themselves, run thread by thread on the processor through their launchers, against the references.
//!
//! Shapes and alignments are drawn afresh (proptest); every case runs with the threads in both orders. Needs a C++ compiler;
//! without one each test says that it skipped.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]
#![allow(clippy::print_stderr, reason = "a skipped test says so")]
#![allow(unsafe_code, reason = "launches take addresses")]
#![allow(clippy::cast_possible_truncation, reason = "test data is small")]

mod emulator;
mod images;
mod moving;
mod rows;
mod suppression_and_sketches;

use emulator::{HostQueue, ThreadOrder};
use hanok_kernels::ElementType;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

/// Runs `case` on random inputs, in both orders of threads.
pub(crate) fn check<S: Strategy>(cases: u32, strategy: S, case: impl Fn(&HostQueue, &S::Value)) {
    for order in [ThreadOrder::Forward, ThreadOrder::Backward] {
        let Some(queue) = HostQueue::open(order) else { return };
        let config = Config { cases, failure_persistence: None, ..Config::default() };
        TestRunner::new(config)
            .run(&strategy, |value| {
                case(&queue, &value);
                Ok::<(), TestCaseError>(())
            })
            .unwrap();
    }
}

/// Random numbers from a seed: SplitMix64 (Steele, Lea and Flood 2014).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    /// Evenly between -`size` and `size`.
    pub(crate) fn float(&mut self, size: f32) -> f32 {
        ((self.next() >> 40) as f32 / 8_388_608.0 - 1.0) * size
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }

    pub(crate) fn elements(&mut self, element: ElementType, count: usize, size: f32) -> Vec<u8> {
        let mut bytes = vec![0; count * element.size_bytes() as usize];
        for index in 0..count {
            element.write(&mut bytes, index, self.float(size));
        }
        bytes
    }
}

/// Elementwise: `NaN` only where `NaN` is, else within `relative` of the size or `absolute`.
pub(crate) fn assert_close(element: ElementType, actual: &[u8], expected: &[u8], relative: f32, absolute: f32) {
    assert_eq!(actual.len(), expected.len());
    for index in 0..actual.len() / element.size_bytes() as usize {
        let (found, wanted) = (element.read(actual, index), element.read(expected, index));
        let near = found == wanted
            || (found.is_nan() && wanted.is_nan())
            || (found - wanted).abs() <= absolute + relative * wanted.abs();
        assert!(near, "element {index}: expected {wanted}, got {found}");
    }
}

/// One step of the type's rounding.
pub(crate) fn step(element: ElementType) -> f32 {
    match element {
        ElementType::F16 => 1.0 / 1024.0,
        ElementType::BF16 => 1.0 / 128.0,
        _ => 2e-6,
    }
}

pub(crate) fn floats() -> impl Strategy<Value = ElementType> {
    select(ElementType::FLOATS.to_vec())
}
