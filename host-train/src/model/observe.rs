//! The inside of a model on one pair, for calibration.

use crate::config::{AttentionKind, Cell, Place};
use crate::model::decoder::{Decoder, DecoderTrace, Feed};
use crate::model::encoder::{Encoder, EncoderTrace};
use crate::model::network::{Network, Pass, Trace};
use crate::model::sentences::Masks;
use crate::model::{Seq2Seq, transducer::TransducerTrace};
use crate::nn::stack::{Stack, StackTrace};
use crate::quant::{FRAMES, OUTPUT, PROJECTION, Weights};
use crate::vocab::Sentence;

/// Who is shown a vector, by its name.
type Tap<'a> = &'a mut dyn FnMut(&str, &[f32]);

impl Seq2Seq {
    /// Runs one teacher-forced pair (`target` ends with [`crate::model::EOS`], unless it is of labels) and shows `tap` what
    /// appears inside, a vector at a time:
    ///
    /// | name | values |
    /// |---|---|
    /// | `encoder.frames` | of sources of numbers: a frame, normalised |
    /// | `encoder.rnn.l{k}[_reverse].hidden`, `decoder.rnn.l{k}.hidden` | `h` after each step |
    /// | the same with `.cell` | of a cell with a cell state: `c` after each step |
    /// | the same with `.candidate` | GRU: `W_hn h + b_hn` in each step |
    /// | `encoder.residual_l{k}`, `decoder.residual_l{k}` | where a layer puts out a sum: the sum |
    /// | `encoder.norm_l{k}`, `decoder.norm_l{k}` | where what it puts out is normalised: what it puts out |
    /// | `{product}.input` | what enters a product ([`crate::quant::products`]) in the order of its columns, but for a cell's state |
    /// | `{cell}.previous` | the state that each step of a cell starts from |
    /// | `decoder.attention.key` | the key of each source token |
    /// | `decoder.attention.query` | the query of each step |
    /// | `decoder.attention.score` | a score for each source token, before the softmax, of each step |
    /// | `decoder.attention.context` | the context of each step |
    /// | `decoder.attended` | with attention after the cell: what the output layer reads in each step |
    /// | `decoder.projected` | with a projection to tied embeddings: what it puts out |
    /// | `decoder.logits` | of each step, or of each labelled token |
    ///
    /// With a scheme they are what the chip computes, times what a unit of it is worth; but keys are on the Q3.12 grid of
    /// the sum that they enter.
    pub fn observe<S>(&self, source: &S, target: &[u32], tap: &mut dyn FnMut(&str, &[f32]))
    where
        S: Sentence + ?Sized,
    {
        let grid = self.grid();
        let weights = Weights::new(&self.params, grid.as_ref());
        let pass: Pass =
            self.network.forward(weights, (&[source], &[target]), &[0], Masks::NONE, Feed::Teacher);
        match (&self.network, &pass.trace) {
            (Network::Transduce(network), Trace::Transduce(trace)) => {
                show_encoder(&network.encoder, &trace.encoder, tap);
                // One sentence: the bridge reads one row, or nothing when states are copied.
                let bridge = &trace.bridge.input;
                show_rows("encoder.fc.input", bridge, bridge.len().max(1), tap);
                show_decoder(&network.decoder, &trace.decoder, tap);
                let positions = trace.encoder.sources.seq.steps();
                self.show_attention(&network.decoder, trace, positions, tap);
                show_output(&network.decoder, &trace.decoder, tap);
            }
            (Network::Generate(network), Trace::Generate(trace)) => {
                show_decoder(network, trace, tap);
                show_output(network, trace, tap);
            }
            (Network::Label(network), Trace::Label(trace)) => {
                show_encoder(&network.encoder, &trace.encoder, tap);
                show_rows(&format!("{OUTPUT}.input"), &trace.features, network.output.inputs(), tap);
            }
            _ => unreachable!("a pass is of its own network"),
        }
        show_rows("decoder.logits", pass.trace.logits(), self.target_vocab(), tap);
    }

    fn show_attention(&self, decoder: &Decoder, pass: &TransducerTrace, source_len: usize, tap: Tap<'_>) {
        let (Some(attention), Some(memory)) = (&decoder.attention, &pass.known.memory) else { return };
        let (trace, config) = (&pass.decoder.attention, &self.config.attention);
        let size = attention.size();
        show_rows("decoder.attention.key", memory.keys(), size, tap);
        show_rows("decoder.attention.query", trace.queries(), size, tap);
        if source_len > 0 {
            show_rows("decoder.attention.score", trace.scores(), source_len, tap);
        }
        let asked = match config.place {
            Place::Before => pass.decoder.stack.traces.last().map_or(&[][..], |top| top.prev()),
            Place::After => &pass.decoder.stack.output,
        };
        let (of_queries, of_keys) = match config.kind {
            AttentionKind::Additive => (Some("w_q"), Some("w_k")),
            AttentionKind::Concat => (Some("w_a.query"), Some("w_a.key")),
            _ => (None, attention.maps_keys().then_some("w_a")),
        };
        let hidden = decoder.stack.hidden();
        let name = |product: &str| format!("decoder.attention.{product}.input");
        if let Some(product) = of_queries {
            show_rows(&name(product), asked, hidden, tap);
        }
        if let Some(product) = of_keys {
            show_rows(&name(product), &pass.encoder.stack.output, attention.memory_width(), tap);
        }
        show_rows("decoder.attention.context", &pass.decoder.contexts, attention.memory_width(), tap);
        if config.place == Place::After {
            let joined = attention.memory_width() + hidden;
            show_rows("decoder.attention.w_c.input", &pass.decoder.joined, joined, tap);
            show_rows("decoder.attended", &pass.decoder.attended, hidden, tap);
        }
    }
}

fn show_encoder(encoder: &Encoder, trace: &EncoderTrace, tap: Tap<'_>) {
    let stack = &encoder.stack;
    if let Some(width) = encoder.frame() {
        show_rows(FRAMES, &trace.stack.inputs[0], width, tap);
    }
    show_stack("encoder", stack, &trace.stack, tap);
    for (i, layer) in stack.layers().iter().enumerate() {
        let input = trace.stack.input(i / stack.directions());
        let name = format!("{}.input", name_of("encoder", stack, i));
        (0..trace.sources.seq.rows()).for_each(|row| tap(&name, input.row(row, layer.inputs())));
    }
}

fn show_decoder(decoder: &Decoder, trace: &DecoderTrace, tap: Tap<'_>) {
    let stack = &decoder.stack;
    show_stack("decoder", stack, &trace.stack, tap);
    for (k, layer) in stack.layers().iter().enumerate() {
        let name = format!("{}.input", name_of("decoder", stack, k));
        for row in 0..trace.inputs.seq.rows() {
            match k {
                // The lowest layer may read more than the embedding.
                0 => tap(&name, &decoder.read_by_cell(trace, row)),
                _ => tap(&name, trace.stack.input(k).row(row, layer.inputs())),
            }
        }
    }
}

fn show_output(decoder: &Decoder, trace: &DecoderTrace, tap: Tap<'_>) {
    let output = format!("{OUTPUT}.input");
    if trace.projected.is_empty() {
        return show_rows(&output, &trace.features, decoder.output.inputs(), tap);
    }
    show_rows(&format!("{PROJECTION}.input"), &trace.features, decoder.width(), tap);
    show_rows("decoder.projected", &trace.projected, decoder.output.inputs(), tap);
    show_rows(&output, &trace.projected, decoder.output.inputs(), tap);
}

/// The name of a stack's layer and direction.
fn name_of(side: &str, stack: &Stack, index: usize) -> String {
    let (k, reverse) = (index / stack.directions(), index % stack.directions() == 1);
    format!("{side}.rnn.l{k}{}", if reverse { "_reverse" } else { "" })
}

fn show_stack(side: &str, stack: &Stack, trace: &StackTrace, tap: Tap<'_>) {
    let width = stack.outputs();
    for (i, (layer, done)) in stack.layers().iter().zip(&trace.traces).enumerate() {
        let (k, name, hidden) = (i / stack.directions(), name_of(side, stack, i), layer.hidden());
        let column = i % stack.directions() * hidden;
        let states = trace.states(k).chunks_exact(width);
        states.for_each(|row| tap(&format!("{name}.hidden"), &row[column..column + hidden]));
        show_rows(&format!("{name}.previous"), done.prev(), hidden, tap);
        if layer.cell() == Cell::Gru {
            let rows = done.recurrent().chunks_exact(3 * hidden);
            rows.for_each(|v| tap(&format!("{name}.candidate"), &v[2 * hidden..]));
        }
        show_rows(&format!("{name}.cell"), done.cell(), hidden, tap);
    }
    for k in 0..stack.layers().len() / stack.directions() {
        if stack.adds(k) {
            let input = trace.input(k);
            for (row, state) in trace.states(k).chunks_exact(width).enumerate() {
                let sum: Vec<f32> = state.iter().zip(input.row(row, width)).map(|(h, x)| h + x).collect();
                tap(&format!("{side}.residual_l{k}"), &sum);
            }
        }
        if stack.normalises(k) {
            show_rows(&format!("{side}.norm_l{k}"), trace.put_out(k), width, tap);
        }
    }
}

fn show_rows(name: &str, rows: &[f32], width: usize, tap: Tap<'_>) {
    rows.chunks_exact(width).for_each(|v| tap(name, v));
}
