//! Attention through a layer over both vectors (Luong, Pham, Manning 2015, equation 8, "concat"): `v_a · tanh(W_a [s; e])`.
//!
//! `W_a [s; e]` is the sum of two products, of which that with `e` is made once: additive attention without a bias.

use super::{Attention, Projection, Score, Shape};
use crate::nn::linear::Linear;
use crate::nn::params::{Init, Layout};

/// Declares `w_a.weight` [size, query + memory] and `v_a.weight` [1, size].
pub(super) fn declare(layout: &mut Layout, name: &str, shape: Shape) -> Attention {
    let Shape { query, memory, size, .. } = shape;
    let both = query + memory;
    let w_a = layout.declare(format!("{name}.w_a.weight"), &[size, both], Init::uniform(both));
    let v = layout.declare(format!("{name}.v_a.weight"), &[1, size], Init::uniform(size));
    let mut part = |columns| Projection::mapped(Linear::with_weight(layout, (w_a, None), columns));
    let (query, key) = (part(0..query), part(query..both));
    Attention { query, key, score: Score::Energies { v }, size, memory }
}
