//! The long short-term memory cell, in PyTorch's form.
//!
//! `i = σ(a_i)`, `f = σ(a_f)`, `g = tanh(a_g)`, `o = σ(a_o)`, `c' = f c + i g`, `h' = o tanh(c')`, where
//! `a = W_ih x + b_ih + W_hh h + b_hh` with the gates i, f, g, o stacked.

use kinglet::fixed::{saturate_i16, shift_round};

use crate::nn::math::{sigmoid, tanh};
use crate::nn::simd::vectorized;
use crate::quant::{Functions, Product, Q15};

vectorized! {
/// Steps a block of rows. `gates` [rows, 4 hidden] holds `a` and afterwards `i, f, g, o`; `c` and `h`
/// [rows, hidden] are the state, of which the old `h` is not read.
pub fn step(hidden: usize, gates: &mut [f32], c: &mut [f32], h: &mut [f32]) {
    let states = c.chunks_exact_mut(hidden).zip(h.chunks_exact_mut(hidden));
    for (gates, (c, h)) in gates.chunks_exact_mut(4 * hidden).zip(states) {
        let (input_forget, candidate_output) = gates.split_at_mut(2 * hidden);
        let (candidate, output) = candidate_output.split_at_mut(hidden);
        input_forget.iter_mut().for_each(|x| *x = sigmoid(*x));
        candidate.iter_mut().for_each(|x| *x = tanh(*x));
        output.iter_mut().for_each(|x| *x = sigmoid(*x));
        let (input, forget) = input_forget.split_at(hidden);
        // The compiler sees that no index is out of range, and vectorises.
        let (forget, output) = (&forget[..hidden], &output[..hidden]);
        for j in 0..hidden {
            c[j] = forget[j] * c[j] + input[j] * candidate[j];
            h[j] = output[j] * tanh(c[j]);
        }
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

vectorized! {
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
        let (input, rest) = gates.split_at_mut(hidden);
        let (forget, rest) = rest.split_at_mut(hidden);
        let (candidate, output) = rest.split_at_mut(hidden);
        let output = &mut output[..hidden];
        for j in 0..hidden {
            let (i, f, g, o) = (input[j], forget[j], candidate[j], output[j]);
            let t = tanh(cell[j]);
            let d = dc[j] + dh[j] * o * (1.0 - t * t);
            input[j] = d * g * i * (1.0 - i);
            forget[j] = d * prev_cell[j] * f * (1.0 - f);
            candidate[j] = d * i * (1.0 - g * g);
            output[j] = dh[j] * t * o * (1.0 - o);
            dc[j] = d * f;
        }
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
