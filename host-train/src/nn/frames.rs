//! Numbers in place of tokens, brought to mean 0 and deviation 1.

use crate::data::frames::to_counts;
use crate::nn::buffer::Buffer;
use crate::nn::params::{Init, Layout, ParamId};
use crate::quant::Weights;

/// `(count - mean) / std`, feature by feature. `{name}.mean` and `{name}.std` are vectors of `width` counts; nothing learns them, so they
/// have no gradients.
#[derive(Debug, Clone, PartialEq)]
pub struct Standardize {
    width: usize,
    mean: ParamId,
    std: ParamId,
}

impl Standardize {
    /// Declares `{name}.mean` and `{name}.std`, at first 0 and 1.
    pub fn declare(layout: &mut Layout, name: &str, width: usize) -> Self {
        let mean = layout.declare(format!("{name}.mean"), &[width], Init::Constant(0.0));
        let std = layout.declare(format!("{name}.std"), &[width], Init::Constant(1.0));
        Self { width, mean, std }
    }

    /// Numbers a frame.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The normal form of frames, [rows, width], whose counts are `ids`.
    pub fn forward<'a>(&self, weights: impl Into<Weights<'a>>, ids: &[u32]) -> Buffer {
        let weights = weights.into();
        let features = weights.at(self.mean).iter().zip(weights.at(self.std)).cycle();
        to_counts(ids).zip(features).map(|(count, (mean, std))| (f32::from(count) - mean) / std).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::frames::to_ids;

    #[test]
    fn every_feature_has_its_own_normal_form() {
        let mut layout = Layout::default();
        let frames = Standardize::declare(&mut layout, "encoder.frames", 2);
        let mut params = layout.init(1);
        params.get_mut("encoder.frames.mean").unwrap().data = vec![10.0, -1.0];
        params.get_mut("encoder.frames.std").unwrap().data = vec![4.0, 0.5];
        let found = frames.forward(&params, &to_ids([12, -1, 10, -2]));
        assert_eq!(found[..], [0.5, 0.0, 0.0, -2.0]);
    }
}
