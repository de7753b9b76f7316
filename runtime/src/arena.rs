//! RAM: one buffer of the caller's, cut once into typed pieces.
//!
//! Order: 16-bit words, then bytes, so that a buffer aligned to 4 bytes needs no padding and its size is exact.

#![allow(unsafe_code)]

use core::cell::Cell;
use core::ops::{Deref, DerefMut};

/// A buffer of `N` bytes, aligned as a session needs it.
///
/// ```
/// static ARENA: kinglet::Arena<1024> = kinglet::Arena::new();
/// assert_eq!(ARENA.len(), 1024);
/// ```
#[derive(Debug)]
#[repr(C, align(16))]
pub struct Arena<const N: usize>([u8; N]);

impl<const N: usize> Arena<N> {
    /// A zeroed buffer.
    pub const fn new() -> Self {
        Self([0; N])
    }
}

impl<const N: usize> Default for Arena<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Deref for Arena<N> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl<const N: usize> DerefMut for Arena<N> {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

/// Bytes aligned to 16, for `include_bytes!`: `static MODEL: Aligned<[u8; N]> = Aligned(*include_bytes!("m.kgl"));`.
#[derive(Debug)]
#[repr(C, align(16))]
pub struct Aligned<T: ?Sized>(pub T);

impl<const N: usize> Deref for Aligned<[u8; N]> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

/// The first `words` 16-bit words of a buffer; `None` when it is misaligned or too small.
pub(crate) fn words(buffer: &mut [u8], words: usize) -> Option<&mut [u16]> {
    let head = buffer.get_mut(..words.checked_mul(2)?)?;
    if !(head.as_ptr() as usize).is_multiple_of(4) {
        return None;
    }
    // SAFETY: every bit pattern is a u16, and the middle part is what the standard library finds aligned.
    let (_, aligned, _) = unsafe { head.align_to_mut::<u16>() };
    (aligned.len() == words).then_some(aligned)
}

/// The same words, signed.
pub(crate) fn signed(words: &mut [u16]) -> &mut [i16] {
    // SAFETY: u16 and i16 have the same size and alignment, and every bit pattern is valid for both.
    unsafe { words.align_to_mut::<i16>().1 }
}

/// The same cells, unsigned.
pub(crate) fn unsigned(words: &[Cell<i16>]) -> &[Cell<u16>] {
    // SAFETY: i16 and u16 have the same size and alignment, and every bit pattern is valid for both; so have their cells.
    unsafe { core::slice::from_raw_parts(words.as_ptr().cast(), words.len()) }
}

/// The bytes of words.
pub(crate) fn as_bytes(words: &[Cell<i16>]) -> &[Cell<i8>] {
    // SAFETY: a cell has the layout of its content, an i16 is two bytes without padding, bytes need no alignment, and
    // every bit pattern is valid for both.
    unsafe { core::slice::from_raw_parts(words.as_ptr().cast(), 2 * words.len()) }
}
