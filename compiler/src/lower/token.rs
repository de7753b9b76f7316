//! Token inputs: an embedding that is looked up, or a table for each consumer with its product already done.

use kinglet::blob::schema::{Embed, Kind, Op, Table, View};
use kinglet_train::model::Tensor;

use super::Builder;
use super::product::{Columns, Input, width};
use super::signal::Signal;
use crate::error::Result;
use crate::quantize::{self, power_of_two};

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
    looked_up: Option<LookedUp>,
}

/// An embedding that is looked up.
#[derive(Clone)]
struct LookedUp {
    view: View,
    scale: f64,
    op: Op,
    /// Fraction bits, where it is added to a layer's states and not only multiplied.
    bits: Option<i32>,
}

impl<'a> Token<'a> {
    /// Gives consumers their tables as the scheme says, and writes the embedding if one of them has none, or if a layer adds it to
    /// its states: then its scale is a power of two.
    pub fn plan(
        builder: &mut Builder<'_>,
        embedding: &'a Tensor,
        consumers: &[Consumer<'a>],
        added: bool,
    ) -> Result<Self> {
        let embed = width(embedding);
        let folded: Vec<bool> =
            consumers.iter().map(|c| builder.scheme.fold.get(c.product).copied().unwrap_or(false)).collect();
        let looked_up = if folded.iter().all(|&f| f) && !added {
            None
        } else {
            let (mut values, mut scale) = quantize::vector(&embedding.data);
            // An embedding of zeros has no scale, and any will do.
            if scale <= 0.0 {
                scale = quantize::ACTIVATION;
            }
            let floats: Vec<f64> = embedding.data.iter().map(|&v| f64::from(v)).collect();
            let bits = added.then(|| -scale.log2().ceil() as i32);
            if let Some(bits) = bits {
                scale = power_of_two(-bits);
                values = floats.iter().map(|value| (value / scale).round() as i8).collect();
            }
            let quantized = values.iter().map(|&q| f64::from(q) * scale);
            builder.errors.add(&embedding.name, &floats, quantized);
            let table = builder.section.push_i8(&embedding.name, &values);
            let to = builder.bytes_once(embed)?;
            Some(LookedUp { view: to, scale, op: Op::Embed(Embed { table, to }), bits })
        };
        Ok(Self { embedding, consumers: consumers.iter().copied().zip(folded).collect(), looked_up })
    }

    /// The operation that looks the embedding up, if anything needs it.
    pub fn lookup(&self) -> Option<Op> {
        self.looked_up.as_ref().map(|looked_up| looked_up.op.clone())
    }

    /// The embedding as a layer adds it to its states, where that was planned.
    pub fn signal(&self) -> Option<Signal> {
        let LookedUp { view, bits, .. } = self.looked_up.as_ref()?;
        Some(Signal { view: *view, kind: Kind::I8, bits: (*bits)? })
    }

    fn consumer(&self, tensor: &Tensor) -> Option<(Consumer<'a>, bool)> {
        self.consumers.iter().find(|(c, _)| c.tensor.name == tensor.name).copied()
    }

    /// The columns and view of the looked-up embedding in a consumer; `None` when it has a table.
    pub fn input(&self, tensor: &Tensor) -> Option<Input<'a>> {
        let (consumer, folded) = self.consumer(tensor)?;
        let LookedUp { view, scale, .. } = self.looked_up.as_ref().filter(|_| !folded)?;
        let columns = Columns::part(consumer.tensor, consumer.start, width(self.embedding), *scale);
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
        let columns =
            Columns::part(consumer.tensor, consumer.start, width(self.embedding), quantize::ACTIVATION);
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
