//! Losses and gradients of batches, on any number of threads.

use crate::model::network::Network;
use crate::model::objective::{Objective, backward};
use crate::model::sentences::Masks;
use crate::model::{Batch, Feed, Seq2Seq};
use crate::nn::dropout::Dropout;
use crate::nn::loss::{CrossEntropy, cross_entropy};
use crate::nn::params::Gradients;
use crate::quant::Weights;

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

/// Some pairs of a batch, by their numbers in it.
pub(super) struct Shard<'a> {
    pub(super) names: Vec<usize>,
    pub(super) sources: Vec<&'a [u32]>,
    pub(super) targets: Vec<&'a [u32]>,
}

impl Seq2Seq {
    /// Loss of a batch; `grads` is overwritten with the gradients of the mean loss over its target tokens.
    ///
    /// # Panics
    /// When the batch has not as many targets as sources, or `grads` not the parameters' layout.
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
        let dropout = match options.dropout_seed {
            Some(seed) if self.config.dropout > 0.0 => Some(Dropout::new(self.config.dropout, seed)),
            _ => None,
        };
        let masks = Masks(dropout.as_ref());
        // Dropout raises what it leaves: rounding to the grid comes after it and must not cut that off.
        let keep = dropout.map_or(1.0, |_| 1.0 - self.config.dropout);
        let grid = self.grid_within((127.0 / keep).ceil());
        let weights = Weights::new(&self.params, grid.as_ref());
        let smoothing = options.label_smoothing;
        let work = |shard: &Shard<'_>, grads: &mut Gradients| {
            gradients(&self.network, weights, shard, grads, (masks, objective), smoothing, scale)
        };
        grads.fill_zero();
        let shards = split(batch);
        let mut others: Vec<Gradients> = shards.iter().skip(1).map(|_| grads.zeros_like()).collect();
        let mut jobs: Vec<(&Shard<'_>, &mut Gradients)> =
            shards.iter().zip(std::iter::once(&mut *grads).chain(&mut others)).collect();
        let losses = in_parallel(&mut jobs, options.threads, |(shard, grads)| work(shard, grads));
        others.iter().for_each(|other| grads.add(other));
        if let Some(grid) = &grid {
            grid.clip_gradients(grads);
        }
        sum(&losses, tokens)
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
        let mut shards = split(batch);
        let losses = in_parallel(&mut shards, threads, |shard| {
            let Shard { names, sources, targets } = shard;
            let pass = self.network.forward(weights, sources, targets, names, Masks(None), feed);
            cross_entropy(&pass.decoder.logits, &pass.targets.ids, self.target_vocab(), 0.0)
        });
        sum(&losses, batch.targets.iter().map(Vec::len).sum())
    }
}

fn gradients(
    network: &Network,
    weights: Weights<'_>,
    shard: &Shard<'_>,
    grads: &mut Gradients,
    (masks, objective): (Masks<'_>, &Objective<'_>),
    smoothing: f32,
    scale: f32,
) -> CrossEntropy {
    let Shard { names, sources, targets } = shard;
    let mut pass = network.forward(weights, sources, targets, names, masks, objective.feed);
    let total = backward(objective, shard, &mut pass, network.decoder.embedding.vocab(), smoothing, scale);
    network.backward(weights.real(), grads, pass, masks);
    total
}

/// Deals the pairs out, longest first, so that shards have nearly the same work.
fn split(batch: &Batch) -> Vec<Shard<'_>> {
    assert_eq!(batch.sources.len(), batch.targets.len(), "as many targets as sources");
    let mut order: Vec<usize> = (0..batch.sources.len()).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(batch.sources[i].len() + batch.targets[i].len()));
    let shard = |k: usize| {
        let names: Vec<usize> = order.iter().copied().skip(k).step_by(SHARDS).collect();
        let sources = names.iter().map(|&i| &batch.sources[i][..]).collect();
        let targets = names.iter().map(|&i| &batch.targets[i][..]).collect();
        Shard { names, sources, targets }
    };
    (0..SHARDS.min(order.len())).map(shard).collect()
}

fn sum(losses: &[CrossEntropy], tokens: usize) -> LossSum {
    let (nll, loss) = losses.iter().fold((0.0, 0.0), |(n, l), c| (n + c.nll, l + c.loss));
    LossSum { nll, loss, tokens }
}

/// The results of all jobs in their order, worked off by at most `threads` threads.
pub(crate) fn in_parallel<J: Send, R: Send>(
    jobs: &mut [J],
    threads: usize,
    work: impl Fn(&mut J) -> R + Sync,
) -> Vec<R> {
    let threads = threads.clamp(1, jobs.len().max(1));
    if threads == 1 {
        return jobs.iter_mut().map(work).collect();
    }
    let part = jobs.len().div_ceil(threads);
    std::thread::scope(|scope| {
        let work = &work;
        let mut parts = jobs.chunks_mut(part);
        let mine = parts.next();
        let others: Vec<_> =
            parts.map(|jobs| scope.spawn(move || jobs.iter_mut().map(work).collect::<Vec<R>>())).collect();
        let mut results: Vec<R> = mine.into_iter().flatten().map(work).collect();
        for other in others {
            match other.join() {
                Ok(more) => results.extend(more),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        results
    })
}
