//! The linear map `y = W x + b`.

use ndarray::s;

use crate::nn::matrix::{add_column_sums, add_product, fill_rows, product, view, view_mut};
use crate::nn::params::{Gradients, Init, Layout, ParamId, Params};

/// `y = W x + b` with `weight` [outputs, inputs] and, if it has one, `bias` `[outputs]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Linear {
    inputs: usize,
    outputs: usize,
    weight: ParamId,
    bias: Option<ParamId>,
}

impl Linear {
    /// Declares `{name}.weight` and, with `bias`, `{name}.bias`.
    pub fn declare(layout: &mut Layout, name: &str, inputs: usize, outputs: usize, bias: bool) -> Self {
        let init = Init::Uniform(1.0 / (inputs as f32).sqrt());
        let weight = layout.declare(format!("{name}.weight"), &[outputs, inputs], init);
        let bias = bias.then(|| layout.declare(format!("{name}.bias"), &[outputs], init));
        Self { inputs, outputs, weight, bias }
    }

    /// Width of the input.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Width of the output.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// `y` [rows, outputs] from `x` [rows, inputs].
    pub fn forward(&self, params: &Params, x: &[f32]) -> Vec<f32> {
        let rows = x.len() / self.inputs;
        let mut y = vec![0.0; rows * self.outputs];
        let w = view(params.at(self.weight), self.outputs, self.inputs);
        let x = view(x, rows, self.inputs);
        match self.bias {
            Some(bias) => {
                fill_rows(&mut y, params.at(bias));
                add_product(view_mut(&mut y, rows, self.outputs), x, w.t());
            }
            None => product(view_mut(&mut y, rows, self.outputs), x, w.t()),
        }
        y
    }

    /// Adds the gradients of weight and bias, given those of the output `dy` [rows, outputs].
    pub fn weight_gradients(&self, grads: &mut Gradients, x: &[f32], dy: &[f32]) {
        let rows = x.len() / self.inputs;
        let dw = view_mut(grads.at_mut(self.weight), self.outputs, self.inputs);
        add_product(dw, view(dy, rows, self.outputs).t(), view(x, rows, self.inputs));
        if let Some(bias) = self.bias {
            add_column_sums(grads.at_mut(bias), dy);
        }
    }

    /// Writes the gradient of the input into columns `column ..` of `dx` [rows, width], added to what is there.
    pub fn add_input_gradient(
        &self,
        params: &Params,
        dy: &[f32],
        dx: &mut [f32],
        width: usize,
        column: usize,
    ) {
        let rows = dy.len() / self.outputs;
        let mut dx = view_mut(dx, rows, width);
        let w = view(params.at(self.weight), self.outputs, self.inputs);
        let dx = dx.slice_mut(s![.., column..column + self.inputs]);
        add_product(dx, view(dy, rows, self.outputs), w);
    }

    /// Adds all gradients; returns that of the input, [rows, inputs].
    pub fn backward(&self, params: &Params, grads: &mut Gradients, x: &[f32], dy: &[f32]) -> Vec<f32> {
        self.weight_gradients(grads, x, dy);
        let mut dx = vec![0.0; x.len()];
        self.add_input_gradient(params, dy, &mut dx, self.inputs, 0);
        dx
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::check::{GradientCheck, values};

    #[test]
    fn forward_by_hand() {
        let mut layout = Layout::default();
        let linear = Linear::declare(&mut layout, "fc", 2, 3, true);
        let mut params = layout.init(1);
        params.get_mut("fc.weight").unwrap().data.copy_from_slice(&[1., 2., 3., 4., 5., 6.]);
        params.get_mut("fc.bias").unwrap().data.copy_from_slice(&[0.5, 0.0, -0.5]);
        assert_eq!(linear.forward(&params, &[1.0, -1.0, 0.0, 2.0]), [-0.5, -1.0, -1.5, 4.5, 8.0, 11.5]);
    }

    #[test]
    fn gradients() {
        for bias in [true, false] {
            let mut layout = Layout::default();
            let linear = Linear::declare(&mut layout, "fc", 4, 3, bias);
            let (x, r) = (values(5 * 4, 1), values(5 * 3, 2));
            GradientCheck::new(layout.init(3), vec![x]).run(
                |p, x| GradientCheck::weigh(&linear.forward(p, &x[0]), &r),
                |p, g, x| vec![linear.backward(p, g, &x[0], &r)],
            );
        }
    }
}
