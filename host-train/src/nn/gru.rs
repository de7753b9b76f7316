//! The gated recurrent unit, in PyTorch's form.
//!
//! `r = σ(x_r + q_r)`, `z = σ(x_z + q_z)`, `n = tanh(x_n + r q_n)`, `h' = (1 - z) n + z h`, where
//! `x = W_ih x + b_ih` and `q = W_hh h + b_hh`, each with the gates r, z, n stacked.

use kinglet::fixed::{saturate_i16, shift_round};

use crate::nn::math::{sigmoid, tanh};
use crate::nn::simd::vectorized;
use crate::quant::{Functions, Product, Q15};

/// Steps a block of rows. `gates` [rows, 3 hidden] holds `x` and afterwards `r, z, n`; `recurrent`, of the
/// same shape, holds `q` and stays; `h` [rows, hidden] is the state.
pub fn step(hidden: usize, gates: &mut [f32], recurrent: &[f32], h: &mut [f32]) {
    let rows = gates.chunks_exact_mut(3 * hidden).zip(recurrent.chunks_exact(3 * hidden));
    for ((gates, q), h) in rows.zip(h.chunks_exact_mut(hidden)) {
        let [r, z, n] = thirds(gates, hidden);
        step_row(r, z, n, q, h);
    }
}

fn thirds(gates: &mut [f32], hidden: usize) -> [&mut [f32]; 3] {
    let (r, rest) = gates.split_at_mut(hidden);
    let (z, n) = rest.split_at_mut(hidden);
    [r, z, n]
}

vectorized! {
    fn step_row(r: &mut [f32], z: &mut [f32], n: &mut [f32], q: &[f32], h: &mut [f32]) {
        // Told that all are equally long, the compiler vectorises.
        let hidden = h.len();
        let (r, z, n) = (&mut r[..hidden], &mut z[..hidden], &mut n[..hidden]);
        let (q_r, rest) = q.split_at(hidden);
        let (q_z, q_n) = rest.split_at(hidden);
        let q_n = &q_n[..hidden];
        for j in 0..hidden {
            (r[j], z[j]) = (sigmoid(r[j] + q_r[j]), sigmoid(z[j] + q_z[j]));
            n[j] = tanh(n[j] + r[j] * q_n[j]);
            h[j] = n[j] + z[j] * (h[j] - n[j]);
        }
    }
}

/// [`step`] on the grid. `gates` and `recurrent` come as accumulators of the input's and the hidden state's products, without
/// biases; `tokens` [rows, 3 hidden] are entries of a token table, or there are none.
pub fn step_on_grid(
    product: &Product,
    hidden: usize,
    gates: &mut [f32],
    tokens: &[f32],
    recurrent: &mut [f32],
    h: &mut [f32],
) {
    let (functions, records, bits) = (Functions::get(), &product.records, product.bits);
    let candidate_unit = 1.0 / (1u32 << bits) as f32;
    let mut tokens = tokens.chunks_exact(3 * hidden);
    let rows = gates.chunks_exact_mut(3 * hidden).zip(recurrent.chunks_exact_mut(3 * hidden));
    for ((gates, q), h) in rows.zip(h.chunks_exact_mut(hidden)) {
        let token = tokens.next();
        // The sum of both products is exact in f32: its magnitude is below 2^24.
        let sum = |row: usize, accumulator: f32| {
            let entry = token.map_or(0, |entries| entries[row] as i32);
            i32::from(records.result(row, accumulator as i32)) + entry
        };
        for j in 0..hidden {
            let r = functions.sigmoid(saturate_i16(sum(j, gates[j] + q[j])));
            let z = functions.sigmoid(saturate_i16(sum(hidden + j, gates[hidden + j] + q[hidden + j])));
            let u = i32::from(records.result(3 * hidden + j, q[2 * hidden + j] as i32));
            let input = sum(2 * hidden + j, gates[2 * hidden + j]);
            let n = functions.tanh(saturate_i16(input + shift_round(r * u, 3 + bits)));
            let old = (h[j] * Q15) as i32;
            let new = saturate_i16(n + shift_round(z * (old - n), 15));
            gates[j] = r as f32 / Q15;
            gates[hidden + j] = z as f32 / Q15;
            gates[2 * hidden + j] = n as f32 / Q15;
            q[2 * hidden + j] = u as f32 * candidate_unit;
            h[j] = f32::from(new) / Q15;
        }
    }
}

/// The reverse of [`step`], given the state `prev` before it. `gates` become the gradients of `x`, and
/// `recurrent` those of `q`; `dh` comes with the gradient of the state after the step and leaves with the
/// part of the gradient of `prev` that does not pass through `q`.
pub fn step_backward(hidden: usize, gates: &mut [f32], recurrent: &mut [f32], prev: &[f32], dh: &mut [f32]) {
    let rows = gates.chunks_exact_mut(3 * hidden).zip(recurrent.chunks_exact_mut(3 * hidden));
    let states = prev.chunks_exact(hidden).zip(dh.chunks_exact_mut(hidden));
    for ((gates, q), (prev, dh)) in rows.zip(states) {
        let ([r, z, n], [q_r, q_z, q_n]) = (thirds(gates, hidden), thirds(q, hidden));
        row_backward(r, z, n, q_r, q_z, q_n, prev, dh);
    }
}

vectorized! {
    fn row_backward(
        r: &mut [f32],
        z: &mut [f32],
        n: &mut [f32],
        q_r: &mut [f32],
        q_z: &mut [f32],
        q_n: &mut [f32],
        prev: &[f32],
        dh: &mut [f32],
    ) {
        // As in `step_row`.
        let hidden = dh.len();
        let (r, z, n, prev) = (&mut r[..hidden], &mut z[..hidden], &mut n[..hidden], &prev[..hidden]);
        let (q_r, q_z, q_n) = (&mut q_r[..hidden], &mut q_z[..hidden], &mut q_n[..hidden]);
        for j in 0..hidden {
            let dn = dh[j] * (1.0 - z[j]) * (1.0 - n[j] * n[j]);
            let dz = dh[j] * (prev[j] - n[j]) * z[j] * (1.0 - z[j]);
            let dr = dn * q_n[j] * r[j] * (1.0 - r[j]);
            dh[j] *= z[j];
            q_n[j] = dn * r[j];
            (q_r[j], q_z[j]) = (dr, dz);
            (r[j], z[j], n[j]) = (dr, dz, dn);
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
        let inputs = vec![values(rows * 15, 1), values(rows * 15, 2), values(rows * 5, 3)];
        let r = values(rows * 5, 4);
        GradientCheck::new(Params::default(), inputs).run(
            |_, x| {
                let (mut gates, mut h) = (x[0].clone(), x[2].clone());
                step(hidden, &mut gates, &x[1], &mut h);
                GradientCheck::weigh(&h, &r)
            },
            |_, _, x| {
                let (mut gates, mut recurrent, mut h) = (x[0].clone(), x[1].clone(), x[2].clone());
                step(hidden, &mut gates, &recurrent, &mut h);
                let mut dh = r.clone();
                step_backward(hidden, &mut gates, &mut recurrent, &x[2], &mut dh);
                vec![gates, recurrent, dh]
            },
        );
    }
}
