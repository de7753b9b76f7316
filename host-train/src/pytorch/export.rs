//! To PyTorch.

use std::path::Path;

use super::attention::Spelling;
use super::{Vocabulary, move_rows, token_rows};
use crate::checkpoint::{Checkpoint, save_tensors, write_atomically};
use crate::config::{AttentionKind, Bridge, Cell, Config, ModelConfig, Place, Task, Tokens};
use crate::error::Result;
use crate::nn::params::Tensor;
use crate::quant::OUTPUT;

/// Which modules take an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The attention tutorial's `Seq2Seq`, `attn_fc` and `v_fc` in its `Attention`.
    Tutorial,
    /// Modules made of `nn.Embedding`, `nn.GRU` or `nn.LSTM`, and `nn.Linear`, attention of `w_q`, `w_k` and `v`.
    Plain,
    /// The same, of a network that [`import`](fn@super::import) does not know: which does not transduce, or whose sources are read by
    /// letters or are numbers.
    Own,
}

impl Form {
    /// The form of a network.
    pub fn of(config: &Config) -> Self {
        let ModelConfig { encoder, attention, bridge, decoder, task, tie_embeddings, .. } = &config.model;
        let tutorial = [encoder.cell, decoder.cell] == [Cell::Gru; 2]
            && [encoder.layers, decoder.layers] == [1; 2]
            && encoder.bidirectional
            && *bridge == Bridge::Linear
            && attention.kind == AttentionKind::Additive
            && attention.place == Place::Before
            && attention.size == decoder.hidden
            && !(decoder.norm || encoder.norm || *tie_embeddings);
        let own = encoder.characters.features() > 0 || config.data.source == Tokens::Frames;
        match (own || *task != Task::Transduce, tutorial) {
            (true, _) => Self::Own,
            (false, true) => Self::Tutorial,
            (false, false) => Self::Plain,
        }
    }
}

/// A network as PyTorch loads it.
#[derive(Debug, Clone, PartialEq)]
pub struct Exported {
    /// Which modules take it.
    pub form: Form,
    /// Its `state_dict`.
    pub tensors: Vec<Tensor>,
    /// Source tokens with their ids there; none of numbers.
    pub source: Option<Vocabulary>,
    /// Target tokens likewise.
    pub target: Vocabulary,
    /// Letters of source words likewise, where they are read.
    pub characters: Option<Vocabulary>,
}

/// The weights with PyTorch's names and layouts; ids 0 to 3 are `<unk>`, `<pad>`, `<sos>` and `<eos>`, as in the tutorials.
pub fn export(checkpoint: &Checkpoint) -> Exported {
    let Checkpoint { config, source_vocab, target_vocab, model } = checkpoint;
    let source = source_vocab.frames().is_none().then(|| Vocabulary::exported(source_vocab));
    let characters = source_vocab.characters().map(Vocabulary::exported);
    let target = Vocabulary::exported(target_vocab);
    let mut tensors: Vec<Tensor> = model.params.iter().cloned().collect();
    for tensor in &mut tensors {
        let vocabulary = match token_rows(&tensor.name) {
            Some(true) => source.as_ref(),
            Some(false) => Some(&target),
            None => characters.as_ref().filter(|_| tensor.name == "encoder.characters.embedding.weight"),
        };
        if let Some(vocabulary) = vocabulary {
            move_rows(tensor, &vocabulary.theirs());
        }
    }
    if model.config.tie_embeddings {
        // PyTorch names shared weights twice.
        let shared = tensors.iter().find(|t| t.name == "decoder.embedding.weight").cloned();
        tensors.extend(shared.map(|t| Tensor { name: format!("{OUTPUT}.weight"), ..t }));
    }
    let form = Form::of(config);
    if form == Form::Tutorial {
        tensors = Spelling::TUTORIAL.join(tensors);
    }
    Exported { form, tensors, source, target, characters }
}

impl Exported {
    /// Names of the files in an export's directory: the `state_dict`, source tokens, target tokens.
    pub const FILES: [&str; 3] = ["state_dict.safetensors", "vocab.source.txt", "vocab.target.txt"];
    /// Name of that of the letters of words.
    pub const CHARACTERS: &str = "vocab.characters.txt";

    /// Writes the files into a directory, which is created where it is missing.
    ///
    /// # Errors
    /// [`crate::Error::Io`].
    pub fn write(&self, dir: &Path) -> Result<()> {
        std::fs::create_dir_all(dir).map_err(|source| crate::Error::Io {
            action: "create",
            path: dir.into(),
            source,
        })?;
        let [weights, source, target] = Self::FILES.map(|name| dir.join(name));
        let vocabularies = [
            (source, self.source.as_ref()),
            (target, Some(&self.target)),
            (dir.join(Self::CHARACTERS), self.characters.as_ref()),
        ];
        for (path, vocabulary) in vocabularies {
            if let Some(vocabulary) = vocabulary {
                write_atomically(&path, vocabulary.to_file_text().as_bytes())?;
            }
        }
        save_tensors(&weights, &self.tensors.iter().collect::<Vec<_>>(), "")
    }
}
