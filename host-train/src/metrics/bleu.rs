//! BLEU (Papineni et al. 2002) of n-grams up to four tokens.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

/// Longest n-gram.
const N: usize = 4;

/// The counts that BLEU is made of, summed over hypotheses with one reference each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Bleu {
    /// N-grams of the hypotheses that are in their reference, each no more often than there; by length.
    pub matches: [usize; N],
    /// N-grams of the hypotheses; by length.
    pub ngrams: [usize; N],
    /// Tokens of the hypotheses.
    pub hypothesis_tokens: usize,
    /// Tokens of the references.
    pub reference_tokens: usize,
}

impl Bleu {
    /// Adds the counts of one hypothesis.
    pub fn add<T: AsRef<str>>(&mut self, hypothesis: &[T], reference: &[T]) {
        self.hypothesis_tokens += hypothesis.len();
        self.reference_tokens += reference.len();
        for n in 1..=N {
            let (found, there) = (ngrams(hypothesis, n), ngrams(reference, n));
            let both =
                |(gram, &count): (&Vec<&str>, &usize)| count.min(there.get(gram).copied().unwrap_or(0));
            self.matches[n - 1] += found.iter().map(both).sum::<usize>();
            self.ngrams[n - 1] += found.values().sum::<usize>();
        }
    }

    /// The geometric mean of the precisions in percent, times the brevity penalty. A precision without a match counts
    /// as half, a quarter, ... of one match ("exp" smoothing); without any match, or hypotheses of four tokens, BLEU is 0.
    pub fn score(&self) -> f64 {
        if self.matches[0] == 0 || self.ngrams[N - 1] == 0 {
            return 0.0;
        }
        let mut smooth = 1.0;
        let mut log = 0.0;
        for (&matches, &ngrams) in self.matches.iter().zip(&self.ngrams) {
            let matches = if matches > 0 {
                matches as f64
            } else {
                smooth /= 2.0;
                smooth
            };
            log += (matches / ngrams as f64).ln() / N as f64;
        }
        100.0 * log.exp() * self.brevity()
    }

    /// A score of one sentence: one is added to matches and counts of two tokens and more (Lin and Och 2004).
    pub fn sentence(&self) -> f64 {
        if self.matches[0] == 0 {
            return 0.0;
        }
        let precision = |n: usize| {
            let add = if n == 0 { 0.0 } else { 1.0 };
            (self.matches[n] as f64 + add) / (self.ngrams[n] as f64 + add)
        };
        let log = (0..N).map(|n| precision(n).ln()).sum::<f64>() / N as f64;
        100.0 * log.exp() * self.brevity()
    }

    fn brevity(&self) -> f64 {
        let ratio = self.reference_tokens as f64 / self.hypothesis_tokens.max(1) as f64;
        (1.0 - ratio).min(0.0).exp()
    }
}

fn ngrams<T: AsRef<str>>(tokens: &[T], n: usize) -> HashMap<Vec<&str>, usize> {
    let mut counts = HashMap::new();
    for gram in tokens.windows(n) {
        *counts.entry(gram.iter().map(AsRef::as_ref).collect()).or_insert(0) += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::config::Tokens;
    use crate::vocab::cut;

    fn bleu(lines: &[(&str, &str)]) -> Bleu {
        let mut bleu = Bleu::default();
        let words = |text| cut(Tokens::Words, text);
        lines.iter().for_each(|(hypothesis, reference)| bleu.add(&words(hypothesis), &words(reference)));
        bleu
    }

    /// `score.py --metric bleu` on the same lines.
    #[test]
    fn agrees_with_the_reference_script() {
        for (lines, expected) in [
            (vec![("the cat sat on the mat", "the cat sat on the mat"), ("a b c d", "a b c e")], 83.759_224),
            (vec![("the cat sat", "the cat sat on the mat today"), ("x y z w v", "x y z w q v")], 40.020_126),
            (vec![("a b c d e f", "a x c y e z"), ("p q", "p q")], 18.149_488),
            (vec![("the the the the the", "the cat the dog"), ("a a b b a a", "a b a b a b a")], 15.5),
            (vec![("a b c d", "e f g h")], 0.0),
            (vec![("a b", "a b")], 0.0),
        ] {
            let found = bleu(&lines).score();
            assert!((found - expected).abs() < 1e-5, "{lines:?}: {found} {expected}");
        }
        assert_eq!(Bleu::default().score(), 0.0);
    }

    #[test]
    fn a_sentence_has_a_score_however_short() {
        assert!((bleu(&[("a b", "a b")]).sentence() - 100.0).abs() < 1e-9);
        let (near, far) = (bleu(&[("a b c", "a b d")]).sentence(), bleu(&[("a x y", "a b d")]).sentence());
        assert!(0.0 < far && far < near && near < 100.0, "{far} {near}");
        assert_eq!(bleu(&[("x", "a")]).sentence(), 0.0);
        assert_eq!(bleu(&[("", "a")]).sentence(), 0.0);
    }
}
