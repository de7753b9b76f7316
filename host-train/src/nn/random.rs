//! Reproducible randomness: every number is a function of a key and a counter.

/// The finalizer of SplitMix64 (Steele, Lea, Flood 2014, "Fast splittable pseudorandom number generators"):
/// a bijection of 64-bit words whose output bits all depend on all input bits.
#[inline(always)]
pub fn mix(value: u64) -> u64 {
    let z = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The odd step between SplitMix64's states, 2^64 divided by the golden ratio.
pub const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// A key that depends on both arguments.
#[inline(always)]
pub fn key(seed: u64, stream: u64) -> u64 {
    mix(mix(seed.wrapping_add(STEP)).wrapping_add(stream.wrapping_mul(STEP)))
}

/// The SplitMix64 generator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Random {
    state: u64,
}

impl Random {
    /// The sequence that starts at `seed`.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// Stream number `stream` of `seed`.
    pub fn keyed(seed: u64, stream: u64) -> Self {
        Self { state: key(seed, stream) }
    }

    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(STEP);
        mix(self.state)
    }

    /// A number below `bound` (by remainder: the bias is at most `bound / 2^64`); 0 for a bound of 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next_u64().checked_rem(bound).unwrap_or(0)
    }

    /// Uniform in [0, 1), 24 bits.
    pub fn uniform(&mut self) -> f32 {
        (self.next_u64() >> 40) as f32 * (1.0 / (1u32 << 24) as f32)
    }

    /// Standard normal: the sum of twelve uniform numbers, less six.
    /// Its tails end at 6 and it needs no logarithm, so every host draws the same bits.
    pub fn normal(&mut self) -> f32 {
        (0..12).map(|_| self.uniform()).sum::<f32>() - 6.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_of_the_published_generator() {
        // First outputs of SplitMix64 from state 1234567, as its reference C code prints them.
        let mut random = Random::new(1_234_567);
        let drawn: Vec<u64> = (0..3).map(|_| random.next_u64()).collect();
        assert_eq!(drawn, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn moments_are_those_of_the_distributions() {
        let mut random = Random::keyed(3, 4);
        let n = 20_000;
        let (mut mean, mut normal_mean, mut square) = (0.0, 0.0, 0.0);
        for _ in 0..n {
            let u = random.uniform();
            assert!((0.0..1.0).contains(&u));
            mean += f64::from(u) / f64::from(n);
            let x = f64::from(random.normal());
            normal_mean += x / f64::from(n);
            square += x * x / f64::from(n);
        }
        assert!((mean - 0.5).abs() < 0.01, "{mean}");
        assert!(normal_mean.abs() < 0.03, "{normal_mean}");
        assert!((square - 1.0).abs() < 0.05, "{square}");
    }
}
