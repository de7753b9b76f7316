//! Cortex-M4 and M7: two products an instruction.
//!
//! ```text
//! columns wait as (x0, x2), (x1, x3), ...
//! for each tile: LDRD its 4 columns, two LDRD its 4 words (one a row), and for each row w:
//!     SXTB16 t, w           t = (w0, w2)        SMLAD sum, t, (x0, x2)
//!     SXTB16 t, w, ROR #8   t = (w1, w3)        SMLAD sum, t, (x1, x3)
//! ```
//! 21 instructions for 16 products, loop included: columns are widened once for all rows. The order of the columns is what the
//! bytes of a word unpack to; `arrange` brings it about once for a vector that all rows share.

#![allow(unsafe_code)]

use core::arch::asm;

use super::{TILE_BYTES, TILE_COLUMNS, portable};

/// Puts gathered columns into the order that `accumulate` reads: 0, 2, 1, 3 in each tile.
pub fn arrange(columns: &mut [i16]) {
    for tile in columns.as_chunks_mut::<TILE_COLUMNS>().0 {
        tile.swap(1, 2);
    }
}

/// As the portable one, over arranged columns.
#[inline]
pub fn accumulate(sums: [i32; 4], weights: &[u8], columns: &[i16]) -> [i32; 4] {
    let tiles = (weights.len() / TILE_BYTES).min(columns.len() / TILE_COLUMNS);
    if tiles == 0 {
        return sums;
    }
    // LDM and LDRD fault on unaligned words: a blob that its owner did not align is read the slow way.
    if (weights.as_ptr() as usize | columns.as_ptr() as usize) & 3 != 0 {
        return unaligned(sums, weights, columns);
    }
    let [mut a, mut b, mut c, mut d] = sums;
    // SAFETY: `tiles` whole tiles of 16 bytes lie in `weights` and as many of 4 columns in `columns`, both aligned to
    // 4 bytes; the loop reads exactly those, writes no memory and uses no stack.
    unsafe {
        asm!(
            "2:",
            "ldrd {x02}, {x13}, [{x}], #8",
            "ldrd {v}, {w}, [{p}], #8",
            "sxtb16 {t}, {v}",
            "sxtb16 {v}, {v}, ror #8",
            "smlad {a}, {t}, {x02}, {a}",
            "smlad {a}, {v}, {x13}, {a}",
            "sxtb16 {t}, {w}",
            "sxtb16 {w}, {w}, ror #8",
            "smlad {b}, {t}, {x02}, {b}",
            "smlad {b}, {w}, {x13}, {b}",
            "ldrd {v}, {w}, [{p}], #8",
            "sxtb16 {t}, {v}",
            "sxtb16 {v}, {v}, ror #8",
            "smlad {c}, {t}, {x02}, {c}",
            "smlad {c}, {v}, {x13}, {c}",
            "sxtb16 {t}, {w}",
            "sxtb16 {w}, {w}, ror #8",
            "smlad {d}, {t}, {x02}, {d}",
            "smlad {d}, {w}, {x13}, {d}",
            "subs {n}, {n}, #1",
            "bne 2b",
            a = inout(reg) a,
            b = inout(reg) b,
            c = inout(reg) c,
            d = inout(reg) d,
            p = inout(reg) weights.as_ptr() => _,
            x = inout(reg) columns.as_ptr() => _,
            n = inout(reg) tiles => _,
            v = out(reg) _,
            w = out(reg) _,
            t = out(reg) _,
            x02 = out(reg) _,
            x13 = out(reg) _,
            options(nostack, readonly),
        );
    }
    [a, b, c, d]
}

#[cold]
#[inline(never)]
fn unaligned(sums: [i32; 4], weights: &[u8], columns: &[i16]) -> [i32; 4] {
    let mut sums = sums;
    let (tiles, _) = weights.as_chunks::<TILE_BYTES>();
    let (columns, _) = columns.as_chunks::<TILE_COLUMNS>();
    for (tile, x) in tiles.iter().zip(columns) {
        let [x0, x2, x1, x3] = *x;
        sums = portable::accumulate(sums, tile, &[x0, x1, x2, x3]);
    }
    sums
}
