//! What can go wrong when a model is compiled or a blob is used on the desktop.

use std::path::PathBuf;

/// An error of the compiler.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The trained model cannot be expressed in the blob format.
    #[error("this model cannot be compiled: {0}")]
    Model(String),
    /// Calibration data is missing or cannot be used.
    #[error("calibration: {0}")]
    Calibration(String),
    /// No board has this name.
    #[error("there is no board {name}; known are {known}")]
    Board {
        /// The name.
        name: String,
        /// All names.
        known: String,
    },
    /// The compiled model is larger than what it was given.
    #[error("the model needs {needed} bytes of {memory}, {allowed} are allowed: {advice}")]
    TooLarge {
        /// "RAM" or "flash".
        memory: &'static str,
        /// Bytes that it needs.
        needed: usize,
        /// Bytes that it may take.
        allowed: usize,
        /// What to change.
        advice: String,
    },
    /// The blob that was just written is refused by the runtime: an error of the compiler itself.
    #[error("the packed blob is refused by the runtime: {0}; please report this as a bug of the compiler")]
    Reload(String),
    /// A blob cannot be loaded.
    #[error("{}: {reason}", path.display())]
    Blob {
        /// The file.
        path: PathBuf,
        /// Why it is refused.
        reason: String,
    },
    /// The runtime refuses to run.
    #[error("{0}")]
    Run(String),
    /// A file could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was attempted: "read", "write", ...
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Data or checkpoint errors of the trainer.
    #[error(transparent)]
    Train(#[from] kinglet_train::Error),
}

/// The result of a compiler operation.
pub type Result<T> = std::result::Result<T, Error>;
