//! Configuration of a model and its training, as read from TOML and stored whole in the checkpoint.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::quant::Kind;

/// Everything that a training run is told, apart from file names.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How text becomes ids.
    pub data: DataConfig,
    /// The network.
    pub model: ModelConfig,
    /// The optimisation.
    pub train: TrainConfig,
    /// Quantization-aware training; without it the network computes in floating point.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qat: Option<QatConfig>,
}

/// What quantization-aware training imitates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QatConfig {
    /// Weights of all products but those named below.
    pub weights: Kind,
    /// Weights of the output layer.
    pub output: Kind,
    /// Which token products become tables.
    pub fold: Fold,
    /// Training pairs that calibrate the grids of inner values.
    pub calibration_pairs: usize,
    /// Weights of single products, by name, such as `decoder.attention.w_k`.
    pub products: BTreeMap<String, Kind>,
}

/// Which token products become tables, computed by the compiler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fold {
    /// Where the table takes no more bytes than the weights and the embedding that it replaces.
    Auto,
    /// All.
    Always,
    /// None.
    Never,
}

/// How one side of the corpus is cut into tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Tokens {
    /// Every Unicode code point is a token.
    Chars,
    /// Tokens are separated by single spaces.
    Words,
    /// As characters, but a Hangul syllable is its two or three letters.
    Hangul,
}

/// Tokenisation and limits of the corpus.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DataConfig {
    /// Cut of the source side.
    pub source: Tokens,
    /// Cut of the target side.
    pub target: Tokens,
    /// Whether sources begin with the start mark, as those of PyTorch's tutorials do.
    pub source_start: bool,
    /// Tokens seen fewer times in training become `<unk>`.
    pub min_count: usize,
    /// Longest source in tokens; longer training pairs are dropped and counted.
    pub max_source_len: usize,
    /// Longest target in tokens, without the end mark; longer training pairs are dropped and counted.
    pub max_target_len: usize,
}

/// A recurrent cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cell {
    /// Gated recurrent unit, PyTorch's form (reset gate applied after the recurrent product).
    Gru,
    /// Long short-term memory, gates i, f, g, o.
    Lstm,
}

/// How the decoder looks back at the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AttentionKind {
    /// Only the encoder's final state is handed over.
    None,
    /// `score = v . tanh(W_q s + W_k h + b)` (Bahdanau et al. 2015).
    Additive,
}

/// What starts the decoder's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bridge {
    /// The encoder's final states, layer by layer: needs the same cell, width and depth, and one direction.
    Copy,
    /// `tanh(W [h_forward; h_backward] + b)` of the top encoder layer's final hidden states.
    Linear,
}

/// Encoder sizes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EncoderConfig {
    /// Cell of every layer.
    pub cell: Cell,
    /// Width of the source embedding.
    pub embedding: usize,
    /// Units a direction.
    pub hidden: usize,
    /// Stacked layers.
    pub layers: usize,
    /// Whether every layer also runs from the end to the start.
    pub bidirectional: bool,
}

/// Decoder sizes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DecoderConfig {
    /// Cell of every layer.
    pub cell: Cell,
    /// Width of the target embedding.
    pub embedding: usize,
    /// Units.
    pub hidden: usize,
    /// Stacked layers.
    pub layers: usize,
}

/// The network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelConfig {
    /// Encoder sizes.
    pub encoder: EncoderConfig,
    /// Attention.
    pub attention: AttentionConfig,
    /// Start of the decoder's state.
    pub bridge: Bridge,
    /// Decoder sizes.
    pub decoder: DecoderConfig,
    /// Dropout probability on embeddings, between layers and before the output layer.
    pub dropout: f32,
}

/// Attention sizes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AttentionConfig {
    /// Its form.
    pub kind: AttentionKind,
    /// Width of queries and keys.
    pub size: usize,
}

/// Which dev metric decides what the best epoch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Metric {
    /// Percent of sources whose whole hypothesis equals no reference.
    Wer,
    /// Edits per reference token, in percent.
    Per,
    /// Percent of lines that are exactly right.
    Exact,
    /// Mean negative log-likelihood of a target token.
    Loss,
}

/// The optimisation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainConfig {
    /// Seed of initial weights, shuffling and dropout.
    pub seed: u64,
    /// Pairs a step.
    pub batch_size: usize,
    /// Passes over the training set at most.
    pub epochs: usize,
    /// Adam's step size at the start.
    pub learning_rate: f32,
    /// Gradients are scaled to this Euclidean norm when they exceed it; 0 leaves them.
    pub clip_norm: f32,
    /// Probability mass taken from the reference token and spread over the vocabulary.
    pub label_smoothing: f32,
    /// The learning rate is multiplied by this when the dev metric has not improved for `lr_patience` epochs.
    pub lr_factor: f32,
    /// Epochs without improvement before the learning rate falls.
    pub lr_patience: usize,
    /// The learning rate does not fall below this.
    pub min_learning_rate: f32,
    /// Epochs without improvement before training stops.
    pub patience: usize,
    /// What is watched on the dev set.
    pub metric: Metric,
    /// Steps between checkpoints within an epoch; 0 keeps one at the end of each epoch only.
    pub checkpoint_every: u64,
    /// Threads; any number gives the same bits.
    pub threads: usize,
}

impl Default for DataConfig {
    fn default() -> Self {
        Self {
            source: Tokens::Chars,
            target: Tokens::Words,
            source_start: false,
            min_count: 1,
            max_source_len: 64,
            max_target_len: 64,
        }
    }
}

impl Default for EncoderConfig {
    fn default() -> Self {
        Self { cell: Cell::Gru, embedding: 64, hidden: 128, layers: 1, bidirectional: true }
    }
}

impl Default for DecoderConfig {
    fn default() -> Self {
        Self { cell: Cell::Gru, embedding: 64, hidden: 128, layers: 1 }
    }
}

impl Default for AttentionConfig {
    fn default() -> Self {
        Self { kind: AttentionKind::Additive, size: 128 }
    }
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self {
            encoder: EncoderConfig::default(),
            attention: AttentionConfig::default(),
            bridge: Bridge::Linear,
            decoder: DecoderConfig::default(),
            dropout: 0.2,
        }
    }
}

impl Default for QatConfig {
    fn default() -> Self {
        Self {
            weights: Kind::INT8,
            output: Kind::INT8,
            fold: Fold::Auto,
            calibration_pairs: 1000,
            products: BTreeMap::new(),
        }
    }
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            seed: 1,
            batch_size: 64,
            epochs: 30,
            learning_rate: 1e-3,
            clip_norm: 1.0,
            label_smoothing: 0.0,
            lr_factor: 0.5,
            lr_patience: 1,
            min_learning_rate: 1e-5,
            patience: 6,
            metric: Metric::Wer,
            checkpoint_every: 0,
            threads: 2,
        }
    }
}

impl Config {
    /// Reads a configuration from TOML text and checks it.
    ///
    /// # Errors
    /// [`Error::Config`] names an unknown key, a wrong type, or a size that cannot work.
    pub fn from_toml(text: &str) -> Result<Self> {
        let config: Self = toml::from_str(text).map_err(|e| Error::Config(e.to_string()))?;
        config.check()?;
        Ok(config)
    }

    /// The configuration as TOML, complete with defaults.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a configuration is plain data")
    }

    /// Checks sizes and ranges.
    ///
    /// # Errors
    /// [`Error::Config`] names the first field that cannot work, what it may be, and what it is.
    pub fn check(&self) -> Result<()> {
        let m = &self.model;
        let sizes = [
            ("data.min_count", self.data.min_count, 1, 1 << 20),
            ("data.max_source_len", self.data.max_source_len, 1, 4096),
            ("data.max_target_len", self.data.max_target_len, 1, 4096),
            ("model.encoder.embedding", m.encoder.embedding, 1, 4096),
            ("model.encoder.hidden", m.encoder.hidden, 1, 4096),
            ("model.encoder.layers", m.encoder.layers, 1, 8),
            ("model.decoder.embedding", m.decoder.embedding, 1, 4096),
            ("model.decoder.hidden", m.decoder.hidden, 1, 4096),
            ("model.decoder.layers", m.decoder.layers, 1, 8),
            ("model.attention.size", m.attention.size, 1, 512),
            ("train.batch_size", self.train.batch_size, 1, 65_536),
            ("train.epochs", self.train.epochs, 1, 1_000_000),
            ("train.patience", self.train.patience, 1, 1_000_000),
            ("train.threads", self.train.threads, 1, 256),
        ];
        for (name, value, low, high) in sizes {
            if value < low || value > high {
                return Err(Error::Config(format!("{name} must be {low} to {high}, found {value}")));
            }
        }
        if let Some(qat) = &self.qat {
            let pairs = qat.calibration_pairs;
            if pairs == 0 {
                return Err(Error::Config("qat.calibration_pairs must be 1 or more, found 0".into()));
            }
        }
        let t = &self.train;
        if i64::try_from(t.seed).is_err() {
            // TOML's integers have 64 bits with a sign.
            return Err(Error::Config(format!("train.seed must be at most {}, found {}", i64::MAX, t.seed)));
        }
        let reals = [
            ("model.dropout", m.dropout, 0.0, 0.95),
            ("train.learning_rate", t.learning_rate, 1e-9, 10.0),
            ("train.min_learning_rate", t.min_learning_rate, 0.0, 10.0),
            ("train.clip_norm", t.clip_norm, 0.0, 1e6),
            ("train.label_smoothing", t.label_smoothing, 0.0, 0.9),
            ("train.lr_factor", t.lr_factor, 0.01, 1.0),
        ];
        for (name, value, low, high) in reals {
            if !(low..=high).contains(&value) {
                return Err(Error::Config(format!("{name} must be {low} to {high}, found {value}")));
            }
        }
        if m.bridge == Bridge::Copy {
            let (e, d) = (&m.encoder, &m.decoder);
            if e.bidirectional || e.cell != d.cell || e.hidden != d.hidden || e.layers != d.layers {
                return Err(Error::Config(
                    "model.bridge = \"copy\" needs a one-directional encoder with the decoder's cell, hidden \
                     and layers; use bridge = \"linear\""
                        .into(),
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn toml_round_trips() {
        let mut config = Config::default();
        config.train.learning_rate = 0.002_3;
        config.train.seed = i64::MAX as u64;
        config.model.dropout = 0.1;
        assert_eq!(Config::from_toml(&config.to_toml()).unwrap(), config);
        assert_eq!(Config::from_toml("").unwrap(), Config::default());
    }

    #[test]
    fn what_cannot_work_is_named() {
        for (text, expected) in [
            ("[train]\nsede = 1", "unknown field `sede`"),
            ("[model]\ndropout = 1.5", "model.dropout must be 0 to 0.95, found 1.5"),
            ("[model.encoder]\nhidden = 0", "model.encoder.hidden must be 1 to 4096, found 0"),
            ("[train]\nbatch_size = -1", "expected usize"),
            ("[train]\nlearning_rate = nan", "train.learning_rate must be"),
            ("[data]\nsource = \"letters\"", "unknown variant `letters`"),
            ("[model]\nbridge = \"copy\"", "needs a one-directional encoder"),
        ] {
            let message = Config::from_toml(text).unwrap_err().to_string();
            assert!(message.contains(expected), "{text}: {message}");
        }
        let mut config = Config::default();
        config.train.seed = u64::MAX;
        assert!(config.check().unwrap_err().to_string().contains("train.seed"));
    }
}
