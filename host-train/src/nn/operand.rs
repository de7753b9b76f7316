//! Weight matrices as the right sides of products, packed once a step.

use std::ops::Range;

use ndarray::{ArrayView2, ArrayViewMut2, s};

use crate::nn::buffer::Buffer;
use crate::nn::gemm::{LINE, Panels, Start, aligned, product, product_packed};
use crate::nn::matrix::view;
use crate::nn::params::ParamId;
use crate::quant::Weights;
use crate::threads::join;

/// Which way a product goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// `y = x · Wᵀ`: forward, in the integers of a grid if there is one.
    Forward,
    /// `dx = dy · W`: backward, in real numbers.
    Backward,
}

/// Some columns of a weight matrix [rows, cols] as the right side of a product, and their place among a network's packed
/// operands of the same side.
#[derive(Debug, Clone, PartialEq)]
pub struct Operand {
    pub(super) id: ParamId,
    pub(super) rows: usize,
    pub(super) cols: usize,
    pub(super) columns: Range<usize>,
    pub(super) side: Side,
    /// First of its numbers.
    pub(super) place: usize,
}

impl Operand {
    fn depth_and_cols(&self) -> (usize, usize) {
        match self.side {
            Side::Forward => (self.columns.len(), self.rows),
            Side::Backward => (self.rows, self.columns.len()),
        }
    }

    /// Numbers that it takes packed.
    pub(super) fn packed_len(&self) -> usize {
        let (depth, cols) = self.depth_and_cols();
        Panels::len_of(depth, cols)
    }

    fn matrix<'a>(&self, weights: Weights<'a>) -> ArrayView2<'a, f32> {
        let values = match (self.side, weights.grid()) {
            (Side::Forward, Some(grid)) => grid.integers(self.id),
            (Side::Forward, None) => weights.at(self.id),
            (Side::Backward, _) => weights.real().at(self.id),
        };
        let matrix = view(values, self.rows, self.cols).slice_move(s![.., self.columns.clone()]);
        if self.side == Side::Forward { matrix.reversed_axes() } else { matrix }
    }

    /// `c = start + a · operand`, by its packed form if the weights have it.
    pub fn product(
        &self,
        weights: Weights<'_>,
        c: ArrayViewMut2<'_, f32>,
        a: ArrayView2<'_, f32>,
        start: Start<'_>,
    ) {
        let packed = weights.packs().and_then(|packs| packs.get(self));
        match packed {
            Some(panels) => product_packed(c, a, panels, start),
            None => product(c, a, self.matrix(weights), start),
        }
    }
}

/// All operands of a network, packed from its present weights.
#[derive(Debug, Clone)]
pub struct Packs {
    forward: Pack,
    /// Empty where nothing goes backward.
    backward: Pack,
}

#[derive(Debug, Clone)]
struct Pack {
    data: Buffer,
    /// Where its first cache line begins.
    start: usize,
}

impl Packs {
    /// Packs `operands`, those of backward products only when told to; with them, the `backward` ones.
    pub fn new(operands: &Operands, weights: Weights<'_>, backward: bool, threads: usize) -> Self {
        let backward = if backward { &operands.backward[..] } else { &[] };
        let (forward, backward) = join(
            threads,
            || Pack::new(&operands.forward, weights, threads / 2),
            || Pack::new(backward, weights, threads / 2),
        );
        Self { forward, backward }
    }

    fn get(&self, operand: &Operand) -> Option<Panels<'_>> {
        let Pack { data, start } = match operand.side {
            Side::Forward => &self.forward,
            Side::Backward => &self.backward,
        };
        let first = start + operand.place;
        let data = data.get(first..first + operand.packed_len())?;
        let (depth, cols) = operand.depth_and_cols();
        Some(Panels::packed(data, depth, cols))
    }
}

impl Pack {
    fn new(operands: &[Operand], weights: Weights<'_>, threads: usize) -> Self {
        let len: usize = operands.iter().map(Operand::packed_len).sum();
        let mut data = Buffer::unspecified(len + LINE);
        let room = aligned(&mut data);
        fill(operands, &mut room[..len], weights, threads);
        let start = room.as_ptr().addr() - data.as_ptr().addr();
        Self { data, start: start / size_of::<f32>() }
    }
}

fn fill(operands: &[Operand], room: &mut [f32], weights: Weights<'_>, threads: usize) {
    if let [operand] = operands {
        Panels::pack(operand.matrix(weights), room);
    } else if let [first, ..] = operands {
        let (left, right) = operands.split_at(operands.len() / 2);
        let (a, b) = room.split_at_mut(right[0].place - first.place);
        join(threads, || fill(left, a, weights, threads / 2), || fill(right, b, weights, threads / 2));
    }
}

/// The operands of a network, side by side in the order of their places.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Operands {
    forward: Vec<Operand>,
    backward: Vec<Operand>,
}

impl Operands {
    /// Adds `columns` of the matrix `id` [rows, cols] as an operand of `side`.
    pub(super) fn add(
        &mut self,
        id: ParamId,
        (rows, cols): (usize, usize),
        columns: Range<usize>,
        side: Side,
    ) -> Operand {
        let list = match side {
            Side::Forward => &mut self.forward,
            Side::Backward => &mut self.backward,
        };
        let place = list.last().map_or(0, |last| last.place + last.packed_len());
        let operand = Operand { id, rows, cols, columns, side, place };
        list.push(operand.clone());
        operand
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::check::values;
    use crate::nn::matrix::view_mut;
    use crate::nn::params::{Init, Layout};

    #[test]
    fn packed_products_have_the_bits_of_unpacked_ones() {
        let mut layout = Layout::default();
        let mut operands = Vec::new();
        for (rows, cols) in [(5, 7), (64, 33), (40, 1)] {
            let id = layout.declare(format!("{rows}"), &[rows, cols], Init::Uniform(1.0));
            for side in [Side::Forward, Side::Backward] {
                operands.push(layout.operand(id, 0..cols, side));
                operands.push(layout.operand(id, cols / 2..cols, side));
            }
        }
        let params = layout.init(1);
        for threads in [1, 2, 5] {
            let packs = Packs::new(layout.operands(), (&params).into(), true, threads);
            let packed = Weights::from(&params).with_packs(&packs);
            for operand in &operands {
                let (depth, cols) = operand.depth_and_cols();
                let a = values(3 * depth, 2);
                let run = |weights| {
                    let mut c = vec![0.0; 3 * cols];
                    operand.product(weights, view_mut(&mut c, 3, cols), view(&a, 3, depth), Start::Zero);
                    c
                };
                assert_eq!(run(packed), run((&params).into()), "{operand:?}");
            }
        }
        let packs = Packs::new(layout.operands(), (&params).into(), false, 1);
        assert!(packs.get(&operands[0]).is_some() && packs.get(&operands[2]).is_none());
    }
}
