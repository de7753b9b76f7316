//! Token inputs: an embedding that is looked up, or a table for each consumer with its product already done.

use kinglet::blob::schema::{Embed, Op, Table, View};
use kinglet_train::model::Tensor;

use super::Builder;
use super::product::{Columns, Input, width};
use crate::error::Result;
use crate::quantize;

/// Rows of a product that a token enters, and where its columns stand in the float matrix.
#[derive(Debug, Clone, Copy)]
pub struct Consumer<'a> {
    pub tensor: &'a Tensor,
    pub start: usize,
    /// Name of the product.
    pub product: &'a str,
}

/// An embedding with the decision how each consumer receives it.
pub struct Token<'a> {
    embedding: &'a Tensor,
    consumers: Vec<(Consumer<'a>, bool)>,
    looked_up: Option<(View, f64, Op)>,
}

impl<'a> Token<'a> {
    /// Gives consumers their tables as the scheme says, and writes the embedding if one of them has none.
    pub fn plan(
        builder: &mut Builder<'_>,
        embedding: &'a Tensor,
        consumers: &[Consumer<'a>],
    ) -> Result<Self> {
        let embed = width(embedding);
        let folded: Vec<bool> =
            consumers.iter().map(|c| builder.scheme.fold.get(c.product).copied().unwrap_or(false)).collect();
        let looked_up = if folded.iter().all(|&f| f) {
            None
        } else {
            let (values, scale) = quantize::vector(&embedding.data);
            let floats: Vec<f64> = embedding.data.iter().map(|&v| f64::from(v)).collect();
            let quantized = values.iter().map(|&q| f64::from(q) * scale);
            builder.errors.add(&embedding.name, &floats, quantized);
            let table = builder.section.push_i8(&embedding.name, &values);
            let to = builder.bytes_once(embed)?;
            // An embedding of zeros has no scale, and any will do.
            let scale = if scale > 0.0 { scale } else { quantize::ACTIVATION };
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
