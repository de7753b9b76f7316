//! Word error rate, token error rate and exact match, counted as the field does for grapheme-to-phoneme models.
//!
//! Several lines with one source are alternatives: each distinct source is one case, and any of its targets is
//! right.

use serde::{Deserialize, Serialize};

use crate::config::{Metric, Tokens};
use crate::data::Pair;
use crate::data::corpus::group;
use crate::vocab::cut;

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
    /// Lines of the corpus.
    pub lines: usize,
    /// Lines whose target equals the hypothesis.
    pub exact_lines: usize,
}

/// Levenshtein distance: the fewest insertions, deletions and substitutions of tokens that turn `a` into `b`
/// (Wagner and Fischer 1974, one row kept).
pub fn edit_distance<T: PartialEq>(a: &[T], b: &[T]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
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
        // Fewest edits; of equals the longest reference.
        let (edits, length) = references
            .iter()
            .map(|reference| (edit_distance(reference, &hypothesis), reference.len()))
            .min_by_key(|&(edits, length)| (edits, std::cmp::Reverse(length)))
            .unwrap_or_default();
        scores.sources += 1;
        scores.wrong_sources += usize::from(right == 0);
        scores.exact_lines += right;
        scores.edits += edits;
        scores.reference_tokens += length;
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

    /// Percent of lines that are exactly right.
    pub fn exact(&self) -> f64 {
        percent(self.exact_lines, self.lines)
    }

    /// The rate that a metric names, in percent; `None` for [`Metric::Loss`], which text does not tell.
    pub fn get(&self, metric: Metric) -> Option<f64> {
        match metric {
            Metric::Wer => Some(self.wer()),
            Metric::Per => Some(self.per()),
            Metric::Exact => Some(self.exact()),
            Metric::Loss => None,
        }
    }
}

impl Metric {
    /// The name that configurations and command lines use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Wer => "wer",
            Self::Per => "per",
            Self::Exact => "exact",
            Self::Loss => "loss",
        }
    }

    /// Whether `new` beats `old`.
    pub fn improves(self, new: f64, old: f64) -> bool {
        if self == Self::Exact { new > old } else { new < old }
    }
}

fn percent(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { 100.0 * part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, exponential and obviously right.
    fn edit_distance_by_definition(a: &[u8], b: &[u8]) -> usize {
        match (a.split_last(), b.split_last()) {
            (None, _) => b.len(),
            (_, None) => a.len(),
            (Some((x, a1)), Some((y, b1))) => (edit_distance_by_definition(a1, b1) + usize::from(x != y))
                .min(edit_distance_by_definition(a1, b) + 1)
                .min(edit_distance_by_definition(a, b1) + 1),
        }
    }

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
        let expected =
            Scores { sources: 5, wrong_sources: 3, edits: 6, reference_tokens: 12, lines: 8, exact_lines: 3 };
        assert_eq!(scores, expected);
        assert_eq!((scores.wer(), scores.per(), scores.exact()), (60.0, 50.0, 37.5));
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
        assert!(Metric::Exact.improves(2.0, 1.0) && !Metric::Exact.improves(1.0, 1.0));
        assert!(Metric::Wer.improves(1.0, 2.0) && !Metric::Wer.improves(1.0, 1.0));
    }

    proptest! {
        #[test]
        fn edit_distance_is_its_definition(
            a in prop::collection::vec(0u8..3, 0..7),
            b in prop::collection::vec(0u8..3, 0..7),
        ) {
            prop_assert_eq!(edit_distance(&a, &b), edit_distance_by_definition(&a, &b));
        }
    }
}
