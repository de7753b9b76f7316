//! The trained network against blobs on the same sources.

use kinglet::Model;
use kinglet_train::data::Pair;
use kinglet_train::data::corpus::group;
use kinglet_train::metrics::{Scores, score};
use kinglet_train::search::SearchOptions;
use kinglet_train::trainer::decode_groups;
use serde::Serialize;

use crate::desktop;
use crate::error::Result;
use crate::lower::Source;

/// Rates of one kind of search on some sources, in percent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Rates {
    /// Word error rate.
    pub wer: f64,
    /// Token error rate.
    pub per: f64,
    /// Lines exactly right.
    pub exact: f64,
}

impl From<Scores> for Rates {
    fn from(scores: Scores) -> Self {
        Self { wer: scores.wer(), per: scores.per(), exact: scores.exact() }
    }
}

/// Float against integers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// Beam of the search; 1 is greedy.
    pub beam_size: usize,
    /// Distinct sources decoded.
    pub sources: usize,
    /// The trained model.
    pub float: Rates,
    /// The blob.
    pub blob: Rates,
    /// Percent of sources for which both give the same target.
    pub agreement: f64,
}

/// What a trained network answers, for blobs to be compared with.
#[derive(Debug)]
pub struct Reference<'a> {
    source: Source<'a>,
    pairs: &'a [Pair],
    threads: usize,
    /// By beam: the best target of every distinct source.
    searches: Vec<(u8, Vec<Vec<String>>)>,
}

impl<'a> Reference<'a> {
    /// Decodes the sources of some pairs with each beam, targets of at most so many tokens.
    pub fn new(source: Source<'a>, pairs: &'a [Pair], beams: &[u8], max_target: u16, threads: usize) -> Self {
        let answers = |&beam: &u8| {
            let search = SearchOptions {
                beam_size: usize::from(beam),
                length_penalty: 1.0,
                max_len: usize::from(max_target),
                ..SearchOptions::default()
            };
            let found = decode_groups(source.model, source.source_vocab, pairs, &search, threads);
            let texts = |found: &Vec<kinglet_train::search::Hypothesis>| {
                let ids = found.first().map_or(&[][..], |h| &h.ids);
                source.target_vocab.parts_of(ids).into_iter().map(String::from).collect()
            };
            (beam, found.iter().map(|(_, found)| texts(found)).collect())
        };
        Self { source, pairs, threads, searches: beams.iter().map(answers).collect() }
    }

    /// Decodes the same sources with a blob; one comparison a beam.
    ///
    /// # Errors
    /// [`Error::Run`](crate::Error::Run) when a source is longer than the runtime takes.
    pub fn compare(&self, model: &Model<'_>) -> Result<Vec<Comparison>> {
        let cut = self.source.target_vocab.tokenization();
        let texts: Vec<&str> = group(self.pairs).iter().map(|case| case.source).collect();
        let compare = |(beam, float): &(u8, Vec<Vec<String>>)| {
            let options = kinglet::Options { beam_size: *beam, ..kinglet::Options::default() };
            let answers = desktop::decode_all(model, &texts, &options, self.threads)?;
            let parts = |answer: &desktop::Answer| {
                desktop::parts(model, answer.hypotheses.first().map_or(&[], |h| &h.tokens))
            };
            let blob: Vec<Vec<String>> = answers.iter().map(parts).collect();
            let same = float.iter().zip(&blob).filter(|(a, b)| a == b).count();
            Ok(Comparison {
                beam_size: usize::from(*beam),
                sources: float.len(),
                float: score(cut, self.pairs, float).into(),
                blob: score(cut, self.pairs, &blob).into(),
                agreement: 100.0 * same as f64 / float.len().max(1) as f64,
            })
        };
        self.searches.iter().map(compare).collect()
    }
}
