//! What keeps a `state_dict` from being imported.

/// A fault of a `state_dict`: which tensor, what was expected, what was found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The file is no safetensors file, or is cut short.
    #[error("expected a whole safetensors file, found {bytes} bytes that are not: {reason}")]
    Damaged {
        /// Length of the file.
        bytes: usize,
        /// What the reader says.
        reason: String,
    },
    /// A tensor that the network needs is not there.
    #[error("tensor {name}{} is missing", shape(.expected))]
    Missing {
        /// PyTorch's name.
        name: String,
        /// Its shape, where it follows from the other tensors.
        expected: Option<Vec<usize>>,
    },
    /// A tensor has another shape than the network needs.
    #[error("tensor {name}: expected shape {expected:?}, found {found:?}")]
    Shape {
        /// PyTorch's name.
        name: String,
        /// The shape that fits the others.
        expected: Vec<usize>,
        /// The shape in the file.
        found: Vec<usize>,
    },
    /// A tensor that sizes are read off is no matrix.
    #[error("tensor {name}: expected a matrix, found shape {found:?}")]
    NoMatrix {
        /// PyTorch's name.
        name: String,
        /// The shape in the file.
        found: Vec<usize>,
    },
    /// Recurrent weights are those of no known cell.
    #[error(
        "tensor {name}: expected 1 row a unit (nn.RNN), 3 (nn.GRU) or 4 (nn.LSTM), found {rows} rows for {units} units"
    )]
    Cell {
        /// PyTorch's name.
        name: String,
        /// Rows of the matrix.
        rows: usize,
        /// Its columns.
        units: usize,
    },
    /// A tensor that the network has no place for.
    #[error("tensor {name} {found:?} does not belong to this network")]
    Unknown {
        /// PyTorch's name.
        name: String,
        /// The shape in the file.
        found: Vec<usize>,
    },
    /// A tensor does not hold real numbers.
    #[error("tensor {name}: expected F32, F64, F16 or BF16, found {found}")]
    Type {
        /// PyTorch's name.
        name: String,
        /// The type in the file.
        found: String,
    },
    /// A tensor holds infinity or what is no number.
    #[error("tensor {name}: expected finite values, found {found}")]
    NotFinite {
        /// PyTorch's name.
        name: String,
        /// The first such value.
        found: String,
    },
    /// A vocabulary has not as many tokens as the embedding has rows.
    #[error("the {side} vocabulary: expected {rows} tokens, as many as {side} embeddings, found {found}")]
    Vocabulary {
        /// `source` or `target`.
        side: &'static str,
        /// Rows of the embedding.
        rows: usize,
        /// Tokens of the vocabulary.
        found: usize,
    },
}

fn shape(expected: &Option<Vec<usize>>) -> String {
    expected.as_ref().map_or(String::new(), |shape| format!(" {shape:?}"))
}

/// All faults in one line.
pub(crate) fn list(faults: &[Fault]) -> String {
    faults.iter().map(Fault::to_string).collect::<Vec<_>>().join("; ")
}
