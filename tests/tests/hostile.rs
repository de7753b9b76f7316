//! Blobs that somebody made on purpose: what fuzzing and reading the checks found, each as the smallest change of a
//! compiled model.

use kinglet::blob::{OP_BYTES, PREAMBLE, checksum};
use kinglet::{Fault, LoadError, Model};
use kinglet_compiler::lower::Fold;
use kinglet_tests::tiny;
use kinglet_train::config::{AttentionKind, Cell};

fn small() -> Vec<u8> {
    tiny::blob(&tiny::config(Cell::Lstm, true, 1, AttentionKind::Additive), Fold::Auto, 1).unwrap()
}

fn refusal(mut blob: Vec<u8>) -> Option<LoadError> {
    let crc = checksum(&blob[..16], &blob[PREAMBLE..]);
    blob[16..PREAMBLE].copy_from_slice(&crc.to_le_bytes());
    Model::from_bytes(&blob).err()
}

/// Where a part of the description lies in the blob.
fn place<'a>(blob: &'a [u8], part: impl FnOnce(&Model<'a>) -> &'a [u8]) -> core::ops::Range<usize> {
    let part = part(&Model::from_bytes(blob).unwrap());
    let start = part.as_ptr() as usize - blob.as_ptr() as usize;
    start..start + part.len()
}

/// Their words passed 2^32: with 32-bit addresses a session took less RAM than it needed.
#[test]
fn slots_larger_than_an_address_space_are_refused() {
    let mut blob = small();
    let slots = place(&blob, |model| model.description().slots.0);
    for (region, slot) in blob[slots].chunks_exact_mut(4).enumerate() {
        // A row of 65535 words a source position, in a region of its own.
        slot.copy_from_slice(&[0x11, region as u8, 0xFF, 0xFF]);
    }
    assert_eq!(refusal(blob), Some(LoadError::Invalid { op: 255, fault: Fault::Range }));
}

/// A product of all the columns that views can name would make the size of its weights overflow.
#[test]
fn products_over_too_many_columns_are_refused() {
    let config = tiny::config(Cell::Lstm, true, 1, AttentionKind::Additive);
    let blob = tiny::blob(&config, Fold::Never, 1).unwrap();
    let slots = place(&blob, |model| model.description().slots.0);
    let program = place(&blob, |model| model.description().encode);
    // Behind the pass' head and the embedding stands the cell; its first input: slot, start, width.
    let cell = program.start + 2 + OP_BYTES;
    assert_eq!(
        (blob[cell - OP_BYTES], blob[cell], blob[cell + 1]),
        (0, 3, 1),
        "embedding, then a cell over it"
    );
    let input = slots.start + 4 * blob[cell + 12] as usize;
    // So many columns are possible but have no weights here; so many are not.
    for (columns, fault) in [(16_000u16, Fault::Tensor), (16_384, Fault::Width), (65_535, Fault::Width)] {
        let mut blob = blob.clone();
        blob[input + 2..][..2].copy_from_slice(&columns.to_le_bytes());
        blob[cell + 15..][..2].copy_from_slice(&columns.to_le_bytes());
        assert_eq!(refusal(blob), Some(LoadError::Invalid { op: 1, fault }), "{columns}");
    }
}

/// A vocabulary of 65535 tokens, whose tensors are not there.
#[test]
fn vocabularies_beyond_the_data_are_refused() {
    let blob = small();
    let source = place(&blob, |model| model.description().source);
    let target = place(&blob, |model| model.description().target);
    for vocabulary in [source, target] {
        let mut blob = blob.clone();
        blob[vocabulary][..2].copy_from_slice(&[0xFF, 0xFF]);
        let refused = refusal(blob);
        assert_eq!(refused, Some(LoadError::Invalid { op: 255, fault: Fault::Tensor }));
    }
}

/// Token bytes are shown to users: all of them are UTF-8 in one piece.
#[test]
fn vocabulary_text_that_is_not_utf8_is_refused() {
    let mut blob = small();
    let start = u32::from_le_bytes(*blob[12..].first_chunk().unwrap()) as usize;
    let target = place(&blob, |model| model.description().target);
    let text = u32::from_le_bytes(*blob[target][12..].first_chunk().unwrap()) as usize;
    blob[start + text] = 0xFF;
    assert_eq!(refusal(blob), Some(LoadError::Invalid { op: 255, fault: Fault::Vocabulary }));
}
