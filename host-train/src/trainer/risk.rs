//! Sequence-level training: what whole hypotheses cost by the task's metric.
//!
//! For a source with candidates `y`, probabilities `Q(y) ∝ P(y)^α` and costs `c(y)`, the risk is `R = Σ Q(y) c(y)` and its
//! gradient `Σ α Q(y) (R - c(y)) ∇(-log P(y))` (Shen et al. 2016, "Minimum risk training for neural machine translation",
//! equations 10 to 13): that of a batch whose sentences weigh `α Q (R - c)`. Self-critical training (Rennie et al. 2017,
//! equation 8) weighs a drawn hypothesis with the greedy one's cost less its own.

use std::collections::HashMap;

use crate::config::{Candidates, Cost, RiskConfig, RiskMethod};
use crate::data::Dataset;
use crate::metrics::{Bleu, edit_distance};
use crate::model::{Batch, EOS, Seq2Seq};
use crate::nn::loss::log_sum_exp;
use crate::nn::random::{Random, key};
use crate::search::{SearchOptions, beam, greedy};
use crate::trainer::exposure::sampled;
use crate::vocab::{Encoded, Sentence};

/// The references that a source has in the whole training set: any of them is right.
#[derive(Debug, Clone)]
pub(super) struct References {
    targets: HashMap<Encoded, Vec<Vec<u32>>>,
}

/// Candidates of a batch's sources, with what the loss of each counts.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Weighted {
    pub(super) batch: Batch,
    pub(super) weights: Vec<f32>,
    /// Mean cost that is to be expected of a source.
    pub(super) risk: f64,
}

/// A hypothesis: ids without the end mark, and its log-probability.
type Candidate = (Vec<u32>, f64);

impl References {
    pub(super) fn new(data: &Dataset) -> Self {
        let all = data.batch(&(0..data.len()).collect::<Vec<_>>());
        let mut targets: HashMap<Encoded, Vec<Vec<u32>>> = HashMap::new();
        for (source, mut target) in all.sources.into_iter().zip(all.targets) {
            target.pop();
            targets.entry(source).or_default().push(target);
        }
        Self { targets }
    }

    fn cost(&self, cost: Cost, source: &Encoded, hypothesis: &[u32]) -> f64 {
        let references = self.targets.get(source).map_or(&[][..], |targets| targets);
        let each = references.iter().map(|reference| match cost {
            Cost::Wrong => f64::from(u8::from(reference != hypothesis)),
            Cost::Edits => edit_distance(reference, hypothesis) as f64 / reference.len().max(1) as f64,
            Cost::Bleu => {
                let mut bleu = Bleu::default();
                let names = |ids: &[u32]| ids.iter().map(u32::to_string).collect::<Vec<String>>();
                bleu.add(&names(hypothesis), &names(reference));
                1.0 - bleu.sentence() / 100.0
            }
        });
        each.fold(f64::INFINITY, f64::min)
    }

    /// The candidates of `sources` under `model`, weighted so that their negative log-likelihood has the gradient of the
    /// mean risk of a source. It depends on its arguments alone.
    pub(super) fn weigh(
        &self,
        config: &RiskConfig,
        model: &Seq2Seq,
        sources: &[Encoded],
        max_len: usize,
        seed: u64,
    ) -> Weighted {
        let mut weighted = Weighted::default();
        let share = 1.0 / sources.len() as f64;
        let mut push = |source: &Encoded, mut ids: Vec<u32>, weight: f64| {
            if weight != 0.0 {
                ids.push(EOS);
                weighted.batch.sources.push(source.clone());
                weighted.batch.targets.push(ids);
                weighted.weights.push((weight * share) as f32);
            }
        };
        let mut risk = 0.0;
        match config.method {
            RiskMethod::Mrt => {
                let candidates = match config.from {
                    Candidates::Beam => n_best(model, sources, config.candidates, max_len),
                    Candidates::Sample => samples(model, sources, config.candidates, max_len, seed),
                };
                for (source, candidates) in sources.iter().zip(candidates) {
                    let costs: Vec<f64> =
                        candidates.iter().map(|(ids, _)| self.cost(config.cost, source, ids)).collect();
                    let sharpness = f64::from(config.sharpness);
                    let logs: Vec<f64> =
                        candidates.iter().map(|(_, log_prob)| sharpness * log_prob).collect();
                    let (expected, weights) = expected_cost(&logs, &costs);
                    risk += share * expected;
                    for ((ids, _), weight) in candidates.into_iter().zip(weights) {
                        push(source, ids, sharpness * weight);
                    }
                }
            }
            RiskMethod::SelfCritical => {
                let drawn = samples(model, sources, 1, max_len, seed);
                let baselines = greedy(model, sources, max_len);
                for ((source, drawn), greedy) in sources.iter().zip(drawn).zip(baselines) {
                    let baseline = self.cost(config.cost, source, &greedy.ids);
                    for (ids, _) in drawn {
                        let cost = self.cost(config.cost, source, &ids);
                        risk += share * cost;
                        push(source, ids, baseline - cost);
                    }
                }
            }
        }
        weighted.risk = risk;
        weighted
    }
}

/// The expected cost under `Q = softmax(logs)`, and `Q (R - c)` of each candidate.
fn expected_cost(logs: &[f64], costs: &[f64]) -> (f64, Vec<f64>) {
    let max = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = logs.iter().map(|log| (log - max).exp()).sum();
    let q: Vec<f64> = logs.iter().map(|log| (log - max).exp() / sum).collect();
    let risk: f64 = q.iter().zip(costs).map(|(q, c)| q * c).sum();
    (risk, q.iter().zip(costs).map(|(q, c)| q * (risk - c)).collect())
}

fn n_best(model: &Seq2Seq, sources: &[impl Sentence], n: usize, max_len: usize) -> Vec<Vec<Candidate>> {
    let options = SearchOptions {
        beam_size: n,
        num_hypotheses: n,
        length_penalty: 0.0,
        max_len,
        ..SearchOptions::default()
    };
    let all =
        |found: Vec<_>| found.into_iter().map(|h: crate::search::Hypothesis| (h.ids, h.log_prob)).collect();
    beam(model, sources, &options).into_iter().map(all).collect()
}

/// `n` draws for each source, the same ones once.
fn samples(
    model: &Seq2Seq,
    sources: &[impl Sentence],
    n: usize,
    max_len: usize,
    seed: u64,
) -> Vec<Vec<Candidate>> {
    let mut decoding = crate::model::Decoding::new(model, sources);
    let all: Vec<usize> = (0..sources.len() * n).map(|row| row / n).collect();
    decoding.select(&all);
    let mut drawn: Vec<Candidate> = vec![Candidate::default(); all.len()];
    let mut live: Vec<usize> = (0..all.len()).collect();
    let mut tokens = decoding.start();
    for t in 0..max_len {
        if live.is_empty() {
            break;
        }
        let stepped = decoding.step(&tokens);
        tokens.clear();
        let mut stay = Vec::new();
        for (row, (&i, logits)) in
            live.iter().zip(stepped.logits.chunks_exact(model.target_vocab())).enumerate()
        {
            let mut random = Random::new(key(key(seed, i as u64), t as u64));
            let id = sampled(logits, &mut random);
            drawn[i].1 += f64::from(logits[id as usize]) - log_sum_exp(logits);
            if id != EOS {
                drawn[i].0.push(id);
                tokens.push(id);
                stay.push(row);
            }
        }
        live = stay.iter().map(|&row| live[row]).collect();
        decoding.select(&stay);
    }
    let once = |draws: &[Candidate]| {
        let mut kept: Vec<Candidate> = Vec::new();
        for draw in draws {
            if kept.iter().all(|(ids, _)| *ids != draw.0) {
                kept.push(draw.clone());
            }
        }
        kept
    };
    drawn.chunks(n).map(once).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tests::{configs, model};

    #[test]
    fn the_gradient_is_that_of_the_expected_cost() {
        let (logs, costs) = ([-1.0, -0.2, -2.5], [1.0, 0.0, 0.25]);
        let (_, weights) = expected_cost(&logs, &costs);
        for i in 0..3 {
            let risk = |d: f64| {
                let mut logs = logs;
                logs[i] += d;
                expected_cost(&logs, &costs).0
            };
            // Weights are those of negative logarithms.
            let slope = (risk(1e-5) - risk(-1e-5)) / 2e-5;
            assert!((slope + weights[i]).abs() < 1e-8, "{slope} {}", weights[i]);
        }
        assert!(weights[1] > 0.0 && weights[0] < 0.0);
    }

    fn references(pairs: &[(&[u32], &[u32])]) -> References {
        let mut targets: HashMap<Encoded, Vec<Vec<u32>>> = HashMap::new();
        pairs.iter().for_each(|(s, t)| targets.entry(s.to_vec().into()).or_default().push(t.to_vec()));
        References { targets }
    }

    #[test]
    fn any_reference_of_a_source_is_right() {
        let references = references(&[(&[4, EOS], &[4, 5]), (&[4, EOS], &[5, 5, 4, 4])]);
        let cost = |cost, ids: &[u32]| references.cost(cost, &vec![4, EOS].into(), ids);
        for kind in [Cost::Wrong, Cost::Edits, Cost::Bleu] {
            assert!(cost(kind, &[4, 5]).abs() < 1e-12 && cost(kind, &[5, 5, 4, 4]).abs() < 1e-12);
            assert!(cost(kind, &[4]) > 0.2, "{kind:?}");
        }
        assert_eq!((cost(Cost::Wrong, &[5]), cost(Cost::Edits, &[5])), (1.0, 0.5));
    }

    #[test]
    fn samples_follow_the_distribution_and_their_probability_is_known() {
        let model = model(&configs()[9]);
        let source = vec![4, 5, EOS];
        let best = &n_best(&model, &vec![source.clone(); 1], 160, 3)[0];
        let many: Vec<Candidate> = (0..400)
            .flat_map(|seed| samples(&model, &vec![source.clone(); 50], 1, 3, seed).into_iter().flatten())
            .collect();
        for (ids, log_prob) in best.iter().take(5) {
            let found: Vec<f64> = many.iter().filter(|(other, _)| other == ids).map(|(_, p)| *p).collect();
            let share = found.len() as f64 / many.len() as f64;
            // More than three standard deviations of 20,000 draws.
            assert!((share - log_prob.exp()).abs() < 0.01, "{ids:?} {share} {}", log_prob.exp());
            assert!(found.iter().all(|p| (p - log_prob).abs() < 1e-4));
        }
    }
}
