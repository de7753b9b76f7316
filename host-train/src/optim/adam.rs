//! Adam.

use crate::error::{Error, Result};
use crate::nn::params::Params;

/// Adam (Kingma & Ba 2015, algorithm 1) in PyTorch's order of operations:
/// `m = b1 m + (1 - b1) g`, `v = b2 v + (1 - b2) g²`,
/// `p -= lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Adam {
    /// Step size.
    pub lr: f32,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the denominator.
    pub eps: f64,
    /// Steps taken.
    pub step: u64,
    /// First moments.
    pub m: Params,
    /// Second moments.
    pub v: Params,
}

impl Adam {
    /// A fresh optimizer for `params` with PyTorch's defaults (0.9, 0.999, 1e-8).
    pub fn new(params: &Params, lr: f32) -> Self {
        let (m, v) = (params.zeros_like(), params.zeros_like());
        Self { lr, beta1: 0.9, beta2: 0.999, eps: 1e-8, step: 0, m, v }
    }

    /// Takes over moments saved earlier for the same parameters.
    ///
    /// # Errors
    /// [`Error::Config`] names the first tensor whose name or shape differs from the parameters'.
    pub fn restore(&mut self, step: u64, m: Params, v: Params) -> Result<()> {
        for moments in [&m, &v] {
            if moments.len() != self.m.len() {
                return Err(Error::Config(format!(
                    "optimizer state: expected {} tensors, found {}",
                    self.m.len(),
                    moments.len()
                )));
            }
            for (expected, found) in self.m.iter().zip(moments) {
                if expected.name != found.name || expected.shape != found.shape {
                    return Err(Error::Config(format!(
                        "optimizer state: expected {} {:?}, found {} {:?}",
                        expected.name, expected.shape, found.name, found.shape
                    )));
                }
            }
        }
        (self.step, self.m, self.v) = (step, m, v);
        Ok(())
    }

    /// Moves `params` one step down `grads`.
    ///
    /// # Panics
    /// When the layouts differ.
    pub fn step(&mut self, params: &mut Params, grads: &Params) {
        assert!(params.len() == self.m.len() && grads.len() == self.m.len(), "layouts differ");
        self.step += 1;
        // In f64: 1 - 0.999 has an error of 1e-5 in f32.
        let bias = |beta: f64| 1.0 - beta.powi(i32::try_from(self.step).unwrap_or(i32::MAX));
        let rate = (f64::from(self.lr) / bias(self.beta1)) as f32;
        let root = (1.0 / bias(self.beta2).sqrt()) as f32;
        let (b2, eps) = (self.beta2 as f32, self.eps as f32);
        let (new1, new2) = ((1.0 - self.beta1) as f32, (1.0 - self.beta2) as f32);
        let moments = self.m.iter_mut().zip(self.v.iter_mut());
        for ((p, g), (m, v)) in params.iter_mut().zip(grads).zip(moments) {
            let n = p.data.len();
            assert!(g.data.len() == n && m.data.len() == n, "sizes of {} differ", p.name);
            let values = p.data.iter_mut().zip(&g.data).zip(m.data.iter_mut().zip(&mut v.data));
            for ((p, &g), (m, v)) in values {
                *m += new1 * (g - *m);
                *v = b2 * *v + new2 * g * g;
                *p -= rate * *m / (v.sqrt() * root + eps);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::params::Tensor;

    fn params(values: &[f32]) -> Params {
        let tensor = Tensor { name: "p".into(), shape: vec![values.len()], data: values.to_vec() };
        Params::new(vec![tensor]).unwrap()
    }

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
    fn finds_the_minimum_of_a_parabola() {
        let mut p = params(&[3.0, -2.0]);
        let mut adam = Adam::new(&p, 0.05);
        for _ in 0..600 {
            let g: Vec<f32> = p.get("p").unwrap().data.iter().map(|x| 2.0 * (x - 0.5)).collect();
            adam.step(&mut p, &params(&g));
        }
        assert!(p.get("p").unwrap().data.iter().all(|x| (x - 0.5).abs() < 1e-2), "{p:?}");
    }

    #[test]
    fn restored_state_continues_with_the_same_bits() {
        let (mut p, g) = (params(&[1.0, -1.0]), params(&[0.3, 0.7]));
        let mut adam = Adam::new(&p, 0.01);
        adam.step(&mut p, &g);
        let mut resumed = Adam::new(&p, 0.01);
        resumed.restore(adam.step, adam.m.clone(), adam.v.clone()).unwrap();
        let mut q = p.clone();
        adam.step(&mut p, &g);
        resumed.step(&mut q, &g);
        assert_eq!(p, q);
        assert!(resumed.restore(1, params(&[1.0]), params(&[1.0])).is_err());
    }
}
