//! Labels: accuracy token by token, and spans of slots as conlleval counts them.

use serde::{Deserialize, Serialize};

/// Counts of labels, line by line. Of a line `INTENT TAG TAG ...` the first label is the intent, the others mark spans: `B-kind`
/// begins one, `I-kind` continues it (or begins one, where none of that kind is open), anything else is outside.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Labels {
    /// Labels of the references.
    pub reference_labels: usize,
    /// Those that the hypothesis has in the same place.
    pub right_labels: usize,
    /// Spans of the references.
    pub reference_spans: usize,
    /// Spans of the hypotheses.
    pub found_spans: usize,
    /// Spans of both: kind, begin and end.
    pub right_spans: usize,
    /// Lines whose first label is right.
    pub right_intents: usize,
}

impl Labels {
    /// Adds a line.
    pub fn add(&mut self, hypothesis: &[&str], reference: &[&str]) {
        self.reference_labels += reference.len();
        self.right_labels += hypothesis.iter().zip(reference).filter(|(a, b)| a == b).count();
        self.right_intents += usize::from(!reference.is_empty() && hypothesis.first() == reference.first());
        let (found, expected) = (spans(hypothesis), spans(reference));
        self.found_spans += found.len();
        self.reference_spans += expected.len();
        self.right_spans += found.iter().filter(|span| expected.contains(span)).count();
    }

    /// Percent of reference labels that are right.
    pub fn accuracy(&self) -> f64 {
        super::percent(self.right_labels, self.reference_labels)
    }

    /// The harmonic mean of the percentages of found spans that are right and of expected spans that are found.
    pub fn slot_f1(&self) -> f64 {
        super::percent(2 * self.right_spans, self.found_spans + self.reference_spans)
    }
}

/// The spans of the labels behind the first: kind, begin, end.
fn spans<'a>(labels: &[&'a str]) -> Vec<(&'a str, usize, usize)> {
    let mut spans = Vec::new();
    let mut open: Option<(&str, usize)> = None;
    for (i, label) in labels.iter().skip(1).copied().chain(["O"]).enumerate() {
        let (mark, kind) = label.split_once('-').unwrap_or((label, ""));
        if let Some((of, start)) = open
            && (mark != "I" || kind != of)
        {
            spans.push((of, start, i));
            open = None;
        }
        if mark == "B" || (mark == "I" && open.is_none()) {
            open = Some((kind, i));
        }
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(line: &str) -> Vec<&str> {
        line.split(' ').filter(|label| !label.is_empty()).collect()
    }

    /// `score.py --metric slot` and `--metric acc` on the same lines: F1 36.36 (precision 40.00, recall 33.33), intent 50.00, 9 of
    /// 16 labels right.
    #[test]
    fn agrees_with_the_reference_script() {
        let mut labels = Labels::default();
        for (hypothesis, reference) in [
            ("Play B-a I-a O B-b", "Play B-a I-a O B-b"),
            ("Play B-a I-b O", "Book B-a I-a O"),
            ("Rate O I-c", "Rate B-c I-c O B-d"),
            ("", "Stop I-e"),
        ] {
            labels.add(&cut(hypothesis), &cut(reference));
        }
        assert_eq!((labels.right_labels, labels.reference_labels), (9, 16));
        assert_eq!((labels.right_spans, labels.found_spans, labels.reference_spans), (2, 5, 6));
        assert_eq!(labels.right_intents, 2);
        assert!(labels.accuracy() == 56.25 && (labels.slot_f1() - 36.363_636).abs() < 1e-5);
    }

    #[test]
    fn spans_are_those_of_conlleval() {
        assert_eq!(
            spans(&cut("X B-a I-a I-b B-b B-b O I-c")),
            [("a", 0, 2), ("b", 2, 3), ("b", 3, 4), ("b", 4, 5), ("c", 6, 7)]
        );
        assert!(spans(&[]).is_empty() && spans(&["X"]).is_empty());
    }
}
