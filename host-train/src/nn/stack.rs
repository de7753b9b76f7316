//! Recurrent layers on top of each other, each in one or both directions.

use crate::config::Cell;
use crate::nn::buffer::Buffer;
use crate::nn::embedding::Tokens;
use crate::nn::packed::Packed;
use crate::nn::params::{Gradients, Layout};
use crate::nn::rnn::{Columns, Input, Layer, State, Trace};
use crate::quant::{Builder, TokenSource, Weights};

/// What is done to the output rows of a layer before the next one reads them, given the layer's index:
/// dropout. It is linear and its own transpose, so backward does the same to gradients.
pub type Between<'a> = &'a dyn Fn(usize, &mut [f32]);

/// Something for each layer and direction of a stack.
pub type List<T> = heapless::Vec<T, { 2 * MAX_LAYERS }>;

/// Most layers of a stack.
pub const MAX_LAYERS: usize = 8;

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
    pub traces: List<Trace>,
    /// What each layer read, [rows, inputs]; the lowest, if it reads tokens, their embeddings.
    pub inputs: List<Buffer>,
    /// What the lowest layer read, if it was tokens.
    pub tokens: Option<Tokens>,
    /// Whether the first states were zero.
    pub fresh: bool,
    /// What the top layer put out, [rows, directions * hidden].
    pub output: Buffer,
}

impl StackTrace {
    /// What layer `k` read.
    pub fn input(&self, k: usize) -> Input<'_> {
        match &self.tokens {
            Some(tokens) if k == 0 => Input::Tokens(&self.inputs[0], tokens),
            _ => Input::Rows(&self.inputs[k]),
        }
    }

    /// The vector of `width` values that layer `k` read in `row`.
    pub fn read(&self, k: usize, row: usize, width: usize) -> &[f32] {
        let row = match &self.tokens {
            Some(tokens) if k == 0 => tokens.slot(row),
            _ => row,
        };
        &self.inputs[k][row * width..][..width]
    }
}

impl Stack {
    /// Declares every layer and direction under `name`.
    ///
    /// # Panics
    /// With more than [`MAX_LAYERS`] layers.
    pub fn declare(
        layout: &mut Layout,
        name: &str,
        cell: Cell,
        inputs: usize,
        hidden: usize,
        layers: usize,
        bidirectional: bool,
    ) -> Self {
        Self::declare_parts(layout, name, cell, &[inputs], hidden, layers, bidirectional)
    }

    /// [`Stack::declare`] for inputs that consist of parts of these widths.
    ///
    /// # Panics
    /// With more than [`MAX_LAYERS`] layers.
    pub fn declare_parts(
        layout: &mut Layout,
        name: &str,
        cell: Cell,
        parts: &[usize],
        hidden: usize,
        layers: usize,
        bidirectional: bool,
    ) -> Self {
        assert!(layers <= MAX_LAYERS, "at most {MAX_LAYERS} layers, found {layers}");
        let directions = if bidirectional { 2 } else { 1 };
        let outputs = [directions * hidden];
        let mut stack = Vec::with_capacity(layers * directions);
        for k in 0..layers {
            let parts = if k == 0 { parts } else { &outputs };
            for direction in 0..directions {
                stack.push(Layer::declare(layout, name, k, direction == 1, cell, parts, hidden));
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
    pub fn zero_states(&self, sentences: usize) -> List<State> {
        self.layers.iter().map(|l| State::zeros(l.cell(), sentences, l.hidden())).collect()
    }

    /// Runs over packed sentences; `states`, one for each layer and direction, go from first to final.
    pub fn forward<'a>(
        &self,
        weights: impl Into<Weights<'a>>,
        seq: &Packed,
        x: impl Into<Buffer>,
        states: &mut [State],
        between: Between<'_>,
    ) -> StackTrace {
        self.run(weights.into(), seq, (x.into(), None), (states, false), between)
    }

    /// [`Stack::forward`] of inputs that are the embeddings `x` of tokens, if given, and of states that are zero when they
    /// are `fresh`.
    pub fn run(
        &self,
        weights: Weights<'_>,
        seq: &Packed,
        (x, tokens): (Buffer, Option<Tokens>),
        (states, fresh): (&mut [State], bool),
        between: Between<'_>,
    ) -> StackTrace {
        let (traces, inputs) = (List::new(), List::new());
        let mut trace = StackTrace { traces, inputs, tokens, fresh, output: x };
        let width = self.outputs();
        let depth = self.layers.len() / self.directions;
        let layers = self.layers.chunks_exact(self.directions);
        for (k, (layer, states)) in layers.zip(states.chunks_exact_mut(self.directions)).enumerate() {
            let mut out = Buffer::unspecified(seq.rows() * width);
            push(&mut trace.inputs, std::mem::take(&mut trace.output));
            for (direction, (layer, state)) in layer.iter().zip(states).enumerate() {
                let to = Columns { width, column: direction * self.hidden() };
                let (way, input) = ((direction == 1, fresh), trace.input(k));
                let done = layer.forward(weights, seq, way, input, state, (&mut out, to));
                push(&mut trace.traces, done);
            }
            if k + 1 < depth {
                between(k, &mut out);
            }
            trace.output = out;
        }
        trace
    }

    /// The reverse of [`Stack::forward`]: `d_states` come with the gradients of the final states and leave
    /// with those of the first ones, unless those were zero; returns the gradient of `x`.
    #[allow(clippy::too_many_arguments)]
    pub fn backward<'a>(
        &self,
        weights: impl Into<Weights<'a>>,
        grads: &mut Gradients,
        seq: &Packed,
        mut trace: StackTrace,
        d_out: impl Into<Buffer>,
        d_states: &mut [State],
        between: Between<'_>,
    ) -> Buffer {
        let (weights, width) = (weights.into(), self.outputs());
        let mut d_out = d_out.into();
        for k in (0..trace.inputs.len()).rev() {
            let mut dx = Buffer::zeros(trace.inputs[k].len());
            for direction in (0..self.directions).rev() {
                let index = k * self.directions + direction;
                let done = trace.traces.pop().expect("one trace for each layer and direction");
                let from = Columns { width, column: direction * self.hidden() };
                let (layer, d) = (&self.layers[index], &mut d_states[index]);
                let (way, input) = ((direction == 1, trace.fresh), trace.input(k));
                layer.backward(weights, grads, seq, way, input, done, (&d_out, from), d, &mut dx);
            }
            if k > 0 {
                between(k - 1, &mut dx);
            }
            d_out = dx;
        }
        d_out
    }
}

/// Appends to a list that has room for every layer and direction.
pub(crate) fn push<T>(list: &mut List<T>, value: T) {
    assert!(list.push(value).is_ok(), "at most {MAX_LAYERS} layers");
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
                    vec![stack.backward(p, g, &seq, trace, r.clone(), &mut d, &halve).to_vec()]
                },
            );
        }
    }
}
