//! Stochastic gradient descent.

use crate::config::SgdConfig;
use crate::nn::params::Params;

/// Gradient descent with momentum (Sutskever et al. 2013) as PyTorch writes it: `g += w p`, `b = μ b + g`,
/// `p -= lr b`, and with Nesterov's look ahead `p -= lr (g + μ b)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Sgd {
    /// Step size.
    pub lr: f32,
    /// Momentum, look ahead and weight decay.
    pub config: SgdConfig,
    /// The direction of the steps so far.
    pub buffer: Params,
}

impl Sgd {
    /// A fresh optimizer for `params`.
    pub fn new(config: &SgdConfig, params: &Params, lr: f32) -> Self {
        Self { lr, config: *config, buffer: params.zeros_like() }
    }

    /// Moves `params` one step down `grads`.
    ///
    /// # Panics
    /// When the layouts differ.
    pub fn step(&mut self, params: &mut Params, grads: &Params) {
        assert!(params.len() == self.buffer.len() && grads.len() == self.buffer.len(), "layouts differ");
        for ((p, g), b) in params.iter_mut().zip(grads).zip(self.buffer.iter_mut()) {
            assert!(
                p.data.len() == g.data.len() && p.data.len() == b.data.len(),
                "sizes of {} differ",
                p.name
            );
            update(&mut p.data, &g.data, &mut b.data, self.lr, &self.config);
        }
    }
}

fn update(p: &mut [f32], g: &[f32], b: &mut [f32], lr: f32, config: &SgdConfig) {
    let SgdConfig { momentum, nesterov, weight_decay } = *config;
    let (from_gradient, from_buffer) = if nesterov { (lr, lr * momentum) } else { (0.0, lr) };
    for ((p, &g), b) in p.iter_mut().zip(g).zip(b) {
        let g = g + weight_decay * *p;
        *b = momentum * *b + g;
        *p -= from_gradient * g + from_buffer * *b;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optim::tests::params;

    #[test]
    fn two_steps_by_hand() {
        for (nesterov, expected) in [(false, [0.9, 0.71]), (true, [0.81, 0.539])] {
            let config = SgdConfig { momentum: 0.9, nesterov, weight_decay: 0.0 };
            let mut p = params(&[1.0]);
            let mut sgd = Sgd::new(&config, &p, 0.1);
            for expected in expected {
                sgd.step(&mut p, &params(&[1.0]));
                let found = p.get("p").unwrap().data[0];
                assert!((found - expected).abs() < 1e-6, "{found} {expected}");
            }
        }
        let mut p = params(&[2.0]);
        let config = SgdConfig { momentum: 0.0, nesterov: false, weight_decay: 0.5 };
        Sgd::new(&config, &p, 0.1).step(&mut p, &params(&[1.0]));
        assert!((p.get("p").unwrap().data[0] - 1.8).abs() < 1e-6);
    }
}
