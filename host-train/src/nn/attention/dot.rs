//! Attention by a product (Luong, Pham, Manning 2015, equation 8, "dot"): `e · s`, without parameters.

use super::{Attention, Projection, Score, Shape};
use crate::nn::params::Layout;

/// Declares nothing: state and encoder output are as wide.
pub(super) fn declare(_: &mut Layout, name: &str, shape: Shape) -> Attention {
    let Shape { query, memory, .. } = shape;
    assert_eq!(query, memory, "{name}: states as wide as encoder outputs");
    let (query, key) = (Projection::default(), Projection::default());
    Attention { query, key, score: Score::Product { factor: None }, size: memory, memory }
}
