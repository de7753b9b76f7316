//! Recurrent layers on top of each other, each in one or both directions.

use crate::config::Cell;
use crate::nn::packed::Packed;
use crate::nn::params::{Gradients, Layout, Params};
use crate::nn::rnn::{Columns, Layer, State, Trace};
use crate::quant::{Builder, TokenSource, Weights};

/// What is done to the output rows of a layer before the next one reads them, given the layer's index:
/// dropout. It is linear and its own transpose, so backward does the same to gradients.
pub type Between<'a> = &'a dyn Fn(usize, &mut [f32]);

/// PyTorch's `nn.GRU` or `nn.LSTM`: layer `k + 1` reads [forward; backward] of layer `k`.
#[derive(Debug, Clone, PartialEq)]
pub struct Stack {
    directions: usize,
    /// Layer by layer, each forward then reverse.
    layers: Vec<Layer>,
}

/// What a stack's forward pass leaves.
#[derive(Debug, Clone, PartialEq)]
pub struct StackTrace {
    /// One for each layer and direction.
    pub traces: Vec<Trace>,
    /// What each layer read, [rows, inputs].
    pub inputs: Vec<Vec<f32>>,
    /// What the top layer put out, [rows, directions * hidden].
    pub output: Vec<f32>,
}

impl Stack {
    /// Declares every layer and direction under `name`.
    pub fn declare(
        layout: &mut Layout,
        name: &str,
        cell: Cell,
        inputs: usize,
        hidden: usize,
        layers: usize,
        bidirectional: bool,
    ) -> Self {
        let directions = if bidirectional { 2 } else { 1 };
        let mut stack = Vec::with_capacity(layers * directions);
        for k in 0..layers {
            let inputs = if k == 0 { inputs } else { directions * hidden };
            for direction in 0..directions {
                stack.push(Layer::declare(layout, name, k, direction == 1, cell, inputs, hidden));
            }
        }
        Self { directions, layers: stack }
    }

    /// Adds its products to a grid under `name`; its first layer reads embeddings of `token`.
    pub fn quantize(&self, builder: &mut Builder<'_>, name: &str, token: TokenSource) {
        for (i, layer) in self.layers.iter().enumerate() {
            let (k, reverse) = (i / self.directions, i % self.directions == 1);
            let name = format!("{name}.l{k}{}", if reverse { "_reverse" } else { "" });
            layer.quantize(builder, &name, (k == 0).then_some(token));
        }
    }

    /// 1 or 2.
    pub fn directions(&self) -> usize {
        self.directions
    }

    /// The layers, each forward then reverse.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// Units of one direction.
    pub fn hidden(&self) -> usize {
        self.layers[0].hidden()
    }

    /// Width of the output.
    pub fn outputs(&self) -> usize {
        self.directions * self.hidden()
    }

    /// Zero states for `sentences`, one for each layer and direction.
    pub fn zero_states(&self, sentences: usize) -> Vec<State> {
        self.layers.iter().map(|l| State::zeros(l.cell(), sentences, l.hidden())).collect()
    }

    /// Runs over packed sentences; `states`, one for each layer and direction, go from first to final.
    pub fn forward<'a>(
        &self,
        weights: impl Into<Weights<'a>>,
        seq: &Packed,
        x: Vec<f32>,
        states: &mut [State],
        between: Between<'_>,
    ) -> StackTrace {
        self.forward_tokens(weights.into(), seq, (x, None), states, between)
    }

    /// [`Stack::forward`] of inputs that are the embeddings of `ids`, unchanged, if given.
    pub fn forward_tokens(
        &self,
        weights: Weights<'_>,
        seq: &Packed,
        (x, ids): (Vec<f32>, Option<&[u32]>),
        states: &mut [State],
        between: Between<'_>,
    ) -> StackTrace {
        let mut traces = Vec::with_capacity(self.layers.len());
        let mut inputs = Vec::new();
        let mut x = x;
        let width = self.outputs();
        let depth = self.layers.len() / self.directions;
        let layers = self.layers.chunks_exact(self.directions);
        for (k, (layer, states)) in layers.zip(states.chunks_exact_mut(self.directions)).enumerate() {
            let mut out = vec![0.0; seq.rows() * width];
            for (direction, (layer, state)) in layer.iter().zip(states).enumerate() {
                let to = Columns { width, column: direction * self.hidden() };
                let ids = ids.filter(|_| k == 0);
                traces.push(layer.forward(weights, seq, direction == 1, (&x, ids), state, (&mut out, to)));
            }
            if k + 1 < depth {
                between(k, &mut out);
            }
            inputs.push(std::mem::replace(&mut x, out));
        }
        StackTrace { traces, inputs, output: x }
    }

    /// The reverse of [`Stack::forward`]: `d_states` come with the gradients of the final states and leave
    /// with those of the first ones; returns the gradient of `x`.
    #[allow(clippy::too_many_arguments)]
    pub fn backward(
        &self,
        params: &Params,
        grads: &mut Gradients,
        seq: &Packed,
        trace: StackTrace,
        d_out: Vec<f32>,
        d_states: &mut [State],
        between: Between<'_>,
    ) -> Vec<f32> {
        let StackTrace { mut traces, inputs, .. } = trace;
        let width = self.outputs();
        let mut d_out = d_out;
        for (k, x) in inputs.iter().enumerate().rev() {
            let mut dx = vec![0.0; x.len()];
            for direction in (0..self.directions).rev() {
                let index = k * self.directions + direction;
                let trace = traces.pop().expect("one trace for each layer and direction");
                let from = Columns { width, column: direction * self.hidden() };
                let (layer, d) = (&self.layers[index], &mut d_states[index]);
                layer.backward(params, grads, seq, direction == 1, x, trace, (&d_out, from), d, &mut dx);
            }
            if k > 0 {
                between(k - 1, &mut dx);
            }
            d_out = dx;
        }
        d_out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::check::{GradientCheck, values};

    #[test]
    fn gradients_of_two_layers_in_both_directions() {
        let seq = Packed::new(vec![3, 2]);
        let halve = |_: usize, rows: &mut [f32]| rows.iter_mut().step_by(3).for_each(|x| *x *= 0.5);
        for cell in [Cell::Gru, Cell::Lstm] {
            let mut layout = Layout::default();
            let stack = Stack::declare(&mut layout, "rnn", cell, 2, 3, 2, true);
            let (r, rh) = (values(seq.rows() * 6, 1), values(6, 2));
            GradientCheck::new(layout.init(1), vec![values(seq.rows() * 2, 3)]).run(
                |p, x| {
                    let mut states = stack.zero_states(2);
                    let trace = stack.forward(p, &seq, x[0].clone(), &mut states, &halve);
                    let finals: f64 = states.iter().map(|s| GradientCheck::weigh(&s.h, &rh)).sum();
                    GradientCheck::weigh(&trace.output, &r) + finals
                },
                |p, g, x| {
                    let mut states = stack.zero_states(2);
                    let trace = stack.forward(p, &seq, x[0].clone(), &mut states, &halve);
                    let mut d = stack.zero_states(2);
                    d.iter_mut().for_each(|s| s.h.copy_from_slice(&rh));
                    vec![stack.backward(p, g, &seq, trace, r.clone(), &mut d, &halve)]
                },
            );
        }
    }
}
