//! Where each weight of a product lies: the definition that every kernel agrees with.
//!
//! Rows come in *streams* of four, one stream after another; a stream is a sequence of tiles of [`Layout::columns`]
//! columns. Sums over a stream are exact integers, so any order of the additions gives the same result.

/// How the weights of a blob are arranged; its preamble says which. Every core reads all of them, one of them fast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Cortex-M0 and M3, RISC-V, desktops: plain tiles of unsigned bytes or nibbles. Columns enter as `x + 128`.
    Tiles = 0,
    /// Cortex-M4, M7, M33: two rows in a 16-bit lane for SMLAD.
    Pairs = 1,
    /// Cortex-M55: sixteen columns of a row side by side.
    Blocks = 2,
    /// Desktops, never in a file: sixteen rows side by side, four columns of each in a 32-bit lane. Columns enter as `x + 128`.
    #[cfg(feature = "std")]
    Panels = 3,
}

impl Layout {
    /// The layout with a number.
    pub const fn from_number(number: u16) -> Option<Self> {
        match number {
            0 => Some(Self::Tiles),
            1 => Some(Self::Pairs),
            2 => Some(Self::Blocks),
            #[cfg(feature = "std")]
            3 => Some(Self::Panels),
            _ => None,
        }
    }

    /// Columns of a tile; inputs of a product are zero-padded to a multiple of it.
    pub const fn columns(self) -> usize {
        match self {
            Self::Tiles | Self::Pairs => 4,
            Self::Blocks => 16,
            #[cfg(feature = "std")]
            Self::Panels => 8,
        }
    }

    /// Rows of a stream.
    pub const fn rows(self) -> usize {
        match self {
            Self::Tiles | Self::Pairs | Self::Blocks => 4,
            #[cfg(feature = "std")]
            Self::Panels => 16,
        }
    }

    /// What is added to a column before the product.
    pub const fn column_offset(self) -> i16 {
        match self {
            Self::Tiles => 128,
            Self::Pairs | Self::Blocks => 0,
            #[cfg(feature = "std")]
            Self::Panels => 128,
        }
    }

    /// Hypotheses that are computed at once: with two, RAM holds two rows of what a step leaves behind.
    pub const fn lanes(self) -> usize {
        match self {
            Self::Pairs => 2,
            Self::Tiles | Self::Blocks => 1,
            #[cfg(feature = "std")]
            Self::Panels => 1,
        }
    }

    /// `columns` rounded up to whole tiles.
    pub const fn padded(self, columns: usize) -> usize {
        let tile = self.columns();
        (columns + tile - 1) & !(tile - 1)
    }
}

/// Size of a weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bits {
    /// [-127, 127].
    Int8,
    /// [-7, 7].
    Int4,
}

impl Bits {
    /// Bytes of a stream of four rows over padded columns.
    pub const fn stream_bytes(self, columns: usize) -> usize {
        match self {
            Self::Int8 => 4 * columns,
            Self::Int4 => 2 * columns,
        }
    }
}

/// The weight of a row (0 to 3; of Panels 0 to 15) and a column in a stream's bytes; 0 outside.
///
/// ```text
/// Tiles   int8  byte   4 c + (4 - r) % 4                          w + 128
///         int4  lane   8 (c / 4) + 2 r, nibble c % 4              w + 8
/// Pairs   int8  lane   8 (c / 2) + 4 (r / 2) + 2 (c % 2)          256 w[even row] + w[odd row]
///         int4  lane   2 c                                        256 (16 w0 + w1') + 16 w2' + w3', w' = w + 8
/// Blocks  int8  byte   64 (c / 16) + 16 r + c % 16                w
///         int4  byte   32 (c / 16) + 16 (r / 2) + c % 16, nibble r % 2    w + 8
/// Panels  int8  byte   64 (c / 4) + 4 r + c % 4                   w
///         int4  byte   64 (c / 8) + 4 r + c % 4, nibble c / 4 % 2 w + 8
/// ```
/// Lanes are 16-bit little-endian numbers.
#[cfg_attr(armv6m, inline(never))]
pub fn weight(layout: Layout, bits: Bits, stream: &[u8], row: usize, column: usize) -> i32 {
    let (c, r) = (column, row & 3);
    let byte = |at: usize| stream.get(at).copied().unwrap_or(0);
    let lane = |at: usize| u16::from_le_bytes([byte(at), byte(at + 1)]);
    match (layout, bits) {
        (Layout::Tiles, Bits::Int8) => byte(4 * c + (4 - r) % 4) as i32 - 128,
        (Layout::Tiles, Bits::Int4) => (lane(8 * (c / 4) + 2 * r) as i32 >> (4 * (c % 4)) & 15) - 8,
        (Layout::Pairs, Bits::Int8) => {
            let both = lane(8 * (c / 2) + 4 * (r / 2) + 2 * (c % 2)) as i16 as i32;
            let odd = both as i8 as i32;
            if r % 2 == 1 { odd } else { (both - odd) >> 8 }
        }
        (Layout::Pairs, Bits::Int4) => {
            let all = lane(2 * c);
            match r {
                0 => all as i16 as i32 >> 12,
                _ => (all as i32 >> (12 - 4 * r) & 15) - 8,
            }
        }
        (Layout::Blocks, Bits::Int8) => byte(64 * (c / 16) + 16 * r + c % 16) as i8 as i32,
        (Layout::Blocks, Bits::Int4) => {
            let both = byte(32 * (c / 16) + 16 * (r / 2) + c % 16) as i32;
            if r % 2 == 1 { (both >> 4) - 8 } else { (both & 15) - 8 }
        }
        #[cfg(feature = "std")]
        (Layout::Panels, Bits::Int8) => byte(64 * (c / 4) + 4 * (row & 15) + c % 4) as i8 as i32,
        #[cfg(feature = "std")]
        (Layout::Panels, Bits::Int4) => {
            let both = byte(64 * (c / 8) + 4 * (row & 15) + c % 4) as i32;
            if c / 4 % 2 == 1 { (both >> 4) - 8 } else { (both & 15) - 8 }
        }
    }
}
