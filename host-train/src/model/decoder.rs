//! The decoder: embeddings, recurrent layers, attention if any, output layer; teacher-forced.

use crate::config::{AttentionKind, ModelConfig};
use crate::model::sentences::{Masks, Sentences, Site};
use crate::nn::attention::{Additive, AttentionTrace, Memory};
use crate::nn::embedding::Embedding;
use crate::nn::linear::Linear;
use crate::nn::matrix::add;
use crate::nn::params::{Gradients, Layout, Params};
use crate::nn::rnn::{State, Trace};
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

    /// Reads `targets` behind their start marks; `states`, one a layer, go from first to final.
    pub(super) fn forward(
        &self,
        weights: Weights<'_>,
        targets: &Sentences,
        memory: Option<&Memory>,
        states: &mut [State],
        masks: Masks<'_>,
    ) -> DecoderTrace {
        let inputs = targets.shifted();
        let mut x = self.embedding.forward(weights, &inputs.ids);
        let ids = masks.unmasked(&inputs.ids);
        masks.apply(Site::TargetEmbedding, &inputs, &mut x);
        let mut contexts = Vec::new();
        let mut trace = AttentionTrace::default();
        let mut features;
        let stack = match (&self.attention, memory) {
            (Some(attention), Some(memory)) => {
                contexts = vec![0.0; inputs.seq.rows() * attention.memory_width()];
                let places = (&mut contexts[..], &mut trace);
                let stack = self.attend(weights, attention, memory, &inputs, x, states, places, masks);
                features = self.join_features(&stack.output, &contexts, &stack.inputs[0]);
                stack
            }
            _ => {
                let between = |k: usize, rows: &mut [f32]| masks.apply(Site::DecoderLayer(k), &inputs, rows);
                let stack = self.stack.forward_tokens(weights, &inputs.seq, (x, ids), states, &between);
                features = stack.output.clone();
                stack
            }
        };
        masks.apply(Site::Output, &inputs, &mut features);
        let logits = self.output.forward_tokens(weights, &features, ids);
        DecoderTrace { inputs, stack, contexts, attention: trace, features, logits }
    }

    /// All steps with attention: the context of a step depends on the state before it, so that layers
    /// advance together. `x` are the embeddings; only their product is taken for all steps at once.
    #[allow(clippy::too_many_arguments)]
    fn attend(
        &self,
        weights: Weights<'_>,
        attention: &Additive,
        memory: &Memory,
        inputs: &Sentences,
        x: Vec<f32>,
        states: &mut [State],
        (contexts, attention_trace): (&mut [f32], &mut AttentionTrace),
        masks: Masks<'_>,
    ) -> StackTrace {
        let (seq, layers) = (&inputs.seq, self.stack.layers());
        let (hidden, width, top) = (self.stack.hidden(), attention.memory_width(), layers.len() - 1);
        let embed = self.embedding.width();
        let mut traces: Vec<Trace> = layers.iter().map(|l| l.begin(weights, seq.rows())).collect();
        let ids = masks.unmasked(&inputs.ids);
        layers[0].add_token_product(weights, &mut traces[0], 0, &x, ids, 0..embed);
        let mut read: Vec<Vec<f32>> = vec![x];
        read.resize(layers.len(), vec![0.0; seq.rows() * hidden]);
        let mut output = vec![0.0; seq.rows() * hidden];
        let sentences: Vec<usize> = (0..seq.sentences()).collect();
        for t in 0..seq.steps() {
            let (first, n) = (seq.offset(t), seq.batch(t));
            let context = &mut contexts[first * width..(first + n) * width];
            let query = &states[top].h[..n * hidden];
            attention.step(weights, memory, &sentences[..n], query, context, attention_trace);
            layers[0].add_input_product(weights, &mut traces[0], first, context, embed..embed + width);
            layers[0].step(weights, &mut traces[0], first, n, &mut states[0]);
            for k in 1..layers.len() {
                let x = &mut read[k][first * hidden..(first + n) * hidden];
                x.copy_from_slice(&states[k - 1].h[..n * hidden]);
                masks.apply_step(Site::DecoderLayer(k - 1), inputs, t, x);
                layers[k].add_input_product(weights, &mut traces[k], first, x, 0..hidden);
                layers[k].step(weights, &mut traces[k], first, n, &mut states[k]);
            }
            output[first * hidden..(first + n) * hidden].copy_from_slice(&states[top].h[..n * hidden]);
        }
        StackTrace { traces, inputs: read, output }
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

    /// The reverse of [`Decoder::attend`]: the gradients of embeddings and of the memory's values.
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
