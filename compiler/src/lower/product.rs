//! Matrix products: which float columns stand side by side, and the integer rows that they become.

use std::collections::BTreeMap;

use kinglet::blob::schema::{Activation, Linear, Matrix, Op, Table, View};
use kinglet_train::model::Tensor;

use super::Builder;
use crate::error::Result;
use crate::pack::Section;
use crate::quantize::{self, ACTIVATION, Bits, Row};
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
    /// Counts values that became integers times a scale.
    pub fn add(&mut self, name: &str, values: &[f64], integers: &[i8], scale: f64) {
        let (error, total) = self.0.entry(name.to_owned()).or_default();
        for (value, &integer) in values.iter().zip(integers) {
            *error += (value - f64::from(integer) * scale).powi(2);
            *total += value * value;
        }
    }

    /// Relative error of each tensor: root of the squared error over the squared weights.
    pub fn relative(&self) -> BTreeMap<String, f64> {
        let relative = |&(error, total): &(f64, f64)| if total > 0.0 { (error / total).sqrt() } else { 0.0 };
        self.0.iter().map(|(name, sums)| (name.clone(), relative(sums))).collect()
    }
}

/// A row over groups of columns, each group padded to whole tiles: its integers.
pub fn row(
    errors: &mut Errors,
    groups: &[&[Columns<'_>]],
    index: usize,
    bias: f64,
    unit: f64,
    bits: Bits,
) -> Row {
    let mut weights = Vec::new();
    for group in groups {
        for columns in *group {
            let fold = columns.scale / ACTIVATION;
            weights.extend(columns.row(index).iter().map(|&w| f64::from(w) * fold));
        }
        weights.resize(weights.len().next_multiple_of(tiles::COLUMNS), 0.0);
    }
    let row = quantize::row(&weights, bias, unit, bits);
    let mut at = 0;
    for group in groups {
        for columns in *group {
            let range = at..at + columns.width;
            errors.add(&columns.tensor.name, &weights[range.clone()], &row.weights[range], row.scale);
            at += columns.width;
        }
        at = at.next_multiple_of(tiles::COLUMNS);
    }
    row
}

/// Writes the two tensors of a product.
pub fn write(section: &mut Section, name: &str, matrix: &tiles::Matrix) -> Matrix {
    Matrix {
        weights: section.push(format!("{name}.weights"), &matrix.weights),
        rows: section.push(format!("{name}.rows"), &matrix.records),
    }
}

/// What a linear map does beside its product.
pub struct LinearSpec<'a> {
    /// Name of its tensors in the report.
    pub name: &'a str,
    /// First row of the float matrices, and how many.
    pub rows: std::ops::Range<usize>,
    /// Bias tensor, whose rows are the matrices'; already in the table if there is one.
    pub bias: Option<&'a Tensor>,
    /// Token part.
    pub table: Option<Table>,
    /// Unit of a result, before the activation.
    pub unit: f64,
    /// Width of a result.
    pub bits: Bits,
    /// What becomes of it.
    pub activation: Activation,
    /// Where it goes.
    pub to: View,
}

impl Builder<'_> {
    /// A linear map of gathered inputs.
    pub fn linear(&mut self, inputs: &[Input<'_>], spec: LinearSpec<'_>) -> Result<Op> {
        let columns: Vec<Columns<'_>> = inputs.iter().map(|i| i.columns).collect();
        let mut matrix = tiles::Matrix::default();
        let rows: Vec<usize> = spec.rows.collect();
        for stream in rows.chunks(tiles::ROWS) {
            let rows: Vec<Row> = stream
                .iter()
                .map(|&index| {
                    let bias = spec.bias.map_or(0.0, |b| f64::from(b.data[index]));
                    row(&mut self.errors, &[&columns], index, bias, spec.unit, spec.bits)
                })
                .collect();
            matrix.push(&rows);
        }
        Ok(Op::Linear(Linear {
            inputs: views(inputs)?,
            matrix: write(&mut self.section, spec.name, &matrix),
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
