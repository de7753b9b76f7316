//! The inside of a model on one pair, for calibration.

use crate::config::Cell;
use crate::model::sentences::Masks;
use crate::model::{Feed, Seq2Seq};
use crate::nn::rnn::Trace;
use crate::quant::{OUTPUT, Weights};

impl Seq2Seq {
    /// Runs one teacher-forced pair (`target` ends with [`crate::model::EOS`]) and shows `tap` what appears
    /// inside, a vector at a time:
    ///
    /// | name | values |
    /// |---|---|
    /// | `encoder.rnn.l{k}[_reverse].hidden`, `decoder.rnn.l{k}.hidden` | `h` after each step |
    /// | the same with `.cell` | LSTM: `c` after each step |
    /// | the same with `.candidate` | GRU: `W_hn h + b_hn` in each step |
    /// | `{product}.input` | what enters a product ([`crate::quant::products`]) in the order of its columns, but for a cell's state |
    /// | `{cell}.previous` | the state that each step of a cell starts from |
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
        let pass = self.network.forward(weights, &[source], &[target], &[0], Masks(None), Feed::Teacher);
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
            show_inputs(&name, &pass.encoder.stack.inputs[k], layer.inputs(), tap);
        }
        // One sentence: the bridge reads one row, or nothing when states are copied.
        let bridge = &pass.bridge.input;
        show_inputs("encoder.fc", bridge, bridge.len().max(1), tap);
        let stack = &self.network.decoder.stack;
        for (k, (layer, trace)) in stack.layers().iter().zip(&pass.decoder.stack.traces).enumerate() {
            let read = pass.decoder.stack.inputs.get(k + 1).unwrap_or(&pass.decoder.stack.output);
            let rows = read.chunks_exact(layer.hidden());
            let name = format!("decoder.rnn.l{k}");
            show(&name, layer.cell(), layer.hidden(), trace, rows, tap);
            let read = &pass.decoder.stack.inputs[k];
            if k == 0 && !pass.decoder.contexts.is_empty() {
                // The first layer reads the context behind the embedding.
                let (embed, context) =
                    (self.config.decoder.embedding, layer.inputs() - self.config.decoder.embedding);
                let rows = read.chunks_exact(embed).zip(pass.decoder.contexts.chunks_exact(context));
                let rows: Vec<f32> = rows.flat_map(|(e, c)| e.iter().chain(c)).copied().collect();
                show_inputs(&name, &rows, layer.inputs(), tap);
            } else {
                show_inputs(&name, read, layer.inputs(), tap);
            }
        }
        if let (Some(attention), Some(memory)) = (&self.network.decoder.attention, &pass.memory) {
            let trace = &pass.decoder.attention;
            let size = attention.size();
            memory.keys().chunks_exact(size).for_each(|v| tap("decoder.attention.key", v));
            trace.queries().chunks_exact(size).for_each(|v| tap("decoder.attention.query", v));
            if !source.is_empty() {
                trace.scores().chunks_exact(source.len()).for_each(|v| tap("decoder.attention.score", v));
            }
            let top = pass.decoder.stack.traces.last().map_or(&[][..], Trace::prev);
            show_inputs("decoder.attention.w_q", top, stack.hidden(), tap);
            show_inputs("decoder.attention.w_k", &pass.encoder.stack.output, attention.memory_width(), tap);
            let contexts = pass.decoder.contexts.chunks_exact(attention.memory_width());
            contexts.for_each(|v| tap("decoder.attention.context", v));
        }
        show_inputs(OUTPUT, &pass.decoder.features, self.network.decoder.output.inputs(), tap);
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
    trace.prev().chunks_exact(hidden).for_each(|v| tap(&format!("{name}.previous"), v));
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

fn show_inputs(name: &str, rows: &[f32], width: usize, tap: &mut dyn FnMut(&str, &[f32])) {
    rows.chunks_exact(width).for_each(|v| tap(&format!("{name}.input"), v));
}
