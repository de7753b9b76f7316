//! A finished or running training told on one page: curves, epochs, what the network answers and where it errs.

mod confusions;
mod html;
mod page;
mod plots;

use std::path::Path;

pub use confusions::{Confusion, Edit, align, confusions};
pub use html::page;
pub use plots::{attention, learning_rate, losses, metric};

use crate::checkpoint::Checkpoint;
use crate::config::{Config, Task, Tokens};
use crate::data::Pair;
use crate::data::corpus::{Group, group};
use crate::error::{Error, Result};
use crate::metrics::{Scores, score};
use crate::model::{Reads, Seq2Seq};
use crate::search::{Hypothesis, SearchOptions};
use crate::trainer::{EpochRecord, decode_all};
use crate::vocab::{Vocab, cut};

/// Answers shown at random, mistakes shown, and confusions shown.
const SHOWN: usize = 20;
/// Sentences whose attention is drawn when none are named.
const DRAWN: usize = 4;

/// A source of the dev set and what became of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The source.
    pub source: String,
    /// All targets that are right.
    pub references: Vec<String>,
    /// The greedy hypothesis.
    pub hypothesis: String,
    /// Edits between it and the closest reference.
    pub edits: usize,
    /// Mean log-probability of its tokens.
    pub score: f64,
}

/// Where the network looked.
#[derive(Debug, Clone, PartialEq)]
pub struct Attention {
    /// Tokens of the source and the end mark.
    pub source: Vec<String>,
    /// Tokens of the greedy hypothesis and, if it came to it, the end mark.
    pub target: Vec<String>,
    /// A row for each token of the target, a weight for each of the source.
    pub weights: Vec<Vec<f32>>,
}

/// All that the page tells.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Name of the run.
    pub name: String,
    /// Its configuration.
    pub config: Config,
    /// Numbers that the model learns.
    pub parameters: usize,
    /// What is read of sources, and tokens of the target vocabulary.
    pub vocab: (Reads, usize),
    /// Its epochs; empty for a model that was trained elsewhere.
    pub epochs: Vec<EpochRecord>,
    /// Counts of the greedy hypotheses of the best epoch's weights on the dev set.
    pub scores: Scores,
    /// The first sources of the dev set.
    pub samples: Vec<Answer>,
    /// The answers with the most edits, of equals the surest.
    pub worst: Vec<Answer>,
    /// The most frequent confusions.
    pub confusions: Vec<Confusion>,
    /// Attention for chosen sentences; empty when the network has none.
    pub attention: Vec<Attention>,
}

impl Report {
    /// Reads the run in a checkpoint directory and decodes `dev` and `sentences` with the weights of its best epoch. Without
    /// sentences, attention is shown for the first sources of `dev`.
    ///
    /// # Errors
    /// As [`Checkpoint::load`]; [`Error::Checkpoint`] when a line of the history is damaged; [`Error::Config`] for a model that
    /// answers no sources.
    pub fn collect(dir: &Path, dev: &[Pair], sentences: &[String], threads: usize) -> Result<Self> {
        let Checkpoint { config, source_vocab, target_vocab, model } = Checkpoint::load(dir)?;
        if config.model.task == Task::Generate {
            return Err(Error::Config(
                "a report compares answers to sources; model.task = \"generate\" has none".into(),
            ));
        }
        let decoder =
            Decoder { model: &model, source: &source_vocab, target: &target_vocab, config: &config, threads };
        let groups = group(dev);
        let hypotheses = decoder.decode(&groups.iter().map(|case| case.source).collect::<Vec<_>>());
        let parts: Vec<Vec<_>> = hypotheses.iter().map(|h| target_vocab.parts_of(&h.ids)).collect();
        let tokens: Vec<Vec<&str>> = parts.iter().map(|parts| parts.iter().map(|p| &**p).collect()).collect();
        let how = config.data.target;

        let mut edits: Vec<Vec<Edit<'_>>> = Vec::new();
        let mut answers: Vec<Answer> = Vec::new();
        for ((case, hypothesis), tokens) in groups.iter().zip(&hypotheses).zip(&tokens) {
            let aligned = closest(case, |reference| align(&cut(how, reference), tokens));
            answers.push(Answer {
                source: case.source.to_owned(),
                references: case.targets.iter().map(|&target| target.to_owned()).collect(),
                hypothesis: target_vocab.decode(&hypothesis.ids),
                edits: errors(&aligned),
                score: hypothesis.score,
            });
            edits.push(aligned);
        }
        let mut worst: Vec<Answer> = answers.iter().filter(|answer| answer.edits > 0).cloned().collect();
        worst.sort_by(|a, b| b.edits.cmp(&a.edits).then(b.score.total_cmp(&a.score)));
        worst.truncate(SHOWN);
        let mut confusions = confusions(&edits);
        confusions.truncate(SHOWN);

        let first: Vec<&str> = groups.iter().take(DRAWN).map(|case| case.source).collect();
        let chosen: Vec<&str> = sentences.iter().map(String::as_str).collect();
        Ok(Self {
            name: dir.file_name().map_or("run".into(), |name| name.to_string_lossy().into_owned()),
            parameters: model.params.values(),
            vocab: (model.reads().clone(), target_vocab.len()),
            epochs: history(dir)?,
            scores: score(how, dev, &tokens),
            samples: answers.into_iter().take(SHOWN).collect(),
            worst,
            confusions,
            attention: decoder.attend(if chosen.is_empty() { &first } else { &chosen }),
            config,
        })
    }

    /// The best epoch, if the run has one.
    pub fn best(&self) -> Option<&EpochRecord> {
        self.epochs.iter().rev().find(|epoch| epoch.best)
    }
}

/// The alignment with the fewest edits among those with each reference.
fn closest<'a>(case: &Group<'a>, align: impl Fn(&'a str) -> Vec<Edit<'a>>) -> Vec<Edit<'a>> {
    case.targets
        .iter()
        .map(|reference| align(reference))
        .min_by_key(|edits| errors(edits))
        .unwrap_or_default()
}

fn errors(edits: &[Edit<'_>]) -> usize {
    edits.iter().filter(|(reference, hypothesis)| reference != hypothesis).count()
}

/// The epochs of a run.
///
/// # Errors
/// [`Error::Checkpoint`] names the line that is no record.
fn history(dir: &Path) -> Result<Vec<EpochRecord>> {
    let path = dir.join("history.jsonl");
    if !path.exists() {
        return Ok(Vec::new());
    }
    let text = std::fs::read_to_string(&path).map_err(|source| Error::Io {
        action: "read",
        path: path.clone(),
        source,
    })?;
    let record = |(i, line): (usize, &str)| {
        serde_json::from_str(line).map_err(|e| Error::Checkpoint {
            path: path.clone(),
            reason: format!("line {}: expected an epoch, found {line:?}: {e}", i + 1),
        })
    };
    text.lines().enumerate().map(record).collect()
}

/// What decoding takes.
struct Decoder<'a> {
    model: &'a Seq2Seq,
    source: &'a Vocab,
    target: &'a Vocab,
    config: &'a Config,
    threads: usize,
}

impl Decoder<'_> {
    /// The greedy hypothesis of each source, with attention.
    fn decode(&self, sources: &[&str]) -> Vec<Hypothesis> {
        let options = SearchOptions {
            beam_size: 1,
            max_len: self.config.data.max_target_len,
            return_attention: true,
            ..SearchOptions::default()
        };
        let sources: Vec<_> = sources.iter().map(|text| self.source.sentence(text)).collect();
        let found = decode_all(&self.model.into(), &sources, &options, self.threads);
        found.into_iter().map(|mut best| best.pop().unwrap_or_default()).collect()
    }

    fn attend(&self, sources: &[&str]) -> Vec<Attention> {
        let texts =
            |vocab: &Vocab, ids: &[u32]| vocab.tokens_of(ids).into_iter().map(str::to_owned).collect();
        let looked = |(text, hypothesis): (&&str, Hypothesis)| {
            let mut target: Vec<String> = texts(self.target, &hypothesis.ids);
            target.resize(hypothesis.attention.len(), "</s>".into());
            let mut source: Vec<String> = match self.config.data.source {
                Tokens::Subwords => texts(self.source, &self.source.encode(text).ids),
                how => cut(how, text).into_iter().map(str::to_owned).collect(),
            };
            source.extend((self.source.marks() > 0).then(|| "</s>".to_owned()));
            Attention { source, target, weights: hypothesis.attention }
        };
        let all = sources.iter().zip(self.decode(sources)).map(looked);
        all.filter(|looked: &Attention| looked.weights.iter().any(|row| !row.is_empty())).collect()
    }
}
