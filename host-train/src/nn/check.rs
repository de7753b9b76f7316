//! Gradient checks by central differences, shared by the layers' tests.

use crate::nn::params::{Gradients, Params};
use crate::nn::random::Random;

/// `count` normal numbers of stream `seed`.
pub(crate) fn values(count: usize, seed: u64) -> Vec<f32> {
    let mut random = Random::keyed(77, seed);
    (0..count).map(|_| random.normal()).collect()
}

/// Makes the weights of rectified cells under `name` so small and their biases so large, every third one negative, that no
/// sum is near zero, where slopes jump.
pub(crate) fn away_from_zero(params: &mut Params, name: &str) {
    for tensor in params.iter_mut().filter(|t| t.name.starts_with(name)) {
        let biases = tensor.name.contains("bias_ih");
        for (i, value) in tensor.data.iter_mut().enumerate() {
            *value = if !biases {
                0.2 * *value
            } else if i % 3 == 2 {
                -3.0
            } else {
                2.0
            };
        }
    }
}

/// A loss as a function of parameters and inputs, whose gradients are compared with central differences.
pub(crate) struct GradientCheck {
    params: Params,
    inputs: Vec<Vec<f32>>,
    step: f32,
}

impl GradientCheck {
    pub(crate) fn new(params: Params, inputs: Vec<Vec<f32>>) -> Self {
        Self { params, inputs, step: 1e-2 }
    }

    /// The check with another step: a shorter one where the loss is more curved, as behind normalisations of few values.
    pub(crate) fn step(self, step: f32) -> Self {
        Self { step, ..self }
    }

    /// `Σ output · weight` in f64: a scalar loss whose gradient at the output is `weight`.
    pub(crate) fn weigh(output: &[f32], weight: &[f32]) -> f64 {
        assert_eq!(output.len(), weight.len());
        output.iter().zip(weight).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    }

    /// Checks every value of every parameter, and every input for which `backward` returns a gradient.
    ///
    /// A step of 1e-2 balances the f32 rounding of the forward pass against the curvature, whose leading
    /// term a second difference of twice the step removes.
    pub(crate) fn run(
        mut self,
        loss: impl Fn(&Params, &[Vec<f32>]) -> f64,
        backward: impl Fn(&Params, &mut Gradients, &[Vec<f32>]) -> Vec<Vec<f32>>,
    ) {
        let mut grads = self.params.zeros_like();
        let d_inputs = backward(&self.params, &mut grads, &self.inputs);
        let step = self.step;
        let slope = |at: &mut dyn FnMut(f32) -> f64| {
            let h = f64::from(step);
            let near = (at(step) - at(-step)) / (2.0 * h);
            let far = (at(2.0 * step) - at(-2.0 * step)) / (4.0 * h);
            (4.0 * near - far) / 3.0
        };
        let compare = |what: &str, found: f32, expected: f64| {
            let error = (f64::from(found) - expected).abs();
            assert!(error < 1e-3 + 1e-3 * expected.abs(), "{what}: {found}, by differences {expected}");
        };
        let names: Vec<String> = grads.iter().map(|t| t.name.clone()).collect();
        for name in names {
            for i in 0..grads.get(&name).unwrap().data.len() {
                let start = self.params.get(&name).unwrap().data[i];
                let expected = slope(&mut |d| {
                    self.params.get_mut(&name).unwrap().data[i] = start + d;
                    loss(&self.params, &self.inputs)
                });
                self.params.get_mut(&name).unwrap().data[i] = start;
                compare(&format!("{name}[{i}]"), grads.get(&name).unwrap().data[i], expected);
            }
        }
        for (k, gradient) in d_inputs.iter().enumerate() {
            assert_eq!(gradient.len(), self.inputs[k].len(), "input {k}");
            for (i, &found) in gradient.iter().enumerate() {
                let start = self.inputs[k][i];
                let expected = slope(&mut |d| {
                    self.inputs[k][i] = start + d;
                    loss(&self.params, &self.inputs)
                });
                self.inputs[k][i] = start;
                compare(&format!("input {k}[{i}]"), found, expected);
            }
        }
    }
}
