//! References of the operations over rows: softmax, layer normalisation, top-k.

use crate::element::ElementType;
use crate::operations::layer_norm::LayerNorm;
use crate::operations::softmax::Softmax;
use crate::operations::top_k::TopK;

fn row(element: ElementType, input: &[u8], row: usize, columns: usize) -> Vec<f64> {
    (0..columns).map(|column| f64::from(element.read(input, row * columns + column))).collect()
}

impl Softmax {
    /// What [`Softmax::launch`] does.
    pub fn reference(&self, input: &[u8], output: &mut [u8]) {
        let columns = self.columns as usize;
        for index in 0..usize::try_from(self.rows).unwrap_or(usize::MAX) {
            let values = row(self.element, input, index, columns);
            let maximum = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = values.iter().map(|value| (value - maximum).exp()).sum();
            for (column, value) in values.iter().enumerate() {
                #[allow(clippy::cast_possible_truncation, reason = "rounded once, at the end")]
                let result = ((value - maximum).exp() / sum) as f32;
                self.element.write(output, index * columns + column, result);
            }
        }
    }
}

impl LayerNorm {
    /// What [`LayerNorm::launch`] does; `gamma` and `beta` may be empty for ones and zeros.
    pub fn reference(&self, input: &[u8], output: &mut [u8], gamma: &[u8], beta: &[u8]) {
        let columns = self.columns as usize;
        let count = f64::from(self.columns);
        let parameter = |bytes: &[u8], column, absent| {
            if bytes.is_empty() { absent } else { f64::from(self.element.read(bytes, column)) }
        };
        for index in 0..usize::try_from(self.rows).unwrap_or(usize::MAX) {
            let values = row(self.element, input, index, columns);
            let mean = values.iter().sum::<f64>() / count;
            let variance = values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / count;
            let deviation = (variance + f64::from(self.epsilon)).sqrt();
            for (column, value) in values.iter().enumerate() {
                let scaled = (value - mean) / deviation * parameter(gamma, column, 1.0);
                #[allow(clippy::cast_possible_truncation, reason = "rounded once, at the end")]
                let result = (scaled + parameter(beta, column, 0.0)) as f32;
                self.element.write(output, index * columns + column, result);
            }
        }
    }
}

impl TopK {
    /// What [`TopK::launch`] does.
    pub fn reference(&self, input: &[u8], values: &mut [f32], indices: &mut [i32]) {
        let (columns, k) = (self.columns as usize, self.k as usize);
        for index in 0..usize::try_from(self.rows).unwrap_or(usize::MAX) {
            let read = |column: usize| self.element.read(input, index * columns + column);
            let mut order: Vec<usize> = (0..columns).collect();
            // Stable: of equal values the lower column stays first. NaN after everything.
            order.sort_by(|&left, &right| {
                let (left, right) = (read(left), read(right));
                left.is_nan().cmp(&right.is_nan()).then(right.partial_cmp(&left).unwrap_or(std::cmp::Ordering::Equal))
            });
            for (place, &column) in order.iter().take(k).enumerate() {
                values[index * k + place] = read(column);
                indices[index * k + place] = i32::try_from(column).unwrap_or(i32::MAX);
            }
        }
    }
}
