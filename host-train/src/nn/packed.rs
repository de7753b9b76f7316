//! Batches of unequal sentences without padding.

use std::ops::Range;

/// Sentences sorted by falling length and laid out time step by time step: step `t` is a block of `batch(t)`
/// rows, the sentences that are longer than `t`. Row `b` of every block belongs to the same sentence, so a
/// state of one row per sentence serves every step by its first `batch(t)` rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    lengths: Vec<usize>,
    offsets: Vec<usize>,
}

impl Packed {
    /// The layout of sentences of these lengths.
    ///
    /// # Panics
    /// When a length is greater than the one before it.
    pub fn new(lengths: Vec<usize>) -> Self {
        assert!(lengths.is_sorted_by(|a, b| a >= b), "lengths must fall");
        let steps = lengths.first().copied().unwrap_or(0);
        let mut offsets = Vec::with_capacity(steps + 1);
        let (mut offset, mut live) = (0, lengths.len());
        for t in 0..steps {
            while lengths[live - 1] <= t {
                live -= 1;
            }
            offsets.push(offset);
            offset += live;
        }
        offsets.push(offset);
        Self { lengths, offsets }
    }

    /// Number of sentences.
    pub fn sentences(&self) -> usize {
        self.lengths.len()
    }

    /// Length of each sentence.
    pub fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    /// Number of time steps: the greatest length.
    pub fn steps(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Number of rows: the sum of lengths.
    pub fn rows(&self) -> usize {
        self.offsets[self.steps()]
    }

    /// Sentences alive at step `t`.
    pub fn batch(&self, t: usize) -> usize {
        self.offsets[t + 1] - self.offsets[t]
    }

    /// First row of step `t`.
    pub fn offset(&self, t: usize) -> usize {
        self.offsets[t]
    }

    /// The rows of some steps.
    pub fn rows_of(&self, steps: Range<usize>) -> Range<usize> {
        self.offsets[steps.start]..self.offsets[steps.end]
    }

    /// Row of sentence `b` at step `t`; `t` is below its length.
    pub fn row(&self, t: usize, b: usize) -> usize {
        debug_assert!(t < self.lengths[b]);
        self.offsets[t] + b
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout_of_unequal_sentences() {
        let p = Packed::new(vec![4, 2, 2, 1, 0]);
        assert_eq!((p.sentences(), p.steps(), p.rows()), (5, 4, 9));
        assert_eq!((0..4).map(|t| p.batch(t)).collect::<Vec<_>>(), [4, 3, 1, 1]);
        assert_eq!((0..4).map(|t| p.offset(t)).collect::<Vec<_>>(), [0, 4, 7, 8]);
        assert_eq!((p.row(1, 2), p.rows_of(1..3)), (6, 4..8));
        let empty = Packed::new(vec![]);
        assert_eq!((empty.sentences(), empty.steps(), empty.rows()), (0, 0, 0));
        assert_eq!(Packed::new(vec![0, 0]).steps(), 0);
    }
}
