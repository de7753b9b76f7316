//! To PyTorch.

use std::path::Path;

use super::attention::Spelling;
use super::{Vocabulary, move_rows, token_rows};
use crate::checkpoint::{Checkpoint, save_tensors, write_atomically};
use crate::config::{AttentionKind, Bridge, Cell, ModelConfig, Place};
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
}

impl Form {
    /// The form of a network.
    pub fn of(config: &ModelConfig) -> Self {
        let ModelConfig { encoder, attention, bridge, decoder, .. } = config;
        let tutorial = [encoder.cell, decoder.cell] == [Cell::Gru; 2]
            && [encoder.layers, decoder.layers] == [1; 2]
            && encoder.bidirectional
            && *bridge == Bridge::Linear
            && attention.kind == AttentionKind::Additive
            && attention.place == Place::Before
            && attention.size == decoder.hidden
            && !(decoder.norm || encoder.norm || config.tie_embeddings);
        if tutorial { Self::Tutorial } else { Self::Plain }
    }
}

/// A network as PyTorch loads it.
#[derive(Debug, Clone, PartialEq)]
pub struct Exported {
    /// Which modules take it.
    pub form: Form,
    /// Its `state_dict`.
    pub tensors: Vec<Tensor>,
    /// Source tokens with their ids there.
    pub source: Vocabulary,
    /// Target tokens likewise.
    pub target: Vocabulary,
}

/// The weights with PyTorch's names and layouts; ids 0 to 3 are `<unk>`, `<pad>`, `<sos>` and `<eos>`, as in the tutorials.
pub fn export(checkpoint: &Checkpoint) -> Exported {
    let Checkpoint { source_vocab, target_vocab, model, .. } = checkpoint;
    let (source, target) = (Vocabulary::exported(source_vocab), Vocabulary::exported(target_vocab));
    let mut tensors: Vec<Tensor> = model.params.iter().cloned().collect();
    for tensor in &mut tensors {
        if let Some(of_source) = token_rows(&tensor.name) {
            move_rows(tensor, &if of_source { &source } else { &target }.theirs());
        }
    }
    if model.config.tie_embeddings {
        // PyTorch names shared weights twice.
        let shared = tensors.iter().find(|t| t.name == "decoder.embedding.weight").cloned();
        tensors.extend(shared.map(|t| Tensor { name: format!("{OUTPUT}.weight"), ..t }));
    }
    let form = Form::of(&model.config);
    if form == Form::Tutorial {
        tensors = Spelling::TUTORIAL.join(tensors);
    }
    Exported { form, tensors, source, target }
}

impl Exported {
    /// Names of the files in an export's directory: the `state_dict`, source tokens, target tokens.
    pub const FILES: [&str; 3] = ["state_dict.safetensors", "vocab.source.txt", "vocab.target.txt"];

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
        write_atomically(&source, self.source.to_file_text().as_bytes())?;
        write_atomically(&target, self.target.to_file_text().as_bytes())?;
        save_tensors(&weights, &self.tensors.iter().collect::<Vec<_>>(), "")
    }
}
