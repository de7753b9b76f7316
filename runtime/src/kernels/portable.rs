//! Plain Rust: the definition of the kernels.
//!
//! ```text
//! for each tile of the stream, with its 4 columns x:
//!     for r in 0..4: sum[r] += tile[r][0] x[0] + tile[r][1] x[1] + tile[r][2] x[2] + tile[r][3] x[3]
//! ```
//! Four rows share each load of x; one pointer walks the weights. Integer sums are exact, so that any order of the
//! additions gives the same result: a variant may choose its own.

use super::{TILE_BYTES, TILE_COLUMNS};

/// Four sums plus the products of one stream of tiles with `columns`.
///
/// `weights` holds `columns.len() / 4` tiles of 16 signed bytes (rows 0-3, four columns each); `columns` holds int8
/// values widened to 16 bits. The shorter of the two ends the loop.
#[inline]
pub fn accumulate(sums: [i32; 4], weights: &[u8], columns: &[i16]) -> [i32; 4] {
    let [mut a, mut b, mut c, mut d] = sums;
    let (tiles, _) = weights.as_chunks::<TILE_BYTES>();
    let (columns, _) = columns.as_chunks::<TILE_COLUMNS>();
    for (w, x) in tiles.iter().zip(columns) {
        let dot = |r: usize| -> i32 {
            w[4 * r] as i8 as i32 * x[0] as i32
                + w[4 * r + 1] as i8 as i32 * x[1] as i32
                + w[4 * r + 2] as i8 as i32 * x[2] as i32
                + w[4 * r + 3] as i8 as i32 * x[3] as i32
        };
        a = a.wrapping_add(dot(0));
        b = b.wrapping_add(dot(1));
        c = c.wrapping_add(dot(2));
        d = d.wrapping_add(dot(3));
    }
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_the_naive_product() {
        for columns in (0..=64).step_by(4) {
            let x: Vec<i16> = (0..columns).map(|c| [127, -127, 3, -77][c % 4] - (c as i16 % 5)).collect();
            let w: Vec<i8> = (0..columns * 4).map(|i| (i as i32 * 37 % 255 - 127) as i8).collect();
            let bytes: Vec<u8> = w.iter().map(|&b| b as u8).collect();
            let got = accumulate([1, -2, 3, -4], &bytes, &x);
            for r in 0..4 {
                let want: i32 =
                    (0..columns).map(|c| w[c / 4 * 16 + r * 4 + c % 4] as i32 * x[c] as i32).sum::<i32>()
                        + [1, -2, 3, -4][r];
                assert_eq!(got[r], want, "{columns} columns, row {r}");
            }
        }
    }

    extern crate std;
    use std::vec::Vec;
}
