//! References of the operations that move or convert elements: segments, padding, cast, embedding, mean pooling.
#![allow(unsafe_code, reason = "ranges are given by address, as on the device")]

use crate::operations::cast::Cast;
use crate::operations::embedding::Embedding;
use crate::operations::mean_pooling::MeanPooling;
use crate::operations::padding::{PadValue, Padding};
use crate::operations::segments::SegmentCopies;

impl SegmentCopies {
    /// Copies on the host, where the addresses are the host's own.
    ///
    /// # Safety
    /// Every range entered is valid host memory, and destinations overlap nothing.
    pub unsafe fn reference(&self) {
        for entry in self.entries().flatten() {
            // SAFETY: the caller's promise.
            unsafe {
                std::ptr::copy_nonoverlapping(
                    entry.source as *const u8,
                    entry.destination as *mut u8,
                    entry.bytes as usize,
                );
            }
        }
    }
}

impl Padding {
    /// First item and number of items that row `row` has within `columns`.
    fn row(&self, offsets: &[i64], row: usize) -> (usize, usize) {
        let length = (offsets[row + 1] - offsets[row]).clamp(0, i64::from(self.columns));
        (usize::try_from(offsets[row]).unwrap_or(0), usize::try_from(length).unwrap_or(0))
    }

    /// What [`Padding::launch_pad`] does.
    pub fn reference_pad(&self, packed: &[u8], padded: &mut [u8], offsets: &[i64], value: &PadValue) {
        let item = self.item_bytes as usize;
        let row_bytes = self.columns as usize * item;
        for (row, target) in padded.chunks_exact_mut(row_bytes).enumerate() {
            let (first, length) = self.row(offsets, row);
            target[..length * item].copy_from_slice(&packed[first * item..(first + length) * item]);
            for (place, byte) in target[length * item..].iter_mut().enumerate() {
                *byte = value.pattern()[place % 16];
            }
        }
    }

    /// What [`Padding::launch_unpad`] does.
    pub fn reference_unpad(&self, padded: &[u8], packed: &mut [u8], offsets: &[i64]) {
        let item = self.item_bytes as usize;
        let row_bytes = self.columns as usize * item;
        for (row, source) in padded.chunks_exact(row_bytes).enumerate() {
            let (first, length) = self.row(offsets, row);
            packed[first * item..(first + length) * item].copy_from_slice(&source[..length * item]);
        }
    }
}

impl Cast {
    /// What [`Cast::launch`] does.
    pub fn reference(&self, input: &[u8], output: &mut [u8]) {
        for index in 0..usize::try_from(self.elements).unwrap_or(usize::MAX) {
            self.to.write(output, index, self.from.read(input, index));
        }
    }
}

impl Embedding {
    /// What [`Embedding::launch`] does; returns how many indices were refused.
    pub fn reference(&self, table: &[u8], indices: &[u8], output: &mut [u8]) -> u32 {
        let row_bytes = self.row_bytes as usize;
        let mut refused = 0;
        for (place, target) in output.chunks_exact_mut(row_bytes).enumerate() {
            let index = u64::try_from(self.index.read(indices, place)).ok().filter(|&index| index < self.table_rows);
            if let Some(index) = index.and_then(|index| usize::try_from(index).ok()) {
                target.copy_from_slice(&table[index * row_bytes..(index + 1) * row_bytes]);
            } else {
                target.fill(0);
                refused += 1;
            }
        }
        refused
    }
}

impl MeanPooling {
    /// What [`MeanPooling::launch`] does.
    pub fn reference(&self, input: &[u8], mask: &[u8], output: &mut [u8]) {
        let (sequence, width) = (self.sequence as usize, self.width as usize);
        for item in 0..usize::try_from(self.batch).unwrap_or(usize::MAX) {
            let kept: Vec<usize> = (0..sequence)
                .map(|position| item * sequence + position)
                .filter(|&place| self.mask.is_set(mask, place))
                .collect();
            for column in 0..width {
                let values = kept.iter().map(|&place| f64::from(self.element.read(input, place * width + column)));
                let sum: f64 = values.sum();
                #[allow(
                    clippy::cast_possible_truncation,
                    clippy::cast_precision_loss,
                    reason = "rounded once, at the end"
                )]
                let mean = if kept.is_empty() { 0.0 } else { (sum / kept.len() as f64) as f32 };
                self.element.write(output, item * width + column, mean);
            }
        }
    }
}
