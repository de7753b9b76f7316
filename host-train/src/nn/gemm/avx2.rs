//! Tiles of 3 rows and four vectors of 8 columns: 12 sums of 16 registers.

use std::arch::x86_64::*;

use super::{Kernel, Tile, WIDTH, portable};

pub(super) const KERNEL: Kernel = Kernel { rows: 3, run, transpose: portable::transpose };

#[target_feature(enable = "avx2,fma")]
unsafe fn run(tile: &Tile) {
    // SAFETY: the caller's, for the number of rows that the tile has.
    unsafe {
        match tile.rows {
            1 => sums::<1>(tile),
            2 => sums::<2>(tile),
            _ => sums::<3>(tile),
        }
    }
}

/// # Safety
/// The tile has `ROWS` rows; what it names may be read and written.
#[target_feature(enable = "avx2,fma")]
unsafe fn sums<const ROWS: usize>(tile: &Tile) {
    // SAFETY: `a` and `b` hold `depth` values of each row and column; `c` and `start` hold `cols` values of each row.
    unsafe {
        let mut sums = [[_mm256_setzero_ps(); 4]; ROWS];
        let (mut a, mut b) = (tile.a, tile.b);
        for _ in 0..tile.depth {
            for (i, row) in sums.iter_mut().enumerate() {
                let x = _mm256_set1_ps(*a.offset(i as isize * tile.a_row));
                for (j, sum) in row.iter_mut().enumerate() {
                    *sum = _mm256_fmadd_ps(x, _mm256_loadu_ps(b.add(8 * j)), *sum);
                }
            }
            a = a.offset(tile.a_step);
            b = b.add(WIDTH);
        }
        for (i, row) in sums.iter().enumerate() {
            let mut values = [0.0f32; WIDTH];
            for (j, sum) in row.iter().enumerate() {
                _mm256_storeu_ps(values.as_mut_ptr().add(8 * j), *sum);
            }
            tile.store(i, &values);
        }
    }
}
