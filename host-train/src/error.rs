//! What can go wrong on the host, with the file and line where it is known.

use std::path::PathBuf;

use crate::pytorch::{self, Fault};

/// An error of training, decoding or reading data on the host.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read, written, created or renamed.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was attempted: "read", "write", ...
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A line of a corpus is not `source<TAB>target`.
    #[error("{}:{line}: {reason}", path.display())]
    Corpus {
        /// The corpus file.
        path: PathBuf,
        /// Line number, from 1.
        line: usize,
        /// What was expected and what was found.
        reason: String,
    },
    /// A line of a file of word vectors is not a word and its numbers.
    #[error("{}:{line}: {reason}", path.display())]
    Vectors {
        /// The file.
        path: PathBuf,
        /// Line number, from 1.
        line: usize,
        /// What was expected and what was found.
        reason: String,
    },
    /// The configuration cannot be used.
    #[error("configuration: {0}")]
    Config(String),
    /// A checkpoint is incomplete, damaged or does not fit its configuration.
    #[error("checkpoint {}: {reason}", path.display())]
    Checkpoint {
        /// The file inside the checkpoint directory.
        path: PathBuf,
        /// What was expected and what was found.
        reason: String,
    },
    /// A `state_dict` cannot be imported.
    #[error("{}: {}", path.display(), pytorch::list(faults))]
    StateDict {
        /// The safetensors file.
        path: PathBuf,
        /// All that does not fit, at least one.
        faults: Vec<Fault>,
    },
    /// A vocabulary file cannot be imported.
    #[error("{}: {reason}", path.display())]
    Vocabulary {
        /// The file.
        path: PathBuf,
        /// What was expected and what was found, with the line where there is one.
        reason: String,
    },
    /// Training cannot go on (not a number, stopped by the user, ...).
    #[error("training: {0}")]
    Training(String),
}

/// The result of a host operation.
pub type Result<T> = std::result::Result<T, Error>;
