//! Matrix products: which float columns stand side by side, and the integer rows that they become.

use std::collections::BTreeMap;

use kinglet::blob::schema::{Activation, Linear, Matrix, MatrixRecord, Op, Table, View};
use kinglet_train::model::Tensor;

use super::Builder;
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
}

impl<'a> Columns<'a> {
    /// All columns of a matrix, for an input of scale 2^-7.
    pub fn whole(tensor: &'a Tensor) -> Self {
        Self { tensor, start: 0, width: width(tensor), scale: ACTIVATION }
    }

    /// Some columns, for an input of scale 2^-7.
    pub fn part(tensor: &'a Tensor, start: usize, width: usize) -> Self {
        Self { tensor, start, width, scale: ACTIVATION }
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
    /// Quantizes and writes a product given as streams of at most four rows; `name` is that of its tensors.
    pub fn product(&mut self, name: &str, kind: Kind, width: Width, streams: &[Vec<Row<'_, '_>>]) -> Matrix {
        let mut matrix = tiles::Matrix::new(self.layout, kind.bits());
        let floats: Vec<Float> = streams.iter().flatten().map(|row| self.float(row)).collect();
        let (rows, post) = quantize::rows(&floats, kind, width);
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
        section.push(format!("{name}.matrix"), &record.to_bytes())
    }

    /// The float weights of a row, as they multiply inputs of scale 2^-7, padded.
    fn float(&self, row: &Row<'_, '_>) -> Float {
        let mut weights = Vec::new();
        let mut split = 0;
        for part in row.parts {
            if !part.is_empty() {
                split = weights.len();
            }
            for columns in part {
                let fold = columns.scale / ACTIVATION;
                weights.extend(columns.row(row.index).iter().map(|&w| f64::from(w) * fold));
            }
            weights.resize(self.layout.padded(weights.len()), 0.0);
        }
        Float { weights, bias: row.bias, unit: row.unit, split }
    }

    /// Counts the rounding errors of a row's tensors.
    fn count(&mut self, row: &Row<'_, '_>, integers: &quantize::Row, float: &Float) {
        let quantized: Vec<f64> = integers.integers().map(|q| f64::from(q) * integers.scale).collect();
        let mut at = 0;
        for part in row.parts {
            for columns in part {
                let range = at..at + columns.width;
                let (float, quantized) = (&float.weights[range.clone()], &quantized[range]);
                self.errors.add(&columns.tensor.name, float, quantized.iter().copied());
                at += columns.width;
            }
            at = self.layout.padded(at);
        }
    }
}

/// What a linear map does beside its product.
pub struct LinearSpec<'a> {
    /// Name of its tensors in the report.
    pub name: &'a str,
    /// What its weights become.
    pub kind: Kind,
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
            matrix: self.product(spec.name, spec.kind, spec.width, &streams),
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
