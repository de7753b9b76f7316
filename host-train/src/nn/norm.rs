//! Layer normalisation (Ba, Kiros, Hinton 2016), in PyTorch's form.
//!
//! `y = gain (x - mean) / sqrt(variance + 1e-5) + bias` over the values of a row; gain and bias are its `weight` and `bias`.

use crate::nn::buffer::Buffer;
use crate::nn::params::{Gradients, Init, Layout, ParamId};
use crate::nn::simd::vectorized;
use crate::quant::Weights;

/// Added to variances.
const EPSILON: f32 = 1e-5;

/// A normalisation of rows of `width` values, with `{name}.weight` and `{name}.bias` `[width]`.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerNorm {
    width: usize,
    gain: ParamId,
    bias: ParamId,
}

/// What forward leaves for backward.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NormTrace {
    /// [rows, width]: without mean, of variance 1.
    normal: Buffer,
    /// `[rows]`: what deviations were multiplied by.
    scales: Buffer,
}

impl NormTrace {
    /// Room for so many rows.
    pub fn new(rows: usize, width: usize) -> Self {
        Self { normal: Buffer::unspecified(rows * width), scales: Buffer::unspecified(rows) }
    }
}

impl LayerNorm {
    /// Declares the parameters: a gain of 1 and a bias of 0.
    pub fn declare(layout: &mut Layout, name: &str, width: usize) -> Self {
        let gain = layout.declare(format!("{name}.weight"), &[width], Init::Constant(1.0));
        let bias = layout.declare(format!("{name}.bias"), &[width], Init::Constant(0.0));
        Self { width, gain, bias }
    }

    /// Normalises rows in place; the first of them is row `first` of the trace.
    pub fn forward<'a>(
        &self,
        weights: impl Into<Weights<'a>>,
        rows: &mut [f32],
        first: usize,
        trace: &mut NormTrace,
    ) {
        let (weights, width) = (weights.into(), self.width);
        let (gain, bias) = (weights.at(self.gain), weights.at(self.bias));
        let normals = trace.normal[first * width..].chunks_exact_mut(width);
        let places = normals.zip(&mut trace.scales[first..]);
        for (row, (normal, scale)) in rows.chunks_exact_mut(width).zip(places) {
            *scale = normalise(row, normal, gain, bias);
        }
    }

    /// The reverse of [`LayerNorm::forward`] for as many rows: gradients of what came out become those of what went in.
    pub fn backward<'a>(
        &self,
        weights: impl Into<Weights<'a>>,
        grads: &mut Gradients,
        d: &mut [f32],
        first: usize,
        trace: &NormTrace,
    ) {
        let (weights, width) = (weights.into(), self.width);
        let gain = weights.real().at(self.gain);
        let (mut d_gain, mut d_bias) = (Buffer::zeros(width), Buffer::zeros(width));
        let places = trace.normal[first * width..].chunks_exact(width).zip(&trace.scales[first..]);
        for (row, (normal, &scale)) in d.chunks_exact_mut(width).zip(places) {
            row_backward(row, normal, scale, gain, &mut d_gain, &mut d_bias);
        }
        let sums = [(self.gain, d_gain), (self.bias, d_bias)];
        sums.iter().for_each(|(id, d)| crate::nn::matrix::add(grads.at_mut(*id), d));
    }
}

vectorized! {
    /// Returns what deviations were multiplied by. The variance is that of deviations from the mean, which does not cancel.
    fn normalise(row: &mut [f32], normal: &mut [f32], gain: &[f32], bias: &[f32]) -> f32 {
        let mean = row.iter().sum::<f32>() / row.len() as f32;
        normal.iter_mut().zip(row.iter()).for_each(|(normal, x)| *normal = x - mean);
        let variance = normal.iter().map(|x| x * x).sum::<f32>() / row.len() as f32;
        let scale = 1.0 / (variance + EPSILON).sqrt();
        for (y, (normal, (gain, bias))) in row.iter_mut().zip(normal.iter_mut().zip(gain.iter().zip(bias))) {
            *normal *= scale;
            *y = gain * *normal + bias;
        }
        scale
    }
}

vectorized! {
    /// With `g = gain dy`: `dx = scale (g - mean(g) - normal mean(g normal))`.
    fn row_backward(
        d: &mut [f32],
        normal: &[f32],
        scale: f32,
        gain: &[f32],
        d_gain: &mut [f32],
        d_bias: &mut [f32],
    ) {
        let width = d.len() as f32;
        let (mut sum, mut along) = (0.0, 0.0);
        let sums = d_gain.iter_mut().zip(d_bias.iter_mut());
        for ((d, (normal, gain)), (d_gain, d_bias)) in d.iter_mut().zip(normal.iter().zip(gain)).zip(sums) {
            *d_gain += *d * normal;
            *d_bias += *d;
            *d *= gain;
            sum += *d;
            along += *d * normal;
        }
        let (mean, along) = (sum / width, along / width);
        d.iter_mut().zip(normal).for_each(|(d, normal)| *d = scale * (*d - mean - normal * along));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::check::{GradientCheck, values};
    use crate::nn::params::Params;

    #[test]
    fn gradients() {
        let mut layout = Layout::default();
        let norm = LayerNorm::declare(&mut layout, "norm", 5);
        let mut params = layout.init(1);
        params.iter_mut().for_each(|t| t.data.iter_mut().zip(values(5, 9)).for_each(|(v, d)| *v += 0.3 * d));
        let r = values(15, 2);
        let forward = |p: &Params, x: &[f32]| {
            let (mut y, mut trace) = (x.to_vec(), NormTrace::new(3, 5));
            norm.forward(p, &mut y[..5], 0, &mut trace);
            norm.forward(p, &mut y[5..], 1, &mut trace);
            (y, trace)
        };
        GradientCheck::new(params, vec![values(15, 3)]).run(
            |p, x| GradientCheck::weigh(&forward(p, &x[0]).0, &r),
            |p, g, x| {
                let (mut d, trace) = (r.clone(), forward(p, &x[0]).1);
                norm.backward(p, g, &mut d[..5], 0, &trace);
                norm.backward(p, g, &mut d[5..], 1, &trace);
                vec![d]
            },
        );
    }

    #[test]
    fn rows_have_mean_zero_and_variance_one_whatever_they_were() {
        let mut layout = Layout::default();
        let norm = LayerNorm::declare(&mut layout, "norm", 8);
        let params = layout.init(1);
        let mut y: Vec<f32> = values(8, 1).iter().map(|x| 100.0 * x + 1000.0).chain([5.0; 8]).collect();
        norm.forward(&params, &mut y, 0, &mut NormTrace::new(2, 8));
        let variance = y[..8].iter().map(|x| x * x).sum::<f32>() / 8.0;
        assert!(y[..8].iter().sum::<f32>().abs() < 1e-4 && (variance - 1.0).abs() < 1e-4, "{y:?}");
        assert!(y[8..].iter().all(|&y| y == 0.0));
    }
}
