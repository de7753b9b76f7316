//! Rows of either kind of elements.

use core::cell::Cell;

use crate::fixed::{saturate_i8, saturate_i16};

/// A row of either kind of elements.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Row<'b> {
    Bytes(&'b [Cell<i8>]),
    Words(&'b [Cell<i16>]),
}

impl Row<'_> {
    /// An element; 0 where there is none.
    #[inline(always)]
    pub fn get(&self, at: usize) -> i32 {
        match self {
            Self::Bytes(row) => row.get(at).map_or(0, |x| x.get() as i32),
            Self::Words(row) => row.get(at).map_or(0, |x| x.get() as i32),
        }
    }

    /// Puts an element, saturated to its kind.
    #[inline(always)]
    pub fn set(&self, at: usize, x: i32) {
        match self {
            Self::Bytes(row) => row.get(at).into_iter().for_each(|to| to.set(saturate_i8(x))),
            Self::Words(row) => row.get(at).into_iter().for_each(|to| to.set(saturate_i16(x))),
        }
    }
}
