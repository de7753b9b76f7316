//! PyTorch's weights, both ways: a `state_dict` in a safetensors file with a vocabulary file for each side.
//!
//! [`import`](fn@import) makes a [`Checkpoint`](crate::checkpoint::Checkpoint) of them, which goes on as any other;
//! [`export`](fn@export) writes what `load_state_dict(strict=True)` takes. The network is read off names and shapes; what does not
//! fit is listed, tensor by tensor ([`Fault`]). `docs/pytorch.md` has the table of names.

mod attention;
mod export;
mod fault;
mod import;
mod mapping;
mod sizes;
mod state_dict;
#[cfg(test)]
mod tests;
mod vocabulary;

pub use attention::split as split_attention;
pub use export::{Exported, Form, export};
pub use fault::Fault;
pub(crate) use fault::list;
pub use import::{Files, import};
pub use mapping::Mapping;
pub use state_dict::read;
pub use vocabulary::Vocabulary;

use crate::nn::params::Tensor;

/// Whether a tensor has a row for each token of the source (`Some(true)`), of the target (`Some(false)`), or neither.
fn token_rows(name: &str) -> Option<bool> {
    match name {
        "encoder.embedding.weight" => Some(true),
        "decoder.embedding.weight" | "decoder.fc_out.weight" | "decoder.fc_out.bias" => Some(false),
        _ => None,
    }
}

/// Puts row `i` of a tensor where `place[i]` says.
fn move_rows(tensor: &mut Tensor, place: &[u32]) {
    let width: usize = tensor.shape[1..].iter().product();
    let from = std::mem::take(&mut tensor.data);
    tensor.data = vec![0.0; from.len()];
    for (row, &to) in from.chunks_exact(width).zip(place) {
        tensor.data[to as usize * width..][..width].copy_from_slice(row);
    }
}
