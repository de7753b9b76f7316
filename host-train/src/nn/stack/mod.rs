//! Recurrent layers on top of each other, each in one or both directions.

mod connection;
mod steps;
#[cfg(test)]
mod tests;

use crate::config::Cell;
use crate::nn::buffer::Buffer;
use crate::nn::embedding::Tokens;
use crate::nn::matrix::add;
use crate::nn::norm::{LayerNorm, NormTrace};
use crate::nn::packed::Packed;
use crate::nn::params::{Gradients, Layout};
use crate::nn::rnn::{Columns, Input, Layer, State, Trace};
use crate::quant::{Builder, TokenSource, Weights};
use connection::Connection;

/// What is done to the output rows of a layer before the next one reads them, given the layer's index:
/// dropout. It is linear and its own transpose, so backward does the same to gradients.
pub type Between<'a> = &'a dyn Fn(usize, &mut [f32]);

/// Something for each layer and direction of a stack.
pub type List<T> = heapless::Vec<T, { 2 * MAX_LAYERS }>;

/// Most layers of a stack.
pub const MAX_LAYERS: usize = 8;

/// Sizes of a stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape<'a> {
    /// Cell of every layer.
    pub cell: Cell,
    /// Widths of the parts that the lowest layer reads.
    pub parts: &'a [usize],
    /// Whether these are joined of several things, so that it does not put out a sum with them.
    pub joined: bool,
    /// Units a direction.
    pub hidden: usize,
    /// Layers, at most [`MAX_LAYERS`].
    pub layers: usize,
    /// Whether every layer also runs from the end to the start.
    pub bidirectional: bool,
    /// Whether the first direction is from the end to the start.
    pub reverse: bool,
    /// Whether layers put out the sum of their states with what they read, where that is one part of the same width.
    pub residual: bool,
    /// Whether what layers put out is normalised.
    pub norm: bool,
}

impl<'a> Shape<'a> {
    /// States in one direction, put out as they are.
    pub fn new(cell: Cell, parts: &'a [usize], hidden: usize, layers: usize) -> Self {
        let (joined, bidirectional, reverse, residual, norm) = (false, false, false, false, false);
        Self { cell, parts, joined, hidden, layers, bidirectional, reverse, residual, norm }
    }
}

/// PyTorch's `nn.RNN`, `nn.GRU` or `nn.LSTM`: layer `k + 1` reads [forward; backward] of layer `k`.
#[derive(Debug, Clone, PartialEq)]
pub struct Stack {
    directions: usize,
    /// Whether the first direction is from the end to the start.
    reverse: bool,
    /// Layer by layer, each forward then reverse.
    layers: Vec<Layer>,
    /// One for each depth.
    connections: Vec<Connection>,
}

/// What a stack's forward pass leaves.
#[derive(Debug, Clone, PartialEq)]
pub struct StackTrace {
    /// One for each layer and direction.
    pub traces: List<Trace>,
    /// What each layer read, [rows, inputs]; the lowest, if it reads tokens, their embeddings; of several parts the first.
    pub inputs: List<Buffer>,
    /// What the lowest layer read, if it was tokens.
    pub tokens: Option<Tokens>,
    /// Whether the first states were zero.
    pub fresh: bool,
    /// What the top layer put out, [rows, directions * hidden].
    pub output: Buffer,
    /// Of layers whose states are not what they put out, the states [rows, directions * hidden]; of others nothing.
    states: List<Buffer>,
    norms: List<NormTrace>,
}

impl StackTrace {
    /// What layer `k` read.
    pub fn input(&self, k: usize) -> Input<'_> {
        input(&self.inputs, self.tokens.as_ref(), k)
    }

    /// The states of layer `k` after each step, [rows, directions * hidden], unless dropout has changed them.
    pub fn states(&self, k: usize) -> &[f32] {
        if self.states[k].is_empty() { self.put_out(k) } else { &self.states[k] }
    }

    /// What layer `k` put out, unless dropout has changed it.
    pub fn put_out(&self, k: usize) -> &[f32] {
        self.inputs.get(k + 1).unwrap_or(&self.output)
    }
}

fn input<'a>(inputs: &'a [Buffer], tokens: Option<&'a Tokens>, k: usize) -> Input<'a> {
    match tokens {
        Some(tokens) if k == 0 => Input::Tokens(&inputs[0], tokens),
        _ => Input::Rows(&inputs[k]),
    }
}

impl Stack {
    /// Declares every layer and direction under `{name}rnn`, and normalisations as `{name}norm_l0`, ...
    ///
    /// # Panics
    /// With more than [`MAX_LAYERS`] layers.
    pub fn declare(layout: &mut Layout, name: &str, shape: &Shape<'_>) -> Self {
        let &Shape { cell, parts, joined, hidden, layers, bidirectional, reverse, residual, norm } = shape;
        assert!(layers <= MAX_LAYERS, "at most {MAX_LAYERS} layers, found {layers}");
        let directions = if bidirectional { 2 } else { 1 };
        let outputs = [directions * hidden];
        let mut stack = Vec::with_capacity(layers * directions);
        for k in 0..layers {
            let parts = if k == 0 { parts } else { &outputs };
            for direction in 0..directions {
                let name = format!("{name}rnn");
                stack.push(Layer::declare(layout, &name, k, direction == 1, cell, parts, hidden));
            }
        }
        let mut connection = |k: usize| Connection {
            residual: residual && (k > 0 || (parts == outputs && !joined)),
            norm: norm.then(|| LayerNorm::declare(layout, &format!("{name}norm_l{k}"), outputs[0])),
        };
        let connections = (0..layers).map(&mut connection).collect();
        Self { directions, reverse, layers: stack, connections }
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

    /// Whether a direction, 0 or 1, goes from the end to the start.
    pub fn runs_back(&self, direction: usize) -> bool {
        (direction == 1) != self.reverse
    }

    /// Whether layer `k` puts out the sum of its state and what it reads.
    pub fn adds(&self, k: usize) -> bool {
        self.connections[k].residual
    }

    /// Whether what layer `k` puts out is normalised.
    pub fn normalises(&self, k: usize) -> bool {
        self.connections[k].norm.is_some()
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
        let (hidden, norms) = (List::new(), List::new());
        let mut trace = StackTrace { traces, inputs, tokens, fresh, output: x, states: hidden, norms };
        let width = self.outputs();
        let depth = self.layers.len() / self.directions;
        let layers = self.layers.chunks_exact(self.directions);
        for (k, (layer, states)) in layers.zip(states.chunks_exact_mut(self.directions)).enumerate() {
            let mut out = Buffer::unspecified(seq.rows() * width);
            push(&mut trace.inputs, std::mem::take(&mut trace.output));
            for (direction, (layer, state)) in layer.iter().zip(states).enumerate() {
                let to = Columns { width, column: direction * self.hidden() };
                let (way, input) = ((self.runs_back(direction), fresh), trace.input(k));
                let done = layer.forward(weights, seq, way, input, state, (&mut out, to));
                push(&mut trace.traces, done);
            }
            let connection = &self.connections[k];
            push(&mut trace.states, if connection.is_plain() { Buffer::default() } else { out.clone() });
            let mut norm = connection.begin(seq.rows(), width);
            connection.forward(weights, trace.input(k), (0, width), &mut out, &mut norm);
            push(&mut trace.norms, norm);
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
            let connection = &self.connections[k];
            connection.backward(weights, grads, 0, &mut d_out, &trace.norms[k]);
            if connection.residual {
                for (row, d) in d_out.chunks_exact(width).enumerate() {
                    add(&mut dx[trace.input(k).slot(row) * width..][..width], d);
                }
            }
            for direction in (0..self.directions).rev() {
                let index = k * self.directions + direction;
                let done = trace.traces.pop().expect("one trace for each layer and direction");
                let from = Columns { width, column: direction * self.hidden() };
                let (layer, d) = (&self.layers[index], &mut d_states[index]);
                let (way, input) = ((self.runs_back(direction), trace.fresh), trace.input(k));
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
