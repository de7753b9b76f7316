//! The linear map `y = W x + b`.

use std::ops::Range;

use kinglet::fixed::saturate_i16;
use ndarray::s;

use crate::nn::buffer::Buffer;
use crate::nn::gemm::Start;
use crate::nn::matrix::{add_column_sums, add_product, view, view_mut};
use crate::nn::operand::{Operand, Side};
use crate::nn::params::{Gradients, Init, Layout, ParamId};
use crate::quant::{Builder, Product, TokenSource, Weights, Width};

/// `y = W x + b` with `weight` [outputs, inputs] and, if it has one, `bias` `[outputs]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Linear {
    /// Those of its columns that are multiplied: all, unless several maps share a matrix.
    columns: Range<usize>,
    /// Columns of the matrix.
    width: usize,
    outputs: usize,
    weight: ParamId,
    bias: Option<ParamId>,
    forward: Operand,
    backward: Operand,
}

impl Linear {
    /// Declares `{name}.weight` and, with `bias`, `{name}.bias`.
    pub fn declare(layout: &mut Layout, name: &str, inputs: usize, outputs: usize, bias: bool) -> Self {
        let init = Init::uniform(inputs);
        let weight = layout.declare(format!("{name}.weight"), &[outputs, inputs], init);
        let bias = bias.then(|| layout.declare(format!("{name}.bias"), &[outputs], init));
        Self::with_weight(layout, (weight, bias), 0..inputs)
    }

    /// The map of some columns of a declared matrix, with a declared bias if it has one.
    pub fn with_weight(
        layout: &mut Layout,
        (weight, bias): (ParamId, Option<ParamId>),
        columns: Range<usize>,
    ) -> Self {
        let forward = layout.operand(weight, columns.clone(), Side::Forward);
        let backward = layout.operand(weight, columns.clone(), Side::Backward);
        let (outputs, width) = layout.matrix(weight);
        Self { columns, width, outputs, weight, bias, forward, backward }
    }

    /// Width of the input.
    pub fn inputs(&self) -> usize {
        self.columns.len()
    }

    /// Width of the output.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Adds the product to a grid: its results count units and have a width, and its columns of `token` read
    /// embeddings.
    pub fn quantize(
        &self,
        builder: &mut Builder<'_>,
        name: &str,
        results: (f64, Width),
        token: Option<TokenSource>,
    ) {
        self.quantize_parts(builder, name, results, self.outputs, token);
    }

    /// [`Linear::quantize`] of a map that is a matrix of its own, on the chip, for each `part` of its outputs.
    pub fn quantize_parts(
        &self,
        builder: &mut Builder<'_>,
        name: &str,
        results: (f64, Width),
        part: usize,
        token: Option<TokenSource>,
    ) {
        builder.linear(name, (self.weight, self.bias), (self.outputs, self.inputs()), results, part, token);
    }

    /// `y` [rows, outputs] from `x` [rows, inputs].
    pub fn forward<'a>(&self, weights: impl Into<Weights<'a>>, x: &[f32]) -> Buffer {
        self.forward_tokens(weights, x, None)
    }

    /// [`Linear::forward`] of inputs whose embeddings, if there are any, are those of `ids`, unchanged.
    pub fn forward_tokens<'a>(
        &self,
        weights: impl Into<Weights<'a>>,
        x: &[f32],
        ids: Option<&[u32]>,
    ) -> Buffer {
        let mut y = Buffer::unspecified(x.len() / self.inputs() * self.outputs);
        self.forward_into(weights.into(), x, ids, &mut y);
        y
    }

    /// [`Linear::forward_tokens`] into `y`.
    pub fn forward_into(&self, weights: Weights<'_>, x: &[f32], ids: Option<&[u32]>, y: &mut [f32]) {
        if let Some(grid) = weights.grid() {
            let unit = grid.product(self.weight).unit;
            let results = self.integers(weights, x, ids);
            y.iter_mut().zip(results).for_each(|(y, result)| *y = f32::from(result) * unit);
            return;
        }
        let rows = x.len() / self.inputs();
        let start = self.bias.map_or(Start::Zero, |bias| Start::Row(weights.at(bias)));
        let c = view_mut(y, rows, self.outputs);
        self.forward.product(weights, c, view(x, rows, self.inputs()), start);
    }

    /// The 16-bit results [rows, outputs] on the grid.
    ///
    /// # Panics
    /// When the weights have none.
    pub fn integers(&self, weights: Weights<'_>, x: &[f32], ids: Option<&[u32]>) -> Vec<i16> {
        let grid = weights.grid().expect("asked for on a grid alone");
        let Product { records, token, .. } = grid.product(self.weight);
        let rows = x.len() / self.inputs();
        let mut entered = grid.enter(x);
        let mut entries = Vec::new();
        if let Some(token) = token {
            let columns = s![.., token.columns.clone()];
            let embeddings: Vec<f32> = view(x, rows, self.inputs()).slice(columns).iter().copied().collect();
            let integers = token.enter(&embeddings);
            let mut place = view_mut(&mut entered, rows, self.inputs()).slice_move(columns);
            place.assign(&view(&integers, rows, token.columns.len()));
            entries = token.entries(weights.at(self.weight), self.inputs(), &embeddings, ids);
        }
        let mut sums = vec![0.0; rows * self.outputs];
        let c = view_mut(&mut sums, rows, self.outputs);
        self.forward.product(weights, c, view(&entered, rows, self.inputs()), Start::Zero);
        let result = |(at, &sum): (usize, &f32)| {
            let y = records.result(at % self.outputs, sum as i32);
            entries.get(at).map_or(y, |&entry| saturate_i16(i32::from(y) + entry as i32))
        };
        sums.iter().enumerate().map(result).collect()
    }

    /// Adds the gradients of weight and bias, given those of the output `dy` [rows, outputs].
    pub fn weight_gradients(&self, grads: &mut Gradients, x: &[f32], dy: &[f32]) {
        let rows = x.len() / self.inputs();
        let mut dw = view_mut(grads.at_mut(self.weight), self.outputs, self.width);
        let dw = dw.slice_mut(s![.., self.columns.clone()]);
        add_product(dw, view(dy, rows, self.outputs).t(), view(x, rows, self.inputs()));
        if let Some(bias) = self.bias {
            add_column_sums(grads.at_mut(bias), dy);
        }
    }

    /// The gradient of the input [rows, inputs], added to what `dx` holds, or in its place.
    pub fn input_gradient<'a>(&self, weights: impl Into<Weights<'a>>, dy: &[f32], dx: &mut [f32], add: bool) {
        let rows = dy.len() / self.outputs;
        let start = if add { Start::Sum } else { Start::Zero };
        let dx = view_mut(dx, rows, self.inputs());
        self.backward.product(weights.into(), dx, view(dy, rows, self.outputs), start);
    }

    /// Adds all gradients; returns that of the input, [rows, inputs].
    pub fn backward<'a>(
        &self,
        weights: impl Into<Weights<'a>>,
        grads: &mut Gradients,
        x: &[f32],
        dy: &[f32],
    ) -> Buffer {
        self.weight_gradients(grads, x, dy);
        let mut dx = Buffer::unspecified(x.len());
        self.input_gradient(weights, dy, &mut dx, false);
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
        assert_eq!(linear.forward(&params, &[1.0, -1.0, 0.0, 2.0])[..], [-0.5, -1.0, -1.5, 4.5, 8.0, 11.5]);
    }

    #[test]
    fn gradients() {
        for bias in [true, false] {
            let mut layout = Layout::default();
            let linear = Linear::declare(&mut layout, "fc", 4, 3, bias);
            let (x, r) = (values(5 * 4, 1), values(5 * 3, 2));
            GradientCheck::new(layout.init(3), vec![x]).run(
                |p, x| GradientCheck::weigh(&linear.forward(p, &x[0]), &r),
                |p, g, x| vec![linear.backward(p, g, &x[0], &r).to_vec()],
            );
        }
    }

    #[test]
    fn maps_of_one_matrix_are_its_columns() {
        let mut layout = Layout::default();
        let whole = Linear::declare(&mut layout, "fc", 5, 3, false);
        let parts = [0..2, 2..5].map(|c| Linear::with_weight(&mut layout, (whole.weight, None), c));
        let params = layout.init(3);
        let (x, r) = (values(5, 1), values(3, 2));
        let (mut sum, second) = (parts[0].forward(&params, &x[..2]), parts[1].forward(&params, &x[2..]));
        sum.iter_mut().zip(second.iter()).for_each(|(a, b)| *a += b);
        sum.iter().zip(whole.forward(&params, &x).iter()).for_each(|(a, b)| assert!((a - b).abs() < 1e-6));
        let (mut all, mut each) = (params.zeros_like(), params.zeros_like());
        let dx = whole.backward(&params, &mut all, &x, &r);
        let first = parts[0].backward(&params, &mut each, &x[..2], &r);
        let second = parts[1].backward(&params, &mut each, &x[2..], &r);
        assert_eq!((all, &dx[..]), (each, &[&first[..], &second[..]].concat()[..]));
    }
}
