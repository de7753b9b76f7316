//! Attention by a bilinear form (Luong, Pham, Manning 2015, equation 8, "general"): `(W_a e) · s`.

use super::{Attention, Projection, Score, Shape};
use crate::nn::linear::Linear;
use crate::nn::params::Layout;

/// Declares `w_a.weight` [query, memory]. The product with encoder outputs, not with states, since it is made once.
pub(super) fn declare(layout: &mut Layout, name: &str, shape: Shape) -> Attention {
    let Shape { query: size, memory, .. } = shape;
    let key = Projection::mapped(Linear::declare(layout, &format!("{name}.w_a"), memory, size, false));
    Attention { query: Projection::default(), key, score: Score::Product { factor: None }, size, memory }
}
