//! Several networks as one: the mean of their distributions.

use crate::config::Task;
use crate::error::{Error, Result};
use crate::model::{Decoding, Reads, Seq2Seq, Stepped};
use crate::nn::loss::log_sum_exp;
use crate::vocab::Sentence;

/// Networks over the same tokens; the probability of a token is the mean of theirs. One network is itself, bit by bit.
#[derive(Debug, Clone)]
pub struct Ensemble<'a> {
    members: Vec<&'a Seq2Seq>,
}

impl<'a> From<&'a Seq2Seq> for Ensemble<'a> {
    fn from(model: &'a Seq2Seq) -> Self {
        Self { members: vec![model] }
    }
}

impl<'a> Ensemble<'a> {
    /// The given networks together.
    ///
    /// # Errors
    /// [`Error::Config`] when there is none, or the sizes of their vocabularies differ.
    pub fn new(members: Vec<&'a Seq2Seq>) -> Result<Self> {
        let sizes = |model: &Seq2Seq| {
            let target = model.target_vocab();
            match model.reads() {
                Reads::Tokens(tokens, _) => format!("{tokens} source and {target} target tokens"),
                Reads::Frames(numbers) => format!("frames of {numbers} numbers and {target} target tokens"),
            }
        };
        if let Some(pair) = members.windows(2).find(|pair| pair[0].config.task != pair[1].config.task) {
            let tasks = (pair[0].config.task, pair[1].config.task);
            return Err(Error::Config(format!("an ensemble's models share their task, found {tasks:?}")));
        }
        let Some(first) = members.first().map(|model| sizes(model)) else {
            return Err(Error::Config("an ensemble needs a model".into()));
        };
        match members.iter().map(|model| sizes(model)).find(|other| *other != first) {
            None => Ok(Self { members }),
            Some(other) => Err(Error::Config(format!(
                "an ensemble's models share their vocabularies: expected {first}, found {other}"
            ))),
        }
    }

    /// The networks.
    pub fn members(&self) -> &[&'a Seq2Seq] {
        &self.members
    }

    /// Number of target ids.
    pub fn target_vocab(&self) -> usize {
        self.members[0].target_vocab()
    }

    /// Whether it labels the tokens of sources.
    pub fn labels(&self) -> bool {
        self.members[0].config.task == Task::Label
    }

    /// The logits of labels as [`Seq2Seq::label_logits`]; of several networks, logarithms of mean probabilities.
    pub fn label_logits<S: Sentence>(&self, sources: &[S]) -> Vec<Vec<f32>> {
        let vocab = self.target_vocab();
        let mut all = self.members[0].label_logits(sources);
        let others: Vec<_> = self.members[1..].iter().map(|member| member.label_logits(sources)).collect();
        if others.is_empty() {
            return all;
        }
        for (i, logits) in all.iter_mut().enumerate() {
            let mut mean = probabilities(logits, vocab);
            for other in &others {
                mean.iter_mut().zip(probabilities(&other[i], vocab)).for_each(|(sum, p)| *sum += p);
            }
            replace_by_means(logits, &mean, self.members.len());
        }
        all
    }

    /// All networks about to read the start mark behind `sources`.
    pub fn walk<S: Sentence>(&self, sources: &[S]) -> Walk<'a> {
        Walk { decodings: self.members.iter().map(|model| Decoding::new(model, sources)).collect() }
    }
}

/// The decoders of an ensemble at the same place; see [`Decoding`].
#[derive(Debug, Clone)]
pub struct Walk<'a> {
    decodings: Vec<Decoding<'a>>,
}

impl Walk<'_> {
    /// The tokens that all rows read first.
    pub fn start(&self) -> Vec<u32> {
        self.decodings[0].start()
    }

    /// Every row reads its token. Of several networks the logits are logarithms of mean probabilities, the attention
    /// weights those of the first.
    ///
    /// # Panics
    /// When there are not as many tokens as rows.
    pub fn step(&mut self, tokens: &[u32]) -> Stepped {
        let (first, others) = self.decodings.split_first_mut().expect("an ensemble has a model");
        let mut stepped = first.step(tokens);
        if !others.is_empty() && !tokens.is_empty() {
            let vocab = stepped.logits.len() / tokens.len();
            let mut mean = probabilities(&stepped.logits, vocab);
            for other in others.iter_mut() {
                let more = probabilities(&other.step(tokens).logits, vocab);
                mean.iter_mut().zip(more).for_each(|(sum, p)| *sum += p);
            }
            replace_by_means(&mut stepped.logits, &mean, 1 + others.len());
        }
        stepped
    }

    /// Goes on with copies of the given rows, in the given order.
    pub fn select(&mut self, rows: &[usize]) {
        self.decodings.iter_mut().for_each(|decoding| decoding.select(rows));
    }
}

/// Replaces logits by the logarithms of the mean probabilities of so many networks, given their sums.
fn replace_by_means(logits: &mut [f32], sums: &[f64], members: usize) {
    let log = |sum: f64| (sum / members as f64).max(f64::MIN_POSITIVE).ln() as f32;
    logits.iter_mut().zip(sums).for_each(|(logit, &sum)| *logit = log(sum));
}

fn probabilities(logits: &[f32], vocab: usize) -> Vec<f64> {
    let row = |row: &[f32]| {
        let lse = log_sum_exp(row);
        row.iter().map(|&x| (f64::from(x) - lse).exp()).collect::<Vec<f64>>()
    };
    logits.chunks_exact(vocab).flat_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::EOS;
    use crate::model::tests::{configs, model};

    #[test]
    fn probabilities_are_means_and_one_model_is_itself() {
        let config = &configs()[9];
        let (one, two) = (model(config), Seq2Seq::new(config, 7, 6, 8));
        let sources: [&[u32]; 2] = [&[4, 5, EOS], &[6, EOS]];
        let step = |models: Vec<&Seq2Seq>| {
            let mut walk = Ensemble::new(models).unwrap().walk(&sources);
            let tokens = walk.start();
            walk.step(&tokens);
            walk.select(&[1, 0]);
            walk.step(&[4, 5]).logits
        };
        let (a, b) = (step(vec![&one]), step(vec![&two]));
        let mut alone = Decoding::new(&one, &sources);
        alone.step(&alone.start());
        alone.select(&[1, 0]);
        assert_eq!(alone.step(&[4, 5]).logits, a);
        let expected = probabilities(&a, 6).into_iter().zip(probabilities(&b, 6)).map(|(a, b)| (a + b) / 2.0);
        for (found, expected) in step(vec![&one, &two]).iter().zip(expected) {
            assert!((f64::from(found.exp()) - expected).abs() < 1e-6, "{} {expected}", found.exp());
        }
    }

    #[test]
    fn other_vocabularies_are_refused() {
        let config = &configs()[0];
        let (one, two) = (Seq2Seq::new(config, 7, 6, 1), Seq2Seq::new(config, 7, 8, 1));
        let message = Ensemble::new(vec![&one, &two]).unwrap_err().to_string();
        assert!(
            message.contains("expected 7 source and 6 target tokens, found 7 source and 8 target"),
            "{message}"
        );
        assert!(Ensemble::new(vec![]).is_err());
    }
}
