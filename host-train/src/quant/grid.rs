//! The integers of a network's present weights.

use core::f64::consts::LOG2_E;
use std::collections::BTreeMap;
use std::ops::Range;

use super::choose::KEY_SCALE_BITS;
use super::kind::Kind;
use super::requantize::{GATE, Records, Width, power_of_two, table};
use super::row::{ACTIVATION, Row, row, vector};
use super::scheme::Scheme;
use super::values::to_i8;
use crate::config::Cell;
use crate::nn::matrix::{add_product, fill_rows, view, view_mut};
use crate::nn::operand::Packs;
use crate::nn::params::{Gradients, ParamId, Params};

/// What layers compute with: parameters, the grid if there is one, and both packed for products if that pays.
#[derive(Debug, Clone, Copy)]
pub struct Weights<'a> {
    params: &'a Params,
    grid: Option<&'a Grid>,
    packs: Option<&'a Packs>,
}

impl<'a> From<&'a Params> for Weights<'a> {
    fn from(params: &'a Params) -> Self {
        Self { params, grid: None, packs: None }
    }
}

impl<'a> Weights<'a> {
    /// Parameters, seen through a grid that was built from them.
    pub fn new(params: &'a Params, grid: Option<&'a Grid>) -> Self {
        Self { params, grid, packs: None }
    }

    /// With the operands that were packed from these weights.
    pub fn with_packs(self, packs: &'a Packs) -> Self {
        Self { packs: Some(packs), ..self }
    }

    /// The packed operands, if there are any.
    pub fn packs(&self) -> Option<&'a Packs> {
        self.packs
    }

    /// The float values of a parameter.
    pub fn at(&self, id: ParamId) -> &'a [f32] {
        self.params.at(id)
    }

    /// The grid, if there is one.
    pub fn grid(&self) -> Option<&'a Grid> {
        self.grid
    }

    /// The numbers that a backward pass reads.
    pub fn real(&self) -> &'a Params {
        self.grid.map_or(self.params, |grid| &grid.real)
    }
}

/// The integers that a network's weights become, and what its products do with their accumulators.
#[derive(Debug, Clone, PartialEq)]
pub struct Grid {
    /// In the layout of the parameters: integers of the products' weights, as `f32`.
    integers: Params,
    /// The numbers that the integers stand for; all else as it is.
    real: Params,
    /// Weights beyond the reach of their scale.
    clipped: Vec<(ParamId, usize)>,
    /// By the (input) weights of each product.
    products: BTreeMap<ParamId, Product>,
    attention: Option<AttentionGrid>,
    /// Largest magnitude of an integer that enters a product: 127, and more where dropout has raised what is left.
    limit: f32,
}

/// What a product does beside multiplying.
#[derive(Debug, Clone, PartialEq)]
pub struct Product {
    /// Accumulators to results. A linear map's rows; an LSTM's i, f, g, o; a GRU's r, z, input part of n, recurrent part
    /// of n.
    pub records: Records,
    /// What one unit of a linear map's result is worth.
    pub unit: f32,
    /// A GRU's `candidate_bits`, an LSTM's `cell_bits`.
    pub bits: u32,
    /// The part that depends on a token, if it has one.
    pub token: Option<Token>,
}

/// The token part of a product.
#[derive(Debug, Clone, PartialEq)]
pub struct Token {
    /// Its columns of the float matrix.
    pub columns: Range<usize>,
    input: TokenInput,
}

#[derive(Debug, Clone, PartialEq)]
enum TokenInput {
    /// The embedding in int8 with this scale; the columns are multiplied like others.
    Lookup { scale: f64 },
    /// Products of all tokens, [vocabulary, rows], in units of the result.
    Table { entries: Vec<f32>, bias: Vec<f32>, unit: f32, shift: f32 },
}

/// Where a product's token part comes from.
#[derive(Debug, Clone, Copy)]
pub struct TokenSource {
    /// The embedding, [vocabulary, width].
    pub embedding: ParamId,
    /// Width of an embedding.
    pub width: usize,
    /// First of its columns in the float matrix.
    pub start: usize,
}

/// Additive attention beside its two products.
#[derive(Debug, Clone, PartialEq)]
pub struct AttentionGrid {
    /// `v` in int8.
    pub v: Vec<i32>,
    /// From `v` times energies to scores.
    pub score: Records,
    /// Fraction bits of a score, in log2 units.
    pub score_bits: u32,
    /// What one unit of a score is worth, in natural logarithms.
    pub score_unit: f32,
    /// Units of a key in 2^-18.
    pub key_scale: i32,
}

impl Grid {
    /// The integers of a weight matrix.
    pub fn integers(&self, id: ParamId) -> &[f32] {
        self.integers.at(id)
    }

    /// The product of a weight matrix; of a recurrent layer, that of its input weights.
    ///
    /// # Panics
    /// When the grid was built for another network.
    pub fn product(&self, id: ParamId) -> &Product {
        &self.products[&id]
    }

    /// The attention's part.
    ///
    /// # Panics
    /// When the grid was built for a network without attention.
    pub fn attention(&self) -> &AttentionGrid {
        self.attention.as_ref().expect("the network has attention")
    }

    /// The integers of numbers that enter a product.
    pub fn enter(&self, x: &[f32]) -> Vec<f32> {
        x.iter().map(|&x| to_i8(x, self.limit)).collect()
    }

    /// Zeroes the gradients of weights that are clipped.
    pub fn clip_gradients(&self, grads: &mut Gradients) {
        self.clipped.iter().for_each(|&(id, at)| grads.at_mut(id)[at] = 0.0);
    }
}

impl Token {
    /// Whether it is a table, and no columns are multiplied.
    pub fn is_table(&self) -> bool {
        matches!(self.input, TokenInput::Table { .. })
    }

    /// The integers of embeddings that enter the product; zeros where there is a table.
    pub fn enter(&self, embeddings: &[f32]) -> Vec<f32> {
        match self.input {
            TokenInput::Lookup { scale } if scale > 0.0 => {
                embeddings.iter().map(|&e| (f64::from(e) / scale).round() as f32).collect()
            }
            _ => vec![0.0; embeddings.len()],
        }
    }

    /// The table's entries for some tokens, [tokens, rows]; empty when there is no table. Without `ids` the
    /// embeddings are not those of tokens (dropout has changed them), and their products are put on the table's grid.
    ///
    /// `weight` is [rows, inputs], in floating point.
    pub fn entries(
        &self,
        weight: &[f32],
        inputs: usize,
        embeddings: &[f32],
        ids: Option<&[u32]>,
    ) -> Vec<f32> {
        let TokenInput::Table { entries, bias, unit, shift } = &self.input else { return Vec::new() };
        let rows = bias.len();
        if let Some(ids) = ids {
            return ids.iter().flat_map(|&id| &entries[id as usize * rows..][..rows]).copied().collect();
        }
        let tokens = embeddings.len() / self.columns.len();
        let mut sums = vec![0.0; tokens * rows];
        fill_rows(&mut sums, bias);
        let columns = ndarray::s![.., self.columns.clone()];
        let weight = view(weight, rows, inputs).slice_move(columns);
        let embeddings = view(embeddings, tokens, self.columns.len());
        add_product(view_mut(&mut sums, tokens, rows), embeddings, weight.t());
        let limit = 32_767.0;
        sums.iter_mut().for_each(|x| *x = (*x / unit).round().clamp(-limit, limit) * shift);
        sums
    }
}

/// Some neighbouring columns of a float matrix in a gathered product.
struct Piece {
    id: ParamId,
    /// Columns of the whole matrix.
    width: usize,
    columns: Range<usize>,
    /// The input's scale over that of other inputs.
    fold: f64,
}

/// Builds a grid, product by product, as the layers ask for it.
#[derive(Debug)]
pub struct Builder<'a> {
    params: &'a Params,
    scheme: &'a Scheme,
    grid: Grid,
}

impl<'a> Builder<'a> {
    /// A grid for these parameters without any products. Inputs of products are at most `limit`: 127 on the chip.
    pub fn new(params: &'a Params, scheme: &'a Scheme, limit: f32) -> Self {
        let (integers, real) = (params.clone(), params.clone());
        let (clipped, products) = (Vec::new(), BTreeMap::new());
        Self { params, scheme, grid: Grid { integers, real, clipped, products, attention: None, limit } }
    }

    /// The grid of all products added.
    pub fn finish(self) -> Grid {
        self.grid
    }

    /// What one unit of a 16-bit quantity is worth.
    ///
    /// # Panics
    /// When the scheme lacks it; loading a scheme checks that.
    pub fn unit(&self, quantity: &str) -> f64 {
        let log2 = matches!(quantity, "decoder.attention.score" | "decoder.logits");
        power_of_two(-(self.bits(quantity) as i32)) / if log2 { LOG2_E } else { 1.0 }
    }

    fn bits(&self, quantity: &str) -> u32 {
        u32::from(self.scheme.bits[quantity])
    }

    /// What one unit of a key is worth.
    pub fn key_unit(&self) -> f64 {
        f64::from(self.scheme.key_scale) * power_of_two(-KEY_SCALE_BITS)
    }

    /// Adds the product of a linear map `weight` [outputs, inputs], whose results count units and have a width. On the
    /// chip it is a matrix for each `part` of its rows.
    ///
    /// # Panics
    /// When the scheme lacks the product `name`; loading a scheme checks that.
    pub fn linear(
        &mut self,
        name: &str,
        (weight, bias): (ParamId, Option<ParamId>),
        (outputs, inputs): (usize, usize),
        (unit, width): (f64, Width),
        part: usize,
        token: Option<TokenSource>,
    ) {
        let mut bias: Vec<f64> = bias.map_or(vec![0.0; outputs], |id| reals(self.params.at(id)));
        let token = token.map(|source| self.token(name, weight, inputs, source, &bias, unit));
        if token.as_ref().is_some_and(Token::is_table) {
            bias.fill(0.0);
        }
        let kind = self.scheme.products[name];
        let pieces = pieces(weight, inputs, token.as_ref());
        let rows: Vec<Row> = (0..outputs).map(|i| self.row(&[&pieces], i, bias[i], kind)).collect();
        let mut records = Records::default();
        for rows in rows.chunks(part.max(1)) {
            records.extend(Records::new(rows.iter().map(|row| (row, unit)), width));
        }
        self.grid.products.insert(weight, Product { records, unit: unit as f32, bits: 0, token });
    }

    /// Adds a recurrent layer with PyTorch's parameters `weight_ih`, `weight_hh`, `bias_ih`, `bias_hh`.
    ///
    /// # Panics
    /// As [`Builder::linear`], and for a cell that [`crate::config::ModelConfig::beyond_grid`] names.
    pub fn cell(
        &mut self,
        name: &str,
        cell: Cell,
        [w_ih, w_hh, b_ih, b_hh]: [ParamId; 4],
        (inputs, hidden): (usize, usize),
        token: Option<TokenSource>,
    ) {
        let kind = self.scheme.products[name];
        let (b_ih, b_hh) = (reals(self.params.at(b_ih)), reals(self.params.at(b_hh)));
        let mut bias: Vec<f64> = b_ih.iter().zip(&b_hh).map(|(a, b)| a + b).collect();
        if cell == Cell::Gru {
            // The reset gate multiplies the recurrent part of the candidate, so that its bias stays apart.
            bias[2 * hidden..].copy_from_slice(&b_ih[2 * hidden..]);
        }
        let token = token.map(|source| self.token(name, w_ih, inputs, source, &bias, GATE));
        if token.as_ref().is_some_and(Token::is_table) {
            bias.fill(0.0);
        }
        let x = pieces(w_ih, inputs, token.as_ref());
        let h = pieces(w_hh, hidden, None);
        let (rows, bits) = match cell {
            Cell::Gru => {
                let bits = self.bits(&format!("{name}.candidate"));
                let mut rows: Vec<(Row, f64)> =
                    (0..2 * hidden).map(|i| (self.row(&[&x, &h], i, bias[i], kind), GATE)).collect();
                let last = 2 * hidden..3 * hidden;
                rows.extend(last.clone().map(|i| (self.row(&[&x], i, bias[i], kind), GATE)));
                let unit = power_of_two(-(bits as i32));
                rows.extend(last.map(|i| (self.row(&[&h], i, b_hh[i], kind), unit)));
                (rows, bits)
            }
            Cell::Lstm => {
                let rows = (0..4 * hidden).map(|i| (self.row(&[&x, &h], i, bias[i], kind), GATE)).collect();
                (rows, self.bits(&format!("{name}.cell")))
            }
            Cell::Rnn | Cell::Relu | Cell::Peephole => unreachable!("no grid is built for {cell:?}"),
        };
        let records = Records::new(rows.iter().map(|(row, unit)| (row, *unit)), Width::I16);
        self.grid.products.insert(w_ih, Product { records, unit: GATE as f32, bits, token });
    }

    /// Adds what attention does with its products; `v` is its vector.
    ///
    /// # Panics
    /// As [`Builder::linear`].
    pub fn attention(&mut self, v: ParamId) {
        let (integers, scale) = vector(self.params.at(v));
        let real = self.grid.real.at_mut(v);
        real.iter_mut().zip(&integers).for_each(|(real, &q)| *real = (f64::from(q) * scale) as f32);
        let score_bits = self.bits("decoder.attention.score");
        let factor = scale * power_of_two(score_bits as i32 - 15) * LOG2_E;
        self.grid.attention = Some(AttentionGrid {
            v: integers.into_iter().map(i32::from).collect(),
            score: Records::of_factor(factor),
            score_bits,
            score_unit: self.unit("decoder.attention.score") as f32,
            key_scale: self.scheme.key_scale.into(),
        });
    }

    /// The token part of a product: its table, or the scale of its embedding.
    fn token(
        &self,
        name: &str,
        weight: ParamId,
        inputs: usize,
        source: TokenSource,
        bias: &[f64],
        unit: f64,
    ) -> Token {
        let columns = source.start..source.start + source.width;
        let embedding = self.params.at(source.embedding);
        let input = if self.scheme.fold[name] {
            let weight = self.params.at(weight);
            let mut values = Vec::with_capacity(embedding.len() / source.width * bias.len());
            for token in embedding.chunks_exact(source.width) {
                for (row, bias) in weight.chunks_exact(inputs).zip(bias) {
                    let product = |(&w, &e): (&f32, &f32)| f64::from(w) * f64::from(e);
                    values.push(row[columns.clone()].iter().zip(token).map(product).sum::<f64>() + bias);
                }
            }
            let (entries, shift) = table(&values, unit);
            let shift = power_of_two(shift.into());
            TokenInput::Table {
                entries: entries.into_iter().map(|e| f32::from(e) * shift as f32).collect(),
                bias: bias.iter().map(|&b| b as f32).collect(),
                unit: (unit * shift) as f32,
                shift: shift as f32,
            }
        } else {
            TokenInput::Lookup { scale: vector(embedding).1 }
        };
        Token { columns, input }
    }

    /// Quantizes row `index` of a product over parts of pieces, and keeps its integers.
    fn row(&mut self, parts: &[&[Piece]], index: usize, bias: f64, kind: Kind) -> Row {
        let values = |piece: &Piece| {
            let row = &self.params.at(piece.id)[index * piece.width..][piece.columns.clone()];
            row.iter().map(|&w| f64::from(w) * piece.fold).collect::<Vec<f64>>()
        };
        let gathered: Vec<Vec<f64>> =
            parts.iter().map(|part| part.iter().flat_map(values).collect()).collect();
        let slices: Vec<&[f64]> = gathered.iter().map(|part| &part[..]).collect();
        let row = row(&slices, bias, kind);

        let reach = f64::from(kind.limit()) + 0.5;
        let mut weights = row.weights.iter();
        let mut multipliers = row.multipliers.chunks(1);
        for (part, values) in parts.iter().zip(&gathered) {
            let groups = if kind.group() > 0 { values.len().div_ceil(kind.group()) } else { 0 };
            let multipliers: Vec<f64> = multipliers.by_ref().take(groups).map(|m| f64::from(m[0])).collect();
            let mut column = 0;
            for piece in *part {
                let start = index * piece.width + piece.columns.start;
                for at in start..start + piece.columns.len() {
                    let multiplier = if groups > 0 { multipliers[column / kind.group()] } else { 1.0 };
                    let weight = weights.next().expect("as many integers as columns");
                    let integer = f64::from(*weight) * multiplier;
                    self.grid.integers.at_mut(piece.id)[at] = integer as f32;
                    self.grid.real.at_mut(piece.id)[at] = (integer * row.scale / piece.fold) as f32;
                    if values[column].abs() > reach * multiplier * row.scale {
                        self.grid.clipped.push((piece.id, at));
                    }
                    column += 1;
                }
            }
        }
        row
    }
}

/// The columns of a matrix that are multiplied, in their order.
fn pieces(id: ParamId, width: usize, token: Option<&Token>) -> Vec<Piece> {
    let piece = |columns: Range<usize>, fold: f64| Piece { id, width, columns, fold };
    let Some(token) = token else { return vec![piece(0..width, 1.0)] };
    let mut pieces = vec![piece(0..token.columns.start, 1.0)];
    if let TokenInput::Lookup { scale } = token.input {
        // An embedding of zeros has no scale, and any will do.
        let scale = if scale > 0.0 { scale } else { ACTIVATION };
        pieces.push(piece(token.columns.clone(), scale / ACTIVATION));
    }
    pieces.push(piece(token.columns.end..width, 1.0));
    pieces
}

fn reals(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| f64::from(v)).collect()
}
