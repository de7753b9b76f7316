//! What an output layer reads of a state that attends (Luong, Pham, Manning 2015, equation 5): `h~ = tanh(W_c [c; s])`.

use crate::nn::linear::Linear;
use crate::nn::math::tanh;
use crate::nn::params::{Gradients, Layout};
use crate::nn::simd::vectorized;
use crate::quant::Weights;

/// The map, with `{name}.w_c.weight` [state, context + state].
#[derive(Debug, Clone, PartialEq)]
pub struct Attended {
    map: Linear,
}

impl Attended {
    /// Declares the parameter.
    pub fn declare(layout: &mut Layout, name: &str, context: usize, state: usize) -> Self {
        Self { map: Linear::declare(layout, &format!("{name}.w_c"), context + state, state, false) }
    }

    /// Width of a context and a state beside each other.
    pub fn inputs(&self) -> usize {
        self.map.inputs()
    }

    /// Width of `h~`, and of a state.
    pub fn width(&self) -> usize {
        self.map.outputs()
    }

    /// Width of a context.
    pub fn context(&self) -> usize {
        self.inputs() - self.width()
    }

    /// Joins `contexts` and `states` into `joined` [rows, context + state] and writes `h~` to `out` [rows, state].
    pub fn forward<'a>(
        &self,
        weights: impl Into<Weights<'a>>,
        (contexts, states): (&[f32], &[f32]),
        joined: &mut [f32],
        out: &mut [f32],
    ) {
        let parts = contexts.chunks_exact(self.context()).zip(states.chunks_exact(self.width()));
        for (row, (context, state)) in joined.chunks_exact_mut(self.inputs()).zip(parts) {
            let (first, second) = row.split_at_mut(context.len());
            first.copy_from_slice(context);
            second.copy_from_slice(state);
        }
        self.map.forward_into(weights.into(), joined, None, out);
        tanh_all(out);
    }

    /// The gradients of the sums from those of `h~`, in place.
    pub fn reverse_tanh(out: &[f32], d: &mut [f32]) {
        d.iter_mut().zip(out).for_each(|(d, y)| *d *= 1.0 - y * y);
    }

    /// Writes the gradients of contexts and states, joined, given those of the sums.
    pub fn input_gradient<'a>(&self, weights: impl Into<Weights<'a>>, d: &[f32], d_joined: &mut [f32]) {
        self.map.input_gradient(weights, d, d_joined, false);
    }

    /// Adds the gradient of the weights, given what was joined and the gradients of the sums.
    pub fn weight_gradient(&self, grads: &mut Gradients, joined: &[f32], d: &[f32]) {
        self.map.weight_gradients(grads, joined, d);
    }
}

vectorized! {
    fn tanh_all(values: &mut [f32]) {
        values.iter_mut().for_each(|x| *x = tanh(*x));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::buffer::Buffer;
    use crate::nn::check::{GradientCheck, values};

    #[test]
    fn gradients() {
        let mut layout = Layout::default();
        let attended = Attended::declare(&mut layout, "attention", 3, 4);
        let r = values(8, 1);
        let forward = |p: &crate::nn::params::Params, x: &[Vec<f32>]| {
            let (mut joined, mut out) = (vec![0.0; 14], vec![0.0; 8]);
            attended.forward(p, (&x[0], &x[1]), &mut joined, &mut out);
            (joined, out)
        };
        GradientCheck::new(layout.init(2), vec![values(6, 3), values(8, 4)]).run(
            |p, x| GradientCheck::weigh(&forward(p, x).1, &r),
            |p, g, x| {
                let ((joined, out), mut d) = (forward(p, x), Buffer::copy(&r));
                Attended::reverse_tanh(&out, &mut d);
                attended.weight_gradient(g, &joined, &d);
                let mut dx = vec![0.0; 14];
                attended.input_gradient(p, &d, &mut dx);
                let part = |columns: std::ops::Range<usize>| {
                    dx.chunks_exact(7).flat_map(|row| row[columns.clone()].to_vec()).collect::<Vec<f32>>()
                };
                vec![part(0..3), part(3..7)]
            },
        );
    }
}
