//! Values on the chip's grids, and its functions of them.
//!
//! Layers keep numbers as `f32`: what is on a grid of 16 bits or fewer is exact there, and backward passes need no
//! other form. The integers are made where the runtime computes with them.

use std::sync::LazyLock;

use kinglet::tables;

/// Units of a Q0.15 number: hidden states, gates, attention weights.
pub const Q15: f32 = 32_768.0;
/// Units of a Q3.12 number: what enters a sigmoid or a tanh.
pub const Q12: f32 = 4096.0;

/// The runtime's sigmoid and tanh, all values of each: Q3.12 to Q0.15.
#[derive(Debug)]
pub struct Functions {
    sigmoid: Vec<i16>,
    tanh: Vec<i16>,
}

impl Functions {
    /// Computed once a process.
    pub fn get() -> &'static Self {
        static FUNCTIONS: LazyLock<Functions> = LazyLock::new(|| {
            let all = |f: fn(i16) -> i16| (0..=u16::MAX).map(|x| f(x as i16)).collect();
            Functions { sigmoid: all(tables::sigmoid), tanh: all(tables::tanh) }
        });
        &FUNCTIONS
    }

    /// Logistic sigmoid.
    #[inline(always)]
    pub fn sigmoid(&self, x: i16) -> i32 {
        self.sigmoid[usize::from(x as u16)].into()
    }

    /// Hyperbolic tangent.
    #[inline(always)]
    pub fn tanh(&self, x: i16) -> i32 {
        self.tanh[usize::from(x as u16)].into()
    }
}

/// The int8 integer, scale 2^-7, of a number as it enters a product: rounded half up, at most `limit` (127) in magnitude. On
/// Q0.15 numbers it is `kinglet::fixed::q15_to_i8`. |x| is below 2^24.
#[inline(always)]
pub fn to_i8(x: f32, limit: f32) -> f32 {
    // Truncation of a positive number is its floor, without a call; 13 + 8 bits are exact.
    let x = ((x * 128.0).clamp(-4095.0, 4095.0) + 4096.5) as i32 - 4096;
    (x as f32).clamp(-limit, limit)
}

/// The softmax of scores of `bits` fraction bits in log2 units, as the runtime computes it.
pub fn softmax(scores: &[i16], bits: u32, weights: &mut [f32]) {
    let largest = scores.iter().copied().max().unwrap_or(0);
    let power = |&x: &i16| tables::exp2_neg((i32::from(largest) - i32::from(x)) as u32, bits);
    let sum = scores.iter().map(power).fold(0u32, u32::wrapping_add).max(1);
    let shares = scores.iter().map(|x| ((power(x) << 15) / sum) as f32 / Q15);
    weights.iter_mut().zip(shares).for_each(|(weight, share)| *weight = share);
}

#[cfg(test)]
mod tests {
    use super::*;
    use kinglet::fixed::q15_to_i8;

    #[test]
    fn entry_of_a_product_is_the_runtimes() {
        for x in i16::MIN..=i16::MAX {
            assert_eq!(to_i8(f32::from(x) / Q15, 127.0), f32::from(q15_to_i8(x)), "{x}");
        }
        assert_eq!((to_i8(1.2, 152.0), to_i8(-1.2, 152.0), to_i8(9e9, 152.0)), (152.0, -152.0, 152.0));
    }

    #[test]
    fn functions_are_the_tables() {
        let f = Functions::get();
        for x in [i16::MIN, -4096, -1, 0, 1, 5000, i16::MAX] {
            assert_eq!((f.sigmoid(x), f.tanh(x)), (tables::sigmoid(x).into(), tables::tanh(x).into()));
        }
    }

    #[test]
    fn softmax_sums_to_nearly_one() {
        let mut weights = [0.0; 4];
        softmax(&[0, 1024, -3000, 500], 10, &mut weights);
        assert!((weights.iter().sum::<f32>() - 1.0).abs() < 2e-4 && weights[1] > weights[3], "{weights:?}");
        softmax(&[], 10, &mut []);
        softmax(&[-7], 10, &mut weights[..1]);
        assert_eq!(weights[0], 1.0);
    }
}
