//! Labels of sources, token by token.

use crate::ensemble::Ensemble;
use crate::nn::loss::log_sum_exp;
use crate::search::Hypothesis;
use crate::vocab::Sentence;

/// Sources that are labelled together.
const CHUNK: usize = 64;

/// The most probable label of each source token but the end mark (of equals the lowest id); the score is the sum of their
/// log-probabilities. Labels do not depend on each other: there is nothing to search.
pub(crate) fn label<S: Sentence>(model: &Ensemble<'_>, sources: &[S]) -> Vec<Hypothesis> {
    let vocab = model.target_vocab();
    let best = |hypothesis: &mut Hypothesis, row: &[f32]| {
        let greater = |best: usize, (i, &x): (usize, &f32)| if x > row[best] { i } else { best };
        let id = row.iter().enumerate().fold(0, greater);
        hypothesis.ids.push(id as u32);
        hypothesis.log_prob += f64::from(row[id]) - log_sum_exp(row);
    };
    let mut found = Vec::with_capacity(sources.len());
    for chunk in sources.chunks(CHUNK) {
        for logits in model.label_logits(chunk) {
            let mut hypothesis = Hypothesis::default();
            logits.chunks_exact(vocab).for_each(|row| best(&mut hypothesis, row));
            hypothesis.score = hypothesis.log_prob;
            found.push(hypothesis);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ModelConfig, Task};
    use crate::model::{EOS, Seq2Seq};

    #[test]
    fn every_token_gets_its_best_label_and_lines_their_sum() {
        let config = ModelConfig { task: Task::Label, ..ModelConfig::default() };
        let (one, two) = (Seq2Seq::new(&config, 7, 6, 1), Seq2Seq::new(&config, 7, 6, 2));
        let sources = [vec![4, 5, EOS], vec![EOS], vec![6, 5, 4, 4, EOS]];
        for members in [vec![&one], vec![&one, &two]] {
            let model = Ensemble::new(members).unwrap();
            let logits = model.label_logits(&sources);
            for ((found, source), logits) in label(&model, &sources).iter().zip(&sources).zip(&logits) {
                assert_eq!(found.ids.len(), source.len() - 1);
                let mut sum = 0.0;
                for (&id, row) in found.ids.iter().zip(logits.chunks_exact(6)) {
                    assert!(row.iter().all(|&x| x <= row[id as usize]));
                    sum += f64::from(row[id as usize]) - log_sum_exp(row);
                }
                assert!((found.score - sum).abs() < 1e-9 && found.score == found.log_prob);
            }
        }
    }

    #[test]
    fn labels_of_two_networks_are_those_of_their_mean() {
        let config = ModelConfig { task: Task::Label, ..ModelConfig::default() };
        let (one, two) = (Seq2Seq::new(&config, 7, 6, 1), Seq2Seq::new(&config, 7, 6, 2));
        let source: &[u32] = &[4, 5, EOS];
        let p = |members: Vec<&Seq2Seq>| -> Vec<f64> {
            let logits = Ensemble::new(members).unwrap().label_logits(&[source]).remove(0);
            let row = |row: &[f32]| {
                let lse = log_sum_exp(row);
                row.iter().map(|&x| (f64::from(x) - lse).exp()).collect::<Vec<f64>>()
            };
            logits.chunks_exact(6).flat_map(row).collect()
        };
        let means = p(vec![&one]).into_iter().zip(p(vec![&two])).map(|(a, b)| (a + b) / 2.0);
        p(vec![&one, &two]).iter().zip(means).for_each(|(a, b)| assert!((a - b).abs() < 1e-6, "{a} {b}"));
    }
}
