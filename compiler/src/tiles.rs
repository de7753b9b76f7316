//! Quantized rows to streams of tiles and row records, as `docs/format.md` lays them out.

use kinglet::kernels::{Bits, Layout};

use crate::quantize::Row;

/// Rows of a stream.
pub const ROWS: usize = kinglet::kernels::ROWS;

/// The tensors of a product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matrix {
    layout: Layout,
    bits: Bits,
    /// Tiles, stream after stream.
    pub weights: Vec<u8>,
    /// Row records in the order of the rows in the streams, 8 bytes each.
    pub records: Vec<u8>,
    /// Multipliers of groups: stream, group, row.
    pub multipliers: Vec<u8>,
}

impl Matrix {
    /// A matrix without rows.
    pub fn new(layout: Layout, bits: Bits) -> Self {
        Self { layout, bits, weights: Vec::new(), records: Vec::new(), multipliers: Vec::new() }
    }

    /// Appends a stream of at most four rows; those that are missing are padding.
    ///
    /// All rows have the same number of weights, a multiple of the layout's columns.
    pub fn push(&mut self, rows: &[Row]) {
        debug_assert!(!rows.is_empty() && rows.len() <= ROWS, "a stream has one to four rows");
        let columns = rows[0].weights.len();
        debug_assert!(columns.is_multiple_of(self.layout.columns()));
        debug_assert!(rows.iter().all(|r| r.weights.len() == columns));
        let weight = |row: usize, column: usize| rows.get(row).map_or(0, |r| i32::from(r.weights[column]));
        let stream = stream(self.layout, self.bits, columns, weight);
        self.weights.extend(stream);
        for row in 0..ROWS {
            let Some(row) = rows.get(row) else {
                self.records.extend([0; 8]);
                continue;
            };
            // Where columns enter with an offset, it is taken back here: it is multiplied with every weight.
            let offset = i32::from(self.layout.column_offset());
            let bias = row.record.bias.wrapping_sub(offset.wrapping_mul(row.total()));
            self.records.extend(bias.to_le_bytes());
            self.records.extend(row.record.mantissa.to_le_bytes());
            self.records.extend([row.record.pre, 0]);
        }
        for group in 0..rows[0].multipliers.len() {
            self.multipliers.extend((0..ROWS).map(|row| rows.get(row).map_or(0, |r| r.multipliers[group])));
        }
    }
}

/// A stream's bytes: the inverse of [`kinglet::kernels::layout::weight`].
fn stream(layout: Layout, bits: Bits, columns: usize, weight: impl Fn(usize, usize) -> i32) -> Vec<u8> {
    let mut bytes = vec![0u8; bits.stream_bytes(columns)];
    let mut lane = |at: usize, value: i32| bytes[at..at + 2].copy_from_slice(&(value as u16).to_le_bytes());
    match (layout, bits) {
        (Layout::Pairs, Bits::Int8) => {
            for c in 0..columns {
                for pair in 0..2 {
                    let value = 256 * weight(2 * pair, c) + weight(2 * pair + 1, c);
                    lane(8 * (c / 2) + 4 * pair + 2 * (c % 2), value);
                }
            }
        }
        (Layout::Pairs, Bits::Int4) => {
            for c in 0..columns {
                let low = |row: usize| weight(row, c) + 8;
                lane(2 * c, 4096 * weight(0, c) + 256 * low(1) + 16 * low(2) + low(3));
            }
        }
        (Layout::Tiles, Bits::Int4) => {
            for (at, tile) in (0..columns).step_by(4).enumerate() {
                for row in 0..ROWS {
                    let nibbles = (0..4).map(|c| (weight(row, tile + c) + 8) << (4 * c)).sum();
                    lane(8 * at + 2 * row, nibbles);
                }
            }
        }
        (Layout::Tiles, Bits::Int8) => {
            for (at, byte) in bytes.iter_mut().enumerate() {
                *byte = (weight((ROWS - at % ROWS) % ROWS, at / ROWS) + 128) as u8;
            }
        }
        (Layout::Blocks, Bits::Int8) => {
            for (at, byte) in bytes.iter_mut().enumerate() {
                *byte = weight(at / 16 % ROWS, at / 64 * 16 + at % 16) as u8;
            }
        }
        (Layout::Blocks, Bits::Int4) => {
            for (at, byte) in bytes.iter_mut().enumerate() {
                let nibble = |row: usize| weight(at / 16 % 2 * 2 + row, at / 32 * 16 + at % 16) + 8;
                *byte = (nibble(0) | nibble(1) << 4) as u8;
            }
        }
        (Layout::Panels, _) => unreachable!("panels are never written to a file: `retile` makes them"),
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantize::Record;
    use kinglet::kernels::layout;

    const ALL: [(Layout, Bits); 6] = [
        (Layout::Tiles, Bits::Int8),
        (Layout::Tiles, Bits::Int4),
        (Layout::Pairs, Bits::Int8),
        (Layout::Pairs, Bits::Int4),
        (Layout::Blocks, Bits::Int8),
        (Layout::Blocks, Bits::Int4),
    ];

    #[test]
    fn every_weight_is_found_again_in_every_layout() {
        for (layout, bits) in ALL {
            let limit = if bits == Bits::Int8 { 127 } else { 7 };
            let columns = 2 * layout.columns();
            // Extremes, all signs and all neighbours.
            let weight = |row: usize, column: usize| match (row * 5 + column * 3) % 7 {
                0 => -limit,
                1 => limit,
                other => (other as i32 * 37 + row as i32 * 11 + column as i32) % (2 * limit + 1) - limit,
            };
            let bytes = stream(layout, bits, columns, weight);
            for row in 0..ROWS {
                for column in 0..columns {
                    let got = layout::weight(layout, bits, &bytes, row, column);
                    assert_eq!(got, weight(row, column), "{layout:?} {bits:?} row {row} column {column}");
                }
            }
        }
    }

    #[test]
    fn records_hold_what_takes_back_the_columns_offset() {
        let row = Row {
            weights: vec![1, -2, 3, 4],
            scale: 1.0,
            multipliers: Vec::new(),
            group: 0,
            split: 0,
            record: Record { bias: -2, mantissa: 0x4321, pre: 3 },
        };
        for (layout, bias) in [(Layout::Pairs, -2), (Layout::Tiles, -2 - 128 * 6)] {
            let mut matrix = Matrix::new(layout, Bits::Int8);
            matrix.push(std::slice::from_ref(&row));
            assert_eq!(matrix.records[..4], i32::to_le_bytes(bias));
            assert_eq!(matrix.records[4..8], [0x21, 0x43, 3, 0]);
            assert_eq!(matrix.records[8..], [0; 24], "missing rows are padding");
        }
    }
}
