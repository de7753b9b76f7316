//! Which tokens the decoder reads in a batch: scheduled sampling.

use crate::config::{ExposureConfig, ExposureKind, OwnTokens};
use crate::model::Choice;
use crate::nn::loss::softmax;
use crate::nn::random::Random;

impl ExposureConfig {
    /// The probability that a token of batch number `batch`, from 1, is the reference's.
    pub fn teacher_share(&self, batch: u64) -> f32 {
        let i = (batch - 1) as f64;
        let falling = |share: f64, end: f32| (share as f32).max(end);
        match self.kind {
            ExposureKind::Teacher => 1.0,
            ExposureKind::Constant(c) => c.ratio,
            ExposureKind::Linear(l) => l.start + (l.end - l.start) * (i / l.batches as f64).min(1.0) as f32,
            ExposureKind::Exponential(e) => falling(f64::from(e.k).powf(i), e.end),
            ExposureKind::InverseSigmoid(s) => {
                let k = f64::from(s.k);
                falling(k / (k + (i / k).exp()), s.end)
            }
        }
    }

    /// The token to read: the reference's with probability `share`, else the decoder's own. It depends on `seed`, the
    /// pair, the step and the logits alone.
    pub(super) fn choose(&self, share: f32, seed: u64, choice: &Choice<'_>) -> u32 {
        let mut random = Random::keyed(seed, (choice.pair as u64) << 32 | choice.step as u64);
        if random.uniform() < share {
            return choice.reference;
        }
        match self.tokens {
            OwnTokens::Best => best(choice.logits),
            OwnTokens::Sampled => sampled(choice.logits, &mut random),
        }
    }
}

/// The greatest logit's id, of equals the lowest.
pub(super) fn best(logits: &[f32]) -> u32 {
    let greater = |best: usize, (i, &x): (usize, &f32)| if x > logits[best] { i } else { best };
    logits.iter().enumerate().fold(0, greater) as u32
}

/// An id drawn from the distribution of the logits.
pub(super) fn sampled(logits: &[f32], random: &mut Random) -> u32 {
    let mut probabilities = logits.to_vec();
    softmax(&mut probabilities);
    let mut left = random.uniform();
    for (id, p) in probabilities.iter().enumerate() {
        left -= p;
        if left < 0.0 {
            return id as u32;
        }
    }
    // The probabilities' sum fell short of 1 by rounding.
    best(logits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ConstantExposure, ExponentialExposure, LinearExposure, SigmoidExposure};

    #[test]
    fn shares_by_hand() {
        let share = |kind: ExposureKind, batch| {
            ExposureConfig { kind, ..ExposureConfig::default() }.teacher_share(batch)
        };
        let linear = ExposureKind::Linear(LinearExposure { start: 1.0, end: 0.2, batches: 100 });
        let exponential = ExposureKind::Exponential(ExponentialExposure { k: 0.5, end: 0.1 });
        let sigmoid = ExposureKind::InverseSigmoid(SigmoidExposure { k: 10.0, end: 0.05 });
        for (kind, batch, expected) in [
            (ExposureKind::Teacher, 1_000_000, 1.0),
            (ExposureKind::Constant(ConstantExposure { ratio: 0.3 }), 5, 0.3),
            (linear.clone(), 1, 1.0),
            (linear.clone(), 51, 0.6),
            (linear, 1000, 0.2),
            (exponential.clone(), 1, 1.0),
            (exponential.clone(), 3, 0.25),
            (exponential, 9, 0.1),
            (sigmoid.clone(), 1, 10.0 / 11.0),
            // e^ln 10 = 10 after k ln k batches.
            (sigmoid.clone(), 24, 0.5),
            (sigmoid, 1000, 0.05),
        ] {
            let found = share(kind.clone(), batch);
            assert!((found - expected).abs() < 2e-3, "{kind:?} {batch}: {found} {expected}");
        }
    }

    #[test]
    fn choices_are_as_frequent_as_asked() {
        let logits = [0.2f32.ln(), 0.5f32.ln(), 0.3f32.ln(), f32::NEG_INFINITY];
        let count = |config: &ExposureConfig, share| {
            let mut counts = [0; 4];
            for pair in 0..4000 {
                let choice = Choice { pair, step: 2, reference: 3, logits: &logits };
                counts[config.choose(share, 5, &choice) as usize] += 1;
                assert_eq!(config.choose(share, 5, &choice), config.choose(share, 5, &choice));
            }
            counts.map(|n| f64::from(n) / 4000.0)
        };
        let near = |found: [f64; 4], expected: [f64; 4]| {
            let all = found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 0.03);
            assert!(all, "{found:?} {expected:?}");
        };
        let best = ExposureConfig::default();
        assert_eq!(count(&best, 1.0), [0.0, 0.0, 0.0, 1.0]);
        near(count(&best, 0.25), [0.0, 0.75, 0.0, 0.25]);
        let sampled = ExposureConfig { tokens: OwnTokens::Sampled, ..best };
        near(count(&sampled, 0.0), [0.2, 0.5, 0.3, 0.0]);
        near(count(&sampled, 0.5), [0.1, 0.25, 0.15, 0.5]);
    }
}
