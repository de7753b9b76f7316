//! Token inputs: an embedding that is looked up, or a table for each consumer with its product already done.

use kinglet::blob::schema::{Embed, Op, Table, View};
use kinglet_train::model::Tensor;

use super::product::{Columns, Input, width};
use super::{Builder, Fold};
use crate::error::Result;
use crate::kinds::Kind;
use crate::quantize;
use crate::tiles;

/// Rows of a product that a token enters, and where its columns stand in the float matrix.
#[derive(Debug, Clone, Copy)]
pub struct Consumer<'a> {
    pub tensor: &'a Tensor,
    pub start: usize,
    /// What the product's weights become.
    pub kind: Kind,
}

/// An embedding with the decision how each consumer receives it.
pub struct Token<'a> {
    embedding: &'a Tensor,
    consumers: Vec<(Consumer<'a>, bool)>,
    looked_up: Option<(View, f64, Op)>,
}

impl<'a> Token<'a> {
    /// Decides which consumers get a table, and writes the embedding if one of them does not.
    pub fn plan(
        builder: &mut Builder<'_>,
        fold: Fold,
        embedding: &'a Tensor,
        consumers: &[Consumer<'a>],
    ) -> Result<Self> {
        let (vocabulary, embed) = (embedding.shape[0], width(embedding));
        let rows: Vec<(usize, Kind)> = consumers.iter().map(|c| (c.tensor.shape[0], c.kind)).collect();
        let folded = choose(fold, vocabulary, embed, &rows);
        let looked_up = if folded.iter().all(|&f| f) {
            None
        } else {
            let (values, scale) = quantize::vector(&embedding.data);
            let floats: Vec<f64> = embedding.data.iter().map(|&v| f64::from(v)).collect();
            let quantized = values.iter().map(|&q| f64::from(q) * scale);
            builder.errors.add(&embedding.name, &floats, quantized);
            let table = builder.section.push_i8(&embedding.name, &values);
            let to = builder.bytes_once(embed)?;
            Some((to, scale, Op::Embed(Embed { table, to })))
        };
        Ok(Self { embedding, consumers: consumers.iter().copied().zip(folded).collect(), looked_up })
    }

    /// The operation that looks the embedding up, if any consumer needs it.
    pub fn lookup(&self) -> Option<Op> {
        self.looked_up.as_ref().map(|(_, _, op)| op.clone())
    }

    fn consumer(&self, tensor: &Tensor) -> Option<(Consumer<'a>, bool)> {
        self.consumers.iter().find(|(c, _)| c.tensor.name == tensor.name).copied()
    }

    /// The columns and view of the looked-up embedding in a consumer; `None` when it has a table.
    pub fn input(&self, tensor: &Tensor) -> Option<Input<'a>> {
        let (consumer, folded) = self.consumer(tensor)?;
        let (view, scale, _) = self.looked_up.as_ref().filter(|_| !folded)?;
        let columns = Columns {
            tensor: consumer.tensor,
            start: consumer.start,
            width: width(self.embedding),
            scale: *scale,
        };
        Some(Input { view: *view, columns })
    }

    /// Writes the table `W embedding + bias` of a consumer, in result units; `None` when it looks up.
    pub fn table(
        &self,
        builder: &mut Builder<'_>,
        name: &str,
        tensor: &Tensor,
        bias: &[f64],
        unit: f64,
    ) -> Option<Table> {
        let (consumer, _) = self.consumer(tensor).filter(|&(_, folded)| folded)?;
        let columns = Columns::part(consumer.tensor, consumer.start, width(self.embedding));
        let mut values = Vec::with_capacity(self.embedding.shape[0] * bias.len());
        for token in self.embedding.data.chunks_exact(columns.width) {
            for (row, bias) in bias.iter().enumerate() {
                let product = |(&w, &e): (&f32, &f32)| f64::from(w) * f64::from(e);
                values.push(columns.row(row).iter().zip(token).map(product).sum::<f64>() + bias);
            }
        }
        let (entries, shift) = quantize::table(&values, unit);
        let table = builder.section.push_i16(format!("{name}.table"), &entries);
        Some(Table { table, shift })
    }
}

/// Which consumers, by their rows and the kind of their weights, get a table: whatever takes the fewest bytes; of equals,
/// tables.
///
/// Folding all of them saves the embedding itself too.
fn choose(fold: Fold, vocabulary: usize, embed: usize, consumers: &[(usize, Kind)]) -> Vec<bool> {
    let table = |&(rows, _): &(usize, Kind)| 2 * vocabulary * rows;
    let columns = |&(rows, kind): &(usize, Kind)| kind.bits().stream_bytes(embed) * rows / tiles::ROWS;
    match fold {
        Fold::Always => vec![true; consumers.len()],
        Fold::Never => vec![false; consumers.len()],
        Fold::Auto => {
            let all: usize = consumers.iter().map(table).sum();
            let some: usize =
                vocabulary * embed + consumers.iter().map(|c| table(c).min(columns(c))).sum::<usize>();
            consumers.iter().map(|c| all <= some || table(c) <= columns(c)).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn int8(rows: &[usize]) -> Vec<(usize, Kind)> {
        rows.iter().map(|&rows| (rows, Kind::Int8)).collect()
    }

    #[test]
    fn tables_are_chosen_when_they_are_not_larger() {
        // Two consumers of 3 x 100 rows, 64 wide: tables of 2 V R against (V + R) 64.
        let rows = int8(&[300, 300]);
        assert_eq!(choose(Fold::Auto, 30, 64, &rows), [true, true]);
        assert_eq!(choose(Fold::Auto, 100, 64, &rows), [false, false]);
        assert_eq!(choose(Fold::Always, 100, 64, &rows), [true, true]);
        assert_eq!(choose(Fold::Never, 30, 64, &rows), [false, false]);
        assert_eq!(choose(Fold::Auto, 30, 64, &[(300, Kind::Int4), (300, Kind::Int4)]), [false, false]);
    }

    #[test]
    fn the_embedding_itself_can_tip_the_balance() {
        // The table has 2 * 33 * 40 = 2640 bytes, the columns 64 * 40 = 2560 and the embedding 2112 more.
        assert_eq!(choose(Fold::Auto, 33, 64, &int8(&[40])), [true]);
        assert_eq!(choose(Fold::Auto, 33, 64, &int8(&[4000])), [false]);
    }

    #[test]
    fn no_choice_takes_more_bytes_than_the_other_two() {
        let bytes = |choice: &[bool], v: usize, e: usize, rows: &[usize]| {
            let embedding = if choice.iter().all(|&f| f) { 0 } else { v * e };
            embedding
                + choice.iter().zip(rows).map(|(&f, &r)| if f { 2 * v * r } else { e * r }).sum::<usize>()
        };
        for v in [4, 31, 32, 33, 70, 500] {
            for rows in [vec![96, 96], vec![300, 40], vec![300, v], vec![12]] {
                let auto = bytes(&choose(Fold::Auto, v, 64, &int8(&rows)), v, 64, &rows);
                for bits in 0..1 << rows.len() {
                    let choice: Vec<bool> = (0..rows.len()).map(|i| bits >> i & 1 == 1).collect();
                    assert!(auto <= bytes(&choice, v, 64, &rows), "{v} {rows:?} {choice:?}");
                }
            }
        }
    }
}
