//! The inside of a model on one pair, for calibration.

use crate::config::Cell;
use crate::model::Seq2Seq;
use crate::model::sentences::Masks;
use crate::nn::rnn::Trace;
use crate::quant::Weights;

impl Seq2Seq {
    /// Runs one teacher-forced pair (`target` ends with [`crate::model::EOS`]) and shows `tap` what appears
    /// inside, a vector at a time:
    ///
    /// | name | values |
    /// |---|---|
    /// | `encoder.rnn.l{k}[_reverse].hidden`, `decoder.rnn.l{k}.hidden` | `h` after each step |
    /// | the same with `.cell` | LSTM: `c` after each step |
    /// | the same with `.candidate` | GRU: `W_hn h + b_hn` in each step |
    /// | `decoder.attention.key` | `W_k h + b` of each source token |
    /// | `decoder.attention.query` | `W_q s` of each step |
    /// | `decoder.attention.score` | a score for each source token, before the softmax, of each step |
    /// | `decoder.attention.context` | the context of each step |
    /// | `decoder.logits` | of each step |
    ///
    /// With a scheme they are what the chip computes, times what a unit of it is worth; but keys are on the Q3.12 grid of
    /// the sum that they enter.
    pub fn observe(&self, source: &[u32], target: &[u32], tap: &mut dyn FnMut(&str, &[f32])) {
        let grid = self.grid();
        let weights = Weights::new(&self.params, grid.as_ref());
        let pass = self.network.forward(weights, &[source], &[target], &[0], Masks(None));
        let stack = &self.network.encoder.stack;
        let directions = stack.directions();
        for (i, (layer, trace)) in stack.layers().iter().zip(&pass.encoder.stack.traces).enumerate() {
            let (k, reverse) = (i / directions, i % directions == 1);
            let name = format!("encoder.rnn.l{k}{}", if reverse { "_reverse" } else { "" });
            // A layer's output is the next layer's input, without dropout.
            let read = pass.encoder.stack.inputs.get(k + 1).unwrap_or(&pass.encoder.stack.output);
            let hidden = layer.hidden();
            let columns = if reverse { hidden..2 * hidden } else { 0..hidden };
            let rows = read.chunks_exact(stack.outputs()).map(|row| &row[columns.clone()]);
            show(&name, layer.cell(), hidden, trace, rows, tap);
        }
        let stack = &self.network.decoder.stack;
        for (k, (layer, trace)) in stack.layers().iter().zip(&pass.decoder.stack.traces).enumerate() {
            let read = pass.decoder.stack.inputs.get(k + 1).unwrap_or(&pass.decoder.stack.output);
            let rows = read.chunks_exact(layer.hidden());
            show(&format!("decoder.rnn.l{k}"), layer.cell(), layer.hidden(), trace, rows, tap);
        }
        if let (Some(attention), Some(memory)) = (&self.network.decoder.attention, &pass.memory) {
            let trace = &pass.decoder.attention;
            let size = attention.size();
            memory.keys().chunks_exact(size).for_each(|v| tap("decoder.attention.key", v));
            trace.queries().chunks_exact(size).for_each(|v| tap("decoder.attention.query", v));
            if !source.is_empty() {
                trace.scores().chunks_exact(source.len()).for_each(|v| tap("decoder.attention.score", v));
            }
            let contexts = pass.decoder.contexts.chunks_exact(attention.memory_width());
            contexts.for_each(|v| tap("decoder.attention.context", v));
        }
        pass.decoder.logits.chunks_exact(self.target_vocab()).for_each(|v| tap("decoder.logits", v));
    }
}

fn show<'a>(
    name: &str,
    cell: Cell,
    hidden: usize,
    trace: &Trace,
    outputs: impl Iterator<Item = &'a [f32]>,
    tap: &mut dyn FnMut(&str, &[f32]),
) {
    outputs.for_each(|v| tap(&format!("{name}.hidden"), v));
    match cell {
        Cell::Gru => {
            let rows = trace.recurrent().chunks_exact(3 * hidden);
            rows.for_each(|v| tap(&format!("{name}.candidate"), &v[2 * hidden..]));
        }
        Cell::Lstm => {
            trace.cell().chunks_exact(hidden).for_each(|v| tap(&format!("{name}.cell"), v));
        }
    }
}
