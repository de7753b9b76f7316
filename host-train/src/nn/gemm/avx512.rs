//! Tiles of 12 rows and two vectors of 16 columns: 24 sums, two columns of `b`, and `a` as broadcast operands.

use std::arch::x86_64::*;

use super::{Kernel, Tile};

pub(super) const KERNEL: Kernel = Kernel { rows: 12, run };

#[target_feature(enable = "avx512f")]
unsafe fn run(tile: &Tile) {
    // SAFETY: the caller's, for the number of rows that the tile has.
    unsafe {
        match tile.rows {
            1 => sums::<1>(tile),
            2 => sums::<2>(tile),
            3 => sums::<3>(tile),
            4 => sums::<4>(tile),
            5 => sums::<5>(tile),
            6 => sums::<6>(tile),
            7 => sums::<7>(tile),
            8 => sums::<8>(tile),
            9 => sums::<9>(tile),
            10 => sums::<10>(tile),
            11 => sums::<11>(tile),
            _ => sums::<12>(tile),
        }
    }
}

/// # Safety
/// The tile has `ROWS` rows; what it names may be read and written.
#[target_feature(enable = "avx512f")]
unsafe fn sums<const ROWS: usize>(tile: &Tile) {
    let mask = |from: usize| (((1u32 << (tile.cols.max(from) - from).min(16)) - 1) & 0xFFFF) as __mmask16;
    let masks = [mask(0), mask(16)];
    // SAFETY: `a` and `b` hold `depth` values of each row and column; masked lanes of `c` and `start` are not touched.
    unsafe {
        let mut sums = [[_mm512_setzero_ps(); 2]; ROWS];
        let (mut a, mut b) = (tile.a, tile.b);
        for _ in 0..tile.depth {
            let columns = [_mm512_loadu_ps(b), _mm512_loadu_ps(b.add(16))];
            for (i, row) in sums.iter_mut().enumerate() {
                let x = _mm512_set1_ps(*a.offset(i as isize * tile.a_row));
                row[0] = _mm512_fmadd_ps(x, columns[0], row[0]);
                row[1] = _mm512_fmadd_ps(x, columns[1], row[1]);
            }
            a = a.offset(tile.a_step);
            b = b.add(32);
        }
        for (i, row) in sums.iter().enumerate() {
            for (half, sum) in row.iter().enumerate() {
                let c = tile.c.offset(i as isize * tile.c_row).wrapping_add(16 * half);
                let sum = if tile.start.is_null() {
                    *sum
                } else {
                    let start = tile.start.offset(i as isize * tile.start_row).wrapping_add(16 * half);
                    _mm512_add_ps(_mm512_maskz_loadu_ps(masks[half], start), *sum)
                };
                _mm512_mask_storeu_ps(c, masks[half], sum);
            }
        }
    }
}
