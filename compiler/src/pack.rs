//! The one writer of the blob format of `docs/format.md`.

use kinglet::Model;
use kinglet::blob::schema::{Description, Offset, Op, Over, Pass};
use kinglet::blob::{ALIGN, MAGIC, PREAMBLE, VERSION, checksum};
use kinglet::kernels::Layout;

use crate::error::{Error, Result};

/// A named tensor of the data section.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Tensor {
    /// Where it comes from.
    pub name: String,
    /// First byte, from the start of the data section.
    pub offset: Offset,
    /// Length without padding.
    pub bytes: usize,
}

/// The data section as it grows.
#[derive(Debug, Clone, Default)]
pub struct Section {
    bytes: Vec<u8>,
    tensors: Vec<Tensor>,
}

impl Section {
    /// Appends a tensor at the next aligned offset, which is returned.
    pub fn push(&mut self, name: impl Into<String>, bytes: &[u8]) -> Offset {
        self.bytes.resize(self.bytes.len().next_multiple_of(ALIGN), 0);
        // Offsets beyond 32 bits are refused when the blob is packed.
        let offset = self.bytes.len() as Offset;
        self.bytes.extend_from_slice(bytes);
        self.tensors.push(Tensor { name: name.into(), offset, bytes: bytes.len() });
        offset
    }

    /// Appends a tensor of 16-bit numbers.
    pub fn push_i16(&mut self, name: impl Into<String>, values: &[i16]) -> Offset {
        self.push(name, &values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>())
    }

    /// Appends a tensor of signed bytes.
    pub fn push_i8(&mut self, name: impl Into<String>, values: &[i8]) -> Offset {
        self.push(name, &values.iter().map(|&v| v as u8).collect::<Vec<u8>>())
    }

    /// The tensors in order.
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }
}

/// A program as it grows: passes with their operations, encoded.
#[derive(Debug, Clone, Default)]
pub struct Program(Vec<u8>);

impl Program {
    /// Appends a pass; nothing when it has no operations.
    pub fn pass(&mut self, over: Over, ops: &[Op]) {
        if ops.is_empty() {
            return;
        }
        self.0.extend(Pass { over, ops: ops.len() as u8 }.to_bytes());
        self.0.extend(ops.iter().flat_map(Op::to_bytes));
    }

    /// The encoded program.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Writes a blob and reads it back with the runtime. The same input gives the same bytes.
///
/// # Errors
/// [`Error::Model`] when it would exceed 4 GiB, [`Error::Reload`] when the runtime refuses it.
pub fn pack(description: &Description<'_>, layout: Layout, section: &Section) -> Result<Vec<u8>> {
    let encoded = postcard::to_stdvec(description).map_err(|e| Error::Model(e.to_string()))?;
    let start = (PREAMBLE + encoded.len()).next_multiple_of(ALIGN);
    let total = start + section.bytes.len();
    let (Ok(length), Ok(data)) = (u32::try_from(total), u32::try_from(start)) else {
        return Err(Error::Model(format!("a blob has at most 4 GiB, this one would have {total} bytes")));
    };
    let mut blob = Vec::with_capacity(total);
    blob.extend(MAGIC);
    blob.extend(VERSION.to_le_bytes());
    blob.extend((layout as u16).to_le_bytes());
    blob.extend(length.to_le_bytes());
    blob.extend(data.to_le_bytes());
    let head = blob.clone();
    blob.extend([0; PREAMBLE - 16]);
    blob.extend(encoded);
    blob.resize(start, 0);
    blob.extend(&section.bytes);
    let crc = checksum(&head, &blob[PREAMBLE..]);
    blob[PREAMBLE - 4..PREAMBLE].copy_from_slice(&crc.to_le_bytes());
    Model::from_bytes(&blob).map_err(|e| Error::Reload(e.to_string()))?;
    Ok(blob)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_are_aligned_and_padded_with_zeros() {
        let mut section = Section::default();
        assert_eq!(section.push("a", &[1, 2, 3]), 0);
        assert_eq!(section.push_i16("b", &[-2]), 16);
        assert_eq!(section.bytes, [1, 2, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFE, 0xFF]);
        assert_eq!(section.tensors()[1], Tensor { name: "b".into(), offset: 16, bytes: 2 });
    }

    #[test]
    fn a_pass_without_operations_is_nothing() {
        let mut program = Program::default();
        program.pass(Over::Once, &[]);
        assert!(program.bytes().is_empty());
    }
}
