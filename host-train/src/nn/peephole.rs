//! The long short-term memory whose gates look at the cell state (Gers, Schraudolph, Schmidhuber 2002, section 2.2), one
//! weight a unit.
//!
//! `i = σ(a_i + w_ci c)`, `f = σ(a_f + w_cf c)`, `g = tanh(a_g)`, `c' = f c + i g`, `o = σ(a_o + w_co c')`,
//! `h' = o tanh(c')`, where `a` is as that of [`super::lstm`].

use crate::nn::buffer::Buffer;
use crate::nn::math::{sigmoid, tanh};
use crate::nn::simd::vectorized;

/// The weights `w_ci`, `w_cf`, `w_co`, `[hidden]` each.
pub type Peepholes<'a> = [&'a [f32]; 3];

/// Steps a block of rows. `gates` [rows, 4 hidden] holds `a` and afterwards `i, f, g, o`; `c` and `h` [rows, hidden] are the
/// state, of which the old `h` is not read.
pub fn step(hidden: usize, peepholes: Peepholes<'_>, gates: &mut [f32], c: &mut [f32], h: &mut [f32]) {
    let states = c.chunks_exact_mut(hidden).zip(h.chunks_exact_mut(hidden));
    let [w_i, w_f, w_o] = peepholes;
    for (gates, (c, h)) in gates.chunks_exact_mut(4 * hidden).zip(states) {
        step_row(gates, w_i, w_f, w_o, c, h);
    }
}

vectorized! {
    fn step_row(gates: &mut [f32], w_i: &[f32], w_f: &[f32], w_o: &[f32], c: &mut [f32], h: &mut [f32]) {
        // Told that all are equally long, the compiler vectorises.
        let hidden = h.len();
        let (i, rest) = gates.split_at_mut(hidden);
        let (f, rest) = rest.split_at_mut(hidden);
        let (g, o) = rest.split_at_mut(hidden);
        let (o, c) = (&mut o[..hidden], &mut c[..hidden]);
        let (w_i, w_f, w_o) = (&w_i[..hidden], &w_f[..hidden], &w_o[..hidden]);
        for j in 0..hidden {
            (i[j], f[j], g[j]) = (sigmoid(i[j] + w_i[j] * c[j]), sigmoid(f[j] + w_f[j] * c[j]), tanh(g[j]));
            c[j] = f[j] * c[j] + i[j] * g[j];
            o[j] = sigmoid(o[j] + w_o[j] * c[j]);
            h[j] = o[j] * tanh(c[j]);
        }
    }
}

/// The reverse of [`step`], given the cell state before (`prev_cell`) and after (`cell`) it. `gates` become the gradients of
/// `a`; `dc` comes with the gradient of the cell state after the step and leaves with that of `prev_cell`; `dh` is the
/// gradient of the hidden state after the step.
pub fn step_backward(
    hidden: usize,
    peepholes: Peepholes<'_>,
    gates: &mut [f32],
    (prev_cell, cell): (&[f32], &[f32]),
    dh: &[f32],
    dc: &mut [f32],
) {
    let cells = prev_cell.chunks_exact(hidden).zip(cell.chunks_exact(hidden));
    let states = dh.chunks_exact(hidden).zip(dc.chunks_exact_mut(hidden));
    let [w_i, w_f, w_o] = peepholes;
    for ((gates, (prev_cell, cell)), (dh, dc)) in gates.chunks_exact_mut(4 * hidden).zip(cells).zip(states) {
        row_backward(gates, w_i, w_f, w_o, prev_cell, cell, dh, dc);
    }
}

vectorized! {
    fn row_backward(
        gates: &mut [f32],
        w_i: &[f32],
        w_f: &[f32],
        w_o: &[f32],
        prev_cell: &[f32],
        cell: &[f32],
        dh: &[f32],
        dc: &mut [f32],
    ) {
        // As in `step_row`.
        let hidden = dc.len();
        let (i, rest) = gates.split_at_mut(hidden);
        let (f, rest) = rest.split_at_mut(hidden);
        let (g, o) = rest.split_at_mut(hidden);
        let (w_i, w_f, w_o, o) = (&w_i[..hidden], &w_f[..hidden], &w_o[..hidden], &mut o[..hidden]);
        let (prev_cell, cell, dh) = (&prev_cell[..hidden], &cell[..hidden], &dh[..hidden]);
        for j in 0..hidden {
            let (input, forget, candidate, output) = (i[j], f[j], g[j], o[j]);
            let t = tanh(cell[j]);
            o[j] = dh[j] * t * output * (1.0 - output);
            let d = dc[j] + dh[j] * output * (1.0 - t * t) + o[j] * w_o[j];
            i[j] = d * candidate * input * (1.0 - input);
            f[j] = d * prev_cell[j] * forget * (1.0 - forget);
            g[j] = d * input * (1.0 - candidate * candidate);
            dc[j] = d * forget + i[j] * w_i[j] + f[j] * w_f[j];
        }
    }
}

/// The gradients of the weights from those of the sums, `d` [rows, 4 hidden], and the cell states of the same rows.
pub fn weight_gradients(hidden: usize, d: &[f32], prev_cell: &[f32], cell: &[f32]) -> [Buffer; 3] {
    let sum = |gate: usize, cells: &[f32]| {
        let mut sum = Buffer::zeros(hidden);
        for (d, c) in d.chunks_exact(4 * hidden).zip(cells.chunks_exact(hidden)) {
            let values = d[gate * hidden..(gate + 1) * hidden].iter().zip(c);
            sum.iter_mut().zip(values).for_each(|(sum, (d, c))| *sum += d * c);
        }
        sum
    };
    [sum(0, prev_cell), sum(1, prev_cell), sum(3, cell)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::check::{GradientCheck, values};
    use crate::nn::lstm;
    use crate::nn::params::Params;

    #[test]
    fn gradients() {
        let (hidden, rows) = (5, 3);
        let inputs =
            vec![values(rows * 20, 1), values(rows * 5, 2), values(5, 5), values(5, 6), values(5, 7)];
        let (rh, rc) = (values(rows * 5, 3), values(rows * 5, 4));
        GradientCheck::new(Params::default(), inputs).run(
            |_, x| {
                let (mut gates, mut c, mut h) = (x[0].clone(), x[1].clone(), vec![0.0; rows * 5]);
                step(hidden, [&x[2], &x[3], &x[4]], &mut gates, &mut c, &mut h);
                GradientCheck::weigh(&h, &rh) + GradientCheck::weigh(&c, &rc)
            },
            |_, _, x| {
                let (mut gates, mut c, mut h) = (x[0].clone(), x[1].clone(), vec![0.0; rows * 5]);
                let peepholes: Peepholes<'_> = [&x[2], &x[3], &x[4]];
                step(hidden, peepholes, &mut gates, &mut c, &mut h);
                let mut dc = rc.clone();
                step_backward(hidden, peepholes, &mut gates, (&x[1], &c), &rh, &mut dc);
                let d = weight_gradients(hidden, &gates, &x[1], &c).map(|d| d.to_vec());
                [gates, dc].into_iter().chain(d).collect()
            },
        );
    }

    #[test]
    fn without_peepholes_it_is_the_lstm() {
        let (a, cell) = (values(20, 1), values(5, 2));
        let (mut gates, mut c, mut h) = (a.clone(), cell.clone(), vec![0.0; 5]);
        step(5, [&[0.0; 5]; 3], &mut gates, &mut c, &mut h);
        let (mut plain, mut plain_c, mut plain_h) = (a, cell, vec![0.0; 5]);
        lstm::step(5, &mut plain, &mut plain_c, &mut plain_h);
        assert_eq!((gates, c, h), (plain, plain_c, plain_h));
    }
}
