//! The operator's `post_transform`: from accumulated scores to what the model answers.
//!
//! Formulas are ONNX Runtime's (`ml_common.h`), the approximation of the inverse error function included, so that
//! both engines answer alike.

/// What is done to the scores of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PostTransform {
    /// Nothing.
    None,
    /// Each score through the logistic function.
    Logistic,
    /// Shares that add up to 1.
    Softmax,
    /// Shares that add up to 1, scores of zero staying zero.
    SoftmaxZero,
    /// Each score through the inverse of the normal distribution.
    Probit,
}

impl PostTransform {
    /// Parses the attribute's text.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "NONE" => Self::None,
            "LOGISTIC" => Self::Logistic,
            "SOFTMAX" => Self::Softmax,
            "SOFTMAX_ZERO" => Self::SoftmaxZero,
            "PROBIT" => Self::Probit,
            _ => return None,
        })
    }

    /// Applies the transform to all scores of a row.
    pub(super) fn apply(self, scores: &mut [f32]) {
        match self {
            Self::None => {}
            Self::Logistic => scores.iter_mut().for_each(|score| *score = logistic(*score)),
            Self::Probit => scores.iter_mut().for_each(|score| *score = probit(*score)),
            Self::Softmax => softmax(scores),
            Self::SoftmaxZero => softmax_zero(scores),
        }
    }
}

/// The logistic function, computed so that it cannot overflow.
pub(super) fn logistic(value: f32) -> f32 {
    let upper = 1.0 / (1.0 + (-value.abs()).exp());
    if value < 0.0 { 1.0 - upper } else { upper }
}

/// Inverse of the cumulative normal distribution, by Winitzki's approximation of the inverse error function.
pub(super) fn probit(value: f32) -> f32 {
    const A: f32 = 0.147;
    #[allow(clippy::approx_constant, reason = "the digits that ONNX Runtime computes with")]
    const PI: f32 = 3.14159;
    let argument = 2.0 * value - 1.0;
    let log = ((1.0 - argument) * (1.0 + argument)).ln();
    let first = 2.0 / (PI * A) + 0.5 * log;
    let root = (-first + (first * first - log / A).sqrt()).sqrt();
    std::f32::consts::SQRT_2 * if argument < 0.0 { -root } else { root }
}

fn highest(scores: &[f32]) -> f32 {
    scores.iter().fold(-f32::MAX, |highest, &score| if score > highest { score } else { highest })
}

fn softmax(scores: &mut [f32]) {
    let highest = highest(scores);
    let mut sum = 0.0;
    for score in scores.iter_mut() {
        *score = (*score - highest).exp();
        sum += *score;
    }
    scores.iter_mut().for_each(|score| *score /= sum);
}

fn softmax_zero(scores: &mut [f32]) {
    let highest = highest(scores);
    let factor = (-highest).exp();
    let mut sum = 0.0;
    for score in scores.iter_mut() {
        if score.abs() > 1e-7 {
            *score = (*score - highest).exp();
            sum += *score;
        } else {
            *score *= factor;
        }
    }
    scores.iter_mut().for_each(|score| *score /= sum);
}
