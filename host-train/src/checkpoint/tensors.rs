//! Named tensors in safetensors files, with a checksum and a note in the header.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, View, serialize};
use serde::{Deserialize, Serialize};

use super::write_atomically;
use crate::error::{Error, Result};
use crate::nn::params::{Params, Tensor};

/// The one key of the header's metadata: with more, their order in the file would be random.
const KEY: &str = "kinglet";

/// What the metadata holds, as JSON.
#[derive(Serialize, Deserialize)]
struct Note {
    /// FNV-1a of names, values and text, in hexadecimal digits.
    checksum: String,
    /// The caller's text.
    text: String,
}

/// FNV-1a with 64 bits (Fowler, Noll and Vo): tells damaged from whole, not friend from foe.
pub fn checksum(bytes: impl IntoIterator<Item = u8>) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3);
    bytes.into_iter().fold(0xCBF2_9CE4_8422_2325, step)
}

fn checksum_of(tensors: &[&Tensor], text: &str) -> String {
    let mut sorted = tensors.to_vec();
    sorted.sort_by(|a, b| a.name.cmp(&b.name));
    let values =
        sorted.iter().flat_map(|t| t.name.bytes().chain(t.data.iter().flat_map(|value| value.to_le_bytes())));
    format!("{:016x}", checksum(values.chain(text.bytes())))
}

/// A tensor as the safetensors crate reads it.
struct Bytes<'a>(&'a Tensor);

impl View for Bytes<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }
    fn shape(&self) -> &[usize] {
        &self.0.shape
    }
    fn data(&self) -> Cow<'_, [u8]> {
        self.0.data.iter().flat_map(|value| value.to_le_bytes()).collect()
    }
    fn data_len(&self) -> usize {
        4 * self.0.data.len()
    }
}

/// Writes tensors and a text of the caller's to a safetensors file, atomically. Values are stored as F32; the
/// same arguments give the same bytes.
///
/// # Errors
/// [`Error::Io`].
pub fn save(path: &Path, tensors: &[&Tensor], text: &str) -> Result<()> {
    let note = Note { checksum: checksum_of(tensors, text), text: text.into() };
    let note = serde_json::to_string(&note).expect("two strings are plain data");
    let views = tensors.iter().map(|tensor| (tensor.name.as_str(), Bytes(tensor)));
    let bytes = serialize(views, Some(HashMap::from([(KEY.into(), note)])))
        .map_err(|e| Error::Checkpoint { path: path.into(), reason: e.to_string() })?;
    write_atomically(path, &bytes)
}

/// The tensors of a safetensors file by name, and the text stored with them (empty in a file of other origin).
///
/// # Errors
/// [`Error::Io`]; [`Error::Checkpoint`] when the file is not safetensors, is cut short, holds a type other than
/// F32, or does not match its own checksum.
pub fn load(path: &Path) -> Result<(Params, String)> {
    let bytes =
        std::fs::read(path).map_err(|source| Error::Io { action: "read", path: path.into(), source })?;
    parse(&bytes, path)
}

/// [`load`] of the bytes of a file; `path` appears in errors only.
fn parse(bytes: &[u8], path: &Path) -> Result<(Params, String)> {
    let fail = |reason: String| Error::Checkpoint { path: path.into(), reason };
    let damaged = |e: &dyn std::fmt::Display| {
        fail(format!("expected a whole safetensors file, found {} bytes that are not: {e}", bytes.len()))
    };
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| damaged(&e))?;
    let file = SafeTensors::deserialize(bytes).map_err(|e| damaged(&e))?;

    let mut tensors = Vec::new();
    for (name, view) in file.tensors() {
        if view.dtype() != Dtype::F32 {
            return Err(fail(format!("tensor {name}: expected F32 values, found {:?}", view.dtype())));
        }
        let (values, _) = view.data().as_chunks::<4>();
        let data = values.iter().map(|&value| f32::from_le_bytes(value)).collect();
        tensors.push(Tensor { name, shape: view.shape().to_vec(), data });
    }
    tensors.sort_by(|a, b| a.name.cmp(&b.name));

    let mut text = String::new();
    if let Some(note) = header.metadata().as_ref().and_then(|map| map.get(KEY)) {
        let note: Note = serde_json::from_str(note).map_err(|e| damaged(&e))?;
        let found = checksum_of(&tensors.iter().collect::<Vec<_>>(), &note.text);
        if found != note.checksum {
            return Err(fail(format!(
                "expected checksum {}, found {found}: the file is damaged",
                note.checksum
            )));
        }
        text = note.text;
    }
    let params = Params::new(tensors).map_err(|e| super::misfit(path, &e))?;
    Ok((params, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<Tensor> {
        vec![
            Tensor { name: "w".into(), shape: vec![2, 3], data: vec![0.1, -2.0, 3.5, f32::MIN, 0.0, 1e-30] },
            Tensor { name: "b".into(), shape: vec![2], data: vec![1.0, 2.0] },
        ]
    }

    #[test]
    fn the_checksum_is_fnv1a() {
        // Test values of the algorithm's authors.
        assert_eq!(checksum([]), 0xcbf2_9ce4_8422_2325);
        assert_eq!(checksum(*b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(checksum(*b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn files_round_trip_and_repeat() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.safetensors");
        let tensors = sample();
        save(&path, &tensors.iter().collect::<Vec<_>>(), "a note").unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let (params, text) = load(&path).unwrap();
        assert_eq!((params.get("w"), params.get("b")), (Some(&tensors[0]), Some(&tensors[1])));
        assert_eq!(text, "a note");
        save(&path, &tensors.iter().rev().collect::<Vec<_>>(), "a note").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
    }

    #[test]
    fn no_truncation_and_no_flipped_bit_passes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.safetensors");
        let tensors = sample();
        save(&path, &tensors.iter().collect::<Vec<_>>(), "note").unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let whole = load(&path).unwrap();
        for length in 0..bytes.len() {
            let message = parse(&bytes[..length], &path).unwrap_err().to_string();
            assert!(message.contains("x.safetensors"), "{message}");
        }
        for bit in 0..8 * bytes.len() {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            // In the header a flip may spell the same (padding) or hide the note: the tensors are the same then.
            if let Ok((params, text)) = parse(&flipped, &path) {
                assert!(params == whole.0 && (text == "note" || text.is_empty()), "bit {bit}");
            }
        }
    }
}
