//! Matrix products: which float columns stand side by side, and the integer rows that they become.

use std::collections::BTreeMap;

use kinglet::blob::schema::{Activation, Linear, Matrix, MatrixRecord, Op, Table, View};
use kinglet_train::model::Tensor;

use super::Builder;
use super::signal::Signal;
use crate::error::Result;
use crate::kinds::Kind;
use crate::quantize::{self, ACTIVATION, Float, Width};
use crate::tiles;

/// Neighbouring columns of a float matrix that multiply one input.
#[derive(Debug, Clone, Copy)]
pub struct Columns<'a> {
    pub tensor: &'a Tensor,
    pub start: usize,
    pub width: usize,
    /// Scale of the input's integers.
    pub scale: f64,
    /// Where the means of what multiplies them are told.
    pub seen: Seen,
}

/// Where the mean of a column's input stands among what calibration saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// In `{product}.input`, from this element on.
    Input(usize),
    /// In `{product}.previous`: a cell's state.
    State,
}

impl<'a> Columns<'a> {
    /// Some columns, for an input of a scale.
    pub fn part(tensor: &'a Tensor, start: usize, width: usize, scale: f64) -> Self {
        Self { tensor, start, width, scale, seen: Seen::Input(start) }
    }

    /// All columns of a recurrent matrix, for a state of a scale.
    pub fn state(tensor: &'a Tensor, scale: f64) -> Self {
        Self { tensor, start: 0, width: width(tensor), scale, seen: Seen::State }
    }

    /// The float weights of a row.
    pub fn row(&self, index: usize) -> &'a [f32] {
        &self.tensor.data[index * width(self.tensor) + self.start..][..self.width]
    }
}

/// Columns of a matrix.
pub fn width(tensor: &Tensor) -> usize {
    tensor.shape.last().copied().unwrap_or(1)
}

/// An input of a product with the columns that multiply it.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    pub view: View,
    pub columns: Columns<'a>,
}

/// Rounding errors of quantized tensors: squared error and squared weights, by tensor.
#[derive(Debug, Clone, Default)]
pub struct Errors(BTreeMap<String, (f64, f64)>);

impl Errors {
    /// Counts values and what the integers stand for.
    pub fn add(&mut self, name: &str, values: &[f64], quantized: impl Iterator<Item = f64>) {
        let (error, total) = self.0.entry(name.to_owned()).or_default();
        for (value, quantized) in values.iter().zip(quantized) {
            *error += (value - quantized).powi(2);
            *total += value * value;
        }
    }

    /// Relative error of each tensor: root of the squared error over the squared weights.
    pub fn relative(&self) -> BTreeMap<String, f64> {
        let relative = |&(error, total): &(f64, f64)| if total > 0.0 { (error / total).sqrt() } else { 0.0 };
        self.0.iter().map(|(name, sums)| (name.clone(), relative(sums))).collect()
    }
}

/// A row of a product: which float columns stand side by side.
pub struct Row<'a, 'b> {
    /// Columns of the inputs, then those of the hidden state; each part is padded to whole tiles.
    pub parts: [&'b [Columns<'a>]; 2],
    /// Row of the float matrices.
    pub index: usize,
    pub bias: f64,
    /// Unit of the result.
    pub unit: f64,
}

impl Builder<'_> {
    /// Quantizes and writes a product given as streams of at most four rows; `name` is that of its tensors, `product` that
    /// of [`kinglet_train::quant::products`]. The numbers `behind` stand behind the matrix' record.
    pub fn product(
        &mut self,
        name: &str,
        product: &str,
        width: Width,
        streams: &[Vec<Row<'_, '_>>],
        behind: &[i16],
    ) -> Result<Matrix> {
        let kind = self.kind(product)?;
        let mut matrix = tiles::Matrix::new(self.layout, kind.bits());
        let means = self.means(product);
        let floats: Vec<Float> = streams.iter().flatten().map(|row| float(row, &means)).collect();
        let layout = self.layout;
        let (rows, post) = quantize::rows(&floats, kind, width, |columns| layout.padded(columns));
        let mut at = 0;
        for stream in streams {
            let integers = &rows[at..at + stream.len()];
            matrix.push(integers);
            for ((row, integers), float) in stream.iter().zip(integers).zip(&floats[at..]) {
                self.count(row, integers, float);
            }
            at += stream.len();
        }
        let section = &mut self.section;
        let multipliers = match kind {
            Kind::Int4Groups(_) => section.push(format!("{name}.groups"), &matrix.multipliers),
            _ => 0,
        };
        let record = MatrixRecord {
            weights: section.push(format!("{name}.weights"), &matrix.weights),
            rows: section.push(format!("{name}.rows"), &matrix.records),
            multipliers,
            group: kind.group(),
            post,
            bits: kind.bits(),
        };
        let behind = behind.iter().flat_map(|value| value.to_le_bytes());
        let bytes: Vec<u8> = record.to_bytes().into_iter().chain(behind).collect();
        Ok(section.push(format!("{name}.matrix"), &bytes))
    }

    /// Means of what enters a product, and of a cell's state; empty to leave biases alone.
    fn means(&self, product: &str) -> [Vec<f64>; 2] {
        let mean =
            |what: &str| self.observed.map_or(Vec::new(), |seen| seen.mean(&format!("{product}.{what}")));
        [mean("input"), mean("previous")]
    }

    /// Counts the rounding errors of a row's tensors.
    fn count(&mut self, row: &Row<'_, '_>, integers: &quantize::Row, float: &Float) {
        let quantized: Vec<f64> = integers.integers().map(|q| f64::from(q) * integers.scale).collect();
        let mut start = 0;
        for (part, float) in row.parts.iter().zip(&float.parts) {
            let mut at = 0;
            for columns in *part {
                let range = at..at + columns.width;
                let quantized = &quantized[start..][range.clone()];
                self.errors.add(&columns.tensor.name, &float[range], quantized.iter().copied());
                at += columns.width;
            }
            start += self.layout.padded(at);
        }
    }
}

/// The float weights of a row, as they multiply inputs of scale 2^-7, and the means of these where they are known.
fn float(row: &Row<'_, '_>, means: &[Vec<f64>; 2]) -> Float {
    let mut float = Float { bias: row.bias, unit: row.unit, ..Float::default() };
    for (part, columns) in row.parts.iter().enumerate() {
        for columns in *columns {
            let fold = columns.scale / ACTIVATION;
            float.parts[part].extend(columns.row(row.index).iter().map(|&w| f64::from(w) * fold));
            let (seen, start) = match columns.seen {
                Seen::Input(start) => (&means[0], start),
                Seen::State => (&means[1], 0),
            };
            let means = seen.get(start..start + columns.width).unwrap_or_default();
            float.means[part].extend(means.iter().map(|mean| mean / fold));
        }
    }
    float
}

/// What a linear map does beside its product.
pub struct LinearSpec<'a> {
    /// Name of its tensors in the report.
    pub name: &'a str,
    /// Its product, of [`kinglet_train::quant::products`].
    pub product: &'a str,
    /// First row of the float matrices, and how many.
    pub rows: std::ops::Range<usize>,
    /// Bias tensor, whose rows are the matrices'; already in the table if there is one.
    pub bias: Option<&'a Tensor>,
    /// Token part.
    pub table: Option<Table>,
    /// Unit of a result, before the activation.
    pub unit: f64,
    /// Width of a result.
    pub width: Width,
    /// What becomes of it.
    pub activation: Activation,
    /// Where it goes.
    pub to: View,
}

impl Builder<'_> {
    /// What a matrix' columns from `start` on read: a signal.
    pub fn read<'t>(&self, signal: Signal, tensor: &'t Tensor, start: usize) -> Input<'t> {
        let columns = Columns::part(tensor, start, usize::from(signal.view.width), signal.scale());
        Input { view: signal.view, columns }
    }

    /// A linear map of gathered inputs.
    pub fn linear(&mut self, inputs: &[Input<'_>], spec: LinearSpec<'_>) -> Result<Op> {
        let columns: Vec<Columns<'_>> = inputs.iter().map(|i| i.columns).collect();
        let rows: Vec<usize> = spec.rows.collect();
        let row = |&index: &usize| {
            let bias = spec.bias.map_or(0.0, |b| f64::from(b.data[index]));
            Row { parts: [&columns, &[]], index, bias, unit: spec.unit }
        };
        let streams: Vec<Vec<Row<'_, '_>>> =
            rows.chunks(tiles::ROWS).map(|stream| stream.iter().map(row).collect()).collect();
        Ok(Op::Linear(Linear {
            inputs: views(inputs)?,
            matrix: self.product(spec.name, spec.product, spec.width, &streams, &[])?,
            table: spec.table,
            activation: spec.activation,
            to: spec.to,
        }))
    }
}

/// The views of a product's inputs.
pub fn views(inputs: &[Input<'_>]) -> Result<kinglet::blob::schema::Inputs> {
    let views: Vec<View> = inputs.iter().map(|i| i.view).collect();
    kinglet::blob::schema::Inputs::try_from(views.as_slice())
        .map_err(|_| crate::Error::Model(format!("a product of {} inputs", inputs.len())))
}
