//! Features of words from their letters: sums of table rows, no product.

use heapless::Vec;

use crate::blob::schema::{Characters, MAX_LETTERS};
use crate::fixed::{q15_to_i8, saturate_i16};
use crate::frame::Frame;
use crate::tables::tanh;
use crate::vocab::Vocab;

/// First entries of the rows of a word's letters, the marks included.
type Letters = Vec<u32, { MAX_LETTERS + 2 }>;

/// Puts the features of a word where those of a source position are. Letters that the vocabulary does not know are its unknown mark.
#[inline(never)]
pub(crate) fn characters(
    frame: &mut Frame<'_, '_>,
    op: &Characters<'_>,
    position: usize,
    word: &str,
) -> Option<()> {
    frame.lanes.positions[0] = position;
    let to = frame.bytes(frame.whole(op.slot)?, 0)?;
    let vocab = Vocab::new(op.vocabulary, frame.data);
    let letters = letters(&vocab, word, op.max_len as usize, to.len() as u32)?;
    // One table for each place of the window.
    let (width, entries) = (op.width as usize, vocab.size() as usize * to.len());
    let table = frame.tensor(op.table, 2 * width * entries)?.as_chunks::<2>().0;
    for (feature, to) in to.iter().enumerate() {
        let mut largest = i32::MIN;
        for t in 0..letters.len() {
            let mut sum = 0i32;
            let mut start = feature;
            for k in 0..width {
                if let Some(&row) = letters.get((t + k).wrapping_sub(width / 2)) {
                    sum = sum.wrapping_add(i16::from_le_bytes(*table.get(start + row as usize)?) as i32);
                }
                start += entries;
            }
            largest = largest.max(sum);
        }
        to.set(q15_to_i8(tanh(saturate_i16(largest << (op.shift & 15)))));
    }
    Some(())
}

/// The letters of a word between the marks; of one with more than `max_len` the first half and the last.
fn letters(vocab: &Vocab<'_>, word: &str, max_len: usize, features: u32) -> Option<Letters> {
    let (count, last) = (word.chars().count(), max_len / 2);
    let mut letters = Letters::new();
    let mut push = |id: u16| letters.push(id as u32 * features).ok();
    push(vocab.sos())?;
    for (at, letter) in vocab.cut(word).enumerate() {
        if count <= max_len || at < max_len - last || at + last >= count {
            push(vocab.id(letter.as_bytes()).unwrap_or(vocab.unk()))?;
        }
    }
    push(vocab.eos())?;
    Some(letters)
}
