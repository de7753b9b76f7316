//! Quantized rows to streams of 4x4 tiles and row records, as `docs/format.md` lays them out.

use crate::quantize::{Record, Row};

/// Rows of a tile.
pub const ROWS: usize = 4;
/// Columns of a tile.
pub const COLUMNS: usize = 4;

/// The two tensors of a product.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Matrix {
    /// Tiles, stream after stream.
    pub weights: Vec<u8>,
    /// Row records in the order of the rows in the streams, 8 bytes each.
    pub records: Vec<u8>,
}

impl Matrix {
    /// Appends a stream of at most four rows; those that are missing are padding.
    ///
    /// All rows have the same number of weights, a multiple of 4.
    pub fn push(&mut self, rows: &[Row]) {
        debug_assert!(!rows.is_empty() && rows.len() <= ROWS, "a stream has one to four rows");
        let columns = rows[0].weights.len();
        debug_assert!(columns.is_multiple_of(COLUMNS) && rows.iter().all(|r| r.weights.len() == columns));
        for start in (0..columns).step_by(COLUMNS) {
            for row in 0..ROWS {
                let tile = rows.get(row).map_or(&[0; COLUMNS][..], |r| &r.weights[start..start + COLUMNS]);
                self.weights.extend(tile.iter().map(|&w| w as u8));
            }
        }
        for row in 0..ROWS {
            let Record { bias, multiplier } = rows.get(row).map_or(Record::PADDING, |r| r.record);
            self.records.extend(bias.to_le_bytes());
            self.records.extend(multiplier.mantissa.to_le_bytes());
            self.records.extend([multiplier.pre, multiplier.post]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kinglet::blob::schema::Multiplier;

    fn row(start: i8, columns: i8) -> Row {
        let record = Record { bias: -2, multiplier: Multiplier { mantissa: 0x4321, pre: 3, post: 15 } };
        Row { weights: (start..start + columns).collect(), scale: 1.0, record }
    }

    #[test]
    fn a_stream_interleaves_its_rows_by_four_columns() {
        let mut matrix = Matrix::default();
        matrix.push(&[row(0, 8), row(10, 8), row(-20, 8), row(30, 8)]);
        let want: [i8; 32] = [
            0, 1, 2, 3, 10, 11, 12, 13, -20, -19, -18, -17, 30, 31, 32, 33, //
            4, 5, 6, 7, 14, 15, 16, 17, -16, -15, -14, -13, 34, 35, 36, 37,
        ];
        assert_eq!(matrix.weights, want.map(|w| w as u8));
        assert_eq!(matrix.records[..8], [0xFE, 0xFF, 0xFF, 0xFF, 0x21, 0x43, 3, 15]);
        assert_eq!(matrix.records.len(), 32);
    }

    #[test]
    fn missing_rows_are_padding() {
        let mut matrix = Matrix::default();
        matrix.push(&[row(1, 4)]);
        assert_eq!(matrix.weights, [1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(matrix.records[8..16], [0, 0, 0, 0, 0, 0, 0, 1]);
    }
}
