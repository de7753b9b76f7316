//! Adam and AdamW.

use crate::config::AdamConfig;
use crate::nn::params::Params;

/// Adam (Kingma & Ba 2015, algorithm 1) in PyTorch's order of operations:
/// `m = b1 m + (1 - b1) g`, `v = b2 v + (1 - b2) g²`,
/// `p -= lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps)`.
///
/// Weight decay `w` adds `w p` to the gradient; decoupled (AdamW, Loshchilov & Hutter 2019, algorithm 2) it is
/// `p -= lr w p` instead.
#[derive(Debug, Clone, PartialEq)]
pub struct Adam {
    /// Step size.
    pub lr: f32,
    /// Decays of the moments, what is added to the denominator, weight decay.
    pub config: AdamConfig,
    /// Whether the weights decay apart from their gradients.
    pub decoupled: bool,
    /// Steps taken.
    pub step: u64,
    /// First moments.
    pub m: Params,
    /// Second moments.
    pub v: Params,
}

/// What is the same for all values of a step.
#[derive(Clone, Copy)]
struct Constants {
    /// `1 - b1`, `b2` and `1 - b2`.
    new1: f32,
    b2: f32,
    new2: f32,
    /// `lr / (1 - b1^t)` and `1 / sqrt(1 - b2^t)`.
    rate: f32,
    root: f32,
    eps: f32,
    /// Weight decay into the gradient, and what decoupled decay leaves of a weight.
    decay: f32,
    keep: f32,
}

impl Adam {
    /// A fresh optimizer for `params` with PyTorch's defaults (0.9, 0.999, 1e-8).
    pub fn new(params: &Params, lr: f32) -> Self {
        Self::with(&AdamConfig::default(), false, params, lr)
    }

    /// A fresh optimizer for `params`; Adam, or AdamW when the decay is `decoupled`.
    pub fn with(config: &AdamConfig, decoupled: bool, params: &Params, lr: f32) -> Self {
        let (m, v) = (params.zeros_like(), params.zeros_like());
        Self { lr, config: *config, decoupled, step: 0, m, v }
    }

    /// Moves `params` one step down `grads`.
    ///
    /// # Panics
    /// When the layouts differ.
    pub fn step(&mut self, params: &mut Params, grads: &Params) {
        assert!(params.len() == self.m.len() && grads.len() == self.m.len(), "layouts differ");
        self.step += 1;
        let constants = self.constants();
        let moments = self.m.iter_mut().zip(self.v.iter_mut());
        for ((p, g), (m, v)) in params.iter_mut().zip(grads).zip(moments) {
            let n = p.data.len();
            assert!(g.data.len() == n && m.data.len() == n, "sizes of {} differ", p.name);
            update(&mut p.data, &g.data, &mut m.data, &mut v.data, constants);
        }
    }

    fn constants(&self) -> Constants {
        let AdamConfig { beta1, beta2, eps, weight_decay } = self.config;
        // In f64: 1 - 0.999 has an error of 1e-5 in f32.
        let bias = |beta: f64| 1.0 - beta.powi(i32::try_from(self.step).unwrap_or(i32::MAX));
        Constants {
            new1: (1.0 - beta1) as f32,
            b2: beta2 as f32,
            new2: (1.0 - beta2) as f32,
            rate: (f64::from(self.lr) / bias(beta1)) as f32,
            root: (1.0 / bias(beta2).sqrt()) as f32,
            eps: eps as f32,
            decay: if self.decoupled { 0.0 } else { weight_decay },
            keep: if self.decoupled { 1.0 - self.lr * weight_decay } else { 1.0 },
        }
    }
}

fn update(p: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32], c: Constants) {
    for ((p, &g), (m, v)) in p.iter_mut().zip(g).zip(m.iter_mut().zip(v)) {
        let g = g + c.decay * *p;
        *m += c.new1 * (g - *m);
        *v = c.b2 * *v + c.new2 * g * g;
        *p = c.keep * *p - c.rate * *m / (v.sqrt() * c.root + c.eps);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optim::tests::params;

    #[test]
    fn first_step_has_the_length_of_the_rate() {
        // With bias correction m / sqrt(v) is the gradient's sign, whatever its size.
        let mut p = params(&[1.0, 1.0]);
        let mut adam = Adam::new(&p, 0.1);
        adam.step(&mut p, &params(&[1e-3, -50.0]));
        for (value, expected) in p.get("p").unwrap().data.iter().zip([0.9, 1.1]) {
            assert!((value - expected).abs() < 1e-5, "{value} {expected}");
        }
    }

    #[test]
    fn decay_is_in_the_gradient_or_beside_it() {
        let config = AdamConfig { weight_decay: 0.5, ..AdamConfig::default() };
        // A gradient of -p w is just made up for, or leaves a whole step's way.
        for (decoupled, expected) in [(false, 4.0), (true, 4.0 * 0.95 + 0.1)] {
            let mut p = params(&[4.0]);
            Adam::with(&config, decoupled, &p, 0.1).step(&mut p, &params(&[-2.0]));
            let found = p.get("p").unwrap().data[0];
            assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        }
    }
}
