//! What attention computes for one query: scores of keys, the mean of values, and their reverse.

use crate::nn::math::tanh;
use crate::nn::matrix::{add_scaled, dot};
use crate::nn::simd::vectorized;

vectorized! {
    /// Energies [keys, size] and scores of one query.
    pub(super) fn energies(query: &[f32], keys: &[f32], v: &[f32], energies: &mut [f32], scores: &mut [f32]) {
        let size = query.len();
        let rows = energies.chunks_exact_mut(size).zip(keys.chunks_exact(size));
        for ((energy, key), score) in rows.zip(scores) {
            energy.iter_mut().zip(query.iter().zip(key)).for_each(|(e, (q, k))| *e = tanh(q + k));
            *score = dot(v, energy);
        }
    }
}

vectorized! {
    /// The reverse of [`energies`]: adds to the gradients of keys, query and `v`.
    pub(super) fn energies_backward(
        energies: &[f32],
        v: &[f32],
        d_scores: &[f32],
        d_keys: &mut [f32],
        d_query: &mut [f32],
        dv: &mut [f32],
    ) {
        let size = v.len();
        let rows = energies.chunks_exact(size).zip(d_keys.chunks_exact_mut(size));
        for ((energy, d_key), &d_score) in rows.zip(d_scores) {
            let sums = d_key.iter_mut().zip(d_query.iter_mut()).zip(dv.iter_mut());
            for (((d_key, d_query), dv), (e, v)) in sums.zip(energy.iter().zip(v)) {
                let d = d_score * v * (1.0 - e * e);
                *d_key += d;
                *d_query += d;
                *dv += d_score * e;
            }
        }
    }
}

vectorized! {
    /// The mean of `values` [weights, width] with these weights.
    pub(super) fn mix(weights: &[f32], values: &[f32], context: &mut [f32]) {
        context.fill(0.0);
        for (&weight, value) in weights.iter().zip(values.chunks_exact(context.len())) {
            add_scaled(context, weight, value);
        }
    }
}

vectorized! {
    /// The reverse of [`mix`]: adds to the gradients of weights and values.
    pub(super) fn mix_backward(
        weights: &[f32],
        values: &[f32],
        d_context: &[f32],
        d_weights: &mut [f32],
        d_values: &mut [f32],
    ) {
        let width = d_context.len();
        let rows = values.chunks_exact(width).zip(d_values.chunks_exact_mut(width));
        for ((&weight, d_weight), (value, d_value)) in weights.iter().zip(d_weights).zip(rows) {
            *d_weight += dot(d_context, value);
            add_scaled(d_value, weight, d_context);
        }
    }
}

vectorized! {
    /// Scores of one query: its products with the keys [keys, size], times `factor`.
    pub(super) fn products(query: &[f32], keys: &[f32], factor: f32, scores: &mut [f32]) {
        for (key, score) in keys.chunks_exact(query.len()).zip(scores) {
            *score = factor * dot(query, key);
        }
    }
}

vectorized! {
    /// The reverse of [`products`]: adds to the gradients of keys and query; returns that of the factor.
    pub(super) fn products_backward(
        query: &[f32],
        keys: &[f32],
        factor: f32,
        d_scores: &[f32],
        d_keys: &mut [f32],
        d_query: &mut [f32],
    ) -> f32 {
        let size = query.len();
        let mut d_factor = 0.0;
        let rows = keys.chunks_exact(size).zip(d_keys.chunks_exact_mut(size));
        for ((key, d_key), &d_score) in rows.zip(d_scores) {
            d_factor += d_score * dot(query, key);
            add_scaled(d_key, factor * d_score, query);
            add_scaled(d_query, factor * d_score, key);
        }
        d_factor
    }
}

/// Added to squared lengths: the gradient of a vector that is nearly zero stays bounded.
const SHORT: f32 = 1e-6;

vectorized! {
    /// Makes vectors of `size` values one long; `scales` gets what each was multiplied by.
    pub(super) fn make_unit(size: usize, vectors: &mut [f32], scales: &mut [f32]) {
        for (vector, scale) in vectors.chunks_exact_mut(size).zip(scales) {
            *scale = 1.0 / (dot(vector, vector) + SHORT).sqrt();
            vector.iter_mut().for_each(|x| *x *= *scale);
        }
    }
}

vectorized! {
    /// The reverse of [`make_unit`], given what it made: gradients `d` become those of the vectors before.
    pub(super) fn unit_backward(size: usize, units: &[f32], scales: &[f32], d: &mut [f32]) {
        for ((unit, &scale), d) in units.chunks_exact(size).zip(scales).zip(d.chunks_exact_mut(size)) {
            let along = dot(unit, d);
            d.iter_mut().zip(unit).for_each(|(d, unit)| *d = scale * (*d - unit * along));
        }
    }
}
