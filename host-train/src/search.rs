//! Decoding: greedy and beam search.

use crate::ensemble::Ensemble;
use crate::label::label;
use crate::model::{EOS, Stepped};
use crate::nn::loss::log_sum_exp;

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

/// What a finished hypothesis does to the beam.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Flavour {
    /// The beam keeps its width: as many hypotheses live on as before (fairseq).
    #[default]
    Keep,
    /// The beam narrows by one (Bahdanau, Cho, Bengio 2015).
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
            flavour: Flavour::Keep,
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
pub fn greedy<'a>(model: impl Into<Ensemble<'a>>, sources: &[Vec<u32>], max_len: usize) -> Vec<Hypothesis> {
    let options = SearchOptions { beam_size: 1, max_len, ..SearchOptions::default() };
    let best = |mut found: Vec<Hypothesis>| found.pop().expect("every source has a hypothesis");
    beam(model, sources, &options).into_iter().map(best).collect()
}

/// Beam search; the hypotheses of each source, best first.
///
/// Candidates are the live hypotheses times the vocabulary, ranked by log-probability, then hypothesis, then
/// id. With [`Flavour::Keep`], of the first `2 * beam_size` those among the first `beam_size` that end are finished
/// while fewer than `beam_size` are, and the first `beam_size` that do not end live on. With [`Flavour::Shrink`], of as
/// many as are not finished yet those that end are finished and the others live on. The search
/// stops when `beam_size` are finished; those alive with `max_len` tokens count as finished without an end
/// mark. Sources are spread over the machine's cores, which changes no result.
///
/// A model that labels gives each source the one hypothesis of its most probable labels, whatever the options.
pub fn beam<'a>(
    model: impl Into<Ensemble<'a>>,
    sources: &[Vec<u32>],
    options: &SearchOptions,
) -> Vec<Vec<Hypothesis>> {
    let model = model.into();
    if model.labels() {
        return label(&model, sources).into_iter().map(|found| vec![found]).collect();
    }
    let mut order: Vec<usize> = (0..sources.len()).collect();
    order.sort_by_key(|&i| sources[i].len());
    let mut chunks: Vec<&[usize]> = order.chunks(CHUNK).collect();
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    let found = crate::model::in_parallel(&mut chunks, cores, |chunk| {
        let sources: Vec<&[u32]> = chunk.iter().map(|&i| &sources[i][..]).collect();
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

fn search_chunk(model: &Ensemble<'_>, sources: &[&[u32]], options: &SearchOptions) -> Vec<Vec<Hypothesis>> {
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
            Flavour::Keep => (size, 2 * size),
            Flavour::Shrink => (size - self.done.len(), size - self.done.len()),
        };
        for candidate in best.iter().take(ending).filter(|c| c.id == EOS) {
            if self.done.len() < size {
                self.done.push(extend(candidate).scored(len + 1, options));
            }
        }
        let mut next = Vec::new();
        let mut live = Vec::new();
        if self.done.len() < size {
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
        self.score = self.log_prob / (length as f64).powf(f64::from(options.length_penalty));
        self
    }
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
mod tests {
    use super::*;
    use crate::model::Seq2Seq;
    use crate::model::tests::all;

    fn models() -> impl Iterator<Item = Seq2Seq> {
        all().into_iter().map(|config| {
            let mut model = Seq2Seq::new(&config, 7, 6, 9);
            // Peaked and input-dependent distributions, so that search has something to find.
            model.params.iter_mut().for_each(|t| t.data.iter_mut().for_each(|v| *v *= 3.0));
            model
        })
    }

    fn sources() -> Vec<Vec<u32>> {
        vec![vec![4, 5, EOS], vec![EOS], vec![6, 6, 5, 4, EOS], vec![5, EOS]]
    }

    /// Log-probability of `ids`, with the end mark if `ended`, by one teacher-forced pass.
    fn log_prob(model: &Seq2Seq, source: &[u32], ids: &[u32], ended: bool) -> f64 {
        let mut target = ids.to_vec();
        target.push(EOS);
        let (mut t, mut sum) = (0, 0.0);
        model.observe(source, &target, &mut |name, row| {
            if name == "decoder.logits" {
                if ended || t < ids.len() {
                    sum += f64::from(row[target[t] as usize]) - log_sum_exp(row);
                }
                t += 1;
            }
        });
        sum
    }

    #[test]
    fn greedy_is_a_beam_of_one_and_scores_are_those_of_teacher_forcing() {
        for model in models() {
            let options = SearchOptions { beam_size: 1, max_len: 6, ..SearchOptions::default() };
            let greedy = greedy(&model, &sources(), 6);
            let beam = beam(&model, &sources(), &options);
            for ((g, b), source) in greedy.iter().zip(&beam).zip(sources()) {
                assert_eq!(&vec![g.clone()], b);
                let ended = g.ids.len() < 6;
                let expected = log_prob(&model, &source, &g.ids, ended);
                assert!((g.log_prob - expected).abs() < 1e-4, "{} {expected}", g.log_prob);
                let length = g.ids.len() + usize::from(ended);
                assert!((g.score - g.log_prob / length as f64).abs() < 1e-12);
                // Every token is the most probable one.
                let mut target = g.ids.clone();
                target.push(EOS);
                let mut steps = target.iter().take(length);
                model.observe(&source, &target, &mut |name, row| {
                    if let ("decoder.logits", Some(&id)) =
                        (name, (name == "decoder.logits").then(|| steps.next()).flatten())
                    {
                        assert!(row.iter().all(|&x| x <= row[id as usize] + 1e-5));
                    }
                });
            }
        }
    }

    #[test]
    fn a_wide_beam_finds_the_best_of_all_targets() {
        let max_len = 3;
        let mut all: Vec<Vec<u32>> = vec![vec![]];
        let mut level = all.clone();
        for _ in 0..max_len {
            let longer = |ids: &Vec<u32>| {
                (0..6).filter(|&id| id != EOS).map(|id| [&ids[..], &[id]].concat()).collect::<Vec<_>>()
            };
            level = level.iter().flat_map(longer).collect();
            all.extend(level.clone());
        }
        for model in models().step_by(4) {
            for length_penalty in [0.0, 1.0] {
                let options = SearchOptions {
                    beam_size: 160,
                    max_len,
                    length_penalty,
                    num_hypotheses: 3,
                    ..SearchOptions::default()
                };
                for (found, source) in beam(&model, &sources(), &options).iter().zip(sources()) {
                    let score = |ids: &Vec<u32>| {
                        let ended = ids.len() < max_len;
                        let length = (ids.len() + usize::from(ended)) as f64;
                        log_prob(&model, &source, ids, ended) / length.powf(f64::from(length_penalty))
                    };
                    let mut scores: Vec<f64> = all.iter().map(score).collect();
                    scores.sort_by(|a, b| b.total_cmp(a));
                    assert_eq!(found.len(), 3);
                    for (hypothesis, expected) in found.iter().zip(scores) {
                        assert!((hypothesis.score - expected).abs() < 1e-4, "{hypothesis:?} {expected}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_shrinking_beam_finds_what_its_definition_does() {
        for model in models() {
            let (beam_size, max_len) = (3, 8);
            let options = SearchOptions {
                beam_size,
                flavour: Flavour::Shrink,
                max_len,
                num_hypotheses: beam_size,
                ..SearchOptions::default()
            };
            for (found, source) in beam(&model, &sources(), &options).iter().zip(sources()) {
                // All continuations of all live hypotheses, sorted; as many looked at as are not finished.
                let (mut live, mut done) = (vec![(0.0, Vec::new())], Vec::new());
                for _ in 0..max_len {
                    let mut all: Vec<(f64, Vec<u32>)> = Vec::new();
                    for (_, ids) in &live {
                        let longer = |id| [&ids[..], &[id]].concat();
                        all.extend((0..6).map(longer).map(|ids| {
                            let ended = ids.last() == Some(&EOS);
                            let tokens = &ids[..ids.len() - usize::from(ended)];
                            (log_prob(&model, &source, tokens, ended), ids)
                        }));
                    }
                    all.sort_by(|a, b| b.0.total_cmp(&a.0));
                    all.truncate(beam_size - done.len());
                    let (ended, others) = all.into_iter().partition(|(_, ids)| ids.last() == Some(&EOS));
                    let ended: Vec<_> = ended;
                    done.extend(ended);
                    live = others;
                }
                done.extend(live);
                let score = |(log_prob, ids): &(f64, Vec<u32>)| log_prob / ids.len() as f64;
                done.sort_by(|a, b| score(b).total_cmp(&score(a)));
                assert_eq!(found.len(), done.len());
                for (hypothesis, (log_prob, ids)) in found.iter().zip(&done) {
                    let tokens = ids.strip_suffix(&[EOS]).unwrap_or(ids);
                    assert_eq!(hypothesis.ids, tokens);
                    assert!((hypothesis.log_prob - log_prob).abs() < 1e-4);
                }
            }
        }
    }

    #[test]
    fn limits_are_kept_and_attention_is_returned_when_asked_for() {
        for model in models() {
            let options = SearchOptions {
                beam_size: 3,
                min_len: 2,
                max_len: 4,
                num_hypotheses: 3,
                return_attention: true,
                ..SearchOptions::default()
            };
            let attends = model.config.attention.kind != crate::config::AttentionKind::None;
            for (found, source) in beam(&model, &sources(), &options).iter().zip(sources()) {
                assert!(!found.is_empty() && found.len() <= 3);
                assert!(found.is_sorted_by(|a, b| a.score >= b.score));
                for h in found {
                    assert!((2..=4).contains(&h.ids.len()), "{h:?}");
                    assert!(h.attention.len() == h.ids.len() || h.attention.len() == h.ids.len() + 1);
                    for row in &h.attention {
                        assert_eq!(row.len(), if attends { source.len() } else { 0 });
                        assert!(!attends || (row.iter().sum::<f32>() - 1.0).abs() < 1e-5);
                    }
                }
            }
            assert_eq!(greedy(&model, &sources(), 0)[0], Hypothesis::default());
        }
    }

    #[test]
    fn results_do_not_depend_on_the_company() {
        let many: Vec<Vec<u32>> =
            (0..150u32).map(|i| vec![4 + i % 3, 4 + i / 3 % 3, 4 + i / 9 % 3, EOS]).collect();
        let options = SearchOptions { max_len: 5, num_hypotheses: 4, ..SearchOptions::default() };
        for model in models().step_by(5) {
            let together = beam(&model, &many, &options);
            for (source, found) in many.iter().zip(&together).step_by(29) {
                let alone = &beam(&model, std::slice::from_ref(source), &options)[0];
                assert_eq!(alone.len(), found.len());
                for (a, b) in alone.iter().zip(found) {
                    assert_eq!(a.ids, b.ids);
                    assert!((a.score - b.score).abs() < 1e-5);
                }
            }
        }
    }
}
