//! The model at work on many sources: decoding in batches on all threads, loss and scores of a dev set.

use super::Run;
use super::exposure::best;
use crate::config::{Metric, Task};
use crate::data::corpus::{Group, group};
use crate::data::{Dataset, Pair};
use crate::ensemble::Ensemble;
use crate::metrics::{Scores, score};
use crate::model::Seq2Seq;
use crate::nn::loss::log_sum_exp;
use crate::search::{Hypothesis, SearchOptions, beam, greedy};
use crate::vocab::{Encoded, Vocab};

/// Sentences that are decoded together.
const CHUNK: usize = 64;

/// What an evaluation found.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// Mean negative log-likelihood of a target token.
    pub loss: f64,
    /// The same behind the model's own best tokens, if the run watches it.
    pub free_loss: Option<f64>,
    /// Counts and rates of the greedy hypotheses.
    pub scores: Scores,
}

/// Loss and greedy scores of the run's dev set; `dev` holds the same pairs as ids.
pub fn evaluate(model: &Seq2Seq, source: &Vocab, target: &Vocab, run: &Run<'_>, dev: &Dataset) -> Evaluation {
    let (threads, max_len) = (run.config.train.threads, run.config.data.max_target_len);
    let scores = || {
        let sources: Vec<_> = group(run.dev).iter().map(|case| source.sentence(case.source)).collect();
        let decoded = in_chunks(&sources, threads, |_, chunk| greedy(model, chunk, max_len));
        let parts: Vec<_> = decoded.iter().map(|best| target.parts_of(&best.ids)).collect();
        score(target.tokenization(), run.dev, &parts)
    };
    // What follows from no source is not right or wrong.
    let generates = model.config.task == Task::Generate;
    let watched = run.config.train.metric == Metric::FreePpl;
    Evaluation {
        free_loss: watched.then(|| walk_loss(&model.into(), dev, Behind::OwnTokens, threads)),
        loss: mean_loss(model, dev, run.config.train.batch_size.min(256), threads),
        scores: if generates { Scores::default() } else { scores() },
    }
}

/// Mean negative log-likelihood of a target token over all pairs, in batches of like lengths.
pub fn mean_loss(model: &Seq2Seq, data: &Dataset, batch_size: usize, threads: usize) -> f64 {
    let lengths = data.lengths();
    let mut order: Vec<usize> = (0..data.len()).collect();
    order.sort_by_key(|&i| lengths[i]);
    let (mut nll, mut tokens) = (0.0, 0);
    for pairs in order.chunks(batch_size.max(1)) {
        let sum = model.loss(&data.batch(pairs), threads);
        nll += sum.nll;
        tokens += sum.tokens;
    }
    nll / tokens.max(1) as f64
}

/// Which tokens a decoder has read when a target token's likelihood is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behind {
    /// The target's own, as in training with a teacher.
    TargetTokens,
    /// The most probable ones, as in greedy decoding; the target's length is kept.
    OwnTokens,
}

/// Mean negative log-likelihood of a target token over all pairs, token by token: for ensembles, and for a model left to
/// itself. [`mean_loss`] is faster where both do.
pub fn walk_loss(model: &Ensemble<'_>, data: &Dataset, behind: Behind, threads: usize) -> f64 {
    let all: Vec<usize> = (0..data.len()).collect();
    let pairs = data.batch(&all);
    if model.labels() {
        let losses = in_chunks(&pairs.sources, threads, |chunk, sources| {
            let logits = model.label_logits(sources);
            chunk.iter().zip(&logits).map(|(&i, rows)| nll(rows, &pairs.targets[i])).collect()
        });
        return losses.iter().sum::<f64>() / data.target_tokens().max(1) as f64;
    }
    let losses = in_chunks(&pairs.sources, threads, |chunk, sources| {
        let targets: Vec<&[u32]> = chunk.iter().map(|&i| &pairs.targets[i][..]).collect();
        let mut losses = vec![0.0; targets.len()];
        let mut walk = model.walk(sources);
        let mut tokens = walk.start();
        let mut live: Vec<usize> = (0..targets.len()).collect();
        for t in 0.. {
            let stepped = walk.step(&tokens);
            let rows = stepped.logits.chunks_exact(model.target_vocab());
            tokens.clear();
            let mut stay = Vec::new();
            for (row, (&i, logits)) in live.iter().zip(rows).enumerate() {
                let expected = targets[i][t];
                losses[i] += log_sum_exp(logits) - f64::from(logits[expected as usize]);
                if t + 1 < targets[i].len() {
                    stay.push(row);
                    tokens.push(if behind == Behind::TargetTokens { expected } else { best(logits) });
                }
            }
            if stay.is_empty() {
                break;
            }
            live = stay.iter().map(|&row| live[row]).collect();
            walk.select(&stay);
        }
        losses
    });
    losses.iter().sum::<f64>() / data.target_tokens().max(1) as f64
}

/// Negative log-likelihood of targets, given their logits.
fn nll(logits: &[f32], targets: &[u32]) -> f64 {
    let rows = logits.chunks_exact(logits.len() / targets.len().max(1)).zip(targets);
    rows.map(|(row, &target)| log_sum_exp(row) - f64::from(row[target as usize])).sum()
}

/// The hypotheses of every source, best first; sources are ids with their marks.
/// The number of threads changes no bit.
pub fn decode_all(
    model: &Ensemble<'_>,
    sources: &[Encoded],
    options: &SearchOptions,
    threads: usize,
) -> Vec<Vec<Hypothesis>> {
    in_chunks(sources, threads, |_, chunk| beam(model.clone(), chunk, options))
}

/// The distinct sources of `pairs` in order, with the hypotheses of each.
pub fn decode_groups<'a, 'm>(
    model: impl Into<Ensemble<'m>>,
    source: &Vocab,
    pairs: &'a [Pair],
    options: &SearchOptions,
    threads: usize,
) -> Vec<(Group<'a>, Vec<Hypothesis>)> {
    let groups = group(pairs);
    let sources: Vec<_> = groups.iter().map(|case| source.sentence(case.source)).collect();
    groups.into_iter().zip(decode_all(&model.into(), &sources, options, threads)).collect()
}

/// `work` on chunks of sources of like length, with their numbers, shared out to threads; results in the order of the sources.
fn in_chunks<T: Send + Default>(
    sources: &[Encoded],
    threads: usize,
    work: impl Fn(&[usize], &[&Encoded]) -> Vec<T> + Sync,
) -> Vec<T> {
    let mut order: Vec<usize> = (0..sources.len()).collect();
    order.sort_by_key(|&i| sources[i].ids.len());
    let chunks: Vec<&[usize]> = order.chunks(CHUNK).collect();
    let threads = threads.clamp(1, chunks.len().max(1));
    let mut results: Vec<T> = Vec::new();
    results.resize_with(sources.len(), T::default);
    std::thread::scope(|scope| {
        let run = |first: usize| {
            let (chunks, work) = (&chunks, &work);
            move || -> Vec<(usize, T)> {
                let mine = chunks.iter().skip(first).step_by(threads);
                let decode = |chunk: &&[usize]| {
                    let batch: Vec<&Encoded> = chunk.iter().map(|&i| &sources[i]).collect();
                    chunk.iter().copied().zip(work(chunk, &batch)).collect::<Vec<_>>()
                };
                mine.flat_map(decode).collect()
            }
        };
        let others: Vec<_> = (1..threads).map(|first| scope.spawn(run(first))).collect();
        let own = run(0)();
        let joined = others.into_iter().flat_map(|t| t.join().expect("decoding does not panic"));
        for (i, result) in own.into_iter().chain(joined) {
            results[i] = result;
        }
    });
    results
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_keep_the_order_of_sources() {
        let sources: Vec<Encoded> = (0..300).map(|i| vec![7; (i * 7) % 13 + 1].into()).collect();
        let length = |source: &Encoded| source.ids.len();
        for threads in [1, 2, 5, 64] {
            let lengths = in_chunks(&sources, threads, |_, chunk| chunk.iter().map(|s| length(s)).collect());
            assert_eq!(lengths, sources.iter().map(length).collect::<Vec<_>>());
        }
        assert!(in_chunks(&[], 4, |_, chunk| vec![0u8; chunk.len()]).is_empty());
    }
}
