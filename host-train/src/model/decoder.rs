//! The decoder: embeddings, recurrent layers, attention if any, output layer.

use std::ops::Range;

use crate::config::{AttentionKind, ModelConfig};
use crate::model::UNK;
use crate::model::sentences::{Masks, Sentences, Site};
use crate::nn::attention::{Additive, AttentionTrace, Memory};
use crate::nn::embedding::Embedding;
use crate::nn::linear::Linear;
use crate::nn::matrix::add;
use crate::nn::params::{Gradients, Layout, Params};
use crate::nn::rnn::State;
use crate::nn::stack::{Stack, StackTrace};
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
    pub(super) contexts: Vec<f32>,
    pub(super) attention: AttentionTrace,
    /// What the output layer read, [rows, output inputs].
    pub(super) features: Vec<f32>,
    /// [rows, vocab].
    pub(super) logits: Vec<f32>,
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
        let inputs = c.embedding + context;
        let stack = Stack::declare(layout, "decoder.rnn", c.cell, inputs, c.hidden, c.layers, false);
        let features = if attention.is_some() { c.hidden + inputs } else { c.hidden };
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
        let mut x = self.embedding.forward(weights, &inputs.ids);
        let ids = masks.unmasked(&inputs.ids);
        masks.apply(Site::TargetEmbedding, &inputs, &mut x);
        let between = |k: usize, rows: &mut [f32]| masks.apply(Site::DecoderLayer(k), &inputs, rows);
        let stack = self.stack.forward_tokens(weights, &inputs.seq, (x, ids), states, &between);
        let (contexts, attention) = (Vec::new(), AttentionTrace::default());
        let mut trace =
            DecoderTrace { inputs, stack, contexts, attention, features: Vec::new(), logits: Vec::new() };
        self.write(weights, &mut trace, 0..targets.seq.steps(), masks);
        trace
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
        let mut read = vec![vec![0.0; rows * hidden]; layers.len()];
        read[0] = vec![0.0; rows * embed];
        let stack = StackTrace {
            traces: layers.iter().map(|l| l.begin(weights, rows)).collect(),
            inputs: read,
            output: vec![0.0; rows * hidden],
        };
        let (contexts, attention) = (vec![0.0; rows * width], AttentionTrace::default());
        let mut trace =
            DecoderTrace { inputs, stack, contexts, attention, features: Vec::new(), logits: Vec::new() };
        let known = match feed {
            Feed::Teacher => steps,
            Feed::Chosen(_) => steps.min(1),
        };
        self.read(weights, &mut trace, 0..known, masks);
        let sentences: Vec<usize> = (0..trace.inputs.seq.sentences()).collect();
        for t in 0..steps {
            if let (Feed::Chosen(choose), 1..) = (feed, t) {
                trace.choose(t, self.embedding.vocab(), choose);
                self.read(weights, &mut trace, t..t + 1, masks);
            }
            let (first, n) = (trace.inputs.seq.offset(t), trace.inputs.seq.batch(t));
            let StackTrace { traces, inputs: read, output } = &mut trace.stack;
            if let (Some(attention), Some(memory)) = (&self.attention, memory) {
                let context = &mut trace.contexts[first * width..(first + n) * width];
                let query = &states[top].h[..n * hidden];
                attention.step(weights, memory, &sentences[..n], query, context, &mut trace.attention);
                layers[0].add_input_product(weights, &mut traces[0], first, context, embed..embed + width);
            }
            layers[0].step(weights, &mut traces[0], first, n, &mut states[0]);
            for k in 1..layers.len() {
                let x = &mut read[k][first * hidden..(first + n) * hidden];
                x.copy_from_slice(&states[k - 1].h[..n * hidden]);
                masks.apply_step(Site::DecoderLayer(k - 1), &trace.inputs, t, x);
                layers[k].add_input_product(weights, &mut traces[k], first, x, 0..hidden);
                layers[k].step(weights, &mut traces[k], first, n, &mut states[k]);
            }
            output[first * hidden..(first + n) * hidden].copy_from_slice(&states[top].h[..n * hidden]);
            if let Feed::Chosen(_) = feed {
                self.write(weights, &mut trace, t..t + 1, masks);
            }
        }
        if let Feed::Teacher = feed {
            self.write(weights, &mut trace, 0..steps, masks);
        }
        trace
    }

    /// The inputs of the first layer in `steps`: their tokens' embeddings and the product with them.
    fn read(&self, weights: Weights<'_>, trace: &mut DecoderTrace, steps: Range<usize>, masks: Masks<'_>) {
        let (inputs, embed) = (&trace.inputs, self.embedding.width());
        let rows = inputs.seq.rows_of(steps.clone());
        let ids = &inputs.ids[rows.clone()];
        let x = &mut trace.stack.inputs[0][rows.start * embed..rows.end * embed];
        x.copy_from_slice(&self.embedding.forward(weights, ids));
        masks.apply_steps(Site::TargetEmbedding, inputs, steps, x);
        let (layer, to) = (&self.stack.layers()[0], &mut trace.stack.traces[0]);
        layer.add_token_product(weights, to, rows.start, x, masks.unmasked(ids), 0..embed);
    }

    /// Appends the output layer's inputs and its logits in `steps`, which are the next.
    fn write(&self, weights: Weights<'_>, trace: &mut DecoderTrace, steps: Range<usize>, masks: Masks<'_>) {
        let rows = trace.inputs.seq.rows_of(steps.clone());
        let of = |data: &[f32], width: usize| data[rows.start * width..rows.end * width].to_vec();
        let output = of(&trace.stack.output, self.stack.hidden());
        let mut features = match &self.attention {
            Some(attention) => {
                let contexts = of(&trace.contexts, attention.memory_width());
                self.join_features(&output, &contexts, &of(&trace.stack.inputs[0], self.embedding.width()))
            }
            None => output,
        };
        masks.apply_steps(Site::Output, &trace.inputs, steps, &mut features);
        let ids = masks.unmasked(&trace.inputs.ids[rows]);
        trace.logits.extend(self.output.forward_tokens(weights, &features, ids));
        trace.features.extend(features);
    }

    /// [state; context; embedding] for each row.
    pub(super) fn join_features(&self, outputs: &[f32], contexts: &[f32], embeddings: &[f32]) -> Vec<f32> {
        let (hidden, embed) = (self.stack.hidden(), self.embedding.width());
        let width = self.output.inputs() - hidden - embed;
        let mut features = Vec::with_capacity(outputs.len() + contexts.len() + embeddings.len());
        let rows = contexts.chunks_exact(width).zip(embeddings.chunks_exact(embed));
        for (output, (context, embedding)) in outputs.chunks_exact(hidden).zip(rows) {
            features.extend_from_slice(output);
            features.extend_from_slice(context);
            features.extend_from_slice(embedding);
        }
        features
    }

    /// The reverse of [`Decoder::forward`]; `trace.logits` hold their gradients. Returns the gradients of
    /// the first states, and of the memory's values if there is attention.
    pub(super) fn backward(
        &self,
        params: &Params,
        grads: &mut Gradients,
        memory: Option<&Memory>,
        trace: DecoderTrace,
        masks: Masks<'_>,
    ) -> (Vec<State>, Option<Vec<f32>>) {
        let mut d_features = self.output.backward(params, grads, &trace.features, &trace.logits);
        masks.apply(Site::Output, &trace.inputs, &mut d_features);
        let mut d_states = self.stack.zero_states(trace.inputs.seq.sentences());
        let DecoderTrace { inputs, stack, contexts, attention: attention_trace, .. } = trace;
        let (mut d_embeddings, d_memory) = match (&self.attention, memory) {
            (Some(attention), Some(memory)) => {
                let read = (memory, &attention_trace, &contexts[..]);
                let d = (&d_features[..], &mut d_states[..]);
                let (d_embeddings, d_memory) =
                    self.attend_backward(params, grads, attention, read, &inputs, stack, d, masks);
                (d_embeddings, Some(d_memory))
            }
            _ => {
                let between = |k: usize, rows: &mut [f32]| masks.apply(Site::DecoderLayer(k), &inputs, rows);
                let seq = &inputs.seq;
                let dx = self.stack.backward(params, grads, seq, stack, d_features, &mut d_states, &between);
                (dx, None)
            }
        };
        masks.apply(Site::TargetEmbedding, &inputs, &mut d_embeddings);
        self.embedding.backward(grads, &inputs.ids, &d_embeddings);
        (d_states, d_memory)
    }

    /// The reverse of a pass with attention: the gradients of embeddings and of the memory's values.
    #[allow(clippy::too_many_arguments)]
    fn attend_backward(
        &self,
        params: &Params,
        grads: &mut Gradients,
        attention: &Additive,
        (memory, attention_trace, contexts): (&Memory, &AttentionTrace, &[f32]),
        inputs: &Sentences,
        stack: StackTrace,
        (d_features, d_states): (&[f32], &mut [State]),
        masks: Masks<'_>,
    ) -> (Vec<f32>, Vec<f32>) {
        let (seq, layers) = (&inputs.seq, self.stack.layers());
        let StackTrace { mut traces, inputs: read, .. } = stack;
        let (hidden, width, top) = (self.stack.hidden(), attention.memory_width(), layers.len() - 1);
        let (embed, size, features) = (self.embedding.width(), attention.size(), self.output.inputs());
        let sentences: Vec<usize> = (0..seq.sentences()).collect();
        let mut d_memory = attention.memory_gradient(memory);
        let mut d_queries = vec![0.0; seq.rows() * size];
        let mut d_embeddings = vec![0.0; seq.rows() * embed];
        let mut d_context = vec![0.0; seq.sentences() * width];
        let mut dx = vec![0.0; seq.sentences() * hidden];
        for t in (0..seq.steps()).rev() {
            let (first, n) = (seq.offset(t), seq.batch(t));
            let d_context = &mut d_context[..n * width];
            let rows = d_features[first * features..(first + n) * features].chunks_exact(features);
            for (b, row) in rows.enumerate() {
                add(&mut d_states[top].h[b * hidden..(b + 1) * hidden], &row[..hidden]);
                d_context[b * width..(b + 1) * width].copy_from_slice(&row[hidden..hidden + width]);
                let at = (first + b) * embed;
                d_embeddings[at..at + embed].copy_from_slice(&row[hidden + width..]);
            }
            for k in (1..layers.len()).rev() {
                layers[k].step_backward(params, &mut traces[k], first, n, &mut d_states[k]);
                let dx = &mut dx[..n * hidden];
                dx.fill(0.0);
                layers[k].add_input_gradient(params, &traces[k], first, dx, 0..hidden);
                masks.apply_step(Site::DecoderLayer(k - 1), inputs, t, dx);
                add(&mut d_states[k - 1].h[..n * hidden], dx);
            }
            layers[0].step_backward(params, &mut traces[0], first, n, &mut d_states[0]);
            layers[0].add_input_gradient(params, &traces[0], first, d_context, embed..embed + width);
            let d_query = &mut d_queries[first * size..(first + n) * size];
            let at = (attention_trace, first);
            let d = (&mut d_memory, &mut *d_query);
            attention.step_backward(params, grads, memory, &sentences[..n], at, d_context, None, d.0, d.1);
            attention.add_state_gradient(params, d_query, &mut d_states[top].h[..n * hidden]);
        }
        for (k, (layer, trace)) in layers.iter().zip(&traces).enumerate() {
            let columns = if k == 0 { embed } else { hidden };
            layer.input_weight_gradient(grads, trace, &read[k], 0..columns);
            layer.recurrent_weight_gradients(grads, trace);
        }
        layers[0].input_weight_gradient(grads, &traces[0], contexts, embed..embed + width);
        layers[0].add_input_gradient(params, &traces[0], 0, &mut d_embeddings, 0..embed);
        let d_values = attention.finish(params, grads, memory, traces[top].prev(), &d_queries, d_memory);
        (d_embeddings, d_values)
    }
}
