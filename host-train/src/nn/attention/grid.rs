//! Additive attention on the chip's grid.

use kinglet::fixed::{saturate_i8, saturate_i16, shift_round};

use crate::quant::{self, AttentionGrid, Functions, Q12, Q15};

/// Energies [keys, size], scores and weights of one query on the grid.
pub(super) fn weigh(
    grid: &AttentionGrid,
    query: &[f32],
    keys: &[f32],
    (energies, scores): (&mut [f32], &mut [f32]),
    weights: &mut [f32],
) {
    let (functions, size) = (Functions::get(), query.len());
    let mut integers = Vec::with_capacity(scores.len());
    let rows = energies.chunks_exact_mut(size).zip(keys.chunks_exact(size));
    for ((energies, key), score) in rows.zip(scores) {
        let mut sum = 0i32;
        for (((e, q), k), v) in energies.iter_mut().zip(query).zip(key).zip(&grid.v) {
            let energy = functions.tanh(saturate_i16(((q + k) * Q12) as i32));
            sum = sum.wrapping_add(v * energy);
            *e = energy as f32 / Q15;
        }
        let integer = grid.score.result(0, sum);
        *score = f32::from(integer) * grid.score_unit;
        integers.push(integer);
    }
    quant::softmax(&integers, grid.score_bits, weights);
}

/// What an int8 key adds to a query: Q3.12.
pub(super) fn key(grid: &AttentionGrid, key: i16) -> f32 {
    shift_round(i32::from(saturate_i8(key.into())) * grid.key_scale, 6) as f32 / Q12
}

/// A context of int8 values, rounded as the chip does.
pub(super) fn round_context(context: &mut [f32]) {
    // The sum is exact in units of 2^-22: weights add up to at most 2^15 units, values have at most 127.
    let round = |x: f32| f32::from(saturate_i8(shift_round((x * 4_194_304.0) as i32, 15))) / 128.0;
    context.iter_mut().for_each(|x| *x = round(*x));
}
