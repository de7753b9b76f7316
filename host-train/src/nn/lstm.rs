//! The long short-term memory cell, in PyTorch's form.
//!
//! `i = σ(a_i)`, `f = σ(a_f)`, `g = tanh(a_g)`, `o = σ(a_o)`, `c' = f c + i g`, `h' = o tanh(c')`, where
//! `a = W_ih x + b_ih + W_hh h + b_hh` with the gates i, f, g, o stacked.

use kinglet::fixed::{saturate_i16, shift_round};

use crate::nn::math::{sigmoid, tanh};
use crate::nn::simd::vectorized;
use crate::quant::{Functions, Product, Q15};

/// Steps a block of rows. `gates` [rows, 4 hidden] holds `a` and afterwards `i, f, g, o`; `c` and `h`
/// [rows, hidden] are the state, of which the old `h` is not read.
pub fn step(hidden: usize, gates: &mut [f32], c: &mut [f32], h: &mut [f32]) {
    let states = c.chunks_exact_mut(hidden).zip(h.chunks_exact_mut(hidden));
    for (gates, (c, h)) in gates.chunks_exact_mut(4 * hidden).zip(states) {
        let [i, f, g, o] = quarters(gates, hidden);
        step_row(i, f, g, o, c, h);
    }
}

fn quarters(gates: &mut [f32], hidden: usize) -> [&mut [f32]; 4] {
    let (i, rest) = gates.split_at_mut(hidden);
    let (f, rest) = rest.split_at_mut(hidden);
    let (g, o) = rest.split_at_mut(hidden);
    [i, f, g, o]
}

vectorized! {
    fn step_row(i: &mut [f32], f: &mut [f32], g: &mut [f32], o: &mut [f32], c: &mut [f32], h: &mut [f32]) {
        // Told that all are equally long, the compiler vectorises.
        let hidden = h.len();
        let (i, f, g, o, c) =
            (&mut i[..hidden], &mut f[..hidden], &mut g[..hidden], &mut o[..hidden], &mut c[..hidden]);
        for j in 0..hidden {
            (i[j], f[j], g[j], o[j]) = (sigmoid(i[j]), sigmoid(f[j]), tanh(g[j]), sigmoid(o[j]));
            c[j] = f[j] * c[j] + i[j] * g[j];
            h[j] = o[j] * tanh(c[j]);
        }
    }
}

/// [`step`] on the grid. `gates` come as accumulators of both products, without biases; `tokens` [rows, 4 hidden] are entries
/// of a token table, or there are none.
pub fn step_on_grid(
    product: &Product,
    hidden: usize,
    gates: &mut [f32],
    tokens: &[f32],
    c: &mut [f32],
    h: &mut [f32],
) {
    let (functions, records, bits) = (Functions::get(), &product.records, product.bits);
    let cell_units = (1u32 << bits) as f32;
    let mut tokens = tokens.chunks_exact(4 * hidden);
    let states = c.chunks_exact_mut(hidden).zip(h.chunks_exact_mut(hidden));
    for (gates, (c, h)) in gates.chunks_exact_mut(4 * hidden).zip(states) {
        let token = tokens.next();
        let sum = |row: usize, gates: &[f32]| {
            let entry = token.map_or(0, |entries| entries[row] as i32);
            saturate_i16(i32::from(records.result(row, gates[row] as i32)) + entry)
        };
        for j in 0..hidden {
            let i = functions.sigmoid(sum(j, gates));
            let f = functions.sigmoid(sum(hidden + j, gates));
            let g = functions.tanh(sum(2 * hidden + j, gates));
            let o = functions.sigmoid(sum(3 * hidden + j, gates));
            let old = (c[j] * cell_units) as i32;
            let cell = i32::from(saturate_i16(shift_round(f * old + ((i * g) >> (15 - bits)), 15)));
            let wide = if bits <= 12 { cell << (12 - bits) } else { shift_round(cell, bits - 12) };
            let new = saturate_i16(shift_round(o * functions.tanh(saturate_i16(wide)), 15));
            for (gate, value) in [i, f, g, o].into_iter().enumerate() {
                gates[gate * hidden + j] = value as f32 / Q15;
            }
            c[j] = cell as f32 / cell_units;
            h[j] = f32::from(new) / Q15;
        }
    }
}

/// The reverse of [`step`], given the cell state before (`prev_cell`) and after (`cell`) it. `gates` become
/// the gradients of `a`; `dc` comes with the gradient of the cell state after the step and leaves with that
/// of `prev_cell`; `dh` is the gradient of the hidden state after the step.
pub fn step_backward(
    hidden: usize,
    gates: &mut [f32],
    prev_cell: &[f32],
    cell: &[f32],
    dh: &[f32],
    dc: &mut [f32],
) {
    let cells = prev_cell.chunks_exact(hidden).zip(cell.chunks_exact(hidden));
    let states = dh.chunks_exact(hidden).zip(dc.chunks_exact_mut(hidden));
    let rows = gates.chunks_exact_mut(4 * hidden).zip(cells).zip(states);
    for ((gates, (prev_cell, cell)), (dh, dc)) in rows {
        let [i, f, g, o] = quarters(gates, hidden);
        row_backward(i, f, g, o, prev_cell, cell, dh, dc);
    }
}

vectorized! {
    fn row_backward(
        i: &mut [f32],
        f: &mut [f32],
        g: &mut [f32],
        o: &mut [f32],
        prev_cell: &[f32],
        cell: &[f32],
        dh: &[f32],
        dc: &mut [f32],
    ) {
        // As in `step_row`.
        let hidden = dc.len();
        let (i, f, g, o) = (&mut i[..hidden], &mut f[..hidden], &mut g[..hidden], &mut o[..hidden]);
        let (prev_cell, cell, dh) = (&prev_cell[..hidden], &cell[..hidden], &dh[..hidden]);
        for j in 0..hidden {
            let (input, forget, candidate, output) = (i[j], f[j], g[j], o[j]);
            let t = tanh(cell[j]);
            let d = dc[j] + dh[j] * output * (1.0 - t * t);
            i[j] = d * candidate * input * (1.0 - input);
            f[j] = d * prev_cell[j] * forget * (1.0 - forget);
            g[j] = d * input * (1.0 - candidate * candidate);
            o[j] = dh[j] * t * output * (1.0 - output);
            dc[j] = d * forget;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::check::{GradientCheck, values};
    use crate::nn::params::Params;

    #[test]
    fn gradients() {
        let (hidden, rows) = (5, 3);
        let inputs = vec![values(rows * 20, 1), values(rows * 5, 2)];
        let (rh, rc) = (values(rows * 5, 3), values(rows * 5, 4));
        GradientCheck::new(Params::default(), inputs).run(
            |_, x| {
                let (mut gates, mut c, mut h) = (x[0].clone(), x[1].clone(), vec![0.0; rows * 5]);
                step(hidden, &mut gates, &mut c, &mut h);
                GradientCheck::weigh(&h, &rh) + GradientCheck::weigh(&c, &rc)
            },
            |_, _, x| {
                let (mut gates, mut c, mut h) = (x[0].clone(), x[1].clone(), vec![0.0; rows * 5]);
                step(hidden, &mut gates, &mut c, &mut h);
                let mut dc = rc.clone();
                step_backward(hidden, &mut gates, &x[1], &c, &rh, &mut dc);
                vec![gates, dc]
            },
        );
    }
}
