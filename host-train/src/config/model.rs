//! The corpus' cut and the network: what a model is, however it is trained.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::quant::Kind;

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
    /// Pieces of words, learned by byte-pair encoding.
    Subwords,
    /// No tokens, but rows of numbers: of sources alone, see [`crate::data::frames`].
    Frames,
}

/// Tokenisation and limits of the corpus.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
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
    /// What is learned for the sides that are cut into subwords.
    pub subwords: SubwordsConfig,
    /// What the numbers of a source are.
    pub frames: FramesConfig,
}

/// Sources of numbers.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct FramesConfig {
    /// Numbers a frame; 0 takes those of the first training line.
    pub width: usize,
    /// What an integer count of a number is worth.
    pub resolution: Resolution,
}

/// What integer counts are worth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Resolution {
    /// The same for all features.
    All(f64),
    /// Feature by feature.
    Each(Vec<f64>),
}

impl Resolution {
    /// All of them.
    pub fn values(&self) -> &[f64] {
        match self {
            Self::All(one) => std::slice::from_ref(one),
            Self::Each(each) => each,
        }
    }
}

impl Default for Resolution {
    fn default() -> Self {
        Self::All(1.0)
    }
}

/// Vocabularies of subwords.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SubwordsConfig {
    /// Ids of the source side, marks and characters included.
    pub source_size: usize,
    /// Ids of the target side, likewise.
    pub target_size: usize,
    /// Whether both sides have one vocabulary, learned from the text of both.
    pub shared: bool,
    /// Probability with which a joining of pieces is passed over in training, drawn anew each epoch (BPE dropout).
    pub dropout: f32,
}

/// A recurrent cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cell {
    /// Gated recurrent unit, PyTorch's form (reset gate applied after the recurrent product).
    Gru,
    /// Long short-term memory, gates i, f, g, o.
    Lstm,
    /// Elman's cell with the hyperbolic tangent.
    Rnn,
    /// Elman's cell with the rectifier.
    Relu,
    /// Long short-term memory whose gates look at the cell state, with a weight a unit.
    Peephole,
}

impl Cell {
    /// All there are.
    pub const ALL: [Self; 5] = [Self::Gru, Self::Lstm, Self::Rnn, Self::Relu, Self::Peephole];

    /// Rows of its weight matrices a unit.
    pub fn gates(self) -> usize {
        match self {
            Self::Gru => 3,
            Self::Lstm | Self::Peephole => 4,
            Self::Rnn | Self::Relu => 1,
        }
    }

    /// Whether it has a cell state beside the hidden state.
    pub fn keeps_cell(self) -> bool {
        matches!(self, Self::Lstm | Self::Peephole)
    }
}

/// What a network makes of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// A target of its own length: encoder and decoder.
    Transduce,
    /// A token for each of the source's: encoder and output layer.
    Label,
    /// Targets without a source: a decoder alone, a language model.
    Generate,
}

/// How the decoder looks back at the source: the score of a source position with encoder output `e`, given a decoder state `s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AttentionKind {
    /// Only the encoder's final state is handed over.
    None,
    /// `v · tanh(W_q s + W_k e + b)` (Bahdanau et al. 2015).
    Additive,
    /// `e · s` (Luong et al. 2015).
    Dot,
    /// `(W_a e) · s` (Luong et al. 2015).
    General,
    /// `v_a · tanh(W_a [s; e])` (Luong et al. 2015).
    Concat,
    /// The cosine of the angle between `s` and `e`, or `W_a e` where widths differ, times a learned temperature.
    Cosine,
}

impl AttentionKind {
    /// All that attend.
    pub const ALL: [Self; 5] = [Self::Additive, Self::Dot, Self::General, Self::Concat, Self::Cosine];

    /// Whether a score passes through a layer of energies, as wide as `attention.size`; otherwise it is a product of two vectors.
    pub fn has_energies(self) -> bool {
        matches!(self, Self::Additive | Self::Concat)
    }
}

/// Which state attends, and what reads the context.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// The state before the step; cell and output layer read the context (Bahdanau et al. 2015).
    Before,
    /// The state after it; the output layer reads `tanh(W_c [context; state])` (Luong et al. 2015).
    After,
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
#[serde(default)]
pub struct EncoderConfig {
    /// Cell of every layer.
    pub cell: Cell,
    /// Width of the source embedding; of frames their width, whatever is said.
    pub embedding: usize,
    /// Units a direction.
    pub hidden: usize,
    /// Stacked layers.
    pub layers: usize,
    /// Whether every layer also runs from the end to the start.
    pub bidirectional: bool,
    /// Whether the only direction is from the end to the start (Sutskever et al. 2014).
    pub reverse: bool,
    /// Whether a layer that reads as many values as it has puts out their sum with its state.
    pub residual: bool,
    /// Whether what a layer puts out is normalised (Ba et al. 2016).
    pub norm: bool,
    /// File of word vectors, as GloVe or word2vec write them, that source embeddings start from; none when empty.
    pub vectors: PathBuf,
    /// Whether source embeddings stay as they start.
    pub freeze_vectors: bool,
    /// What is read of the letters of words.
    pub characters: CharactersConfig,
}

impl EncoderConfig {
    /// Width of what the lowest layer reads: an embedding and, beside it, features of letters.
    pub fn inputs(&self) -> usize {
        self.embedding + self.characters.features()
    }
}

/// Features of a word that are computed from its letters, beside its embedding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CharactersConfig {
    /// How they are computed.
    pub kind: CharactersKind,
    /// Width of a letter's embedding.
    pub embedding: usize,
    /// Features a word.
    pub size: usize,
    /// Neighbouring letters that a feature looks at, an odd number.
    pub width: usize,
    /// Most letters of a word that are read: of a longer one the first and the last.
    pub max_len: usize,
}

impl CharactersConfig {
    /// Features a word, 0 where letters are not read.
    pub fn features(&self) -> usize {
        match self.kind {
            CharactersKind::None => 0,
            CharactersKind::Conv => self.size,
        }
    }
}

/// How letters become features.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CharactersKind {
    /// They are not read.
    None,
    /// A convolution over them and its maximum over all places (Ma and Hovy 2016).
    Conv,
}

/// Decoder sizes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DecoderConfig {
    /// Cell of every layer.
    pub cell: Cell,
    /// Width of the target embedding.
    pub embedding: usize,
    /// Units.
    pub hidden: usize,
    /// Stacked layers.
    pub layers: usize,
    /// As the encoder's. The lowest layer has a sum only if it reads nothing but the embedding.
    pub residual: bool,
    /// As the encoder's.
    pub norm: bool,
    /// Without attention: whether cell and output layer read the encoder's final state in every step (Cho et al. 2014).
    pub context: bool,
}

/// The network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ModelConfig {
    /// What it does.
    pub task: Task,
    /// Encoder sizes.
    pub encoder: EncoderConfig,
    /// Attention.
    pub attention: AttentionConfig,
    /// Start of the decoder's state.
    pub bridge: Bridge,
    /// Decoder sizes.
    pub decoder: DecoderConfig,
    /// Whether the output layer's weights are the target embeddings (Press and Wolf 2017).
    pub tie_embeddings: bool,
    /// Dropout probability between layers and before the output layer.
    pub dropout: f32,
    /// Dropout probability on embeddings; `dropout` where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub embedding_dropout: Option<f32>,
}

/// Attention sizes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AttentionConfig {
    /// Its form.
    pub kind: AttentionKind,
    /// Width of energies, where the kind has them.
    pub size: usize,
    /// Which state attends.
    pub place: Place,
    /// With `place = "after"`: whether the lowest cell reads what the output layer read in the step before.
    pub input_feeding: bool,
    /// How much of the loss is the squared distance from 1 of the attention that each source position gets in all steps
    /// together (Xu et al. 2015, section 4.2.1).
    pub coverage_loss: f32,
}

/// What quantization-aware training imitates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
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

impl Default for DataConfig {
    fn default() -> Self {
        Self {
            source: Tokens::Chars,
            target: Tokens::Words,
            source_start: false,
            min_count: 1,
            max_source_len: 64,
            max_target_len: 64,
            subwords: SubwordsConfig::default(),
            frames: FramesConfig::default(),
        }
    }
}

impl Default for SubwordsConfig {
    fn default() -> Self {
        Self { source_size: 4000, target_size: 4000, shared: false, dropout: 0.0 }
    }
}

impl Default for EncoderConfig {
    fn default() -> Self {
        Self {
            cell: Cell::Gru,
            embedding: 64,
            hidden: 128,
            layers: 1,
            bidirectional: true,
            reverse: false,
            residual: false,
            norm: false,
            vectors: PathBuf::new(),
            freeze_vectors: false,
            characters: CharactersConfig::default(),
        }
    }
}

impl Default for CharactersConfig {
    fn default() -> Self {
        Self { kind: CharactersKind::None, embedding: 16, size: 32, width: 3, max_len: 20 }
    }
}

impl Default for DecoderConfig {
    fn default() -> Self {
        Self {
            cell: Cell::Gru,
            embedding: 64,
            hidden: 128,
            layers: 1,
            residual: false,
            norm: false,
            context: false,
        }
    }
}

impl Default for AttentionConfig {
    fn default() -> Self {
        Self {
            kind: AttentionKind::Additive,
            size: 128,
            place: Place::Before,
            input_feeding: false,
            coverage_loss: 0.0,
        }
    }
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self {
            task: Task::Transduce,
            encoder: EncoderConfig::default(),
            attention: AttentionConfig::default(),
            bridge: Bridge::Linear,
            decoder: DecoderConfig::default(),
            tie_embeddings: false,
            dropout: 0.2,
            embedding_dropout: None,
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
