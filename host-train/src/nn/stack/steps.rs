//! A stack of one direction whose layers advance together, step by step.

use super::{List, Stack, StackTrace, input, push};
use crate::nn::buffer::Buffer;
use crate::nn::embedding::Tokens;
use crate::nn::matrix::add;
use crate::nn::params::Gradients;
use crate::nn::rnn::{Block, State};
use crate::quant::Weights;

impl Stack {
    /// A trace for `rows` rows; `x` is what the lowest layer will read, or the first part of it.
    pub fn begin(
        &self,
        weights: Weights<'_>,
        (x, tokens): (Buffer, Option<Tokens>),
        rows: usize,
    ) -> StackTrace {
        let width = self.outputs();
        let (mut inputs, mut states, mut norms) = (List::new(), List::new(), List::new());
        push(&mut inputs, x);
        for connection in &self.connections {
            let kept = if connection.is_plain() { 0 } else { rows * width };
            push(&mut states, Buffer::unspecified(kept));
            push(&mut norms, connection.begin(rows, width));
        }
        (1..self.layers.len()).for_each(|_| push(&mut inputs, Buffer::unspecified(rows * width)));
        let traces = self.layers.iter().map(|layer| layer.begin(weights, rows)).collect();
        let output = Buffer::unspecified(rows * width);
        StackTrace { traces, inputs, tokens, fresh: false, output, states, norms }
    }

    /// Steps all layers through the rows of `block`, once the lowest one's products with its inputs are there; `states`, one
    /// a layer, go from before the step to after it. `between` is dropout.
    pub fn advance(
        &self,
        weights: Weights<'_>,
        trace: &mut StackTrace,
        block: Block,
        states: &mut [State],
        between: &dyn Fn(usize, &mut [f32]),
    ) {
        let width = self.outputs();
        let place = block.first * width..(block.first + block.rows) * width;
        let StackTrace { traces, inputs, tokens, output, states: kept, norms, .. } = trace;
        for (k, layer) in self.layers.iter().enumerate() {
            if k > 0 {
                let x = &mut inputs[k][place.clone()];
                between(k - 1, x);
                layer.input_product(weights, &mut traces[k], block.first, x, 0..width);
            }
            layer.step(weights, &mut traces[k], block, &mut states[k]);
            let h = &states[k].h[..block.rows * width];
            let (read, above) = inputs.split_at_mut(k + 1);
            let to = &mut above.first_mut().unwrap_or(output)[place.clone()];
            to.copy_from_slice(h);
            let connection = &self.connections[k];
            if !connection.is_plain() {
                kept[k][place.clone()].copy_from_slice(h);
                let x = input(read, tokens.as_ref(), k);
                connection.forward(weights, x, (block.first, width), to, &mut norms[k]);
            }
        }
    }

    /// The reverse of [`Stack::advance`]: `d_out` comes with the gradients of the top layer's outputs in the block's rows and
    /// leaves with those of the lowest layer's sum; `d` goes from after the step to before it.
    #[allow(clippy::too_many_arguments)]
    pub fn retreat(
        &self,
        weights: Weights<'_>,
        grads: &mut Gradients,
        trace: &mut StackTrace,
        block: Block,
        d_out: &mut [f32],
        d: &mut [State],
        between: &dyn Fn(usize, &mut [f32]),
    ) {
        let width = self.outputs();
        for (k, layer) in self.layers.iter().enumerate().rev() {
            let connection = &self.connections[k];
            connection.backward(weights, grads, block.first, d_out, &trace.norms[k]);
            add(&mut d[k].h[..block.rows * width], d_out);
            layer.step_backward(weights, &mut trace.traces[k], block, &mut d[k]);
            if k > 0 {
                if !connection.residual {
                    d_out.fill(0.0);
                }
                layer.add_input_gradient(weights, &trace.traces[k], block.first, d_out, 0..width);
                between(k - 1, d_out);
            }
        }
    }

    /// Adds the gradients of all weights but those that the lowest layer reads with, once all steps have been reversed.
    pub fn finish(&self, grads: &mut Gradients, trace: &StackTrace) {
        for (k, (layer, done)) in self.layers.iter().zip(&trace.traces).enumerate() {
            if k > 0 {
                layer.input_weight_gradient(grads, done, &trace.inputs[k], 0..self.outputs());
            }
            layer.recurrent_weight_gradients(grads, done, 0);
        }
    }
}
