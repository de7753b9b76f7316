//! What the fuzz targets share: sealing bytes as a blob, mutating a model where its structure is, and doing with a
//! model all that a caller can.

mod exercise;
mod mutate;

pub use exercise::{exercise, look};
pub use mutate::mutate;

use kinglet::blob::{MAGIC, PREAMBLE, VERSION};

/// Bytes before the blob in an input of the `decode` target: what to do with the model.
pub const CONTROL: usize = 16;

/// The bytes with magic, version, length and CRC as they must be, and one of the three layouts unless theirs is one.
pub fn sealed(bytes: &[u8], layout: u8) -> Box<[u8]> {
    let mut blob: Box<[u8]> = bytes.into();
    let len = (blob.len() as u32).to_le_bytes();
    if let Some((head, body)) = blob.split_first_chunk_mut::<PREAMBLE>() {
        head[..4].copy_from_slice(&MAGIC);
        head[4..6].copy_from_slice(&VERSION.to_le_bytes());
        if head[6] > 2 || head[7] > 0 {
            head[6..8].copy_from_slice(&[layout % 3, 0]);
        }
        head[8..12].copy_from_slice(&len);
        let mut crc = crc32fast::Hasher::new();
        crc.update(&head[..16]);
        crc.update(body);
        head[16..].copy_from_slice(&crc.finalize().to_le_bytes());
    }
    blob
}
