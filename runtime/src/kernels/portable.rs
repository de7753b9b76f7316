//! Plain Rust: the definition of the kernels, for every layout, and fast ones for [`Layout::Tiles`], whose blobs go anywhere.

#[cfg(not(mve))]
use core::cell::Cell;

use super::{Bits, Columns, Layout, layout};
#[cfg(not(mve))]
use crate::fixed::q15_to_i8;

/// Sums of four rows over a run of columns: `sum of weight * column` of each, weights and columns as they are.
#[inline(never)]
pub fn dot4(layout: Layout, bits: Bits, stream: &[u8], columns: &Columns<'_>) -> [i32; 4] {
    let mut sums = [0i32; 4];
    for (row, sum) in sums.iter_mut().enumerate() {
        for (c, &x) in columns.values.iter().enumerate() {
            *sum = sum.wrapping_add(layout::weight(layout, bits, stream, row, c) * x as i32);
        }
    }
    sums
}

/// [`dot4`] for int8 tiles: four rows share each load of a column.
#[cfg(not(any(armv6m, armv7m)))]
pub fn tiles_int8(stream: &[u8], columns: &Columns<'_>) -> [i32; 4] {
    let [mut a, mut b, mut c, mut d] = [0i32; 4];
    for (w, &x) in stream.as_chunks::<4>().0.iter().zip(columns.values) {
        let x = x as i32;
        a = a.wrapping_add(w[0] as i32 * x);
        b = b.wrapping_add(w[3] as i32 * x);
        c = c.wrapping_add(w[2] as i32 * x);
        d = d.wrapping_add(w[1] as i32 * x);
    }
    [a, b, c, d].map(|sum| sum.wrapping_sub(columns.total << 7))
}

/// [`dot4`] for int4 tiles: two rows share a multiplication in the 16-bit lanes of a word.
///
/// A product of a nibble and a column is at most 15 * 255, so that sixteen of them fit a lane; then lanes are emptied: the
/// low lane's sum is the sum of the words less the high lanes, which were kept apart.
#[cfg(not(any(armv6m, armv7m)))]
pub fn tiles_int4(stream: &[u8], columns: &Columns<'_>) -> [i32; 4] {
    const LANES: u32 = 0x000F_000F;
    let (mut all, mut high) = ([0u32; 2], [0u32; 2]);
    for (tiles, values) in stream.chunks(32).zip(columns.values.chunks(16)) {
        let mut lanes = [0u32; 2];
        for (w, x) in tiles.as_chunks::<8>().0.iter().zip(values.as_chunks::<4>().0) {
            let words =
                [u32::from_le_bytes([w[0], w[1], w[2], w[3]]), u32::from_le_bytes([w[4], w[5], w[6], w[7]])];
            for (lanes, word) in lanes.iter_mut().zip(words) {
                *lanes = lanes
                    .wrapping_add((word & LANES).wrapping_mul(x[0] as u32))
                    .wrapping_add((word >> 4 & LANES).wrapping_mul(x[1] as u32))
                    .wrapping_add((word >> 8 & LANES).wrapping_mul(x[2] as u32))
                    .wrapping_add((word >> 12 & LANES).wrapping_mul(x[3] as u32));
            }
        }
        for i in 0..2 {
            all[i] = all[i].wrapping_add(lanes[i]);
            high[i] = high[i].wrapping_add(lanes[i] >> 16);
        }
    }
    let low = |i: usize| all[i].wrapping_sub(high[i] << 16);
    [low(0), high[0], low(1), high[1]].map(|sum| (sum as i32).wrapping_sub(columns.total << 3))
}

/// Int8 values as columns of a product, with the layout's offset added.
#[cfg(not(mve))]
pub fn columns_of_bytes(from: &[Cell<i8>], offset: i16, to: &mut [i16]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = from.get() as i16 + offset;
    }
}

/// Q0.15 values as columns of a product: rounded to 2^-7, with the layout's offset added.
#[cfg(not(mve))]
pub fn columns_of_words(from: &[Cell<i16>], offset: i16, to: &mut [i16]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = q15_to_i8(from.get()) as i16 + offset;
    }
}
