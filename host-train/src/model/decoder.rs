//! The decoder: embeddings, recurrent layers, attention if any, output layer.

use std::ops::Range;

use crate::config::{AttentionKind, ModelConfig};
use crate::model::UNK;
use crate::model::sentences::{Masks, Sentences, Site};
use crate::nn::attention::{Additive, AttentionTrace, Memory};
use crate::nn::buffer::Buffer;
use crate::nn::embedding::{Embedding, Tokens};
use crate::nn::linear::Linear;
use crate::nn::matrix::add;
use crate::nn::params::{Gradients, Layout};
use crate::nn::rnn::{Block, State};
use crate::nn::stack::{List, Stack, StackTrace, push};
use crate::quant::{Builder, OUTPUT, Weights, Width};

/// The decoder's layers.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Decoder {
    pub(super) embedding: Embedding,
    pub(super) stack: Stack,
    pub(super) attention: Option<Additive>,
    pub(super) output: Linear,
}

/// What a pass over all target steps leaves.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct DecoderTrace {
    /// What was read: targets behind their start marks.
    pub(super) inputs: Sentences,
    pub(super) stack: StackTrace,
    /// [rows, context]; empty without attention.
    pub(super) contexts: Buffer,
    pub(super) attention: AttentionTrace,
    /// What the output layer read, [rows, output inputs].
    pub(super) features: Buffer,
    /// [rows, vocab].
    pub(super) logits: Buffer,
}

/// Where a decoder's tokens behind the start mark come from.
#[derive(Clone, Copy, Default)]
pub enum Feed<'a> {
    /// The reference (teacher forcing): all tokens are known beforehand, which is faster.
    #[default]
    Teacher,
    /// A choice in every step. It is a function of its argument alone, so that neither threads nor the order of sentences
    /// change it; an id outside the vocabulary is read as [`UNK`].
    Chosen(&'a (dyn Fn(&Choice<'_>) -> u32 + Sync)),
}

/// What a token is chosen from.
#[derive(Debug, Clone, Copy)]
pub struct Choice<'a> {
    /// Number of the pair in the batch.
    pub pair: usize,
    /// The step that will read the token, from 1: the start mark is no choice.
    pub step: usize,
    /// The reference's token.
    pub reference: u32,
    /// The logits of the step before, `[vocab]`.
    pub logits: &'a [f32],
}

impl DecoderTrace {
    /// Replaces the tokens that step `t` reads.
    fn choose(&mut self, t: usize, vocab: usize, choose: &dyn Fn(&Choice<'_>) -> u32) {
        let (before, first) = (self.inputs.seq.offset(t - 1), self.inputs.seq.offset(t));
        for b in 0..self.inputs.seq.batch(t) {
            let logits = &self.logits[(before + b) * vocab..][..vocab];
            let (pair, id) = (self.inputs.names[b], &mut self.inputs.ids[first + b]);
            let chosen = choose(&Choice { pair, step: t, reference: *id, logits });
            *id = if (chosen as usize) < vocab { chosen } else { UNK };
        }
    }
}

impl Decoder {
    pub(super) fn declare(layout: &mut Layout, config: &ModelConfig, memory: usize, vocab: usize) -> Self {
        let c = &config.decoder;
        let attention = match config.attention.kind {
            AttentionKind::None => None,
            AttentionKind::Additive => {
                let size = config.attention.size;
                Some(Additive::declare(layout, "decoder.attention", c.hidden, memory, size))
            }
        };
        let context = if attention.is_some() { memory } else { 0 };
        let embedding = Embedding::declare(layout, "decoder.embedding", vocab, c.embedding);
        let parts = [c.embedding, context];
        let parts = if attention.is_some() { &parts[..] } else { &parts[..1] };
        let stack = Stack::declare_parts(layout, "decoder.rnn", c.cell, parts, c.hidden, c.layers, false);
        let features = if attention.is_some() { c.hidden + context + c.embedding } else { c.hidden };
        let output = Linear::declare(layout, "decoder.fc_out", features, vocab, true);
        Self { embedding, stack, attention, output }
    }

    /// Adds its products to a grid.
    pub(super) fn quantize(&self, builder: &mut Builder<'_>) {
        self.stack.quantize(builder, "decoder.rnn", self.embedding.source(0));
        let token = self.attention.as_ref().map(|attention| {
            attention.quantize(builder, "decoder.attention");
            self.embedding.source(self.output.inputs() - self.embedding.width())
        });
        let unit = builder.unit("decoder.logits");
        self.output.quantize(builder, OUTPUT, (unit, Width::I16), token);
    }

    /// Reads `targets` behind their start marks, or what `feed` has in their place; `states`, one a layer, go from first to
    /// final.
    pub(super) fn forward(
        &self,
        weights: Weights<'_>,
        targets: &Sentences,
        memory: Option<&Memory>,
        states: &mut [State],
        masks: Masks<'_>,
        feed: Feed<'_>,
    ) -> DecoderTrace {
        let inputs = targets.shifted();
        if self.attention.is_some() || matches!(feed, Feed::Chosen(_)) {
            return self.forward_by_steps(weights, inputs, memory, states, masks, feed);
        }
        let (x, tokens) = self.embed(weights, &inputs, masks);
        let between = |k: usize, rows: &mut [f32]| masks.apply(Site::DecoderLayer(k), &inputs, rows);
        let stack = self.stack.run(weights, &inputs.seq, (x, tokens), (states, false), &between);
        let (contexts, attention) = (Buffer::default(), AttentionTrace::default());
        let mut trace = self.trace(inputs, stack, contexts, attention);
        self.write(weights, &mut trace, 0..targets.seq.steps(), masks);
        trace
    }

    /// A trace with room for what the output layer reads and writes.
    fn trace(
        &self,
        inputs: Sentences,
        stack: StackTrace,
        contexts: Buffer,
        attention: AttentionTrace,
    ) -> DecoderTrace {
        let rows = inputs.seq.rows();
        let features = Buffer::unspecified(rows * self.output.inputs());
        let logits = Buffer::unspecified(rows * self.output.outputs());
        DecoderTrace { inputs, stack, contexts, attention, features, logits }
    }

    /// The embeddings of all inputs; without dropout those of their tokens, each once if that pays.
    fn embed(&self, weights: Weights<'_>, inputs: &Sentences, masks: Masks<'_>) -> (Buffer, Option<Tokens>) {
        let tokens = masks.none().then(|| match weights.grid() {
            None => self.embedding.distinct(&inputs.ids),
            Some(_) => Tokens::each(&inputs.ids),
        });
        let ids = tokens.as_ref().map_or(&inputs.ids, |tokens| &tokens.ids);
        let mut x = self.embedding.forward(weights, ids);
        masks.apply(Site::TargetEmbedding, inputs, &mut x);
        (x, tokens)
    }

    /// [`Decoder::forward`] with layers that advance together, since a step depends on the one before it: by the context
    /// that its state attends to, or by its choice of a token. What does not is computed for all steps at once.
    fn forward_by_steps(
        &self,
        weights: Weights<'_>,
        inputs: Sentences,
        memory: Option<&Memory>,
        states: &mut [State],
        masks: Masks<'_>,
        feed: Feed<'_>,
    ) -> DecoderTrace {
        let (rows, steps, layers) = (inputs.seq.rows(), inputs.seq.steps(), self.stack.layers());
        let (hidden, embed, top) = (self.stack.hidden(), self.embedding.width(), layers.len() - 1);
        let width = self.attention.as_ref().map_or(0, Additive::memory_width);
        let (traces, mut read) = (layers.iter().map(|l| l.begin(weights, rows)).collect(), List::new());
        let teacher = matches!(feed, Feed::Teacher);
        // Chosen tokens are read step by step.
        let (x, tokens) = match feed {
            Feed::Teacher => self.embed(weights, &inputs, masks),
            Feed::Chosen(_) => (Buffer::unspecified(rows * embed), None),
        };
        push(&mut read, x);
        (1..layers.len()).for_each(|_| push(&mut read, Buffer::unspecified(rows * hidden)));
        let output = Buffer::unspecified(rows * hidden);
        let stack = StackTrace { traces, inputs: read, tokens, fresh: false, output };
        let contexts = Buffer::unspecified(rows * width);
        let mut trace = self.trace(inputs, stack, contexts, AttentionTrace::default());
        if teacher {
            let StackTrace { traces, inputs, tokens, .. } = &mut trace.stack;
            match tokens {
                Some(tokens) => layers[0].token_product(weights, &mut traces[0], &inputs[0], tokens),
                None => layers[0].input_product(weights, &mut traces[0], 0, &inputs[0], 0..embed),
            }
        }
        let sentences: Buffer<usize> = (0..trace.inputs.seq.sentences()).collect();
        for t in 0..steps {
            if let Feed::Chosen(choose) = feed {
                if t > 0 {
                    trace.choose(t, self.embedding.vocab(), choose);
                }
                self.read(weights, &mut trace, t, masks);
            }
            let (first, n) = (trace.inputs.seq.offset(t), trace.inputs.seq.batch(t));
            let StackTrace { traces, inputs: read, output, .. } = &mut trace.stack;
            if let (Some(attention), Some(memory)) = (&self.attention, memory) {
                let context = &mut trace.contexts[first * width..(first + n) * width];
                let query = &states[top].h[..n * hidden];
                attention.step(weights, memory, &sentences[..n], query, context, &mut trace.attention);
                layers[0].input_product(weights, &mut traces[0], first, context, embed..embed + width);
            }
            let block = Block::new(first, n);
            layers[0].step(weights, &mut traces[0], block, &mut states[0]);
            for k in 1..layers.len() {
                let x = &mut read[k][first * hidden..(first + n) * hidden];
                x.copy_from_slice(&states[k - 1].h[..n * hidden]);
                masks.apply_step(Site::DecoderLayer(k - 1), &trace.inputs, t, x);
                layers[k].input_product(weights, &mut traces[k], first, x, 0..hidden);
                layers[k].step(weights, &mut traces[k], block, &mut states[k]);
            }
            output[first * hidden..(first + n) * hidden].copy_from_slice(&states[top].h[..n * hidden]);
            if !teacher {
                self.write(weights, &mut trace, t..t + 1, masks);
            }
        }
        if teacher {
            self.write(weights, &mut trace, 0..steps, masks);
        }
        trace
    }

    /// The inputs of the first layer in step `t`: its tokens' embeddings and the product with them.
    fn read(&self, weights: Weights<'_>, trace: &mut DecoderTrace, t: usize, masks: Masks<'_>) {
        let (inputs, embed) = (&trace.inputs, self.embedding.width());
        let rows = inputs.seq.rows_of(t..t + 1);
        let ids = &inputs.ids[rows.clone()];
        let x = &mut trace.stack.inputs[0][rows.start * embed..rows.end * embed];
        x.copy_from_slice(&self.embedding.forward(weights, ids));
        masks.apply_step(Site::TargetEmbedding, inputs, t, x);
        let (layer, to) = (&self.stack.layers()[0], &mut trace.stack.traces[0]);
        layer.embedding_product(weights, to, rows.start, x, masks.unmasked(ids), 0..embed);
    }

    /// The output layer's inputs, [state; context; embedding] or the state alone, and its logits in `steps`.
    fn write(&self, weights: Weights<'_>, trace: &mut DecoderTrace, steps: Range<usize>, masks: Masks<'_>) {
        let (hidden, width) = (self.stack.hidden(), self.output.inputs());
        let rows = trace.inputs.seq.rows_of(steps.clone());
        let features = &mut trace.features[rows.start * width..rows.end * width];
        let context = self.attention.as_ref().map_or(0, Additive::memory_width);
        for (row, features) in rows.clone().zip(features.chunks_exact_mut(width)) {
            let (state, rest) = features.split_at_mut(hidden);
            state.copy_from_slice(&trace.stack.output[row * hidden..][..hidden]);
            if self.attention.is_some() {
                let (attended, embedding) = rest.split_at_mut(context);
                attended.copy_from_slice(&trace.contexts[row * context..][..context]);
                embedding.copy_from_slice(trace.stack.read(0, row, embedding.len()));
            }
        }
        masks.apply_steps(Site::Output, &trace.inputs, steps, features);
        let ids = masks.unmasked(&trace.inputs.ids[rows.clone()]);
        let logits = &mut trace.logits[rows.start * self.output.outputs()..rows.end * self.output.outputs()];
        self.output.forward_into(weights, features, ids, logits);
    }

    /// The reverse of [`Decoder::forward`]; `trace.logits` hold their gradients. Returns the gradients of
    /// the first states, and of the memory's values if there is attention.
    pub(super) fn backward(
        &self,
        weights: Weights<'_>,
        grads: &mut Gradients,
        memory: Option<&Memory>,
        trace: DecoderTrace,
        masks: Masks<'_>,
    ) -> (List<State>, Option<Buffer>) {
        let mut d_features = self.output.backward(weights, grads, &trace.features, &trace.logits);
        masks.apply(Site::Output, &trace.inputs, &mut d_features);
        let mut d_states = self.stack.zero_states(trace.inputs.seq.sentences());
        let (Some(attention), Some(memory)) = (&self.attention, memory) else {
            let DecoderTrace { inputs, stack, .. } = trace;
            let between = |k: usize, rows: &mut [f32]| masks.apply(Site::DecoderLayer(k), &inputs, rows);
            let tokens = stack.tokens.clone();
            let (seq, d) = (&inputs.seq, &mut d_states);
            let mut dx = self.stack.backward(weights, grads, seq, stack, d_features, d, &between);
            masks.apply(Site::TargetEmbedding, &inputs, &mut dx);
            let ids = tokens.as_ref().map_or(&inputs.ids, |tokens| &tokens.ids);
            self.embedding.backward(grads, ids, &dx);
            return (d_states, None);
        };
        let d = (&d_features[..], &mut d_states[..]);
        let d_memory = self.attend_backward(weights, grads, (attention, memory), trace, d, masks);
        (d_states, Some(d_memory))
    }

    /// The reverse of [`Decoder::forward_by_steps`] with attention; returns the gradient of the memory's values.
    fn attend_backward(
        &self,
        weights: Weights<'_>,
        grads: &mut Gradients,
        (attention, memory): (&Additive, &Memory),
        trace: DecoderTrace,
        (d_features, d_states): (&[f32], &mut [State]),
        masks: Masks<'_>,
    ) -> Buffer {
        let DecoderTrace { inputs, mut stack, contexts, attention: attention_trace, .. } = trace;
        let (seq, layers) = (&inputs.seq, self.stack.layers());
        let (hidden, width, top) = (self.stack.hidden(), attention.memory_width(), layers.len() - 1);
        let (embed, size, features) = (self.embedding.width(), attention.size(), self.output.inputs());
        let sentences: Buffer<usize> = (0..seq.sentences()).collect();
        let mut d_memory = attention.memory_gradient(memory);
        let mut d_queries = Buffer::unspecified(seq.rows() * size);
        let mut d_embeddings = Buffer::unspecified(seq.rows() * embed);
        let mut d_context = Buffer::unspecified(seq.sentences() * width);
        let mut dx = Buffer::unspecified(seq.sentences() * hidden);
        for t in (0..seq.steps()).rev() {
            let (first, n) = (seq.offset(t), seq.batch(t));
            let (block, traces) = (Block::new(first, n), &mut stack.traces);
            let d_context = &mut d_context[..n * width];
            let rows = d_features[first * features..(first + n) * features].chunks_exact(features);
            for (b, row) in rows.enumerate() {
                add(&mut d_states[top].h[b * hidden..(b + 1) * hidden], &row[..hidden]);
                d_context[b * width..(b + 1) * width].copy_from_slice(&row[hidden..hidden + width]);
                let at = (first + b) * embed;
                d_embeddings[at..at + embed].copy_from_slice(&row[hidden + width..]);
            }
            for k in (1..layers.len()).rev() {
                layers[k].step_backward(weights, &mut traces[k], block, &mut d_states[k]);
                let dx = &mut dx[..n * hidden];
                dx.fill(0.0);
                layers[k].add_input_gradient(weights, &traces[k], first, dx, 0..hidden);
                masks.apply_step(Site::DecoderLayer(k - 1), &inputs, t, dx);
                add(&mut d_states[k - 1].h[..n * hidden], dx);
            }
            layers[0].step_backward(weights, &mut traces[0], block, &mut d_states[0]);
            layers[0].add_input_gradient(weights, &traces[0], first, d_context, embed..embed + width);
            let d_query = &mut d_queries[first * size..(first + n) * size];
            let at = (&attention_trace, first);
            let d = (&mut d_memory, &mut *d_query);
            attention.step_backward(weights, grads, memory, &sentences[..n], at, d_context, None, d.0, d.1);
            attention.add_state_gradient(weights, d_query, &mut d_states[top].h[..n * hidden]);
        }
        for (k, (layer, trace)) in layers.iter().zip(&stack.traces).enumerate() {
            if k > 0 {
                layer.input_weight_gradient(grads, trace, &stack.inputs[k], 0..hidden);
            }
            layer.recurrent_weight_gradients(grads, trace, 0);
        }
        let (layer, trace) = (&layers[0], &stack.traces[0]);
        layer.input_weight_gradient(grads, trace, &contexts, embed..embed + width);
        // The embeddings' gradients: as the output layer reads them, in each row; as the lowest layer does, in each token.
        match &stack.tokens {
            Some(tokens) => {
                let mut dx = Buffer::zeros(tokens.ids.len() * embed);
                layer.token_gradients(weights, grads, trace, &stack.inputs[0], tokens, &mut dx);
                self.embedding.backward(grads, &tokens.ids, &dx);
            }
            None => {
                layer.input_weight_gradient(grads, trace, &stack.inputs[0], 0..embed);
                layer.add_input_gradient(weights, trace, 0, &mut d_embeddings, 0..embed);
            }
        }
        masks.apply(Site::TargetEmbedding, &inputs, &mut d_embeddings);
        self.embedding.backward(grads, &inputs.ids, &d_embeddings);
        attention.finish(weights, grads, memory, stack.traces[top].prev(), &d_queries, d_memory)
    }
}
