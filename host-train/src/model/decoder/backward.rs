//! The reverse of a decoder's steps.

use std::ops::Range;

use super::{Decoder, DecoderTrace, Known};
use crate::config::{Part, Place};
use crate::model::sentences::{Masks, Site};
use crate::nn::attention::{Attended, AttentionTrace, Memory, MemoryGradient};
use crate::nn::buffer::Buffer;
use crate::nn::matrix::add;
use crate::nn::params::Gradients;
use crate::nn::rnn::{Block, State};
use crate::nn::stack::List;
use crate::quant::Weights;

/// The gradients of what a decoder was given.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::model) struct DecoderGradient {
    /// Of its first states.
    pub(in crate::model) states: List<State>,
    /// Of its memory's values, if it attends.
    pub(in crate::model) values: Option<Buffer>,
    /// Of what it reads in every step, [sentences, context]; else empty.
    pub(in crate::model) context: Buffer,
}

/// Gradients of what the output layer reads, a row for each packed row; empty for what it does not.
struct Parts {
    embedding: Buffer,
    state: Buffer,
    context: Buffer,
    attended: Buffer,
}

/// What the reverse of attention collects.
struct Collected {
    memory: MemoryGradient,
    /// [rows, size].
    queries: Buffer,
    /// What reaches weights beside contexts, position after position.
    weights: Option<Buffer>,
}

impl Decoder {
    /// The reverse of [`Decoder::forward`]; `trace.logits` hold their gradients. `coverage` is what each squared distance of a
    /// position's attention from 1 counts.
    pub(in crate::model) fn backward(
        &self,
        weights: Weights<'_>,
        grads: &mut Gradients,
        known: &Known,
        mut trace: DecoderTrace,
        masks: Masks,
        coverage: f32,
    ) -> DecoderGradient {
        let mut parts = self.parts_backward(weights, grads, &trace, masks);
        let seq = trace.inputs.seq.clone();
        let mut states = self.stack.zero_states(seq.sentences());
        let mut context = Buffer::zeros(known.context.len());
        let mut collected = match (&self.attention, &known.memory) {
            (Some(attention), Some(memory)) => Some(Collected {
                memory: attention.memory_gradient(memory),
                queries: Buffer::unspecified(seq.rows() * attention.size()),
                weights: (coverage > 0.0).then(|| {
                    coverage_gradient(&trace.attention, &trace.inputs.sentences(), memory, coverage)
                }),
            }),
            _ => None,
        };
        if self.by_layers() {
            let (rows, sentences) = (0..seq.rows(), trace.inputs.sentences());
            self.attend_after_backward(
                weights,
                grads,
                (&sentences, known),
                &trace,
                rows,
                &mut parts,
                &mut collected,
            );
            self.finish_attention(grads, &trace, &parts);
        } else {
            self.steps_backward(
                weights,
                grads,
                known,
                &mut trace,
                (&mut parts, &mut collected, &mut context),
                &mut states,
                masks,
            );
            self.finish_attention(grads, &trace, &parts);
            self.stack.finish(grads, &trace.stack);
        }
        let values = self.memory_backward(weights, grads, known, &trace, collected);
        if self.by_layers() {
            let DecoderTrace { inputs, stack, .. } = trace;
            let between = |k: usize, rows: &mut [f32]| masks.apply(Site::DecoderLayer(k), &inputs, rows);
            let tokens = stack.tokens.clone();
            let d_out = parts.state;
            let mut dx = self.stack.backward(weights, grads, &seq, stack, d_out, &mut states, &between);
            masks.apply(Site::TargetEmbedding, &inputs, &mut dx);
            let ids = tokens.as_ref().map_or(&inputs.ids, |tokens| &tokens.ids);
            self.embedding.backward(grads, ids, &dx);
        } else {
            self.embeddings_backward(weights, grads, &trace, parts.embedding, masks);
        }
        DecoderGradient { states, values, context }
    }

    /// The reverse of the output layer; the gradients of what is read otherwise begin with zeros.
    fn parts_backward(
        &self,
        weights: Weights<'_>,
        grads: &mut Gradients,
        trace: &DecoderTrace,
        masks: Masks,
    ) -> Parts {
        let (width, rows) = (self.width(), trace.inputs.seq.rows());
        let mut d_features = match &self.projection {
            None => self.output.backward(weights, grads, &trace.features, &trace.logits),
            Some(projection) => {
                let d = self.output.backward(weights, grads, &trace.projected, &trace.logits);
                projection.backward(weights, grads, &trace.features, &d)
            }
        };
        masks.apply(Site::Output, &trace.inputs, &mut d_features);
        let part = |wanted: Part, width_of: usize| {
            let Some((_, columns)) = self.features.iter().find(|(part, _)| *part == wanted) else {
                return Buffer::zeros(rows * width_of);
            };
            let mut part = Buffer::unspecified(rows * columns.len());
            let each = part.chunks_exact_mut(columns.len()).zip(d_features.chunks_exact(width));
            each.for_each(|(to, row)| to.copy_from_slice(&row[columns.clone()]));
            part
        };
        let embed = if self.by_layers() { 0 } else { self.embedding.width() };
        Parts {
            embedding: part(Part::Embedding, embed),
            state: part(Part::State, self.stack.outputs()),
            context: part(Part::Context, self.context()),
            attended: part(Part::Attended, 0),
        }
    }

    /// The reverse of all steps.
    #[allow(clippy::too_many_arguments)]
    fn steps_backward(
        &self,
        weights: Weights<'_>,
        grads: &mut Gradients,
        known: &Known,
        trace: &mut DecoderTrace,
        (parts, collected, d_known): (&mut Parts, &mut Option<Collected>, &mut Buffer),
        d_states: &mut List<State>,
        masks: Masks,
    ) {
        let (seq, width) = (trace.inputs.seq.clone(), self.stack.outputs());
        let all: Buffer<usize> = (0..seq.sentences()).collect();
        let mut d_fed = Buffer::zeros(if self.feeds() { seq.sentences() * width } else { 0 });
        for t in (0..seq.steps()).rev() {
            let rows = seq.rows_of(t..t + 1);
            let (first, n) = (rows.start, rows.len());
            let place = |width: usize| first * width..(first + n) * width;
            if self.feeds() {
                add(&mut parts.attended[place(width)], &d_fed[..n * width]);
            }
            self.attend_after_backward(weights, grads, (&all[..n], known), trace, rows, parts, collected);
            let inputs = &trace.inputs;
            let between =
                |k: usize, rows: &mut [f32]| masks.apply_step(Site::DecoderLayer(k), inputs, t, rows);
            let (block, d_out) = (Block::new(first, n), &mut parts.state[place(width)]);
            self.stack.retreat(weights, grads, &mut trace.stack, block, d_out, d_states, &between);
            let Some((part, columns)) = &self.beside else { continue };
            let (lowest, done) = (&self.stack.layers()[0], &trace.stack.traces[0]);
            if *part == Part::Attended {
                let d_fed = &mut d_fed[..n * width];
                d_fed.fill(0.0);
                lowest.add_input_gradient(weights, done, first, d_fed, columns.clone());
                continue;
            }
            let d_context = &mut parts.context[place(columns.len())];
            lowest.add_input_gradient(weights, done, first, d_context, columns.clone());
            match (&self.attention, &known.memory, collected.as_mut()) {
                (Some(attention), Some(memory), Some(collected)) => {
                    let Collected { memory: d_memory, queries, weights: d_weights } = collected;
                    let (d_query, sentences) = (&mut queries[place(attention.size())], &all[..n]);
                    let at = (&trace.attention, first);
                    let d_weights = d_weights.as_ref().map(|d| &d[trace.attention.start(first)..]);
                    let d = (d_memory, &mut *d_query);
                    attention
                        .step_backward(weights, grads, memory, sentences, at, d_context, d_weights, d.0, d.1);
                    let top = d_states.last_mut().expect("a decoder has a layer");
                    attention.add_state_gradient(weights, d_query, &mut top.h[..n * width]);
                }
                _ => add(&mut d_known[..n * columns.len()], d_context),
            }
        }
    }

    /// The reverse of [`Decoder::attend_after`] for some rows: gradients of what the output layer read become those of the
    /// sums, and reach the states.
    #[allow(clippy::too_many_arguments)]
    fn attend_after_backward(
        &self,
        weights: Weights<'_>,
        grads: &mut Gradients,
        (sentences, known): (&[usize], &Known),
        trace: &DecoderTrace,
        rows: Range<usize>,
        parts: &mut Parts,
        collected: &mut Option<Collected>,
    ) {
        let (Some(attention), Some(after), Some(memory), Some(collected)) =
            (&self.attention, &self.attended, &known.memory, collected)
        else {
            return;
        };
        if rows.is_empty() {
            return;
        }
        let place = |width: usize| rows.start * width..rows.end * width;
        let d = &mut parts.attended[place(after.width())];
        Attended::reverse_tanh(&trace.attended[place(after.width())], d);
        let mut joined = Buffer::unspecified(rows.len() * after.inputs());
        after.input_gradient(weights, d, &mut joined);
        let d_contexts = &mut parts.context[place(after.context())];
        let d_states = &mut parts.state[place(after.width())];
        let each = d_contexts.chunks_exact_mut(after.context()).zip(d_states.chunks_exact_mut(after.width()));
        for (row, (context, state)) in joined.chunks_exact(after.inputs()).zip(each) {
            context.copy_from_slice(&row[..context.len()]);
            state.copy_from_slice(&row[context.len()..]);
        }
        let Collected { memory: d_memory, queries, weights: d_weights } = collected;
        let d_queries = &mut queries[place(attention.size())];
        let at = (&trace.attention, rows.start);
        let d_weights = d_weights.as_ref().map(|d| &d[trace.attention.start(rows.start)..]);
        let d = (d_memory, &mut *d_queries);
        attention.step_backward(weights, grads, memory, sentences, at, d_contexts, d_weights, d.0, d.1);
        attention.add_state_gradient(weights, d_queries, d_states);
    }

    /// Adds the gradient of what joins contexts and states.
    fn finish_attention(&self, grads: &mut Gradients, trace: &DecoderTrace, parts: &Parts) {
        if let Some(after) = &self.attended {
            after.weight_gradient(grads, &trace.joined, &parts.attended);
        }
    }

    /// Adds the gradients of attention's weights; returns those of the memory's values.
    fn memory_backward(
        &self,
        weights: Weights<'_>,
        grads: &mut Gradients,
        known: &Known,
        trace: &DecoderTrace,
        collected: Option<Collected>,
    ) -> Option<Buffer> {
        let Collected { memory: d_memory, queries, .. } = collected?;
        let (attention, memory) = (self.attention.as_ref()?, known.memory.as_ref()?);
        let asked = match self.place? {
            Place::Before => trace.stack.traces.last()?.prev(),
            Place::After => &trace.stack.output,
        };
        Some(attention.finish(weights, grads, memory, asked, &queries, d_memory))
    }

    /// Adds the gradients of what the lowest layer reads, once all steps have been reversed. Those of embeddings: as the output
    /// layer reads them (`d`), in each row; as the lowest layer does, in each token if it has read tokens.
    fn embeddings_backward(
        &self,
        weights: Weights<'_>,
        grads: &mut Gradients,
        trace: &DecoderTrace,
        mut d: Buffer,
        masks: Masks,
    ) {
        let (stack, embed) = (&trace.stack, 0..self.embedding.width());
        let (layer, done, x) = (&self.stack.layers()[0], &stack.traces[0], &stack.inputs[0]);
        if let Some((part, columns)) = &self.beside {
            let rows = if *part == Part::Context { &trace.contexts } else { &trace.fed };
            layer.input_weight_gradient(grads, done, rows, columns.clone());
        }
        match &stack.tokens {
            Some(tokens) => {
                let mut dx = Buffer::zeros(tokens.ids.len() * embed.len());
                layer.token_gradients(weights, grads, done, x, tokens, &mut dx);
                self.embedding.backward(grads, &tokens.ids, &dx);
            }
            None => {
                layer.input_weight_gradient(grads, done, x, embed.clone());
                layer.add_input_gradient(weights, done, 0, &mut d, embed);
            }
        }
        masks.apply(Site::TargetEmbedding, &trace.inputs, &mut d);
        self.embedding.backward(grads, &trace.inputs.ids, &d);
    }
}

/// Attention that each position of the memory gets in all rows together.
fn coverage(trace: &AttentionTrace, sentences: &[usize], memory: &Memory) -> Buffer {
    let mut sums = Buffer::zeros(memory.lengths().iter().sum());
    for (row, &sentence) in sentences.iter().enumerate() {
        let first = memory.offset(sentence);
        add(&mut sums[first..first + memory.lengths()[sentence]], trace.weights(row));
    }
    sums
}

/// Sum of the squared distances of each position's attention from 1, in a pass that attends.
pub(in crate::model) fn coverage_loss(trace: &DecoderTrace, known: &Known) -> f64 {
    let distance = |&sum: &f32| f64::from(1.0 - sum).powi(2);
    let sums =
        known.memory.as_ref().map(|memory| coverage(&trace.attention, &trace.inputs.sentences(), memory));
    sums.map_or(0.0, |sums| sums.iter().map(distance).sum())
}

/// The gradient of [`coverage_loss`] times `factor`, position after position of the trace.
fn coverage_gradient(trace: &AttentionTrace, sentences: &[usize], memory: &Memory, factor: f32) -> Buffer {
    let sums = coverage(trace, sentences, memory);
    let mut d = Buffer::unspecified(trace.positions());
    for (row, &sentence) in sentences.iter().enumerate() {
        let (first, length) = (memory.offset(sentence), memory.lengths()[sentence]);
        let sums = &sums[first..first + length];
        let to = &mut d[trace.start(row)..][..length];
        to.iter_mut().zip(sums).for_each(|(d, sum)| *d = 2.0 * factor * (sum - 1.0));
    }
    d
}
