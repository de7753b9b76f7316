//! Elman's cell (1990), PyTorch's `nn.RNN`: `h' = f(a)` with `a = W_ih x + b_ih + W_hh h + b_hh` and `f` the hyperbolic
//! tangent or the rectifier `max(0, a)`.

use crate::nn::math::tanh;
use crate::nn::simd::vectorized;

/// `f`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nonlinearity {
    /// The hyperbolic tangent.
    Tanh,
    /// `max(0, a)`; its slope at 0 is 0.
    Relu,
}

/// Steps a block of rows: `sums` [rows, hidden] hold `a` and afterwards `h'`, which is copied to `h`.
pub fn step(f: Nonlinearity, sums: &mut [f32], h: &mut [f32]) {
    match f {
        Nonlinearity::Tanh => tanh_all(sums),
        // Not a number stays what it is.
        Nonlinearity::Relu => sums.iter_mut().for_each(|a| *a = if *a <= 0.0 { 0.0 } else { *a }),
    }
    h.copy_from_slice(sums);
}

/// The reverse of [`step`]: `sums` come with `h'` and leave with the gradients of `a`, given those of `h'`.
pub fn step_backward(f: Nonlinearity, sums: &mut [f32], dh: &[f32]) {
    let values = sums.iter_mut().zip(dh);
    match f {
        Nonlinearity::Tanh => values.for_each(|(h, d)| *h = d * (1.0 - *h * *h)),
        Nonlinearity::Relu => values.for_each(|(h, d)| *h = if *h > 0.0 { *d } else { 0.0 }),
    }
}

vectorized! {
    fn tanh_all(values: &mut [f32]) {
        values.iter_mut().for_each(|x| *x = tanh(*x));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::check::{GradientCheck, values};
    use crate::nn::params::Params;

    #[test]
    fn gradients() {
        for f in [Nonlinearity::Tanh, Nonlinearity::Relu] {
            // No sum so near zero that a difference would cross the rectifier's corner.
            let away = |x: f32| if x.abs() < 0.05 { 0.5 } else { x };
            let (sums, r) = (values(15, 1).into_iter().map(away).collect(), values(15, 2));
            GradientCheck::new(Params::default(), vec![sums]).run(
                |_, x| {
                    let (mut sums, mut h) = (x[0].clone(), vec![0.0; 15]);
                    step(f, &mut sums, &mut h);
                    GradientCheck::weigh(&h, &r)
                },
                |_, _, x| {
                    let (mut sums, mut h) = (x[0].clone(), vec![0.0; 15]);
                    step(f, &mut sums, &mut h);
                    step_backward(f, &mut sums, &r);
                    vec![sums]
                },
            );
        }
    }

    #[test]
    fn what_is_no_number_is_not_hidden() {
        for f in [Nonlinearity::Tanh, Nonlinearity::Relu] {
            let (mut sums, mut h) = ([f32::NAN, -1.0], [0.0; 2]);
            step(f, &mut sums, &mut h);
            assert!(h[0].is_nan() && h[1] <= 0.0, "{h:?}");
        }
    }
}
