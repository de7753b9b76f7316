//! Losses and gradients of batches, on any number of threads.

use std::cmp::Reverse;
use std::sync::{Mutex, PoisonError};

use crate::model::objective::{Objective, backward};
use crate::model::sentences::Masks;
use crate::model::{Batch, Feed, Seq2Seq};
use crate::nn::buffer::Buffer;
use crate::nn::loss::{CrossEntropy, cross_entropy};
use crate::nn::operand::Packs;
use crate::nn::params::Gradients;
use crate::quant::Weights;
use crate::threads::for_each;

/// Parts that a batch is split into. It is no function of the number of threads, so that the gradients,
/// added part after part, have the same bits for any.
const SHARDS: usize = 2;

/// What a training step needs beside the batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepOptions {
    /// Probability mass taken from the reference token and spread over the vocabulary.
    pub label_smoothing: f32,
    /// Seed of this step's dropout masks; `None` leaves everything in.
    pub dropout_seed: Option<u64>,
    /// Threads to use; the result does not depend on it.
    pub threads: usize,
}

impl Default for StepOptions {
    fn default() -> Self {
        Self { label_smoothing: 0.0, dropout_seed: None, threads: 1 }
    }
}

/// Losses summed over the target tokens of a batch, in natural logarithms.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct LossSum {
    /// Negative log-likelihood.
    pub nll: f64,
    /// What is minimised: the negative log-likelihood, smoothed where asked.
    pub loss: f64,
    /// Target tokens, end marks included.
    pub tokens: usize,
}

impl LossSum {
    /// The sum over two batches.
    pub fn plus(self, other: Self) -> Self {
        Self { nll: self.nll + other.nll, loss: self.loss + other.loss, tokens: self.tokens + other.tokens }
    }
}

/// Gradients of the parts of a batch but the first, for the next step to use again.
#[derive(Debug, Default)]
pub(super) struct Spare(Mutex<Vec<Gradients>>);

impl Clone for Spare {
    /// None: they are worth their memory only where steps are taken.
    fn clone(&self) -> Self {
        Self::default()
    }
}

/// A part of a batch: its pairs' numbers, and what comes out.
struct Shard<'a> {
    names: &'a [usize],
    grads: Option<&'a mut Gradients>,
    loss: CrossEntropy,
}

impl Seq2Seq {
    /// Loss of a batch; `grads` is overwritten with the gradients of the mean loss over its target tokens.
    ///
    /// # Panics
    /// When the batch has not as many targets as sources, when a model that labels is not given a label for each source token
    /// but the end mark, or `grads` has not the parameters' layout.
    pub fn loss_and_gradients(&self, batch: &Batch, grads: &mut Gradients, options: &StepOptions) -> LossSum {
        self.loss_and_gradients_fed(batch, grads, options, Feed::Teacher)
    }

    /// [`Seq2Seq::loss_and_gradients`] of a decoder that reads what `feed` says. Gradients do not pass through a choice.
    ///
    /// # Panics
    /// As [`Seq2Seq::loss_and_gradients`].
    pub fn loss_and_gradients_fed(
        &self,
        batch: &Batch,
        grads: &mut Gradients,
        options: &StepOptions,
        feed: Feed<'_>,
    ) -> LossSum {
        self.loss_and_gradients_of(batch, grads, options, &Objective { feed, ..Objective::default() })
    }

    /// [`Seq2Seq::loss_and_gradients`] of another objective.
    ///
    /// # Panics
    /// As [`Seq2Seq::loss_and_gradients`], and when there are not as many weights as pairs, or a teacher has another
    /// target vocabulary.
    pub fn loss_and_gradients_of(
        &self,
        batch: &Batch,
        grads: &mut Gradients,
        options: &StepOptions,
        objective: &Objective<'_>,
    ) -> LossSum {
        let tokens: usize = batch.targets.iter().map(Vec::len).sum();
        let scale = 1.0 / tokens.max(1) as f32;
        let masks = options.dropout_seed.map_or(Masks::NONE, |seed| Masks::new(&self.config, seed));
        // Dropout raises what it leaves: rounding to the grid comes after it and must not cut that off.
        let keep = 1.0 - masks.largest_probability();
        let grid = self.grid_within((127.0 / keep).ceil());
        let weights = Weights::new(&self.params, grid.as_ref());
        let threads = options.threads;
        let packs = Packs::new(&self.operands, weights, true, threads);
        let weights = weights.with_packs(&packs);

        let mut spare = self.spare.0.lock().unwrap_or_else(PoisonError::into_inner);
        spare.resize_with(SHARDS - 1, || grads.zeros_like());
        let (names, ends) = split(batch);
        let all = std::iter::once(&mut *grads).chain(spare.iter_mut()).map(Some);
        let mut shards = shards(&names, &ends, all);
        for_each(threads, &mut shards, &|shard: &mut Shard<'_>| {
            let Some(grads) = shard.grads.as_deref_mut() else { return };
            grads.fill_zero();
            let sides = (&batch.sources[..], &batch.targets[..]);
            let mut pass = self.network.forward(weights, sides, shard.names, masks, objective.feed);
            shard.loss =
                backward(objective, sides, &mut pass, self.target_vocab(), options.label_smoothing, scale);
            let coverage = self.config.attention.coverage_loss;
            if coverage > 0.0 {
                shard.loss.loss += f64::from(coverage) * pass.trace.coverage_loss();
            }
            self.network.backward(weights, grads, pass, masks, coverage * scale);
        });
        let loss = sum(&shards, tokens);
        let others = shards.len() - 1;
        drop(shards);
        spare[..others].iter().for_each(|other| grads.add(other));
        if let Some(grid) = &grid {
            grid.clip_gradients(grads);
        }
        loss
    }

    /// Loss of a batch without dropout or smoothing.
    ///
    /// # Panics
    /// When the batch has not as many targets as sources.
    pub fn loss(&self, batch: &Batch, threads: usize) -> LossSum {
        self.loss_fed(batch, threads, Feed::Teacher)
    }

    /// [`Seq2Seq::loss`] of a decoder that reads what `feed` says.
    ///
    /// # Panics
    /// As [`Seq2Seq::loss`].
    pub fn loss_fed(&self, batch: &Batch, threads: usize, feed: Feed<'_>) -> LossSum {
        let grid = self.grid();
        let weights = Weights::new(&self.params, grid.as_ref());
        let packs = Packs::new(&self.operands, weights, false, threads);
        let weights = weights.with_packs(&packs);
        let (names, ends) = split(batch);
        let mut shards = shards(&names, &ends, std::iter::repeat_with(|| None));
        for_each(threads, &mut shards, &|shard: &mut Shard<'_>| {
            let sides = (&batch.sources[..], &batch.targets[..]);
            let pass = self.network.forward(weights, sides, shard.names, Masks::NONE, feed);
            shard.loss = cross_entropy(pass.trace.logits(), &pass.targets.ids, self.target_vocab(), 0.0);
        });
        sum(&shards, batch.targets.iter().map(Vec::len).sum())
    }
}

/// Numbers of the pairs, part after part, and where each part ends: dealt out longest first, so that parts have nearly the
/// same work.
fn split(batch: &Batch) -> (Buffer<usize>, [usize; SHARDS]) {
    assert_eq!(batch.sources.len(), batch.targets.len(), "as many targets as sources");
    let mut order: Buffer<usize> = (0..batch.sources.len()).collect();
    order.sort_unstable_by_key(|&i| (Reverse(batch.sources[i].ids.len() + batch.targets[i].len()), i));
    let (mut names, mut ends) = (Buffer::default(), [0; SHARDS]);
    for (k, end) in ends.iter_mut().enumerate() {
        order.iter().skip(k).step_by(SHARDS).for_each(|&i| names.push(i));
        *end = names.len();
    }
    (names, ends)
}

/// The parts of a batch that have pairs, and the first one.
fn shards<'a>(
    names: &'a [usize],
    ends: &[usize; SHARDS],
    grads: impl Iterator<Item = Option<&'a mut Gradients>>,
) -> heapless::Vec<Shard<'a>, SHARDS> {
    let mut start = 0;
    let part = |(&end, grads)| {
        let names = &names[std::mem::replace(&mut start, end)..end];
        Shard { names, grads, loss: CrossEntropy::default() }
    };
    let parts = ends.iter().zip(grads).map(part).enumerate();
    parts.filter(|(k, shard)| *k == 0 || !shard.names.is_empty()).map(|(_, shard)| shard).collect()
}

fn sum(shards: &[Shard<'_>], tokens: usize) -> LossSum {
    let add = |(nll, loss): (f64, f64), shard: &Shard<'_>| (nll + shard.loss.nll, loss + shard.loss.loss);
    let (nll, loss) = shards.iter().fold((0.0, 0.0), add);
    LossSum { nll, loss, tokens }
}

/// The results of all jobs in their order, worked off by at most `threads` threads.
pub(crate) fn in_parallel<J: Send, R: Send>(
    jobs: &mut [J],
    threads: usize,
    work: impl Fn(&mut J) -> R + Sync,
) -> Vec<R> {
    let mut pairs: Vec<(&mut J, Option<R>)> = jobs.iter_mut().map(|job| (job, None)).collect();
    for_each(threads, &mut pairs, &|(job, result)| *result = Some(work(job)));
    pairs.into_iter().map(|(_, result)| result.expect("every job was done")).collect()
}
