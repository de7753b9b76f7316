//! How long a word takes on a core: an estimate.
//!
//! Work is counted in units (products, rows, columns, ...), of which each core has a price in instructions and in cycles.
//! The prices are fitted to `cores.tsv`, what `firmware-example/bench.sh --json` counts on emulated cores and models in
//! cycles, memory without wait states; `bench.sh --json | compiler/cores.sh` writes that file anew.

use kinglet::blob::schema::{Inputs, Op, Over};
use kinglet::kernels::Bits;
use kinglet::{Model, blob::schema::MatrixRecord};
use serde::Serialize;

use crate::boards::Core;
use crate::plan::passes;

/// Lines of core, kernel, inputs, size, instructions and cycles (`-` where no model of cycles exists).
const COUNTS: &str = include_str!("cores.tsv");

/// Kinds of units that work is counted in.
const UNITS: usize = 9;
/// An operation, its description decoded.
const OPERATION: usize = 0;
/// A gathered column.
const COLUMN: usize = 1;
/// A row, requantized.
const ROW: usize = 2;
/// A product with an int8 weight.
const INT8: usize = 3;
/// A product with an int4 weight.
const INT4: usize = 4;
/// Gates of an LSTM unit.
const LSTM: usize = 5;
/// Gates of a GRU unit.
const GRU: usize = 6;
/// A logit, searched and normalized.
const LOGIT: usize = 7;
/// A value of attention read in a step.
const ATTENDED: usize = 8;

/// Values that a key's element costs, with its hyperbolic tangent. Assumed, not measured: the counts hold one shape of
/// attention, so that they price keys and values together only.
const KEY: f64 = 3.0;
/// Logits that a token table's entry costs. Assumed: no count has a table.
const ENTRY: f64 = 1.0;

/// So many of each unit.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Work([f64; UNITS]);

impl Work {
    fn with(mut self, unit: usize, count: usize) -> Self {
        self.0[unit] += count as f64;
        self
    }

    fn plus(mut self, other: Self, times: f64) -> Self {
        for (sum, other) in self.0.iter_mut().zip(other.0) {
            *sum += times * other;
        }
        self
    }

    fn product(columns: usize, rows: usize, weights: usize, bits: Bits) -> Self {
        let unit = match bits {
            Bits::Int8 => INT8,
            Bits::Int4 => INT4,
        };
        Self::default().with(OPERATION, 1).with(COLUMN, columns).with(ROW, rows).with(unit, weights)
    }

    fn linear(columns: usize, rows: usize, bits: Bits) -> Self {
        Self::product(columns, rows, columns * rows, bits)
    }

    fn gru(inputs: usize, units: usize, bits: Bits) -> Self {
        let rows = if inputs > 0 { 4 } else { 3 } * units;
        Self::product(inputs + units, rows, 3 * units * (inputs + units), bits).with(GRU, units)
    }

    fn lstm(inputs: usize, units: usize, bits: Bits) -> Self {
        let columns = inputs + units;
        Self::product(columns, 4 * units, 4 * units * columns, bits).with(LSTM, units)
    }

    fn attend(source: f64, keys: usize, values: usize) -> Self {
        let mut work = Self::default().with(OPERATION, 1);
        work.0[ATTENDED] = source * (KEY * keys as f64 + values as f64);
        work
    }

    fn table(rows: usize) -> Self {
        let mut work = Self::default();
        work.0[LOGIT] = ENTRY * rows as f64;
        work
    }

    /// The work of a line of `cores.tsv`; none for work that is not of single operations.
    fn of_kernel(kernel: &str, inputs: usize, size: usize) -> Option<Self> {
        let logits = |count: usize| Self::default().with(LOGIT, count);
        Some(match kernel {
            "matvec_i8" => Self::linear(inputs, size, Bits::Int8),
            "matvec_i4" => Self::linear(inputs, size, Bits::Int4),
            "lstm_step" => Self::lstm(inputs, size, Bits::Int8),
            "gru_step" => Self::gru(inputs, size, Bits::Int8),
            // Less those of a vocabulary of 4, here and below.
            "log_softmax" => logits(size - 4),
            // Greedy: query, attention over 8 positions, a cell over embedding and context, logits.
            "decoder_step" if size == 1 => Self::linear(128, 64, Bits::Int8)
                .plus(Self::attend(inputs as f64, 64, 128), 1.0)
                .plus(Self::gru(160, 128, Bits::Int8), 1.0)
                .plus(Self::linear(288, 72, Bits::Int8), 1.0)
                .plus(logits(68), 1.0),
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

/// Prices of a core.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Rates {
    instructions: Prices,
    cycles: Prices,
    /// What a hypothesis of a beam costs against greedy search.
    beam: f64,
}

/// The name of a core in `cores.tsv`.
fn key(core: Core) -> &'static str {
    match core {
        Core::M0 => "m0",
        Core::M4 => "m4",
        Core::M33 => "m33",
        Core::M55 => "m55",
        Core::Rv32 => "rv32",
    }
}

fn counts(core: Core) -> impl Iterator<Item = (&'static str, usize, usize, f64, f64)> {
    COUNTS.lines().filter_map(move |line| {
        let fields: Vec<&str> = line.split('\t').collect();
        let [name, kernel, inputs, size, instructions, cycles] = *fields.as_slice() else { return None };
        let instructions: f64 = instructions.parse().ok()?;
        // Where cycles are not modelled, an instruction is one.
        let cycles = cycles.parse().unwrap_or(instructions);
        (name == key(core)).then_some((
            kernel,
            inputs.parse().ok()?,
            size.parse().ok()?,
            instructions,
            cycles,
        ))
    })
}

fn rates(core: Core) -> Rates {
    let measured: Vec<(Work, f64, f64)> =
        counts(core).filter_map(|(k, i, s, n, c)| Some((Work::of_kernel(k, i, s)?, n, c))).collect();
    let step =
        |beam| counts(core).find(|&(k, _, s, _, _)| k == "decoder_step" && s == beam).map(|line| line.4);
    Rates {
        instructions: fit(&measured.iter().map(|&(work, n, _)| (work, n)).collect::<Vec<_>>()),
        cycles: fit(&measured.iter().map(|&(work, _, c)| (work, c)).collect::<Vec<_>>()),
        beam: step(4).zip(step(1)).map_or(1.0, |(four, one)| four / (4.0 * one)),
    }
}

/// Estimated time of a word.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Time {
    /// Source tokens of the word, end mark included.
    pub source: f64,
    /// Steps of the decoder, that of the end mark included.
    pub steps: f64,
    /// Instructions of the encoder.
    pub encode_instructions: f64,
    /// Instructions of a greedy step with its search.
    pub step_instructions: f64,
    /// Milliseconds of the encoder.
    pub encode_ms: f64,
    /// Milliseconds of a greedy step.
    pub step_ms: f64,
    /// Milliseconds of the whole word, greedy.
    pub word_ms: f64,
    /// Milliseconds of the whole word with a beam of 4.
    pub beam_4_ms: f64,
    /// Whether the weights are arranged for another core: it is slower than this.
    pub foreign: bool,
}

/// The time of a word of so many source tokens and steps, which may be means.
pub fn word(model: &Model<'_>, core: Core, khz: u32, source: f64, steps: f64) -> Time {
    let description = model.description();
    let program = |bytes: &[u8]| {
        passes(bytes).iter().fold(Work::default(), |sum, (over, ops)| {
            let times = if *over == Over::Once { 1.0 } else { source };
            ops.iter().fold(sum, |sum, op| sum.plus(work(model, op, source), times))
        })
    };
    let encode = program(description.encode);
    let step = program(description.step).with(LOGIT, model.target().size().into());
    let rates = rates(core);
    let cost =
        |work: Work, prices: &Prices| -> f64 { work.0.iter().zip(prices).map(|(n, price)| n * price).sum() };
    let ms = |work| cost(work, &rates.cycles) / f64::from(khz);
    Time {
        source,
        steps,
        encode_instructions: cost(encode, &rates.instructions),
        step_instructions: cost(step, &rates.instructions),
        encode_ms: ms(encode),
        step_ms: ms(step),
        word_ms: ms(encode) + steps * ms(step),
        // At the first step a beam has one hypothesis.
        beam_4_ms: ms(encode) + (1.0 + 4.0 * rates.beam * (steps - 1.0).max(0.0)) * ms(step),
        foreign: model.layout() != core.layout(),
    }
}

/// The work of an operation, once.
fn work(model: &Model<'_>, op: &Op, source: f64) -> Work {
    let slots = model.description().slots;
    let width = |slot: u8| slots.get(slot).map_or(0, |s| usize::from(s.width));
    let columns = |inputs: &Inputs| inputs.iter().map(|view| usize::from(view.width)).sum::<usize>();
    let bits = |matrix: u32| {
        let bytes = model.data().get(matrix as usize..).and_then(|bytes| bytes.first_chunk());
        bytes.and_then(MatrixRecord::from_bytes).map_or(Bits::Int8, |matrix| matrix.bits)
    };
    let table = |present: bool, rows: usize| if present { Work::table(rows) } else { Work::default() };
    match op {
        Op::Embed(op) => Work::default().with(COLUMN, op.to.width.into()),
        Op::Linear(op) => {
            let rows = usize::from(op.to.width);
            Work::linear(columns(&op.inputs), rows, bits(op.matrix))
                .plus(table(op.table.is_some(), rows), 1.0)
        }
        Op::Gru(op) => {
            let units = width(op.hidden);
            Work::gru(columns(&op.inputs), units, bits(op.matrix))
                .plus(table(op.table.is_some(), 3 * units), 1.0)
        }
        Op::Lstm(op) => {
            let units = width(op.hidden);
            Work::lstm(columns(&op.inputs), units, bits(op.matrix))
                .plus(table(op.table.is_some(), 4 * units), 1.0)
        }
        Op::Attend(op) => Work::attend(source, width(op.query), op.to.width.into()),
    }
}

impl std::fmt::Display for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(
            f,
            "  estimate for a word of {:.1} source tokens and {:.1} steps, memory without wait states:",
            self.source, self.steps
        )?;
        writeln!(
            f,
            "    encode {:.0} thousand instructions, {:.1} ms; a step {:.0} thousand, {:.1} ms",
            self.encode_instructions / 1000.0,
            self.encode_ms,
            self.step_instructions / 1000.0,
            self.step_ms
        )?;
        writeln!(f, "    a word {:.0} ms greedy, {:.0} ms with a beam of 4", self.word_ms, self.beam_4_ms)?;
        if self.foreign {
            writeln!(
                f,
                "    slower in fact: the weights are arranged for another core (compile with --board)"
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CORES: [Core; 5] = [Core::M0, Core::M4, Core::M33, Core::M55, Core::Rv32];

    #[test]
    fn prices_explain_what_was_measured() {
        for core in CORES {
            let rates = rates(core);
            let mut lines = 0;
            for (kernel, inputs, size, instructions, cycles) in counts(core) {
                let Some(work) = Work::of_kernel(kernel, inputs, size) else { continue };
                lines += 1;
                for (prices, measured) in [(rates.instructions, instructions), (rates.cycles, cycles)] {
                    let found: f64 = work.0.iter().zip(prices).map(|(n, price)| n * price).sum();
                    let error = found / measured - 1.0;
                    assert!(error.abs() < 0.05, "{core:?} {kernel} {inputs} {size}: {:.1} %", 100.0 * error);
                }
            }
            assert!(lines > UNITS, "{core:?}");
            assert!((0.4..=1.1).contains(&rates.beam), "{core:?}: {}", rates.beam);
        }
    }

    #[test]
    fn known_prices_are_found_again() {
        let prices = [1000.0, 5.0, 20.0, 0.9, 1.1, 200.0, 0.0, 0.0, 0.0];
        let works = [
            Work::linear(64, 64, Bits::Int8),
            Work::linear(128, 512, Bits::Int8),
            Work::linear(300, 20, Bits::Int8),
            Work::linear(20, 300, Bits::Int8),
            Work::linear(128, 512, Bits::Int4),
            Work::lstm(64, 128, Bits::Int8),
        ];
        let cost = |work: &Work, prices: &Prices| work.0.iter().zip(prices).map(|(n, p)| n * p).sum::<f64>();
        let measured: Vec<(Work, f64)> = works.iter().map(|work| (*work, cost(work, &prices))).collect();
        let found = fit(&measured);
        for (work, wanted) in &measured {
            assert!((cost(work, &found) / wanted - 1.0).abs() < 0.01, "{found:?}");
        }
    }
}
