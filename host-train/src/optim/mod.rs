//! Optimizers and gradient clipping.

mod adam;
mod clip;

pub use adam::Adam;
pub use clip::clip_grad_norm;
