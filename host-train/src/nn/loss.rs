//! Softmax and cross-entropy.

use crate::nn::math::exp;
use crate::nn::simd::vectorized;

/// Cross-entropy of rows of logits, with PyTorch's label smoothing:
/// `(1 - ε) · -log p[target] + ε / V · Σ_v -log p[v]`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct CrossEntropy {
    /// Sum over the rows of `-log p[target]`.
    pub nll: f64,
    /// Sum over the rows of the smoothed loss.
    pub loss: f64,
}

/// The loss of `logits` [rows, vocab], summed over the rows.
pub fn cross_entropy(logits: &[f32], targets: &[u32], vocab: usize, smoothing: f32) -> CrossEntropy {
    let mut total = CrossEntropy::default();
    for (row, &target) in logits.chunks_exact(vocab).zip(targets) {
        total.add(row, target, log_sum_exp(row), smoothing);
    }
    total
}

/// As [`cross_entropy`]; every logit is replaced by `scale` times its gradient:
/// `softmax - (1 - ε) onehot(target) - ε / V`.
pub fn cross_entropy_backward(
    logits: &mut [f32],
    targets: &[u32],
    vocab: usize,
    smoothing: f32,
    scale: f32,
) -> CrossEntropy {
    let mut total = CrossEntropy::default();
    let uniform = smoothing / vocab as f32;
    for (row, &target) in logits.chunks_exact_mut(vocab).zip(targets) {
        let lse = log_sum_exp(row);
        total.add(row, target, lse, smoothing);
        to_gradient(row, lse as f32, scale, uniform);
        row[target as usize] -= scale * (1.0 - smoothing);
    }
    total
}

/// As [`cross_entropy_backward`] of one row, whose loss is `1 - w` times the cross-entropy with `target` and `w T²` times
/// the divergence `Σ p log(p / q)` of `q = softmax(logits / T)` from a teacher's distribution `p`; `of_teacher` are `p`, `w`
/// and `T`. The divergence's gradient is `w T (q - p)`.
pub fn distillation_backward(
    logits: &mut [f32],
    target: u32,
    of_teacher: (&[f32], f32, f32),
    smoothing: f32,
    scale: f32,
) -> CrossEntropy {
    let (teacher, weight, temperature) = of_teacher;
    let mut soft: Vec<f32> = logits.iter().map(|x| x / temperature).collect();
    let mut total =
        cross_entropy_backward(logits, &[target], logits.len(), smoothing, (1.0 - weight) * scale);
    log_softmax(&mut soft);
    let mut divergence = 0.0;
    for ((d, &log_q), &p) in logits.iter_mut().zip(&soft).zip(teacher) {
        *d += scale * weight * temperature * (exp(log_q) - p);
        if p > 0.0 {
            divergence += f64::from(p) * (f64::from(p).ln() - f64::from(log_q));
        }
    }
    let (weight, temperature) = (f64::from(weight), f64::from(temperature));
    total.loss = (1.0 - weight) * total.loss + weight * temperature * temperature * divergence;
    total
}

impl CrossEntropy {
    fn add(&mut self, row: &[f32], target: u32, lse: f64, smoothing: f32) {
        let nll = lse - f64::from(row[target as usize]);
        self.nll += nll;
        if smoothing == 0.0 {
            self.loss += nll;
        } else {
            let mean = row.iter().map(|&x| f64::from(x)).sum::<f64>() / row.len() as f64;
            let smoothing = f64::from(smoothing);
            self.loss += (1.0 - smoothing) * nll + smoothing * (lse - mean);
        }
    }
}

vectorized! {
    /// Replaces logits, less `shift` the logarithms of probabilities, by `scale (p - uniform)`.
    fn to_gradient(row: &mut [f32], shift: f32, scale: f32, uniform: f32) {
        row.iter_mut().for_each(|x| *x = scale * (exp(*x - shift) - uniform));
    }
}

vectorized! {
    /// `log Σ e^x`, shifted by the greatest value.
    pub fn log_sum_exp(row: &[f32]) -> f64 {
        let max = maximum(row);
        let (chunks, rest) = row.as_chunks::<16>();
        let mut lanes = [0.0f32; 16];
        for chunk in chunks {
            for i in 0..16 {
                lanes[i] += exp(chunk[i] - max);
            }
        }
        let rest: f32 = rest.iter().map(|&x| exp(x - max)).sum();
        f64::from(max) + f64::from(lanes.iter().sum::<f32>() + rest).ln()
    }
}

vectorized! {
    /// Replaces scores by their softmax; an empty row stays empty.
    pub fn softmax(row: &mut [f32]) {
        let max = maximum(row);
        row.iter_mut().for_each(|x| *x = exp(*x - max));
        let sum: f32 = row.iter().sum();
        row.iter_mut().for_each(|x| *x /= sum);
    }
}

/// Replaces logits by log-probabilities.
pub fn log_softmax(row: &mut [f32]) {
    let lse = log_sum_exp(row) as f32;
    row.iter_mut().for_each(|x| *x -= lse);
}

/// The greatest value, in sixteen lanes; not a number is not greater than anything.
#[inline(always)]
fn maximum(row: &[f32]) -> f32 {
    let greater = |a: f32, b: f32| if b > a { b } else { a };
    let (chunks, rest) = row.as_chunks::<16>();
    let mut lanes = [f32::NEG_INFINITY; 16];
    for chunk in chunks {
        for i in 0..16 {
            lanes[i] = greater(lanes[i], chunk[i]);
        }
    }
    lanes.iter().chain(rest).fold(f32::NEG_INFINITY, |a, &b| greater(a, b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::check::{GradientCheck, values};
    use crate::nn::params::Params;

    #[test]
    fn gradients() {
        for smoothing in [0.0, 0.1] {
            let targets = [3, 0, 6];
            let logits: Vec<f32> = values(21, 4).iter().map(|x| 2.0 * x).collect();
            GradientCheck::new(Params::default(), vec![logits]).run(
                |_, x| 2.0 * cross_entropy(&x[0], &targets, 7, smoothing).loss,
                |_, _, x| {
                    let mut d = x[0].clone();
                    cross_entropy_backward(&mut d, &targets, 7, smoothing, 2.0);
                    vec![d]
                },
            );
        }
    }

    #[test]
    fn distillation_gradients() {
        let mut teacher = values(7, 9);
        softmax(&mut teacher);
        for (weight, temperature) in [(1.0, 1.0), (0.3, 2.5)] {
            let of_teacher = (&teacher[..], weight, temperature);
            GradientCheck::new(Params::default(), vec![values(7, 4)]).run(
                |_, x| 2.0 * distillation_backward(&mut x[0].clone(), 3, of_teacher, 0.1, 1.0).loss,
                |_, _, x| {
                    let mut d = x[0].clone();
                    distillation_backward(&mut d, 3, of_teacher, 0.1, 2.0);
                    vec![d]
                },
            );
        }
    }

    #[test]
    fn large_logits_stay_finite() {
        let mut row = [1000.0, 0.0, -1000.0];
        assert!((log_sum_exp(&row) - 1000.0).abs() < 1e-9);
        let total = cross_entropy_backward(&mut row, &[2], 3, 0.0, 1.0);
        assert!((total.nll - 2000.0).abs() < 1e-3);
        assert!((row[0] - 1.0).abs() < 1e-6 && (row[2] + 1.0).abs() < 1e-6, "{row:?}");
    }

    #[test]
    fn not_a_number_is_not_hidden() {
        assert!(log_sum_exp(&[0.0, f32::NAN]).is_nan());
        let mut row = [f32::NAN, 1.0];
        softmax(&mut row);
        assert!(row[0].is_nan());
    }

    #[test]
    fn smoothing_by_hand() {
        let c = cross_entropy(&[0.0, 0.0], &[1], 2, 0.1);
        assert!((c.nll - 2f64.ln()).abs() < 1e-6 && (c.loss - 2f64.ln()).abs() < 1e-6);
    }
}
