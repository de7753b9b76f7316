//! The bridge: the decoder's first states from the encoder's final ones.

use kinglet::fixed::shift_round;

use crate::config::{self, ModelConfig};
use crate::nn::linear::Linear;
use crate::nn::math::tanh;
use crate::nn::params::{Gradients, Layout, Params};
use crate::nn::rnn::{Layer, State};
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
    input: Vec<f32>,
    /// [sentences, pieces * decoder hidden], after tanh.
    output: Vec<f32>,
}

impl Bridge {
    pub(super) fn declare(layout: &mut Layout, config: &ModelConfig) -> Self {
        let directions = if config.encoder.bidirectional { 2 } else { 1 };
        let decoder = &config.decoder;
        let pieces = match decoder.cell {
            config::Cell::Gru => decoder.layers,
            config::Cell::Lstm => 2 * decoder.layers,
        };
        match config.bridge {
            config::Bridge::Copy => Self::Copy,
            config::Bridge::Linear => {
                let inputs = directions * config.encoder.hidden;
                let fc = Linear::declare(layout, "encoder.fc", inputs, pieces * decoder.hidden, true);
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
        encoder: Vec<State>,
        layers: &[Layer],
        states: &mut [State],
    ) -> BridgeTrace {
        let Self::Linear { fc, directions, hidden } = self else {
            states.iter_mut().zip(encoder).for_each(|(to, from)| *to = from);
            return BridgeTrace::default();
        };
        let top = &encoder[encoder.len() - directions..];
        let part = fc.inputs() / directions;
        let input = join(top.iter().map(|s| &s.h[..]).collect(), part);
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

    /// Given the gradients of the decoder's first states, fills those of the encoder's final ones.
    pub(super) fn backward(
        &self,
        params: &Params,
        grads: &mut Gradients,
        trace: BridgeTrace,
        mut d_states: Vec<State>,
        encoder: &mut [State],
    ) {
        let Self::Linear { fc, directions, .. } = self else {
            encoder.iter_mut().zip(d_states).for_each(|(to, from)| *to = from);
            return;
        };
        let hidden = fc.outputs() / pieces(&mut d_states).len();
        let parts = pieces(&mut d_states).into_iter().map(|p| &*p).collect();
        let mut d = join(parts, hidden);
        d.iter_mut().zip(&trace.output).for_each(|(d, y)| *d *= 1.0 - y * y);
        let dx = fc.backward(params, grads, &trace.input, &d);
        let part = fc.inputs() / directions;
        let first = encoder.len() - directions;
        for (k, state) in encoder[first..].iter_mut().enumerate() {
            for (to, row) in state.h.chunks_exact_mut(part).zip(dx.chunks_exact(fc.inputs())) {
                to.copy_from_slice(&row[k * part..(k + 1) * part]);
            }
        }
    }
}

/// All hidden states, then all cell states.
fn pieces(states: &mut [State]) -> Vec<&mut [f32]> {
    let (h, c): (Vec<_>, Vec<_>) = states.iter_mut().map(|s| (&mut s.h[..], &mut s.c[..])).unzip();
    h.into_iter().chain(c.into_iter().filter(|c| !c.is_empty())).collect()
}

/// Rows of `width` values of each part beside each other.
fn join(parts: Vec<&[f32]>, width: usize) -> Vec<f32> {
    let rows = parts.first().map_or(0, |p| p.len() / width);
    let mut out = Vec::with_capacity(rows * width * parts.len());
    for row in 0..rows {
        for part in &parts {
            out.extend_from_slice(&part[row * width..(row + 1) * width]);
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
        let encoder = vec![State::zeros(config::Cell::Gru, 2, 1); 2];
        let mut states = vec![State::zeros(config::Cell::Lstm, 2, 1); 2];
        bridge.forward((&params).into(), encoder, &[], &mut states);
        for (value, x) in [(&states[0].h, 0.1), (&states[1].h, 0.2), (&states[0].c, 0.3), (&states[1].c, 0.4)]
        {
            assert!(value.iter().all(|v| (v - tanh(x)).abs() < 1e-7), "{states:?}");
        }
    }
}
