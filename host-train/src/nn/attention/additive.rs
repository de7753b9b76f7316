//! Additive attention (Bahdanau, Cho, Bengio 2015, section A.1.2): `v · tanh(W_q s + W_k e + b)`.

use super::{Attention, Projection, Score, Shape};
use crate::nn::linear::Linear;
use crate::nn::params::{Init, Layout};

/// Declares `w_q.weight` [size, query], `w_k.weight` [size, memory], `w_k.bias` `[size]` and `v.weight` [1, size].
pub(super) fn declare(layout: &mut Layout, name: &str, shape: Shape) -> Attention {
    let Shape { query, memory, size, .. } = shape;
    let map_q = Linear::declare(layout, &format!("{name}.w_q"), query, size, false);
    let map_k = Linear::declare(layout, &format!("{name}.w_k"), memory, size, true);
    let v = layout.declare(format!("{name}.v.weight"), &[1, size], Init::uniform(size));
    let (query, key) = (Projection::mapped(map_q), Projection::mapped(map_k));
    Attention { query, key, score: Score::Energies { v }, size, memory }
}
