//! Training beyond the next reference token: exposure to its own tokens, risk, distillation.

use serde::{Deserialize, Serialize};

/// Which tokens the decoder reads while it learns (Bengio et al. 2015, "Scheduled sampling").
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ExposureConfig {
    /// Which of its own tokens it reads where it does not read the reference's.
    pub tokens: OwnTokens,
    /// How probable the reference's token is.
    #[serde(flatten)]
    pub kind: ExposureKind,
}

/// A decoder's own token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OwnTokens {
    /// The most probable one.
    #[default]
    Best,
    /// One drawn from its distribution.
    Sampled,
}

/// The probability that a token is the reference's, batch after batch.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ExposureKind {
    /// All are (teacher forcing).
    #[default]
    Teacher,
    /// Always the same.
    Constant(ConstantExposure),
    /// It falls in a straight line.
    Linear(LinearExposure),
    /// `k^i` in batch `i`.
    Exponential(ExponentialExposure),
    /// `k / (k + e^(i / k))` in batch `i`.
    InverseSigmoid(SigmoidExposure),
}

/// A share that does not change.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConstantExposure {
    /// Teacher-forcing ratio.
    pub ratio: f32,
}

/// A share that falls in a straight line.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LinearExposure {
    /// In the beginning.
    pub start: f32,
    /// In the end.
    pub end: f32,
    /// Batches from one to the other.
    pub batches: u64,
}

/// A share that falls exponentially.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExponentialExposure {
    /// What a batch leaves of it; below 1.
    pub k: f32,
    /// It does not fall below this.
    pub end: f32,
}

/// A share that falls along an inverse sigmoid.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SigmoidExposure {
    /// Speed: half is reached after about `k ln k` batches; at least 1.
    pub k: f32,
    /// It does not fall below this.
    pub end: f32,
}

/// Training on what whole hypotheses cost, for a network that has learned likelihood.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RiskConfig {
    /// Whose risk.
    pub method: RiskMethod,
    /// Share of the risk in the loss; the rest is likelihood's.
    pub weight: f32,
    /// What a hypothesis costs.
    pub cost: Cost,
    /// Hypotheses that share a source's probability, for `mrt`.
    pub candidates: usize,
    /// Where they come from.
    pub from: Candidates,
    /// Exponent of the probabilities before they are made to sum up to 1.
    pub sharpness: f32,
}

/// How risk is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RiskMethod {
    /// Expected cost of the candidates (minimum risk training, Shen et al. 2016).
    Mrt,
    /// Cost of a drawn hypothesis less that of the greedy one (Rennie et al. 2017).
    SelfCritical,
}

/// What a hypothesis costs, 0 to 1 or a little more, given the references of its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cost {
    /// 1 when it is no reference: word error rate.
    Wrong,
    /// Edits per token of the closest reference: token error rate.
    Edits,
    /// 1 less its smoothed sentence BLEU with the best reference.
    Bleu,
}

/// Where the candidates of a source come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Candidates {
    /// Beam search: the best.
    Beam,
    /// Drawn from the network's distribution; those drawn twice count once.
    Sample,
}

/// Learning from teachers' distributions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DistillConfig {
    /// The teachers' share of the loss; the rest is the references'.
    pub weight: f32,
    /// What logits are divided by, of teachers and student.
    pub temperature: f32,
}

impl Default for ConstantExposure {
    fn default() -> Self {
        Self { ratio: 0.5 }
    }
}

impl Default for LinearExposure {
    fn default() -> Self {
        Self { start: 1.0, end: 0.5, batches: 10_000 }
    }
}

impl Default for ExponentialExposure {
    fn default() -> Self {
        Self { k: 0.9999, end: 0.5 }
    }
}

impl Default for SigmoidExposure {
    fn default() -> Self {
        Self { k: 1000.0, end: 0.5 }
    }
}

impl Default for RiskConfig {
    fn default() -> Self {
        Self {
            method: RiskMethod::Mrt,
            weight: 0.7,
            cost: Cost::Wrong,
            candidates: 8,
            from: Candidates::Beam,
            sharpness: 1.0,
        }
    }
}

impl Default for DistillConfig {
    fn default() -> Self {
        Self { weight: 0.5, temperature: 1.0 }
    }
}
