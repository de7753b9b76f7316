//! The trained network against blobs on the same sources.

use kinglet::Model;
use kinglet_train::config::{Metric, Task};
use kinglet_train::data::corpus::group;
use kinglet_train::data::{Dataset, Pair};
use kinglet_train::metrics::{Scores, score};
use kinglet_train::search::SearchOptions;
use kinglet_train::trainer::{decode_groups, mean_loss};
use serde::{Serialize, Serializer};

use crate::calibrate::Example;
use crate::desktop;
use crate::error::Result;
use crate::lower::Source;
use crate::mixed::cross_entropy;

/// What counts for a model that was trained for a metric: that one first.
pub fn metrics(task: Task, trained_for: Metric) -> Vec<Metric> {
    let of_task = match task {
        Task::Transduce => &[Metric::Wer, Metric::Per, Metric::Exact][..],
        // Spans are looked for where training looked for them.
        Task::Label if trained_for == Metric::Acc => &[Metric::Line],
        Task::Label => &[Metric::Slot, Metric::Intent, Metric::Line],
        Task::Generate => return vec![Metric::Ppl],
    };
    let first = (!trained_for.is_of_losses()).then_some(trained_for);
    first.into_iter().chain(of_task.iter().copied().filter(|&metric| metric != trained_for)).take(3).collect()
}

/// Metrics of one kind of search on some sources, the one that counts first.
#[derive(Debug, Clone, PartialEq)]
pub struct Rates(Vec<(Metric, f64)>);

impl Rates {
    /// Of given values.
    pub fn new(rates: impl IntoIterator<Item = (Metric, f64)>) -> Self {
        Self(rates.into_iter().collect())
    }

    fn of(metrics: &[Metric], scores: &Scores) -> Self {
        Self::new(metrics.iter().filter_map(|&metric| Some((metric, scores.get(metric)?))))
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (Metric, f64)> {
        self.0.iter().copied()
    }

    /// What a metric is.
    pub fn get(&self, metric: Metric) -> Option<f64> {
        self.iter().find_map(|(other, value)| (other == metric).then_some(value))
    }

    /// What counts; a word error rate where nothing was measured.
    pub fn first(&self) -> (Metric, f64) {
        self.0.first().copied().unwrap_or((Metric::Wer, 0.0))
    }

    /// Points that another one has lost of what counts.
    pub fn lost(&self, other: &Self) -> f64 {
        let (metric, here) = self.first();
        let there = other.first().1;
        if metric.rises() { here - there } else { there - here }
    }
}

impl Serialize for Rates {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter().map(|(metric, value)| (metric.name(), value)))
    }
}

/// Float against integers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// Beam of the search; 1 is greedy.
    pub beam_size: usize,
    /// Distinct sources decoded; texts, of a model that generates.
    pub sources: usize,
    /// The trained model.
    pub float: Rates,
    /// The blob.
    pub blob: Rates,
    /// Percent of sources for which both give the same target; none of a model that generates.
    pub agreement: Option<f64>,
}

/// What a trained network does with some pairs, for blobs to be compared with.
#[derive(Debug)]
pub struct Reference<'a> {
    source: Source<'a>,
    pairs: &'a [Pair],
    metrics: Vec<Metric>,
    threads: usize,
    found: Found,
}

#[derive(Debug)]
enum Found {
    /// By beam: the best target of every distinct source.
    Searches(Vec<(u8, Vec<Vec<String>>)>),
    /// Nats a token of texts that follow from no source.
    Loss(f64),
}

impl<'a> Reference<'a> {
    /// Decodes the sources of some pairs with each beam, targets of at most so many tokens. Labels need no beam, and a model that
    /// generates is told the texts.
    pub fn new(
        source: Source<'a>,
        pairs: &'a [Pair],
        trained_for: Metric,
        beams: &[u8],
        max_target: u16,
        threads: usize,
    ) -> Self {
        let task = source.model.config.task;
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
        let found = match task {
            Task::Transduce => Found::Searches(beams.iter().map(answers).collect()),
            Task::Label => Found::Searches(vec![answers(&1)]),
            Task::Generate => {
                let data = Dataset::whole(pairs, source.source_vocab, source.target_vocab);
                Found::Loss(mean_loss(source.model, &data, 64, threads))
            }
        };
        Self { source, pairs, metrics: metrics(task, trained_for), threads, found }
    }

    /// Does the same with a blob; one comparison a beam.
    ///
    /// # Errors
    /// [`Error::Run`](crate::Error::Run) when a source is longer than the runtime takes.
    pub fn compare(&self, model: &Model<'_>) -> Result<Vec<Comparison>> {
        match &self.found {
            Found::Searches(searches) => {
                searches.iter().map(|(beam, float)| self.compare_answers(model, *beam, float)).collect()
            }
            Found::Loss(float) => {
                let examples: Vec<Example> =
                    self.pairs.iter().map(|pair| self.source.example(pair)).collect();
                let blob = cross_entropy(model, &examples, self.threads)?;
                let rates = |loss: f64| Rates::new([(Metric::Ppl, loss.exp())]);
                Ok(vec![Comparison {
                    beam_size: 1,
                    sources: self.pairs.len(),
                    float: rates(*float),
                    blob: rates(blob),
                    agreement: None,
                }])
            }
        }
    }

    fn compare_answers(&self, model: &Model<'_>, beam: u8, float: &[Vec<String>]) -> Result<Comparison> {
        let cut = self.source.target_vocab.tokenization();
        let texts: Vec<&str> = group(self.pairs).iter().map(|case| case.source).collect();
        let options = kinglet::Options { beam_size: beam, ..kinglet::Options::default() };
        let answers = desktop::decode_all(model, &texts, &options, self.threads)?;
        let parts = |answer: &desktop::Answer| {
            desktop::parts(model, answer.hypotheses.first().map_or(&[], |h| &h.tokens))
        };
        let blob: Vec<Vec<String>> = answers.iter().map(parts).collect();
        let same = float.iter().zip(&blob).filter(|(a, b)| a == b).count();
        Ok(Comparison {
            beam_size: usize::from(beam),
            sources: float.len(),
            float: Rates::of(&self.metrics, &score(cut, self.pairs, float)),
            blob: Rates::of(&self.metrics, &score(cut, self.pairs, &blob)),
            agreement: Some(100.0 * same as f64 / float.len().max(1) as f64),
        })
    }
}
