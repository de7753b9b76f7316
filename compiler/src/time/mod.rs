//! How long a word takes on a core: an estimate. `firmware-example/words.sh` counts the same on emulated cores and puts both side
//! by side.

mod prices;

use kinglet::Model;
use kinglet::blob::schema::{Energy, Inputs, MatrixRecord, Op, Over, Task};
use kinglet::kernels::Bits;
use serde::Serialize;

use self::prices::{Rates, Weights, Work};
use crate::boards::Core;
use crate::desktop;
use crate::error::Result;
use crate::plan::passes;

/// The beam that times are told for, beside greedy search.
const BEAM: u8 = 4;

/// How long words are: what they take follows from it. May be means.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Lengths {
    /// Source tokens, end mark included; or frames.
    pub source: f64,
    /// Steps of greedy search, that of the end mark included.
    pub steps: f64,
    /// Steps of a search with a beam of 4: it goes on until four hypotheses have ended.
    pub beam_4_steps: f64,
}

impl Lengths {
    /// Half of what a model was planned for: without data to take means of.
    pub fn planned(model: &Model<'_>) -> Self {
        let planned = model.limits(1);
        let [source, steps] = [planned.source, planned.target + 1].map(|tokens| f64::from(tokens) / 2.0);
        Self { source, steps, beam_4_steps: steps }
    }

    /// Means over some texts, as the model answers them.
    ///
    /// # Errors
    /// [`Error::Run`](crate::Error::Run) when a text is longer than the runtime takes.
    pub fn of(model: &Model<'_>, texts: &[&str], threads: usize) -> Result<Self> {
        if model.task() == Task::Generate {
            return Ok(Self { source: 0.0, ..Self::planned(model) });
        }
        let mean = |sum: usize| sum as f64 / texts.len().max(1) as f64;
        let limit = usize::from(model.limits(1).target);
        let steps = |beam_size| -> Result<f64> {
            let options = kinglet::Options { beam_size, ..kinglet::Options::default() };
            let answers = desktop::decode_all(model, texts, &options, threads)?;
            // The step of the end mark, which the limit may leave out; labels have none.
            let labels = model.task() == Task::Label;
            let steps = |tokens: usize| if labels { tokens } else { (tokens + 1).min(limit) };
            let last = |answer: &desktop::Answer| {
                answer.hypotheses.iter().map(|h| steps(h.tokens.len())).max().unwrap_or(0)
            };
            Ok(mean(answers.iter().map(last).sum()))
        };
        let source = mean(texts.iter().map(|text| desktop::source_len(model, text)).sum());
        Ok(Self { source, steps: steps(1)?, beam_4_steps: steps(BEAM)? })
    }
}

/// A search of a whole word.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Search {
    /// Instructions, the encoder's included.
    pub instructions: f64,
    /// Cycles likewise, memory without wait states.
    pub cycles: f64,
    /// Milliseconds.
    pub ms: f64,
}

/// Estimated time of a word.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Time {
    /// How long the word is.
    pub lengths: Lengths,
    /// Instructions of the encoder.
    pub encode_instructions: f64,
    /// Instructions of a greedy step with its search.
    pub step_instructions: f64,
    /// Milliseconds of the encoder.
    pub encode_ms: f64,
    /// Milliseconds of a greedy step.
    pub step_ms: f64,
    /// The whole word, greedy.
    pub greedy: Search,
    /// The whole word with a beam of 4.
    pub beam_4: Search,
    /// Whether the weights are arranged for another core: it is several times slower than this.
    pub foreign: bool,
}

/// The time of a word of given lengths.
pub fn word(model: &Model<'_>, core: Core, khz: u32, lengths: Lengths) -> Time {
    let description = model.description();
    let program = |bytes: &[u8]| {
        passes(bytes).iter().fold(Work::default(), |sum, (over, ops)| {
            let times = if *over == Over::Once { 1.0 } else { lengths.source };
            ops.iter().fold(sum, |sum, op| sum.plus(work(model, op, lengths.source), times))
        })
    };
    let mut encode = program(description.encode);
    if let Some(op) = description.characters() {
        // Where the source is read.
        let features = description.slots.get(op.slot).map_or(0, |slot| slot.width.into());
        encode = encode.plus(Work::characters(features, op.width.into()), lengths.source);
    }
    let step = program(description.step).plus(Work::logits(model.target().size().into()), 1.0);
    let Rates { instructions, cycles } = Rates::of(core);
    let ms = |cycles: f64| cycles / f64::from(khz);
    let search = |steps: &dyn Fn(&prices::Costs) -> f64| {
        let [instructions, cycles] = [instructions, cycles].map(|costs| costs.of(&encode) + steps(&costs));
        Search { instructions, cycles, ms: ms(cycles) }
    };
    Time {
        lengths,
        encode_instructions: instructions.of(&encode),
        step_instructions: instructions.of(&step),
        encode_ms: ms(cycles.of(&encode)),
        step_ms: ms(cycles.of(&step)),
        greedy: search(&|costs| lengths.steps * costs.of(&step)),
        // At the first step a beam has one hypothesis.
        beam_4: search(&|costs| {
            let more = (lengths.beam_4_steps - 1.0).max(0.0);
            costs.of(&step) + more * costs.of_beam(&step, BEAM.into())
        }),
        foreign: model.layout() != core.layout(),
    }
}

/// The work of an operation, once.
fn work(model: &Model<'_>, op: &Op, source: f64) -> Work {
    let slots = model.description().slots;
    let width = |slot: u8| slots.get(slot).map_or(0, |s| usize::from(s.width));
    let columns = |inputs: &Inputs| inputs.iter().map(|view| usize::from(view.width)).sum::<usize>();
    let weights = |matrix: u32| {
        let bytes = model.data().get(matrix as usize..).and_then(|bytes| bytes.first_chunk());
        match bytes.and_then(MatrixRecord::from_bytes) {
            Some(MatrixRecord { bits: Bits::Int4, group: 0, .. }) => Weights::Int4,
            Some(MatrixRecord { bits: Bits::Int4, .. }) => Weights::Int4Groups,
            _ => Weights::Int8,
        }
    };
    let table = |present: bool, rows: usize| if present { Work::table(rows) } else { Work::default() };
    match op {
        Op::Embed(op) => Work::embed(op.to.width.into()),
        Op::Linear(op) => {
            let rows = usize::from(op.to.width);
            Work::linear(columns(&op.inputs), rows, weights(op.matrix))
                .plus(table(op.table.is_some(), rows), 1.0)
        }
        Op::Gru(op) => {
            let units = width(op.hidden);
            Work::gru(columns(&op.inputs), units, weights(op.matrix))
                .plus(table(op.table.is_some(), 3 * units), 1.0)
        }
        Op::Lstm(op) => {
            let units = width(op.hidden);
            Work::lstm(columns(&op.inputs), units, weights(op.matrix))
                .plus(table(op.table.is_some(), 4 * units), 1.0)
        }
        Op::Attend(op) => match op.energy {
            Energy::Additive { .. } => Work::attend(source, width(op.query), op.to.width.into()),
            Energy::Dot => Work::dot(source, width(op.query), op.to.width.into()),
        },
        Op::Add(op) => Work::add(op.to.width.into()),
        Op::Norm(op) => Work::norm(op.to.width.into()),
    }
}

impl std::fmt::Display for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Lengths { source, steps, beam_4_steps } = self.lengths;
        writeln!(
            f,
            "  estimate for a word of {source:.1} source tokens, {steps:.1} steps greedy, {beam_4_steps:.1} with a beam of 4; \
             memory without wait states:"
        )?;
        writeln!(
            f,
            "    encode {:.0} thousand instructions, {:.1} ms; a step {:.0} thousand, {:.1} ms",
            self.encode_instructions / 1000.0,
            self.encode_ms,
            self.step_instructions / 1000.0,
            self.step_ms
        )?;
        writeln!(f, "    a word {:.0} ms greedy, {:.0} ms with a beam of 4", self.greedy.ms, self.beam_4.ms)?;
        if self.foreign {
            writeln!(
                f,
                "    several times slower in fact: the weights are arranged for another core (compile with --board)"
            )?;
        }
        Ok(())
    }
}
