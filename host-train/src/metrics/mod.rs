//! Word, token and character error rates, exact match, BLEU, and accuracy of labels and slots, counted as the field does.
//!
//! For the error rates, several lines with one source are alternatives: each distinct source is one case, and any of its
//! targets is right. All others count lines.

mod bleu;
mod edit;
mod slots;

use serde::{Deserialize, Serialize};

pub use bleu::Bleu;
pub use edit::edit_distance;
pub use slots::Labels;

use crate::config::{Metric, Tokens};
use crate::data::Pair;
use crate::data::corpus::group;
use crate::vocab::{cut, join};
use edit::closest;

/// The counts of a scored set and their rates.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Scores {
    /// Distinct sources.
    pub sources: usize,
    /// Sources whose hypothesis equals none of their targets.
    pub wrong_sources: usize,
    /// Edits between each hypothesis and its closest target, summed.
    pub edits: usize,
    /// Tokens of those closest targets, summed.
    pub reference_tokens: usize,
    /// Edits between the characters of each hypothesis, spaces included, and of its closest target, summed.
    pub char_edits: usize,
    /// Characters of those closest targets, summed.
    pub reference_chars: usize,
    /// Lines of the corpus.
    pub lines: usize,
    /// Lines whose target equals the hypothesis.
    pub exact_lines: usize,
    /// Common n-grams of hypotheses and lines.
    #[serde(rename = "bleu_counts")]
    pub bleu: Bleu,
    /// Labels of lines, place by place.
    #[serde(flatten)]
    pub labels: Labels,
}

/// Scores one hypothesis for each distinct source of `pairs`, in the order of their first lines
/// (that of [`group`]). Targets are cut by `how`; a missing hypothesis counts as an empty one.
pub fn score<S: AsRef<str>>(how: Tokens, pairs: &[Pair], hypotheses: &[Vec<S>]) -> Scores {
    let mut scores = Scores { lines: pairs.len(), ..Scores::default() };
    for (i, case) in group(pairs).iter().enumerate() {
        let hypothesis: Vec<&str> =
            hypotheses.get(i).map(|tokens| tokens.iter().map(AsRef::as_ref).collect()).unwrap_or_default();
        let references: Vec<Vec<&str>> = case.targets.iter().map(|target| cut(how, target)).collect();
        let right = references.iter().filter(|reference| **reference == hypothesis).count();
        let (edits, length) = closest(&hypothesis, &references);
        let chars = |tokens: &[&str]| join(how, tokens).chars().collect::<Vec<char>>();
        let texts: Vec<Vec<char>> = references.iter().map(|tokens| chars(tokens)).collect();
        let (char_edits, char_length) = closest(&chars(&hypothesis), &texts);
        scores.sources += 1;
        scores.wrong_sources += usize::from(right == 0);
        scores.exact_lines += right;
        scores.edits += edits;
        scores.reference_tokens += length;
        scores.char_edits += char_edits;
        scores.reference_chars += char_length;
        for reference in &references {
            scores.bleu.add(&hypothesis, reference);
            scores.labels.add(&hypothesis, reference);
        }
    }
    scores
}

impl Scores {
    /// Word error rate: percent of sources without a right hypothesis.
    pub fn wer(&self) -> f64 {
        percent(self.wrong_sources, self.sources)
    }

    /// Phoneme (token) error rate: edits per reference token, in percent.
    pub fn per(&self) -> f64 {
        percent(self.edits, self.reference_tokens)
    }

    /// Character error rate: edits per reference character, in percent.
    pub fn cer(&self) -> f64 {
        percent(self.char_edits, self.reference_chars)
    }

    /// Percent of lines that are exactly right.
    pub fn exact(&self) -> f64 {
        percent(self.exact_lines, self.lines)
    }

    /// What a metric names, 0 to 100; `None` for those of losses, which text does not tell.
    pub fn get(&self, metric: Metric) -> Option<f64> {
        match metric {
            Metric::Wer => Some(self.wer()),
            Metric::Per => Some(self.per()),
            Metric::Cer => Some(self.cer()),
            Metric::Exact => Some(self.exact()),
            Metric::Bleu => Some(self.bleu.score()),
            Metric::Acc => Some(self.labels.accuracy()),
            Metric::Slot => Some(self.labels.slot_f1()),
            Metric::Intent => Some(percent(self.labels.right_intents, self.lines)),
            Metric::Line => Some(self.exact()),
            Metric::Loss | Metric::Ppl | Metric::FreePpl => None,
        }
    }
}

impl Metric {
    /// The name that configurations and command lines use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Wer => "wer",
            Self::Per => "per",
            Self::Cer => "cer",
            Self::Exact => "exact",
            Self::Bleu => "bleu",
            Self::Acc => "acc",
            Self::Slot => "slot",
            Self::Intent => "intent",
            Self::Line => "line",
            Self::Loss => "loss",
            Self::Ppl => "ppl",
            Self::FreePpl => "free_ppl",
        }
    }

    /// Whether it is taken from probabilities, not from texts.
    pub fn is_of_losses(self) -> bool {
        matches!(self, Self::Loss | Self::Ppl | Self::FreePpl)
    }

    /// Whether more is better.
    pub fn rises(self) -> bool {
        matches!(self, Self::Exact | Self::Bleu | Self::Acc | Self::Slot | Self::Intent | Self::Line)
    }

    /// Whether `new` beats `old`.
    pub fn improves(self, new: f64, old: f64) -> bool {
        if self.rises() { new > old } else { new < old }
    }
}

fn percent(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { 100.0 * part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(lines: &[(&str, &str)]) -> Vec<Pair> {
        lines.iter().map(|(s, t)| Pair { source: (*s).into(), target: (*t).into() }).collect()
    }

    /// `score.py --metric wer|per` and `--metric wer --per-line` on the same lines:
    /// wer 3 of 5, per 6 edits of 12 reference tokens, 5 wrong of 8 lines.
    #[test]
    fn agrees_with_the_reference_script() {
        let references = pairs(&[
            ("a", "A B C"),
            ("b", "A"),
            ("a", "A B C D E"),
            ("c", "X Y"),
            ("a", "A B"),
            ("d", "P Q R"),
            ("b", "A"),
            ("e", "M"),
        ]);
        let hypotheses = ["A B C D", "A", "Y X X", "", "M"].map(|text| cut(Tokens::Words, text));
        let scores = score(Tokens::Words, &references, &hypotheses);
        assert_eq!((scores.sources, scores.wrong_sources, scores.lines, scores.exact_lines), (5, 3, 8, 3));
        assert_eq!((scores.edits, scores.reference_tokens), (6, 12));
        assert_eq!((scores.wer(), scores.per(), scores.exact()), (60.0, 50.0, 37.5));
    }

    #[test]
    fn characters_are_those_of_the_text() {
        let references = pairs(&[("a", "AB C"), ("a", "ABX"), ("b", "éa")]);
        let words =
            score(Tokens::Words, &references, &[cut(Tokens::Words, "AB D"), cut(Tokens::Words, "ea")]);
        assert_eq!((words.char_edits, words.reference_chars), (2, 6));
        assert!((words.cer() - 100.0 / 3.0).abs() < 1e-9);
        let chars =
            score(Tokens::Chars, &references, &[cut(Tokens::Chars, "AB D"), cut(Tokens::Chars, "ea")]);
        assert_eq!((chars.char_edits, chars.reference_chars), (chars.edits, chars.reference_tokens));
        assert_eq!(words.get(Metric::Cer), Some(words.cer()));
        assert_eq!(words.get(Metric::Ppl), None);
    }

    #[test]
    fn missing_hypotheses_are_empty_ones() {
        let references = pairs(&[("a", "xy"), ("b", "z")]);
        let scores = score(Tokens::Chars, &references, &[vec!["x", "y"]]);
        assert_eq!((scores.wrong_sources, scores.edits, scores.reference_tokens), (1, 1, 3));
        assert_eq!(score::<&str>(Tokens::Chars, &[], &[]).wer(), 0.0);
    }

    #[test]
    fn improvement_has_a_direction() {
        assert!(Metric::Bleu.improves(2.0, 1.0) && Metric::FreePpl.improves(1.0, 2.0));
        assert!(Metric::Exact.improves(2.0, 1.0) && !Metric::Exact.improves(1.0, 1.0));
        assert!(Metric::Wer.improves(1.0, 2.0) && !Metric::Wer.improves(1.0, 1.0));
    }
}
