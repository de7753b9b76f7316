//! Optimizers, clipping of gradients and averages of weights.
//!
//! A rule is a loop over values that stand at the same place of parameters, gradients and moments; it knows nothing of
//! the tensors' shapes.

mod adam;
mod average;
mod clip;
mod sgd;

pub use adam::Adam;
pub use average::Average;
pub use clip::clip_grad_norm;
pub use sgd::Sgd;

use crate::config::{OptimizerConfig, OptimizerKind};
use crate::error::{Error, Result};
use crate::nn::params::Params;

/// The optimizer of a run, with what it remembers of earlier gradients.
#[derive(Debug, Clone, PartialEq)]
pub enum Optimizer {
    /// Stochastic gradient descent.
    Sgd(Sgd),
    /// Adam or AdamW.
    Adam(Adam),
}

impl Optimizer {
    /// A fresh optimizer for `params`.
    pub fn new(config: &OptimizerConfig, params: &Params) -> Self {
        let adam = |adam, decoupled| Self::Adam(Adam::with(adam, decoupled, params, config.learning_rate));
        match &config.kind {
            OptimizerKind::Sgd(sgd) => Self::Sgd(Sgd::new(sgd, params, config.learning_rate)),
            OptimizerKind::Adam(config) => adam(config, false),
            OptimizerKind::AdamW(config) => adam(config, true),
        }
    }

    /// Moves `params` one step of length `rate` down `grads`.
    ///
    /// # Panics
    /// When the layouts differ.
    pub fn step(&mut self, params: &mut Params, grads: &Params, rate: f32) {
        match self {
            Self::Sgd(sgd) => {
                sgd.lr = rate;
                sgd.step(params, grads);
            }
            Self::Adam(adam) => {
                adam.lr = rate;
                adam.step(params, grads);
            }
        }
    }

    /// What it remembers beside the number of steps, by PyTorch's names; each has the parameters' layout.
    pub fn moments(&self) -> Vec<(&'static str, &Params)> {
        match self {
            Self::Sgd(sgd) => vec![("momentum_buffer", &sgd.buffer)],
            Self::Adam(adam) => vec![("exp_avg", &adam.m), ("exp_avg_sq", &adam.v)],
        }
    }

    /// Takes over the memory of an optimizer of the same kind after `step` steps; `moments` finds it by name.
    ///
    /// # Errors
    /// What `moments` says; [`Error::Config`] names the first tensor whose name or shape differs from the parameters'.
    pub fn restore(&mut self, step: u64, moments: impl Fn(&str) -> Result<Params>) -> Result<()> {
        let parts: Vec<(&str, &mut Params)> = match self {
            Self::Sgd(sgd) => vec![("momentum_buffer", &mut sgd.buffer)],
            Self::Adam(adam) => {
                adam.step = step;
                vec![("exp_avg", &mut adam.m), ("exp_avg_sq", &mut adam.v)]
            }
        };
        for (name, part) in parts {
            let found = moments(name)?;
            same_layout(name, part, &found)?;
            *part = found;
        }
        Ok(())
    }
}

/// Multiplies all values by `factor`.
pub(crate) fn scale(params: &mut Params, factor: f32) {
    params.iter_mut().for_each(|t| t.data.iter_mut().for_each(|x| *x *= factor));
}

/// Adds `scale` times the tensors of `from` to those of `to`, which have the same layout.
pub(crate) fn add_scaled(to: &mut Params, from: &Params, scale: f32) {
    for (to, from) in to.iter_mut().zip(from) {
        to.data.iter_mut().zip(&from.data).for_each(|(to, from)| *to += scale * from);
    }
}

/// Names the first difference between the tensors that `what` should and does have.
pub(crate) fn same_layout(what: &str, expected: &Params, found: &Params) -> Result<()> {
    if expected.len() != found.len() {
        let (expected, found) = (expected.len(), found.len());
        return Err(Error::Config(format!("{what}: expected {expected} tensors, found {found}")));
    }
    match expected.iter().zip(found).find(|(a, b)| a.name != b.name || a.shape != b.shape) {
        None => Ok(()),
        Some((a, b)) => Err(Error::Config(format!(
            "{what}: expected {} {:?}, found {} {:?}",
            a.name, a.shape, b.name, b.shape
        ))),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::config::{AdamConfig, SgdConfig};
    use crate::nn::params::Tensor;

    pub(crate) fn params(values: &[f32]) -> Params {
        let tensor = Tensor { name: "p".into(), shape: vec![values.len()], data: values.to_vec() };
        Params::new(vec![tensor]).unwrap()
    }

    fn kinds() -> [OptimizerConfig; 4] {
        let adam = AdamConfig { weight_decay: 0.01, ..AdamConfig::default() };
        let sgd = SgdConfig { weight_decay: 0.01, ..SgdConfig::default() };
        let with = |learning_rate, kind| OptimizerConfig { learning_rate, kind };
        [
            with(0.05, OptimizerKind::Adam(adam)),
            with(0.05, OptimizerKind::AdamW(adam)),
            with(0.01, OptimizerKind::Sgd(sgd)),
            with(0.01, OptimizerKind::Sgd(SgdConfig { nesterov: true, ..sgd })),
        ]
    }

    #[test]
    fn all_find_the_minimum_of_a_parabola() {
        for config in kinds() {
            let mut p = params(&[3.0, -2.0]);
            let mut optimizer = Optimizer::new(&config, &p);
            for _ in 0..600 {
                let g: Vec<f32> = p.get("p").unwrap().data.iter().map(|x| 2.0 * (x - 0.5)).collect();
                optimizer.step(&mut p, &params(&g), config.learning_rate);
            }
            assert!(p.get("p").unwrap().data.iter().all(|x| (x - 0.5).abs() < 1e-2), "{config:?} {p:?}");
        }
    }

    #[test]
    fn restored_state_continues_with_the_same_bits() {
        for config in kinds() {
            let (mut p, g) = (params(&[1.0, -1.0]), params(&[0.3, 0.7]));
            let mut optimizer = Optimizer::new(&config, &p);
            optimizer.step(&mut p, &g, 0.01);
            let saved: Vec<(&str, Params)> =
                optimizer.moments().into_iter().map(|(name, part)| (name, part.clone())).collect();
            let find = |name: &str| Ok(saved.iter().find(|(n, _)| *n == name).unwrap().1.clone());
            let mut resumed = Optimizer::new(&config, &p);
            resumed.restore(1, find).unwrap();
            let mut q = p.clone();
            optimizer.step(&mut p, &g, 0.02);
            resumed.step(&mut q, &g, 0.02);
            assert_eq!(p, q);
            let message = resumed.restore(1, |_| Ok(params(&[1.0]))).unwrap_err().to_string();
            assert!(message.contains("expected p [2], found p [1]"), "{message}");
        }
    }
}
