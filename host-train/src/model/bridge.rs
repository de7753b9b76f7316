//! The bridge: the decoder's first states from the encoder's final ones.

use kinglet::fixed::shift_round;

use crate::config::{self, ModelConfig};
use crate::nn::buffer::Buffer;
use crate::nn::linear::Linear;
use crate::nn::math::tanh;
use crate::nn::matrix::add;
use crate::nn::params::{Gradients, Layout};
use crate::nn::rnn::{Layer, State};
use crate::nn::stack::{List, push};
use crate::quant::{Builder, Functions, GATE, Weights, Width};

/// How states are handed over.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Bridge {
    /// As they are, layer by layer.
    Copy,
    /// `tanh(W [h_forward; h_backward] + b)` of the top layer, cut into the decoder layers' `h`, then `c`.
    Linear { fc: Linear, directions: usize, hidden: usize },
}

/// What the bridge leaves for backward; empty for [`Bridge::Copy`].
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct BridgeTrace {
    /// [sentences, directions * encoder hidden].
    pub(super) input: Buffer,
    /// [sentences, pieces * decoder hidden], after tanh.
    output: Buffer,
}

impl Bridge {
    pub(super) fn declare(layout: &mut Layout, config: &ModelConfig) -> Self {
        let directions = if config.encoder.bidirectional { 2 } else { 1 };
        let decoder = &config.decoder;
        let pieces = if decoder.cell.keeps_cell() { 2 * decoder.layers } else { decoder.layers };
        match config.bridge {
            config::Bridge::Copy => Self::Copy,
            config::Bridge::Linear => {
                let fc =
                    Linear::declare(layout, "encoder.fc", config.memory(), pieces * decoder.hidden, true);
                Self::Linear { fc, directions, hidden: decoder.hidden }
            }
        }
    }

    /// Adds its product, if it has one, to a grid.
    pub(super) fn quantize(&self, builder: &mut Builder<'_>) {
        if let Self::Linear { fc, hidden, .. } = self {
            fc.quantize_parts(builder, "encoder.fc", (GATE, Width::I16), *hidden, None);
        }
    }

    /// Fills the decoder's `states` (one for each of its `layers`) from the encoder's (one a layer and direction), whose
    /// rows are in the same order.
    pub(super) fn forward(
        &self,
        weights: Weights<'_>,
        encoder: List<State>,
        layers: &[Layer],
        states: &mut [State],
    ) -> BridgeTrace {
        let Self::Linear { fc, directions, hidden } = self else {
            states.iter_mut().zip(encoder).for_each(|(to, from)| *to = from);
            return BridgeTrace::default();
        };
        let input = top(&encoder, *directions, fc.inputs() / directions);
        let output = match weights.grid() {
            None => {
                let mut output = fc.forward(weights, &input);
                output.iter_mut().for_each(|x| *x = tanh(*x));
                output
            }
            Some(_) => {
                // A cell state has fewer fraction bits than the Q0.15 of the others.
                let cells = layers.iter().filter_map(|layer| layer.cell_bits(weights));
                let bits: Vec<u32> = layers.iter().map(|_| 15).chain(cells).collect();
                let functions = Functions::get();
                let value = |(at, x): (usize, i16)| {
                    let bits = bits[at % fc.outputs() / hidden];
                    shift_round(functions.tanh(x), 15 - bits) as f32 / (1u32 << bits) as f32
                };
                fc.integers(weights, &input, None).into_iter().enumerate().map(value).collect()
            }
        };
        for (k, piece) in pieces(states).into_iter().enumerate() {
            for (to, row) in piece.chunks_exact_mut(*hidden).zip(output.chunks_exact(fc.outputs())) {
                to.copy_from_slice(&row[k * hidden..(k + 1) * hidden]);
            }
        }
        BridgeTrace { input, output }
    }

    /// Given the gradients of the decoder's first states, adds those of the encoder's final ones, which are zero.
    pub(super) fn backward(
        &self,
        weights: Weights<'_>,
        grads: &mut Gradients,
        trace: BridgeTrace,
        mut d_states: List<State>,
        encoder: &mut [State],
    ) {
        let Self::Linear { fc, directions, hidden } = self else {
            encoder.iter_mut().zip(d_states).for_each(|(to, from)| *to = from);
            return;
        };
        let mut d = join(pieces(&mut d_states).iter().map(|p| &**p), *hidden);
        d.iter_mut().zip(trace.output.iter()).for_each(|(d, y)| *d *= 1.0 - y * y);
        let dx = fc.backward(weights, grads, &trace.input, &d);
        let part = fc.inputs() / directions;
        add_to_top(encoder, *directions, part, &dx);
    }
}

/// The hidden states of the top layer, its directions beside each other: [sentences, directions * hidden].
pub(super) fn top(states: &[State], directions: usize, hidden: usize) -> Buffer {
    join(states[states.len() - directions..].iter().map(|s| &s.h[..]), hidden)
}

/// The reverse of [`top`]: adds to the gradients of states.
pub(super) fn add_to_top(d_states: &mut [State], directions: usize, hidden: usize, d: &[f32]) {
    let first = d_states.len() - directions;
    for (k, state) in d_states[first..].iter_mut().enumerate() {
        let rows = state.h.chunks_exact_mut(hidden).zip(d.chunks_exact(directions * hidden));
        rows.for_each(|(to, row)| add(to, &row[k * hidden..(k + 1) * hidden]));
    }
}

/// All hidden states, then all cell states.
fn pieces(states: &mut [State]) -> List<&mut [f32]> {
    let (mut h, mut c) = (List::new(), List::new());
    for state in states {
        push(&mut h, &mut state.h[..]);
        push(&mut c, &mut state.c[..]);
    }
    h.extend(c.into_iter().filter(|c| !c.is_empty()));
    h
}

/// Rows of `width` values of each part beside each other.
fn join<'a>(parts: impl Iterator<Item = &'a [f32]> + Clone, width: usize) -> Buffer {
    let row = parts.clone().count() * width;
    let mut out = Buffer::unspecified(parts.clone().map(<[f32]>::len).sum());
    for (k, part) in parts.enumerate() {
        for (to, from) in out.chunks_exact_mut(row).zip(part.chunks_exact(width)) {
            to[k * width..(k + 1) * width].copy_from_slice(from);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linear_output_is_cut_into_all_h_then_all_c() {
        let mut config = ModelConfig::default();
        config.encoder.hidden = 1;
        config.decoder.hidden = 1;
        config.decoder.layers = 2;
        config.decoder.cell = config::Cell::Lstm;
        let mut layout = Layout::default();
        let bridge = Bridge::declare(&mut layout, &config);
        let mut params = layout.init(1);
        params.get_mut("encoder.fc.weight").unwrap().data.fill(0.0);
        params.get_mut("encoder.fc.bias").unwrap().data.copy_from_slice(&[0.1, 0.2, 0.3, 0.4]);
        let encoder = (0..2).map(|_| State::zeros(config::Cell::Gru, 2, 1)).collect();
        let mut states = vec![State::zeros(config::Cell::Lstm, 2, 1); 2];
        bridge.forward((&params).into(), encoder, &[], &mut states);
        for (value, x) in [(&states[0].h, 0.1), (&states[1].h, 0.2), (&states[0].c, 0.3), (&states[1].c, 0.4)]
        {
            assert!(value.iter().all(|v| (v - tanh(x)).abs() < 1e-7), "{states:?}");
        }
    }
}
