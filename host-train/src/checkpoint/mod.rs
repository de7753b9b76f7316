//! A trained model on disk, and all that continues its training.
//!
//! | file | holds |
//! |---|---|
//! | `config.toml` | model and training, complete |
//! | `vocab.source.txt`, `vocab.target.txt` | tokens in the order of ids; none of a source of numbers |
//! | `vocab.characters.txt` | letters of words, in the order of ids; absent where they are not read |
//! | `quantization.toml` | the integer grid of a network trained for it; absent otherwise |
//! | `model.safetensors` | the best weights so far, averaged if so configured; PyTorch's names and layouts |
//! | `optimizer.safetensors` | the current weights, the optimizer's moments, what averages need, and the training state in its header |
//! | `state.json` | the same training state, for people and programs |
//! | `history.jsonl` | one line an epoch |
//!
//! Decoding needs the first six. Every file is written under a temporary name, synced and renamed.
//! A state is committed by the renaming of `optimizer.safetensors`, which holds all that training needs: what is
//! written after it (`model.safetensors` when an epoch ends and is the best, `state.json`) follows from it and is
//! written again on resuming, what is written before it (`history.jsonl`) is cut back on resuming. So a kill at any
//! instant leaves one state or the other, never a mixture. The first state is committed before the first step, after
//! the files that tell what is trained.

mod atomic;
mod run;
mod tensors;

use std::path::{Path, PathBuf};

pub use atomic::write as write_atomically;
pub use run::{Best, Partial, Resumed, RunDir, Snapshot, State};
pub use tensors::{checksum, load as load_tensors, save as save_tensors};

use crate::config::{Config, Task, Tokens};
use crate::data::frames::Frames;
use crate::ensemble::Ensemble;
use crate::error::{Error, Result};
use crate::model::Seq2Seq;
use crate::quant::Scheme;
use crate::vocab::Vocab;

/// A model with what it takes to use it on text.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    /// Model and training.
    pub config: Config,
    /// Tokens of the source side.
    pub source_vocab: Vocab,
    /// Tokens of the target side.
    pub target_vocab: Vocab,
    /// The best weights of the run; it computes on the chip's grid when it was trained for that.
    pub model: Seq2Seq,
}

impl Checkpoint {
    /// Loads the best model of a checkpoint directory.
    ///
    /// # Errors
    /// [`Error::Io`] when a file cannot be read; [`Error::Checkpoint`] names the file that is damaged or does not
    /// fit the configuration, what was expected and what was found.
    pub fn load(dir: &Path) -> Result<Self> {
        let (config, source_vocab, target_vocab) = load_setup(dir)?;
        let path = dir.join("model.safetensors");
        if !path.exists() && dir.join("config.toml").exists() {
            let reason = "not there yet; expected the weights of the best epoch (has one finished?)".into();
            return Err(Error::Checkpoint { path, reason });
        }
        let (params, _) = load_tensors(&path)?;
        let mut model = Seq2Seq::from_params(&config.model, &source_vocab, target_vocab.len(), params)
            .map_err(|e| misfit(&path, &e))?;
        model.scheme = Scheme::load(dir, &config.model)?;
        Ok(Self { config, source_vocab, target_vocab, model })
    }

    /// Loads several checkpoints that know the same tokens, at least one.
    ///
    /// # Errors
    /// As [`Checkpoint::load`]; [`Error::Checkpoint`] names the first whose tokens or their order are not those of the
    /// first one, as when they were trained on different corpora.
    pub fn load_all(dirs: &[PathBuf]) -> Result<Vec<Self>> {
        let all: Vec<Self> = dirs.iter().map(|dir| Self::load(dir)).collect::<Result<_>>()?;
        for (other, dir) in all.iter().zip(dirs) {
            let sides = [
                (&all[0].source_vocab, &other.source_vocab, "vocab.source.txt"),
                (&all[0].target_vocab, &other.target_vocab, "vocab.target.txt"),
            ];
            if let Some((.., name)) = sides.into_iter().find(|(first, other, _)| first != other) {
                let first = dirs[0].join(name);
                let reason = format!("expected the tokens of {}, in their order", first.display());
                return Err(Error::Checkpoint { path: dir.join(name), reason });
            }
        }
        Ok(all)
    }

    /// The models of checkpoints as one.
    ///
    /// # Errors
    /// As [`Ensemble::new`].
    pub fn ensemble(checkpoints: &[Self]) -> Result<Ensemble<'_>> {
        Ensemble::new(checkpoints.iter().map(|checkpoint| &checkpoint.model).collect())
    }

    /// Writes the model into a directory in place of whatever run is there: what decoding and `--init` need.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save(&self, dir: &Path) -> Result<()> {
        let run = RunDir::new(dir);
        run.create()?;
        run.clear()?;
        run.write_setup(&self.config, &self.source_vocab, &self.target_vocab, self.model.scheme.as_ref())?;
        let tensors: Vec<_> = self.model.params.iter().collect();
        save_tensors(&dir.join("model.safetensors"), &tensors, "")
    }
}

/// Configuration and vocabularies of a checkpoint directory.
fn load_setup(dir: &Path) -> Result<(Config, Vocab, Vocab)> {
    let path = dir.join("config.toml");
    let config = Config::from_toml(&read_text(&path)?).map_err(|e| misfit(&path, &e))?;
    let mut source_vocab = match config.data.source {
        Tokens::Frames if config.data.frames.width == 0 => {
            return Err(Error::Checkpoint {
                path,
                reason: "expected data.frames.width above 0, found 0".into(),
            });
        }
        Tokens::Frames => {
            let frames = Frames::of(&config.data.frames, "");
            Vocab::of_frames(frames.map_err(|reason| Error::Checkpoint { path, reason })?)
        }
        how => load_vocab(how, dir.join("vocab.source.txt"))?.with_start(config.data.source_start),
    };
    if config.model.encoder.characters.features() > 0 {
        source_vocab = source_vocab.with_characters(load_vocab(Tokens::Chars, dir.join(run::CHARACTERS))?);
    }
    let target_vocab = load_vocab(config.data.target, dir.join("vocab.target.txt"))?;
    let target_vocab = target_vocab.with_end(config.model.task != Task::Label);
    Ok((config, source_vocab, target_vocab))
}

fn load_vocab(how: Tokens, path: PathBuf) -> Result<Vocab> {
    Vocab::from_file_text(how, &read_text(&path)?, &path)
}

fn read_text(path: &Path) -> Result<String> {
    let bytes =
        std::fs::read(path).map_err(|source| Error::Io { action: "read", path: path.into(), source })?;
    String::from_utf8(bytes).map_err(|e| Error::Checkpoint {
        path: path.into(),
        reason: format!("expected UTF-8 text, found other bytes at offset {}", e.utf8_error().valid_up_to()),
    })
}

/// What another part of the crate says about the content of a file, with the file's name.
fn misfit(path: &Path, error: &Error) -> Error {
    let reason = match error {
        Error::Config(reason) => reason.clone(),
        other => other.to_string(),
    };
    Error::Checkpoint { path: path.into(), reason }
}
