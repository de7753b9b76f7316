//! Tiles of 12 rows and two vectors of 16 columns: 24 sums, two columns of `b`, and `a` as broadcast operands.

use std::arch::x86_64::*;

use super::{Block, Kernel, LINE, Tile};

/// Steps of the depth before whose beginning a tile of `c` is asked for again.
const LAST: usize = 16;

pub(super) const KERNEL: Kernel = Kernel { rows: 12, run, transpose };

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
    let masks = [mask(tile.cols), mask(tile.cols.saturating_sub(16))];
    // SAFETY: `a` and `b` hold `depth` values of each row and column; masked lanes of `c` and `start` are not touched.
    unsafe {
        let mut sums = [[_mm512_setzero_ps(); 2]; ROWS];
        let (mut a, mut b, mut next) = (tile.a, tile.b, tile.next);
        let last = tile.depth.min(LAST);
        // `c` is asked for at first, from memory, and again shortly before its turn, as what passes by displaces it.
        for steps in [tile.depth - last, last] {
            for i in 0..ROWS {
                let c = tile.c.offset(i as isize * tile.c_row);
                for at in [0, 16, 31] {
                    _mm_prefetch::<_MM_HINT_T0>(c.wrapping_add(at).cast());
                }
            }
            for _ in 0..steps {
                _mm_prefetch::<_MM_HINT_T1>(next.cast());
                next = next.wrapping_add(LINE);
                let columns = [_mm512_loadu_ps(b), _mm512_loadu_ps(b.add(16))];
                for (i, row) in sums.iter_mut().enumerate() {
                    let x = _mm512_set1_ps(*a.offset(i as isize * tile.a_row));
                    row[0] = _mm512_fmadd_ps(x, columns[0], row[0]);
                    row[1] = _mm512_fmadd_ps(x, columns[1], row[1]);
                }
                a = a.offset(tile.a_step);
                b = b.add(32);
            }
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

/// The first `lanes` of 16.
fn mask(lanes: usize) -> __mmask16 {
    ((1u32 << lanes.min(16)) - 1) as __mmask16
}

/// Exchanges pairs, then pairs of pairs within each quarter of the registers, then quarters of all of them.
#[target_feature(enable = "avx512f")]
unsafe fn transpose(block: &Block) {
    let (read, written) = (mask(block.cols), mask(block.width));
    // SAFETY: the caller's; rows that there are not are not read, masked lanes neither read nor written.
    unsafe {
        let mut rows = [_mm512_setzero_ps(); 16];
        for (i, row) in rows.iter_mut().enumerate().take(block.rows) {
            *row = _mm512_maskz_loadu_ps(read, block.from.offset(i as isize * block.from_row));
        }
        // quads[4 g + j], quarter q: column 4 q + j of rows 4 g to 4 g + 3.
        let mut quads = [_mm512_setzero_pd(); 16];
        for g in 0..4 {
            let pair = |i: usize, high: bool| {
                let (a, b) = (rows[4 * g + i], rows[4 * g + i + 1]);
                _mm512_castps_pd(if high { _mm512_unpackhi_ps(a, b) } else { _mm512_unpacklo_ps(a, b) })
            };
            quads[4 * g] = _mm512_unpacklo_pd(pair(0, false), pair(2, false));
            quads[4 * g + 1] = _mm512_unpackhi_pd(pair(0, false), pair(2, false));
            quads[4 * g + 2] = _mm512_unpacklo_pd(pair(0, true), pair(2, true));
            quads[4 * g + 3] = _mm512_unpackhi_pd(pair(0, true), pair(2, true));
        }
        for j in 0..4 {
            let quad = |g: usize| _mm512_castpd_ps(quads[4 * g + j]);
            // Quarters 0 and 2, then 1 and 3, of rows 0 to 7 and 8 to 15.
            let even = [(0, 1), (2, 3)].map(|(a, b)| _mm512_shuffle_f32x4::<0x88>(quad(a), quad(b)));
            let odd = [(0, 1), (2, 3)].map(|(a, b)| _mm512_shuffle_f32x4::<0xDD>(quad(a), quad(b)));
            let columns = [
                (j, _mm512_shuffle_f32x4::<0x88>(even[0], even[1])),
                (4 + j, _mm512_shuffle_f32x4::<0x88>(odd[0], odd[1])),
                (8 + j, _mm512_shuffle_f32x4::<0xDD>(even[0], even[1])),
                (12 + j, _mm512_shuffle_f32x4::<0xDD>(odd[0], odd[1])),
            ];
            for (k, column) in columns {
                if k < block.cols {
                    _mm512_mask_storeu_ps(block.to.add(k * block.to_row), written, column);
                }
            }
        }
    }
}
