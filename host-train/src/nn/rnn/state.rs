//! The states of recurrent layers.

use crate::config::Cell;
use crate::nn::buffer::Buffer;

/// State of a layer for a block of sentences, or the gradient of one.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct State {
    /// Hidden state, [sentences, hidden].
    pub h: Buffer,
    /// Cell state, if the cell has one, [sentences, hidden]; empty otherwise.
    pub c: Buffer,
}

impl State {
    /// Zeros for `sentences` rows.
    pub fn zeros(cell: Cell, sentences: usize, hidden: usize) -> Self {
        let c = if cell.keeps_cell() { sentences * hidden } else { 0 };
        Self { h: Buffer::zeros(sentences * hidden), c: Buffer::zeros(c) }
    }

    /// The given rows, in the given order.
    pub fn gather(&self, rows: &[usize], hidden: usize) -> Self {
        let pick = |data: &[f32]| {
            let mut picked = Buffer::unspecified(if data.is_empty() { 0 } else { rows.len() * hidden });
            let places = picked.chunks_exact_mut(hidden).zip(rows);
            places.for_each(|(to, &row)| to.copy_from_slice(&data[row * hidden..][..hidden]));
            picked
        };
        Self { h: pick(&self.h), c: pick(&self.c) }
    }

    /// The reverse of [`State::gather`] with a permutation: row `i` of `self` becomes row `rows[i]`.
    pub fn scatter(&self, rows: &[usize], hidden: usize) -> Self {
        let mut inverse = Buffer::<usize>::unspecified(rows.len());
        rows.iter().enumerate().for_each(|(i, &r)| inverse[r] = i);
        self.gather(&inverse, hidden)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::check::values;

    #[test]
    fn scatter_reverses_gather() {
        let state = State { h: Buffer::copy(&values(6, 1)), c: Buffer::copy(&values(6, 2)) };
        let order = [2, 0, 1];
        assert_eq!(state.gather(&order, 2).scatter(&order, 2), state);
    }
}
