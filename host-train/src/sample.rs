//! Targets drawn from a model's distribution.

use crate::ensemble::Ensemble;
use crate::model::EOS;
use crate::nn::loss::{log_sum_exp, softmax};
use crate::nn::random::{Random, key};
use crate::search::Hypothesis;
use crate::vocab::Sentence;

/// Which part of the distribution tokens are drawn from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SampleOptions {
    /// What logits are divided by: below 1 the probable becomes more so. Above 0.
    pub temperature: f32,
    /// Only so many of the most probable tokens are drawn; 0 is all (Fan et al. 2018).
    pub top_k: usize,
    /// Only the most probable tokens are drawn whose probabilities add up to this; 1 is all (Holtzman et al. 2020).
    pub top_p: f32,
    /// Most tokens of a target, the end mark not counted.
    pub max_len: usize,
    /// What is drawn depends on it, and on the source's number.
    pub seed: u64,
}

impl Default for SampleOptions {
    fn default() -> Self {
        Self { temperature: 1.0, top_k: 0, top_p: 1.0, max_len: 64, seed: 1 }
    }
}

impl SampleOptions {
    /// Replaces logits by the probabilities that tokens are drawn with: temperature first, then the `top_k`, then of these the
    /// fewest that have `top_p` together, at least one; of equals those with the lowest ids.
    pub fn probabilities(&self, logits: &mut [f32]) {
        logits.iter_mut().for_each(|x| *x /= self.temperature);
        softmax(logits);
        if self.top_k == 0 && self.top_p >= 1.0 {
            return;
        }
        let mut order: Vec<usize> = (0..logits.len()).collect();
        order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]).then(a.cmp(&b)));
        let most = if self.top_k == 0 { order.len() } else { self.top_k.min(order.len()) };
        let share: f32 = order[..most].iter().map(|&id| logits[id]).sum();
        let (mut kept, mut sum) = (0, 0.0);
        while kept < most && (kept == 0 || sum < self.top_p * share) {
            sum += logits[order[kept]];
            kept += 1;
        }
        order[kept..].iter().for_each(|&id| logits[id] = 0.0);
        logits.iter_mut().for_each(|p| *p /= sum);
    }

    fn draw(&self, logits: &[f32], random: &mut Random) -> u32 {
        let mut probabilities = logits.to_vec();
        self.probabilities(&mut probabilities);
        let mut left = random.uniform();
        let mut last = 0;
        for (id, &p) in probabilities.iter().enumerate().filter(|(_, p)| **p > 0.0) {
            last = id;
            left -= p;
            if left < 0.0 {
                break;
            }
        }
        // The probabilities' sum may fall short of 1 by rounding: then it is the last one.
        last as u32
    }
}

/// A target for each source, drawn token by token; of a model without sources only their number matters. Log-probabilities are
/// the model's own, without temperature; scores are their means a token.
///
/// # Panics
/// When the model labels.
pub fn sample<'a>(
    model: impl Into<Ensemble<'a>>,
    sources: &[impl Sentence],
    options: &SampleOptions,
) -> Vec<Hypothesis> {
    let model = model.into();
    let mut drawn = vec![Hypothesis::default(); sources.len()];
    let mut walk = model.walk(sources);
    let (mut tokens, mut live): (Vec<u32>, Vec<usize>) = (walk.start(), (0..sources.len()).collect());
    for t in 0..options.max_len {
        if live.is_empty() {
            break;
        }
        let stepped = walk.step(&tokens);
        tokens.clear();
        let mut stay = Vec::new();
        let rows = stepped.logits.chunks_exact(model.target_vocab());
        for (row, (&i, logits)) in live.iter().zip(rows).enumerate() {
            let mut random = Random::new(key(key(options.seed, i as u64), t as u64));
            let id = options.draw(logits, &mut random);
            let hypothesis = &mut drawn[i];
            hypothesis.log_prob += f64::from(logits[id as usize]) - log_sum_exp(logits);
            hypothesis.score = hypothesis.log_prob / (t + 1) as f64;
            if id != EOS {
                hypothesis.ids.push(id);
                tokens.push(id);
                stay.push(row);
            }
        }
        live = stay.iter().map(|&row| live[row]).collect();
        walk.select(&stay);
    }
    drawn
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Task;
    use crate::model::tests::{forms, model};

    fn probabilities(options: &SampleOptions) -> Vec<f32> {
        let mut values = [0.4f32, 0.1, 0.3, 0.2].map(f32::ln);
        options.probabilities(&mut values);
        values.to_vec()
    }

    fn near(found: &[f32], expected: [f32; 4]) {
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5), "{found:?} {expected:?}");
    }

    #[test]
    fn cuts_by_hand() {
        let all = SampleOptions::default();
        near(&probabilities(&all), [0.4, 0.1, 0.3, 0.2]);
        near(&probabilities(&SampleOptions { top_k: 2, ..all }), [4.0 / 7.0, 0.0, 3.0 / 7.0, 0.0]);
        near(&probabilities(&SampleOptions { top_p: 0.6, ..all }), [4.0 / 7.0, 0.0, 3.0 / 7.0, 0.0]);
        near(&probabilities(&SampleOptions { top_p: 0.0, ..all }), [1.0, 0.0, 0.0, 0.0]);
        near(
            &probabilities(&SampleOptions { top_k: 3, top_p: 0.5, ..all }),
            [4.0 / 7.0, 0.0, 3.0 / 7.0, 0.0],
        );
        // Squares of the probabilities, of the sum 0.3.
        let cold = SampleOptions { temperature: 0.5, ..all };
        near(&probabilities(&cold), [0.16 / 0.3, 0.01 / 0.3, 0.09 / 0.3, 0.04 / 0.3]);
    }

    #[test]
    fn draws_follow_the_distribution() {
        let logits = [0.4f32, 0.1, 0.3, 0.2].map(f32::ln);
        for options in [SampleOptions::default(), SampleOptions { top_k: 2, ..SampleOptions::default() }] {
            let mut counts = [0.0; 4];
            for i in 0..20_000 {
                counts[options.draw(&logits, &mut Random::new(key(7, i))) as usize] += 1.0 / 20_000.0;
            }
            let expected = probabilities(&options);
            assert!(counts.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 0.02), "{counts:?}");
        }
    }

    #[test]
    fn one_seed_one_sample() {
        for config in forms().iter().filter(|config| config.task == Task::Generate).chain(&forms()[..2]) {
            let model = model(config);
            let sources = vec![vec![4, EOS]; 30];
            let draw =
                |seed| sample(&model, &sources, &SampleOptions { seed, max_len: 8, ..Default::default() });
            assert_eq!(draw(1), draw(1));
            assert_ne!(draw(1), draw(2));
            assert!(draw(1).iter().any(|drawn| *drawn != draw(1)[0]));
        }
    }

    #[test]
    fn the_most_probable_alone_is_greedy_search() {
        let model = model(&forms()[0]);
        let sources = vec![vec![4, 5, EOS], vec![6, EOS]];
        let options = SampleOptions { top_k: 1, max_len: 6, ..SampleOptions::default() };
        let ids = |found: Vec<Hypothesis>| found.into_iter().map(|h| h.ids).collect::<Vec<_>>();
        assert_eq!(ids(sample(&model, &sources, &options)), ids(crate::search::greedy(&model, &sources, 6)));
    }
}
