//! How a model is trained: objective, optimizer, schedule, averages, exposure, risk and distillation.

use serde::{Deserialize, Serialize};

/// What a set is scored by, and what decides which epoch is the best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum), value(rename_all = "snake_case"))]
pub enum Metric {
    /// Percent of sources whose whole hypothesis equals no reference.
    Wer,
    /// Edits per reference token, in percent.
    Per,
    /// Edits per reference character, in percent.
    Cer,
    /// Percent of lines that are exactly right.
    Exact,
    /// Corpus BLEU of n-grams up to 4 tokens, every line with its one reference.
    Bleu,
    /// Percent of reference tokens that the hypothesis has in the same place.
    Acc,
    /// F1 of the spans that labels `B-kind`, `I-kind` behind a line's first one mark.
    Slot,
    /// Percent of lines whose first label is right.
    Intent,
    /// Percent of lines that are exactly right: `exact` by the name that slot filling has for it.
    Line,
    /// Mean negative log-likelihood of a target token.
    Loss,
    /// Perplexity of a target token behind the reference's tokens.
    Ppl,
    /// Perplexity of a target token behind the model's own best tokens.
    FreePpl,
}

/// The loop over the training pairs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TrainConfig {
    /// Seed of initial weights, shuffling, dropout and sampling.
    pub seed: u64,
    /// Pairs a batch.
    pub batch_size: usize,
    /// Batches whose gradients make one step of the optimizer.
    pub accumulate: usize,
    /// Passes over the training set at most.
    pub epochs: usize,
    /// Gradients are scaled to this Euclidean norm when they exceed it; 0 leaves them.
    pub clip_norm: f32,
    /// Probability mass taken from the reference token and spread over the vocabulary.
    pub label_smoothing: f32,
    /// Epochs without improvement before training stops.
    pub patience: usize,
    /// What is watched on the dev set.
    pub metric: Metric,
    /// Steps between checkpoints within an epoch; 0 keeps one at the end of each epoch only.
    pub checkpoint_every: u64,
    /// Threads; any number gives the same bits.
    pub threads: usize,
}

/// What turns gradients into steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct OptimizerConfig {
    /// Step size; the schedule goes up to it and down from it.
    pub learning_rate: f32,
    /// The rule.
    #[serde(flatten)]
    pub kind: OptimizerKind,
}

/// The rule of an optimizer, with PyTorch's order of operations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum OptimizerKind {
    /// Stochastic gradient descent with momentum.
    Sgd(SgdConfig),
    /// Adam (Kingma and Ba 2015); weight decay is added to the gradient.
    Adam(AdamConfig),
    /// Adam with decoupled weight decay (Loshchilov and Hutter 2019).
    AdamW(AdamConfig),
}

/// Stochastic gradient descent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SgdConfig {
    /// Share of the last step's direction that is kept.
    pub momentum: f32,
    /// Whether the gradient is looked at one step ahead (Nesterov).
    pub nesterov: bool,
    /// This much of a weight is added to its gradient.
    pub weight_decay: f32,
}

/// Adam's constants.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AdamConfig {
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the denominator.
    pub eps: f64,
    /// Pull of the weights towards zero.
    pub weight_decay: f32,
}

/// The learning rate over time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ScheduleConfig {
    /// Steps over which the rate rises linearly from zero; 0 starts with the whole rate.
    pub warmup_steps: u64,
    /// The rate does not fall below this.
    pub min_learning_rate: f32,
    /// What follows the warm-up.
    #[serde(flatten)]
    pub kind: ScheduleKind,
}

/// How the learning rate falls.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ScheduleKind {
    /// It does not.
    Constant,
    /// Times `factor` when the dev metric stands still.
    Plateau(PlateauConfig),
    /// With the square root of the steps, from the end of the warm-up (Vaswani et al. 2017).
    InverseSqrt,
    /// Along half a cosine to the floor (Loshchilov and Hutter 2017).
    Cosine(Horizon),
    /// In a straight line to the floor.
    Linear(Horizon),
    /// Times `factor` after every so many epochs.
    Step(StepConfig),
}

/// A rate that falls when the dev metric stands still.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PlateauConfig {
    /// What the rate is multiplied by.
    pub factor: f32,
    /// Epochs without improvement that are tolerated.
    pub patience: usize,
}

/// When a rate has come to its floor.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Horizon {
    /// After this epoch; 0 is `train.epochs`.
    pub until_epoch: usize,
}

/// A rate that falls every so many epochs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StepConfig {
    /// What the rate is multiplied by.
    pub factor: f32,
    /// Epochs between falls.
    pub every: usize,
}

/// Which weights are evaluated and kept as the model.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum AverageConfig {
    /// The current ones.
    #[default]
    None,
    /// Their exponential moving average over the steps.
    Ema(EmaConfig),
    /// The mean of those at the ends of the last epochs.
    Epochs(EpochsConfig),
}

/// A moving average.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EmaConfig {
    /// What is kept of the average at a step; early steps keep less, `(1 + step) / (10 + step)`.
    pub decay: f32,
}

/// A mean over epochs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EpochsConfig {
    /// How many.
    pub last: usize,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            seed: 1,
            batch_size: 64,
            accumulate: 1,
            epochs: 30,
            clip_norm: 1.0,
            label_smoothing: 0.0,
            patience: 6,
            metric: Metric::Wer,
            checkpoint_every: 0,
            threads: 2,
        }
    }
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self { learning_rate: 1e-3, kind: OptimizerKind::Adam(AdamConfig::default()) }
    }
}

impl Default for SgdConfig {
    fn default() -> Self {
        Self { momentum: 0.9, nesterov: false, weight_decay: 0.0 }
    }
}

impl Default for AdamConfig {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0 }
    }
}

impl Default for ScheduleConfig {
    fn default() -> Self {
        let kind = ScheduleKind::Plateau(PlateauConfig::default());
        Self { warmup_steps: 0, min_learning_rate: 1e-5, kind }
    }
}

impl Default for PlateauConfig {
    fn default() -> Self {
        Self { factor: 0.5, patience: 1 }
    }
}

impl Default for StepConfig {
    fn default() -> Self {
        Self { factor: 0.5, every: 1 }
    }
}

impl Default for EmaConfig {
    fn default() -> Self {
        Self { decay: 0.999 }
    }
}

impl Default for EpochsConfig {
    fn default() -> Self {
        Self { last: 5 }
    }
}
