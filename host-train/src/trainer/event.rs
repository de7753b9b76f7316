//! What a run tells: while it works, at the end of an epoch, and when it ends.

use serde::{Deserialize, Serialize};

use crate::checkpoint::Best;
use crate::config::Metric;
use crate::data::vectors::Coverage;
use crate::model::Reads;

/// One line of `history.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Number of the epoch, from 1.
    pub epoch: usize,
    /// Optimizer steps since the start of the run.
    pub step: u64,
    /// Mean training loss of a target token, with dropout and smoothing.
    pub train_loss: f64,
    /// Mean negative log-likelihood of a dev token.
    pub dev_loss: f64,
    /// The same behind the model's own best tokens, if it is watched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free_loss: Option<f64>,
    /// Word error rate on the dev set, greedy, in percent.
    pub wer: f64,
    /// Token error rate on the dev set, greedy, in percent.
    pub per: f64,
    /// Character error rate on the dev set, greedy, in percent.
    pub cer: f64,
    /// Exact lines of the dev set, greedy, in percent.
    pub exact: f64,
    /// BLEU of the dev set, greedy.
    pub bleu: f64,
    /// Percent of dev tokens in whose place the hypothesis has the same.
    #[serde(default)]
    pub acc: f64,
    /// F1 of the dev set's slots.
    #[serde(default)]
    pub slot: f64,
    /// Percent of dev lines whose first label is right.
    #[serde(default)]
    pub intent: f64,
    /// Whether this is the best epoch so far.
    pub best: bool,
    /// The learning rate of the epoch's last step.
    pub learning_rate: f32,
    /// Largest gradient norm of the epoch before clipping.
    pub gradient_norm: f64,
    /// Seconds of training and evaluation.
    pub seconds: f64,
    /// Target tokens a second while training.
    pub tokens_per_second: f64,
    /// How many source tokens began with a vector from a file, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vectors: Option<Coverage>,
}

impl EpochRecord {
    /// The value of a metric.
    pub fn get(&self, metric: Metric) -> f64 {
        match metric {
            Metric::Wer => self.wer,
            Metric::Per => self.per,
            Metric::Cer => self.cer,
            Metric::Exact => self.exact,
            Metric::Bleu => self.bleu,
            Metric::Acc => self.acc,
            Metric::Slot => self.slot,
            Metric::Intent => self.intent,
            Metric::Line => self.exact,
            Metric::Loss => self.dev_loss,
            Metric::Ppl => self.dev_loss.exp(),
            Metric::FreePpl => self.free_loss.map_or(f64::NAN, f64::exp),
        }
    }
}

/// What a run tells while it works.
#[derive(Debug, Clone, PartialEq)]
pub enum Event<'a> {
    /// Everything is read and training begins.
    Start {
        /// Numbers that the model learns.
        parameters: usize,
        /// Training pairs used.
        pairs: usize,
        /// Training pairs dropped because a side is longer than the configuration allows.
        dropped: usize,
        /// Pairs of the dev set.
        dev_pairs: usize,
        /// Tokens of the dev set that no vocabulary knows.
        dev_unknown: usize,
        /// What is read of sources, and ids of the target vocabulary.
        vocab: (&'a Reads, usize),
        /// How many source tokens began with a vector from a file, if there is one.
        vectors: Option<Coverage>,
        /// Epochs already done.
        epochs_done: usize,
        /// Steps already done.
        steps_done: u64,
        /// Epochs at most.
        epochs: usize,
    },
    /// A step is done.
    Step {
        /// Number of the epoch, from 1.
        epoch: usize,
        /// Steps of the epoch done.
        step: usize,
        /// Steps of an epoch.
        steps: usize,
        /// Mean loss of a target token in this epoch so far.
        loss: f64,
        /// Target tokens a second in this epoch so far.
        tokens_per_second: f64,
    },
    /// The epoch's steps are done, the dev set comes next.
    Evaluate,
    /// An epoch is done and on disk.
    Epoch(&'a EpochRecord),
}

/// Why a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// All epochs are done.
    Finished,
    /// The dev metric has not improved for as long as the configuration tolerates.
    Stopped,
    /// The caller's flag was set; all steps done are on disk.
    Interrupted,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Why.
    pub end: End,
    /// Epochs done.
    pub epochs: usize,
    /// The best of them; `None` when none has finished.
    pub best: Option<Best>,
}
