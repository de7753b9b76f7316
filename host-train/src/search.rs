//! Decoding: greedy and beam search.

use crate::ensemble::Ensemble;
use crate::label::label;
use crate::model::{EOS, Stepped};
use crate::nn::loss::log_sum_exp;
use crate::vocab::Sentence;

/// Sources decoded together; sorted by length before they are cut, so that neighbours end together.
const CHUNK: usize = 64;

/// A decoded target.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Hypothesis {
    /// Token ids without the end mark.
    pub ids: Vec<u32>,
    /// Sum of the tokens' log-probabilities (natural logarithm), the end mark's included.
    pub log_prob: f64,
    /// `log_prob / length^length_penalty`; the length counts the end mark, if there is one.
    pub score: f64,
    /// Attention weights over the source, a row for each token and for the end mark; empty if not asked for.
    pub attention: Vec<Vec<f32>>,
}

/// What a finished hypothesis does to the beam, and when the search ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Flavour {
    /// The beam keeps its width; the search ends when as many as it is wide are finished with scores that no live one has
    /// (after Huang, Zhao, Ma 2017). What blobs do.
    #[default]
    Best,
    /// The beam keeps its width; the search ends when as many as it is wide are finished (Ott et al. 2019, fairseq).
    Keep,
    /// The beam narrows by one until nothing is left of it (Bahdanau, Cho, Bengio 2015).
    Shrink,
}

/// How to search.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SearchOptions {
    /// Hypotheses kept at every step.
    pub beam_size: usize,
    /// What becomes of the beam when a hypothesis is finished.
    pub flavour: Flavour,
    /// Exponent of the length in the score; 0 ranks by probability, 1 by its mean per token.
    pub length_penalty: f32,
    /// Most tokens of a hypothesis, the end mark not counted.
    pub max_len: usize,
    /// Fewest tokens of a hypothesis, the end mark not counted.
    pub min_len: usize,
    /// Hypotheses returned at most for each source.
    pub num_hypotheses: usize,
    /// Whether hypotheses carry attention weights.
    pub return_attention: bool,
}

impl Default for SearchOptions {
    fn default() -> Self {
        Self {
            beam_size: 4,
            flavour: Flavour::default(),
            length_penalty: 1.0,
            max_len: 64,
            min_len: 0,
            num_hypotheses: 1,
            return_attention: false,
        }
    }
}

/// The most probable token at every step (of equals the lowest id), for each source, until the end mark or
/// `max_len` tokens. Scores are log-probabilities per token.
pub fn greedy<'a>(
    model: impl Into<Ensemble<'a>>,
    sources: &[impl Sentence],
    max_len: usize,
) -> Vec<Hypothesis> {
    let options = SearchOptions { beam_size: 1, max_len, ..SearchOptions::default() };
    let best = |mut found: Vec<Hypothesis>| found.pop().expect("every source has a hypothesis");
    beam(model, sources, &options).into_iter().map(best).collect()
}

/// Beam search; the hypotheses of each source, best first.
///
/// Candidates are the live hypotheses times the vocabulary, ranked by log-probability, then hypothesis, then
/// id. Of the first `2 * beam_size` those among the first `beam_size` that end are finished, and the first
/// `beam_size` that do not end live on; with [`Flavour::Shrink`], of as many as are not finished yet those that end
/// are finished and the others live on. The search stops when `beam_size` are finished, or with [`Flavour::Best`],
/// which keeps the best `beam_size` of them, when each of these scores at least what the best live one would if it
/// ended as long as it is. Those alive with `max_len` tokens count as finished without an end mark. Sources are
/// spread over the machine's cores, which changes no result.
///
/// A model that labels gives each source the one hypothesis of its most probable labels, whatever the options.
pub fn beam<'a>(
    model: impl Into<Ensemble<'a>>,
    sources: &[impl Sentence],
    options: &SearchOptions,
) -> Vec<Vec<Hypothesis>> {
    let model = model.into();
    if model.labels() {
        return label(&model, sources).into_iter().map(|found| vec![found]).collect();
    }
    let mut order: Vec<usize> = (0..sources.len()).collect();
    order.sort_by_key(|&i| sources[i].ids().len());
    let mut chunks: Vec<&[usize]> = order.chunks(CHUNK).collect();
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    let found = crate::model::in_parallel(&mut chunks, cores, |chunk| {
        let sources: Vec<_> = chunk.iter().map(|&i| &sources[i]).collect();
        search_chunk(&model, &sources, options)
    });
    let mut results = vec![Vec::new(); sources.len()];
    for (&i, hypotheses) in order.iter().zip(found.into_iter().flatten()) {
        results[i] = hypotheses;
    }
    results
}

/// The search for one source; its live hypotheses are neighbouring rows of a walk.
struct Beam {
    live: Vec<Hypothesis>,
    done: Vec<Hypothesis>,
}

/// A hypothesis and the token that may follow it.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Candidate {
    log_prob: f64,
    parent: usize,
    id: u32,
}

fn search_chunk(
    model: &Ensemble<'_>,
    sources: &[impl Sentence],
    options: &SearchOptions,
) -> Vec<Vec<Hypothesis>> {
    let mut walk = model.walk(sources);
    let mut tokens = walk.start();
    let live = if options.max_len == 0 { 0 } else { 1 };
    let start = || Beam { live: vec![Hypothesis::default(); live], done: Vec::new() };
    let mut beams: Vec<Beam> = sources.iter().map(|_| start()).collect();
    for len in 0..options.max_len {
        if tokens.is_empty() {
            break;
        }
        let stepped = walk.step(&tokens);
        tokens.clear();
        let mut rows = Vec::new();
        let mut first = 0;
        for beam in &mut beams {
            let width = beam.live.len();
            for (parent, id) in beam.advance(&stepped, first, model.target_vocab(), len, options) {
                rows.push(first + parent);
                tokens.push(id);
            }
            first += width;
        }
        walk.select(&rows);
    }
    beams.into_iter().map(|beam| beam.finish(options)).collect()
}

impl Beam {
    /// One step: the candidates among rows `first ..` of `stepped`, sorted out. Returns the parent and token
    /// of each hypothesis that lives on.
    fn advance(
        &mut self,
        stepped: &Stepped,
        first: usize,
        vocab: usize,
        len: usize,
        options: &SearchOptions,
    ) -> Vec<(usize, u32)> {
        let size = options.beam_size.max(1);
        let mut best: Vec<Candidate> = Vec::with_capacity(2 * size + 1);
        for (parent, hypothesis) in self.live.iter().enumerate() {
            let row = &stepped.logits[(first + parent) * vocab..(first + parent + 1) * vocab];
            let lse = log_sum_exp(row);
            for (id, &logit) in row.iter().enumerate() {
                let id = id as u32;
                if id == EOS && len < options.min_len {
                    continue;
                }
                let log_prob = hypothesis.log_prob + (f64::from(logit) - lse);
                insert(&mut best, Candidate { log_prob, parent, id }, 2 * size);
            }
        }
        let extend = |candidate: &Candidate| {
            let mut hypothesis = self.live[candidate.parent].clone();
            hypothesis.log_prob = candidate.log_prob;
            if options.return_attention {
                hypothesis.attention.push(stepped.weights(first + candidate.parent).to_vec());
            }
            hypothesis
        };
        // How many of the best may end, and how many may live on.
        let (ending, living) = match options.flavour {
            Flavour::Best | Flavour::Keep => (size, 2 * size),
            Flavour::Shrink => (size - self.done.len(), size - self.done.len()),
        };
        for candidate in best.iter().take(ending).filter(|c| c.id == EOS) {
            if options.flavour == Flavour::Best || self.done.len() < size {
                self.done.push(extend(candidate).scored(len + 1, options));
            }
        }
        let over = match options.flavour {
            Flavour::Best => {
                self.done.sort_by(|a, b| b.score.total_cmp(&a.score));
                self.done.truncate(size);
                let alive = best.iter().find(|c| c.id != EOS).map(|c| score(c.log_prob, len + 1, options));
                let last = self.done.get(size - 1);
                last.is_some_and(|last| alive.is_none_or(|alive| last.score >= alive))
            }
            Flavour::Keep | Flavour::Shrink => self.done.len() >= size,
        };
        let mut next = Vec::new();
        let mut live = Vec::new();
        if !over {
            for candidate in best.iter().take(living).filter(|c| c.id != EOS).take(size) {
                let mut hypothesis = extend(candidate);
                hypothesis.ids.push(candidate.id);
                live.push(hypothesis);
                next.push((candidate.parent, candidate.id));
            }
        }
        self.live = live;
        next
    }

    /// All hypotheses, best first; the live ones have come to the greatest length.
    fn finish(mut self, options: &SearchOptions) -> Vec<Hypothesis> {
        for hypothesis in self.live {
            let length = hypothesis.ids.len();
            self.done.push(hypothesis.scored(length, options));
        }
        if self.done.is_empty() {
            self.done.push(Hypothesis::default());
        }
        self.done.sort_by(|a, b| b.score.total_cmp(&a.score));
        self.done.truncate(options.num_hypotheses.max(1));
        self.done
    }
}

impl Hypothesis {
    fn scored(mut self, length: usize, options: &SearchOptions) -> Self {
        self.score = score(self.log_prob, length, options);
        self
    }
}

fn score(log_prob: f64, length: usize, options: &SearchOptions) -> f64 {
    log_prob / (length as f64).powf(f64::from(options.length_penalty))
}

/// Keeps the best `capacity` candidates in order. Candidates come by parent, then id, so that an equal one
/// belongs behind.
fn insert(best: &mut Vec<Candidate>, candidate: Candidate, capacity: usize) {
    if best.len() == capacity && best.last().is_some_and(|last| candidate.log_prob <= last.log_prob) {
        return;
    }
    let place = best.partition_point(|other| other.log_prob >= candidate.log_prob);
    best.insert(place, candidate);
    best.truncate(capacity);
}

#[cfg(test)]
mod tests;
