//! What work costs on each core.
//!
//! Work is counted in units (products, rows, columns, ...), of which each core has a price in instructions and in cycles.
//! The prices are fitted to `cores.tsv`, what `firmware-example/bench.sh --json` counts on emulated cores and models in
//! cycles, memory without wait states; `bench.sh --json | compiler/cores.sh` writes that file anew.

use kinglet::kernels::{MAX_RUN, ROWS};

use crate::boards::Core;

/// Lines of core, kernel, inputs, size, instructions and cycles (`-` where no model of cycles exists).
const COUNTS: &str = include_str!("../cores.tsv");

/// Kinds of units that work is counted in.
const UNITS: usize = 11;
/// An operation, its description decoded.
const OPERATION: usize = 0;
/// A gathered column.
const COLUMN: usize = 1;
/// A row, requantized.
const ROW: usize = 2;
/// A product with an int8 weight.
const INT8: usize = 3;
/// A product with an int4 weight of a row with one scale.
const INT4: usize = 4;
/// A product with an int4 weight of a row in groups.
const INT4_GROUPS: usize = 5;
/// Gates of an LSTM unit.
const LSTM: usize = 6;
/// Gates of a GRU unit.
const GRU: usize = 7;
/// A logit, searched and normalized.
const LOGIT: usize = 8;
/// A value of attention read in a step.
const ATTENDED: usize = 9;
/// Sums of four rows over a run, where there are more columns than that.
const RUN: usize = 10;

/// What the weights of a product are, as far as prices differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weights {
    /// int8.
    Int8 = INT8 as isize,
    /// int4, a scale a row.
    Int4 = INT4 as isize,
    /// int4 in groups of columns.
    Int4Groups = INT4_GROUPS as isize,
}

/// Kinds of weights, and the decoder of each in `cores.tsv`.
const DECODERS: [(Weights, &str); 3] = [
    (Weights::Int8, "decoder_step"),
    (Weights::Int4, "decoder_i4_step"),
    (Weights::Int4Groups, "decoder_i4_32_step"),
];

/// Values that a key's element costs, with its hyperbolic tangent. Assumed, not measured: the counts hold one shape of
/// attention, so that they price keys and values together only.
const KEY: f64 = 3.0;
/// Logits that a token table's entry costs. Assumed: no count has a table.
const ENTRY: f64 = 1.0;

/// Letters of a word with its marks. Assumed: what is read is not known.
const LETTERS: f64 = 6.5;

/// Logits that an element of a row costs that is brought to a normal form: 2.6 (RV32) to 4.2 (Cortex-M4) by the counts of
/// `layer_norm`.
const NORMAL: f64 = 4.0;

/// So many of each unit.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Work([f64; UNITS]);

impl Work {
    fn with(mut self, unit: usize, count: usize) -> Self {
        self.0[unit] += count as f64;
        self
    }

    /// With so many times other work.
    pub fn plus(mut self, other: Self, times: f64) -> Self {
        for (sum, other) in self.0.iter_mut().zip(other.0) {
            *sum += times * other;
        }
        self
    }

    /// Rows of a product over columns that are there.
    fn rows(self, columns: usize, rows: usize, weights: Weights) -> Self {
        // Those of groups are in the price of their products.
        let runs =
            if columns > MAX_RUN && weights != Weights::Int4Groups { columns.div_ceil(MAX_RUN) } else { 0 };
        self.with(ROW, rows).with(weights as usize, columns * rows).with(RUN, rows.div_ceil(ROWS) * runs)
    }

    /// An operation that gathers columns.
    fn gather(columns: usize) -> Self {
        Self::default().with(OPERATION, 1).with(COLUMN, columns)
    }

    /// An embedding that is looked up.
    pub fn embed(columns: usize) -> Self {
        Self::default().with(COLUMN, columns)
    }

    /// A product with a vector.
    pub fn linear(columns: usize, rows: usize, weights: Weights) -> Self {
        Self::gather(columns).rows(columns, rows, weights)
    }

    /// A step of a GRU.
    pub fn gru(inputs: usize, units: usize, weights: Weights) -> Self {
        let columns = inputs + units;
        let gates = Self::gather(columns).rows(columns, 2 * units, weights);
        let candidate = if inputs > 0 { gates.rows(inputs, units, weights) } else { gates };
        candidate.rows(units, units, weights).with(GRU, units)
    }

    /// A step of an LSTM.
    pub fn lstm(inputs: usize, units: usize, weights: Weights) -> Self {
        let columns = inputs + units;
        Self::gather(columns).rows(columns, 4 * units, weights).with(LSTM, units)
    }

    /// Attention with keys and values of so many elements over a source, whose length may be a mean.
    pub fn attend(source: f64, keys: usize, values: usize) -> Self {
        let mut work = Self::default().with(OPERATION, 1);
        work.0[ATTENDED] = source * (KEY * keys as f64 + values as f64);
        work
    }

    /// Attention by products, likewise.
    pub fn dot(source: f64, keys: usize, values: usize) -> Self {
        let mut work = Self::default().with(OPERATION, 1).with(COLUMN, keys);
        work.0[ATTENDED] = source * (keys + values) as f64;
        work
    }

    /// Rows that are added or copied.
    pub fn add(columns: usize) -> Self {
        Self::default().with(OPERATION, 1).with(LOGIT, columns)
    }

    /// A row that is brought to a normal form.
    pub fn norm(columns: usize) -> Self {
        let mut work = Self::default().with(OPERATION, 1);
        work.0[LOGIT] = NORMAL * columns as f64;
        work
    }

    /// Entries of a token table.
    pub fn table(rows: usize) -> Self {
        let mut work = Self::default();
        work.0[LOGIT] = ENTRY * rows as f64;
        work
    }

    /// Features of a word's letters, by a window of so many.
    pub fn characters(features: usize, width: usize) -> Self {
        let mut work = Self::default().with(OPERATION, 1);
        work.0[LOGIT] = LETTERS * (ENTRY * width as f64 + 1.0) * features as f64;
        work
    }

    /// Logits, searched and normalized.
    pub fn logits(count: usize) -> Self {
        Self::default().with(LOGIT, count)
    }

    /// The work of a line of `cores.tsv`; none for work that is not of single operations.
    fn of_kernel(kernel: &str, inputs: usize, size: usize) -> Option<Self> {
        let decoder = DECODERS.iter().find(|(_, name)| *name == kernel).filter(|_| size == 1);
        if let Some(&(weights, _)) = decoder {
            // Greedy: query, attention over 8 positions, a cell over embedding and context, logits. Less the logits of a
            // vocabulary of 4, here and below.
            return Some(
                Self::linear(128, 64, weights)
                    .plus(Self::attend(inputs as f64, 64, 128), 1.0)
                    .plus(Self::gru(160, 128, weights), 1.0)
                    .plus(Self::linear(288, 72, weights), 1.0)
                    .plus(Self::logits(68), 1.0),
            );
        }
        let long = |weights| Self::linear(inputs, 128, weights).plus(Self::logits(124), 1.0);
        Some(match kernel {
            "long_step" if size == 1 => long(Weights::Int8),
            "long_i4_step" if size == 1 => long(Weights::Int4),
            "matvec_i8" => Self::linear(inputs, size, Weights::Int8),
            "matvec_i4" => Self::linear(inputs, size, Weights::Int4),
            "lstm_step" => Self::lstm(inputs, size, Weights::Int8),
            "gru_step" => Self::gru(inputs, size, Weights::Int8),
            "log_softmax" => Self::logits(size - 4),
            _ => return None,
        })
    }
}

/// Price of each unit.
type Prices = [f64; UNITS];

/// Prices that come closest to measured costs, relative to each: non-negative least squares by coordinate descent.
fn fit(measured: &[(Work, f64)]) -> Prices {
    const SWEEPS: usize = 4000;
    let rows: Vec<Prices> = measured.iter().map(|(work, cost)| work.0.map(|count| count / cost)).collect();
    let mut prices = [0.0; UNITS];
    let mut missing = vec![1.0; rows.len()];
    for _ in 0..SWEEPS {
        for (unit, price) in prices.iter_mut().enumerate() {
            let norm: f64 = rows.iter().map(|row| row[unit] * row[unit]).sum();
            if norm == 0.0 {
                continue;
            }
            let slope: f64 = rows.iter().zip(&missing).map(|(row, missing)| row[unit] * missing).sum();
            let better = f64::max(0.0, *price + slope / norm);
            let change = better - *price;
            rows.iter().zip(&mut missing).for_each(|(row, missing)| *missing -= change * row[unit]);
            *price = better;
        }
    }
    prices
}

/// What work costs on a core, in instructions or in cycles.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Costs {
    prices: Prices,
    /// What a hypothesis in a beam of 4 costs against greedy search, as in [`DECODERS`]: products with weights of each kind, and
    /// with those of int8 all other work. Where two hypotheses at a time share the weights that are fetched it is less than 1,
    /// and kernels differ in that.
    beams: [f64; DECODERS.len()],
}

impl Costs {
    /// Of work that is done once.
    pub fn of(&self, work: &Work) -> f64 {
        work.0.iter().zip(self.prices).map(|(count, price)| count * price).sum()
    }

    /// Of a step of so many hypotheses in a beam of 4, by the step of one.
    pub fn of_beam(&self, step: &Work, hypotheses: f64) -> f64 {
        let [int8, ..] = self.beams;
        let products = |weights: Weights| step.0[weights as usize] * self.prices[weights as usize];
        let differs = |((weights, _), beam): (&(Weights, _), f64)| (beam - int8) * products(*weights);
        let difference: f64 = DECODERS.iter().zip(self.beams).map(differs).sum();
        hypotheses * (int8 * self.of(step) + difference)
    }

    fn new<'a>(lines: impl Iterator<Item = &'a Count> + Clone, cost: fn(&Count) -> f64) -> Self {
        let work = |line: &Count| Some((Work::of_kernel(line.kernel, line.inputs, line.size)?, cost(line)));
        let measured: Vec<(Work, f64)> = lines.clone().filter_map(work).collect();
        let mut costs = Self { prices: fit(&measured), beams: [1.0; DECODERS.len()] };
        for (at, (weights, name)) in DECODERS.into_iter().enumerate() {
            let line = |beam| lines.clone().find(|line| line.kernel == name && line.size == beam);
            let Some((one, four)) = line(1).zip(line(4)) else { continue };
            let Some(step) = Work::of_kernel(name, one.inputs, one.size) else { continue };
            let ratio = cost(four) / (4.0 * cost(one));
            let [int8, ..] = costs.beams;
            // Of int8 all work costs as much; of another kind the products cost what the rest leaves.
            let products = step.0[weights as usize] * costs.prices[weights as usize];
            costs.beams[at] =
                if at == 0 { ratio } else { int8 + (ratio - int8) * costs.of(&step) / products };
        }
        costs
    }
}

/// What a core's work costs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rates {
    /// In instructions.
    pub instructions: Costs,
    /// In cycles.
    pub cycles: Costs,
}

impl Rates {
    /// By what was counted on the core.
    pub fn of(core: Core) -> Self {
        let lines: Vec<Count> = counts(core).collect();
        Self {
            instructions: Costs::new(lines.iter(), |line| line.instructions),
            cycles: Costs::new(lines.iter(), |line| line.cycles),
        }
    }
}

/// A line of `cores.tsv`.
#[derive(Debug, Clone, Copy)]
struct Count {
    kernel: &'static str,
    inputs: usize,
    size: usize,
    instructions: f64,
    cycles: f64,
}

/// The name of a core in `cores.tsv`.
fn key(core: Core) -> &'static str {
    match core {
        Core::M0 => "m0",
        Core::M3 => "m3",
        Core::M4 => "m4",
        Core::M33 => "m33",
        Core::M55 => "m55",
        Core::Rv32 => "rv32",
    }
}

fn counts(core: Core) -> impl Iterator<Item = Count> {
    COUNTS.lines().filter_map(move |line| {
        let fields: Vec<&str> = line.split('\t').collect();
        let [name, kernel, inputs, size, instructions, cycles] = *fields.as_slice() else { return None };
        let instructions: f64 = instructions.parse().ok()?;
        // Where cycles are not modelled, an instruction is one.
        let cycles = cycles.parse().unwrap_or(instructions);
        let (inputs, size) = (inputs.parse().ok()?, size.parse().ok()?);
        (name == key(core)).then_some(Count { kernel, inputs, size, instructions, cycles })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CORES: [Core; 6] = [Core::M0, Core::M3, Core::M4, Core::M33, Core::M55, Core::Rv32];

    #[test]
    fn prices_explain_what_was_measured() {
        for core in CORES {
            let rates = Rates::of(core);
            let mut lines = 0;
            for line in counts(core) {
                let Some(work) = Work::of_kernel(line.kernel, line.inputs, line.size) else { continue };
                lines += 1;
                for (costs, measured) in
                    [(rates.instructions, line.instructions), (rates.cycles, line.cycles)]
                {
                    let error = 100.0 * (costs.of(&work) / measured - 1.0);
                    assert!(error.abs() < 5.0, "{core:?} {line:?}: {error:.1} %");
                }
            }
            assert!(lines > UNITS, "{core:?}");
        }
    }

    #[test]
    fn a_beam_costs_what_was_counted() {
        for core in CORES {
            let costs = Rates::of(core).instructions;
            for (weights, name) in DECODERS {
                let step = Work::of_kernel(name, 8, 1).unwrap();
                let count =
                    |beam| counts(core).find(|l| l.kernel == name && l.size == beam).unwrap().instructions;
                let found = costs.of_beam(&step, 4.0) / costs.of(&step);
                assert!((found - count(4) / count(1)).abs() < 1e-9, "{core:?} {weights:?}");
                assert!((1.6..=5.0).contains(&found), "{core:?} {weights:?}: {found}");
            }
        }
    }

    #[test]
    fn a_beam_of_long_rows_costs_nearly_what_was_counted() {
        for core in CORES {
            let costs = Rates::of(core).instructions;
            for name in ["long_step", "long_i4_step"] {
                let step = Work::of_kernel(name, 1024, 1).unwrap();
                let counted = counts(core).find(|l| l.kernel == name && l.size == 4).unwrap().instructions;
                let error = 100.0 * (costs.of_beam(&step, 4.0) / counted - 1.0);
                assert!(error.abs() < 10.0, "{core:?} {name}: {error:.1} %");
            }
        }
    }

    #[test]
    fn a_run_has_a_price_where_kernels_take_no_more_at_once() {
        for core in [Core::M0, Core::M3, Core::M4, Core::M33] {
            let price = Rates::of(core).instructions.prices[RUN];
            assert!((200.0..400.0).contains(&price), "{core:?}: {price}");
        }
        let runs = |columns, weights| Work::linear(columns, 128, weights).0[RUN];
        assert_eq!(runs(512, Weights::Int8), 0.0);
        assert_eq!(runs(516, Weights::Int8), 64.0);
        assert_eq!(runs(1028, Weights::Int4), 96.0);
        assert_eq!(runs(1028, Weights::Int4Groups), 0.0);
    }

    #[test]
    fn known_prices_are_found_again() {
        let prices = [1000.0, 5.0, 20.0, 0.9, 1.1, 0.0, 200.0, 0.0, 0.0, 0.0, 300.0];
        let works = [
            Work::linear(64, 64, Weights::Int8),
            Work::linear(128, 512, Weights::Int8),
            Work::linear(300, 20, Weights::Int8),
            Work::linear(20, 300, Weights::Int8),
            Work::linear(128, 512, Weights::Int4),
            Work::linear(1024, 128, Weights::Int8),
            Work::lstm(64, 128, Weights::Int8),
        ];
        let cost = |work: &Work, prices: &Prices| work.0.iter().zip(prices).map(|(n, p)| n * p).sum::<f64>();
        let measured: Vec<(Work, f64)> = works.iter().map(|work| (*work, cost(work, &prices))).collect();
        let found = fit(&measured);
        for (work, wanted) in &measured {
            assert!((cost(work, &found) / wanted - 1.0).abs() < 0.01, "{found:?}");
        }
    }
}
