//! A decoder's steps.

use std::ops::Range;

use super::{Carried, Decoder, DecoderTrace, Feed, Known};
use crate::config::{Part, Place};
use crate::model::sentences::{Masks, Sentences, Site};
use crate::nn::buffer::Buffer;
use crate::nn::embedding::Tokens;
use crate::nn::rnn::Block;
use crate::quant::Weights;

impl Decoder {
    /// Reads `targets` behind their start marks, or what `feed` has in their place; row `b` is of sentence `b` of what is
    /// `known`. `carried` goes from before the first step to after each sentence's last.
    pub(in crate::model) fn forward(
        &self,
        weights: Weights<'_>,
        targets: &Sentences,
        known: &Known,
        carried: &mut Carried,
        masks: Masks,
        feed: Feed<'_>,
    ) -> DecoderTrace {
        let inputs = targets.shifted();
        let steps = inputs.seq.steps();
        if self.by_layers() && matches!(feed, Feed::Teacher) {
            let x = inputs.embedded(&self.embedding, weights, masks, Site::TargetEmbedding);
            let between = |k: usize, rows: &mut [f32]| masks.apply(Site::DecoderLayer(k), &inputs, rows);
            let stack = self.stack.run(weights, &inputs.seq, x, (&mut carried.states, false), &between);
            let mut trace = self.trace(inputs, stack);
            self.begin_attention(&mut trace, known);
            let rows = 0..trace.inputs.seq.rows();
            let sentences = trace.inputs.sentences();
            self.attend_after(weights, &mut trace, rows, &sentences, known);
            self.write(weights, &mut trace, 0..steps, masks);
            return trace;
        }
        // A step depends on the one before it: by what its state attends to, or by its choice of a token. What does not is
        // computed for all steps at once.
        let sentences: Buffer<usize> = (0..inputs.seq.sentences()).collect();
        let Feed::Chosen(choose) = feed else {
            let x = inputs.embedded(&self.embedding, weights, masks, Site::TargetEmbedding);
            let mut trace = self.begin(weights, inputs, x);
            self.begin_attention(&mut trace, known);
            self.read_all(weights, &mut trace);
            for t in 0..steps {
                self.step(weights, &mut trace, t, (&sentences, known), carried, masks);
            }
            self.write(weights, &mut trace, 0..steps, masks);
            return trace;
        };
        let x = Buffer::unspecified(inputs.seq.rows() * self.embedding.width());
        let mut trace = self.begin(weights, inputs, (x, None));
        for t in 0..steps {
            if t > 0 {
                trace.choose(t, self.embedding.vocab(), choose);
            }
            self.advance(weights, &mut trace, t, (&sentences, known), carried, masks);
        }
        trace
    }

    /// Reads one token in each row, which is of the sentence of `known` that `sentences` says.
    pub(in crate::model) fn one_step(
        &self,
        weights: Weights<'_>,
        ids: &[u32],
        (sentences, known): (&[usize], &Known),
        carried: &mut Carried,
    ) -> DecoderTrace {
        let inputs = Sentences::of_one_token(ids);
        let x = Buffer::unspecified(ids.len() * self.embedding.width());
        let mut trace = self.begin(weights, inputs, (x, None));
        if !ids.is_empty() {
            self.advance(weights, &mut trace, 0, (sentences, known), carried, Masks::NONE);
        }
        trace
    }

    /// Whether steps depend on each other by the layers' states alone, so that a layer may run over all of them at once.
    pub(super) fn by_layers(&self) -> bool {
        self.beside.is_none()
    }

    fn begin(&self, weights: Weights<'_>, inputs: Sentences, x: (Buffer, Option<Tokens>)) -> DecoderTrace {
        let stack = self.stack.begin(weights, x, inputs.seq.rows());
        self.trace(inputs, stack)
    }

    /// Makes room for the attention of all steps, of which there are many values.
    fn begin_attention(&self, trace: &mut DecoderTrace, known: &Known) {
        if let (Some(attention), Some(memory)) = (&self.attention, &known.memory) {
            trace.attention = attention.begin(memory, trace.inputs.seq.lengths());
        }
    }

    /// One step from token to logits.
    fn advance(
        &self,
        weights: Weights<'_>,
        trace: &mut DecoderTrace,
        t: usize,
        known: (&[usize], &Known),
        carried: &mut Carried,
        masks: Masks,
    ) {
        self.read(weights, trace, t, masks);
        self.step(weights, trace, t, known, carried, masks);
        self.write(weights, trace, t..t + 1, masks);
    }

    /// The lowest layer's product with the embeddings of all steps.
    fn read_all(&self, weights: Weights<'_>, trace: &mut DecoderTrace) {
        let (stack, lowest) = (&mut trace.stack, &self.stack.layers()[0]);
        match &stack.tokens {
            Some(tokens) => lowest.token_product(weights, &mut stack.traces[0], &stack.inputs[0], tokens),
            None => {
                let columns = 0..self.embedding.width();
                lowest.input_product(weights, &mut stack.traces[0], 0, &stack.inputs[0], columns);
            }
        }
    }

    /// The embeddings of step `t` and the lowest layer's product with them.
    fn read(&self, weights: Weights<'_>, trace: &mut DecoderTrace, t: usize, masks: Masks) {
        let (inputs, embed) = (&trace.inputs, self.embedding.width());
        let rows = inputs.seq.rows_of(t..t + 1);
        let ids = &inputs.ids[rows.clone()];
        let x = &mut trace.stack.inputs[0][rows.start * embed..rows.end * embed];
        x.copy_from_slice(&self.embedding.forward(weights, ids));
        masks.apply_step(Site::TargetEmbedding, inputs, t, x);
        let (layer, to) = (&self.stack.layers()[0], &mut trace.stack.traces[0]);
        layer.embedding_product(weights, to, rows.start, x, masks.unmasked(ids), 0..embed);
    }

    /// Layers and attention of step `t`, once the lowest layer has read its tokens.
    fn step(
        &self,
        weights: Weights<'_>,
        trace: &mut DecoderTrace,
        t: usize,
        (sentences, known): (&[usize], &Known),
        carried: &mut Carried,
        masks: Masks,
    ) {
        let rows = trace.inputs.seq.rows_of(t..t + 1);
        let (first, n, width) = (rows.start, rows.len(), self.stack.outputs());
        let sentences = &sentences[..n];
        let place = |width: usize| rows.start * width..rows.end * width;
        if let Some((part, columns)) = &self.beside {
            let place = place(columns.len());
            let beside = if *part == Part::Context {
                let contexts = &mut trace.contexts[place];
                match (&self.attention, &known.memory, carried.states.last()) {
                    (Some(attention), Some(memory), Some(top)) => {
                        let query = &top.h[..n * width];
                        attention.step(weights, memory, sentences, query, contexts, &mut trace.attention);
                    }
                    _ => {
                        let rows = contexts.chunks_exact_mut(columns.len()).zip(sentences);
                        let context = |&b: &usize| &known.context[b * columns.len()..][..columns.len()];
                        rows.for_each(|(to, b)| to.copy_from_slice(context(b)));
                    }
                }
                contexts
            } else {
                let fed = &mut trace.fed[place];
                fed.copy_from_slice(&carried.fed[..n * width]);
                fed
            };
            let lowest = &self.stack.layers()[0];
            lowest.input_product(weights, &mut trace.stack.traces[0], first, beside, columns.clone());
        }
        let inputs = &trace.inputs;
        let between = |k: usize, rows: &mut [f32]| masks.apply_step(Site::DecoderLayer(k), inputs, t, rows);
        let block = Block::new(first, n);
        self.stack.advance(weights, &mut trace.stack, block, &mut carried.states, &between);
        self.attend_after(weights, trace, rows.clone(), sentences, known);
        if self.feeds() {
            carried.fed[..n * width].copy_from_slice(&trace.attended[rows.start * width..rows.end * width]);
        }
    }

    /// Where attention comes after the cell: contexts of some rows, and what the output layer will read.
    fn attend_after(
        &self,
        weights: Weights<'_>,
        trace: &mut DecoderTrace,
        rows: Range<usize>,
        sentences: &[usize],
        known: &Known,
    ) {
        let (Some(attention), Some(after), Some(memory)) = (&self.attention, &self.attended, &known.memory)
        else {
            return;
        };
        debug_assert_eq!(self.place, Some(Place::After));
        let place = |width: usize| rows.start * width..rows.end * width;
        let states = &trace.stack.output[place(after.width())];
        let contexts = &mut trace.contexts[place(after.context())];
        attention.step(weights, memory, sentences, states, contexts, &mut trace.attention);
        let joined = &mut trace.joined[place(after.inputs())];
        after.forward(weights, (contexts, states), joined, &mut trace.attended[place(after.width())]);
    }

    /// The output layer's inputs and logits in `steps`.
    fn write(&self, weights: Weights<'_>, trace: &mut DecoderTrace, steps: Range<usize>, masks: Masks) {
        let (width, rows) = (self.width(), trace.inputs.seq.rows_of(steps.clone()));
        let place = |width: usize| rows.start * width..rows.end * width;
        let features = &mut trace.features[place(width)];
        for (part, columns) in &self.features {
            let wide = columns.len();
            let from = match part {
                Part::State => &trace.stack.output,
                Part::Context => &trace.contexts,
                Part::Attended => &trace.attended,
                Part::Embedding => {
                    let input = trace.stack.input(0);
                    for (row, to) in rows.clone().zip(features.chunks_exact_mut(width)) {
                        to[columns.clone()].copy_from_slice(input.row(row, wide));
                    }
                    continue;
                }
            };
            let from = from[place(wide)].chunks_exact(wide);
            from.zip(features.chunks_exact_mut(width)).for_each(|(from, to)| {
                to[columns.clone()].copy_from_slice(from);
            });
        }
        masks.apply_steps(Site::Output, &trace.inputs, steps, features);
        let mut read = &*features;
        if let Some(projection) = &self.projection {
            let to = &mut trace.projected[place(projection.outputs())];
            projection.forward_into(weights, features, None, to);
            read = to;
        }
        // Masked features are not those of tokens.
        let ids = masks.keeps_all().then_some(&trace.inputs.ids[rows.clone()]);
        let logits = &mut trace.logits[place(self.output.outputs())];
        self.output.forward_into(weights, read, ids, logits);
    }
}
