//! Attention by angle (Graves, Wayne, Danihelka 2014, section 3.3.1): the cosine of state and encoder output, times a
//! temperature that is learned.

use super::{Attention, Projection, Score, Shape};
use crate::nn::linear::Linear;
use crate::nn::params::{Init, Layout};

/// Where the temperature starts: a cosine of 1 beside ten of 0 gets nearly all weight.
const TEMPERATURE: f32 = 8.0;

/// Declares `temperature`, a number, and where widths differ `w_a.weight` [query, memory].
pub(super) fn declare(layout: &mut Layout, name: &str, shape: Shape) -> Attention {
    let Shape { query: size, memory, .. } = shape;
    let differ = size != memory;
    let map = differ.then(|| Linear::declare(layout, &format!("{name}.w_a"), memory, size, false));
    let factor = Some(layout.declare(format!("{name}.temperature"), &[], Init::Constant(TEMPERATURE)));
    let (query, key) = (Projection { map: None, unit: true }, Projection { map, unit: true });
    Attention { query, key, score: Score::Product { factor }, size, memory }
}
