//! From the trained network to programs over slots: the one place that knows both vocabularies.
//!
//! The encode program runs each encoder layer forward, backward or both ways; then the bridge sets the decoder's state and the
//! attention's keys are computed. The step program computes the decoder's cells, the context before or behind them, and the
//! logits; that of labels the logits alone, at a source position.

mod attention;
mod cells;
mod characters;
mod decoder;
mod encoder;
mod frames;
mod product;
mod reads;
mod signal;
mod token;
mod vocabulary;

use core::f64::consts::LOG2_E;
use std::collections::BTreeMap;

use kinglet::blob::schema::{Description, Extent, Kind, Slot, Slots, Task, View};
use kinglet::kernels::Layout;
use kinglet_train::config::{self, Cell};
use kinglet_train::data::Pair;
use kinglet_train::model::{Params, Seq2Seq, Tensor};
use kinglet_train::quant::Scheme;
use kinglet_train::vocab::Vocab;

use crate::calibrate::{Calibration, Example, Observed};
use crate::error::{Error, Result};
use crate::kinds::{self, Kinds};
use crate::mixed::Bounds;
use crate::pack::{self, Program, Section};
use crate::plan::{Size, share};
use crate::quantize::power_of_two;
use decoder::Known;
use product::Errors;
use signal::{STATE_BITS, Signal};

/// Whether a token's product with its embedding is computed by the compiler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Fold {
    /// Where the table takes no more bytes than the weights and the embedding that it replaces.
    #[default]
    Auto,
    /// Everywhere: the fastest and most exact.
    Always,
    /// Nowhere.
    Never,
}

impl From<Fold> for kinglet_train::config::Fold {
    fn from(fold: Fold) -> Self {
        match fold {
            Fold::Auto => Self::Auto,
            Fold::Always => Self::Always,
            Fold::Never => Self::Never,
        }
    }
}

/// A network with what turns text into its ids.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// The float network.
    pub model: &'a Seq2Seq,
    /// Tokens of the source side, or how its numbers are read.
    pub source_vocab: &'a Vocab,
    /// Tokens of the target side.
    pub target_vocab: &'a Vocab,
}

impl Source<'_> {
    /// A pair as ids.
    pub fn example(&self, pair: &Pair) -> Example {
        let (source, target) = (&pair.source, &pair.target);
        Example { source: self.source_vocab.sentence(source), target: self.target_vocab.sentence(target).ids }
    }
}

/// What the model is planned for.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Name in the blob.
    pub name: String,
    /// Longest source, marks included.
    pub max_source: u16,
    /// Longest target, end mark excluded.
    pub max_target: u16,
    /// Widest beam.
    pub beam: u8,
    /// Where embeddings become tables.
    pub fold: Fold,
    /// What weights become.
    pub kinds: Kinds,
    /// Weights chosen by their measured loss, in place of `kinds`.
    pub mixed: Option<Bounds>,
    /// How far calibrated types reach.
    pub calibration: Calibration,
    /// Whether biases make up for the mean error of rounded weights.
    pub bias_correction: bool,
    /// How they are arranged.
    pub layout: Layout,
}

impl Plan {
    /// A plan for greedy search and int8 weights in the layout that every core but those with DSP reads fast.
    pub fn new(name: impl Into<String>, max_source: u16, max_target: u16) -> Self {
        let (kinds, layout) = (Kinds::default(), Layout::Tiles);
        Self {
            name: name.into(),
            max_source,
            max_target,
            beam: 1,
            fold: Fold::Auto,
            kinds,
            mixed: None,
            calibration: Calibration::default(),
            bias_correction: true,
            layout,
        }
    }
}

/// A blob with what is worth telling about its making.
#[derive(Debug, Clone)]
pub struct Lowered {
    /// The packed model.
    pub blob: Vec<u8>,
    /// Tensors of its data section.
    pub tensors: Vec<pack::Tensor>,
    /// Relative quantization error of each float tensor that became int8.
    pub errors: BTreeMap<String, f64>,
    /// Largest magnitude that the integer type of each calibrated quantity holds.
    pub limits: BTreeMap<String, f64>,
}

/// Quantizes and packs a network as the scheme says, which takes the place of the plan's `fold` and `kinds`. Where means of inputs
/// are `observed`, biases make up for the mean error of rounded weights.
///
/// # Errors
/// [`Error::Model`] when network, scheme and format do not fit each other.
pub fn lower<'a>(
    source: Source<'a>,
    scheme: &'a Scheme,
    observed: Option<&'a Observed>,
    plan: &Plan,
) -> Result<Lowered> {
    let mut builder = Builder {
        params: &source.model.params,
        scheme,
        observed,
        layout: plan.layout,
        section: Section::default(),
        slots: Vec::new(),
        errors: Errors::default(),
        limits: BTreeMap::new(),
    };
    let config = &source.model.config;
    let (mut encode, mut step) = (Program::default(), Program::default());
    let vocabulary = source.target_vocab.len();
    let reads = builder.reads(config, source.source_vocab)?;
    let (task, (logits, logit_bits)) = match config.task {
        config::Task::Transduce => {
            let states = builder.decoder_states(config)?;
            let encoded = builder.encoder(config, &reads, &states, &mut encode)?;
            let mut known = Known::default();
            if let Some(outputs) = encoded.outputs {
                known.attention = Some(builder.attention(config, outputs, &mut encode)?);
            } else if config.decoder.context {
                known.context = Some(builder.final_states(&encoded, &mut encode)?);
            }
            (Task::Transduce, builder.decoder(config, vocabulary, &states, &known, &mut step)?)
        }
        config::Task::Label => {
            let encoded = builder.encoder(config, &reads, &[], &mut encode)?;
            let outputs = encoded.outputs.expect("labels read what the top layer puts out");
            (Task::Label, builder.labeler(outputs, vocabulary, &mut step)?)
        }
        config::Task::Generate => {
            let states = builder.decoder_states(config)?;
            (Task::Generate, builder.decoder(config, vocabulary, &states, &Known::default(), &mut step)?)
        }
    };
    let source_record = builder.source(&reads, source.source_vocab)?;
    let target_vocabulary = builder.vocabulary("target", source.target_vocab)?;
    let beam = usize::from(plan.beam);
    let size = Size { source: plan.max_source.into(), beam, lanes: plan.layout.lanes().min(beam) };
    share(&mut builder.slots, encode.bytes(), step.bytes(), logits, reads.slot(), size);
    let slots: Vec<u8> = builder.slots.iter().flat_map(Slot::to_bytes).collect();
    let description = Description {
        name: plan.name.as_bytes(),
        source: &source_record,
        target: &target_vocabulary,
        max_source: plan.max_source,
        max_target: plan.max_target,
        slots: Slots(&slots),
        logits,
        logit_bits,
        encode: encode.bytes(),
        step: step.bytes(),
        task,
    };
    Ok(Lowered {
        blob: pack::pack(&description, plan.layout, &builder.section)?,
        tensors: builder.section.tensors().to_vec(),
        errors: builder.errors.relative(),
        limits: builder.limits,
    })
}

/// Slots of a recurrent state.
#[derive(Debug, Clone, Copy)]
struct State {
    hidden: u8,
    /// Fraction bits of the hidden state: 15, but where nothing bounds it.
    bits: i32,
    /// LSTM only.
    cell: Option<u8>,
    cell_bits: u8,
    units: u16,
}

impl State {
    /// The hidden state.
    fn signal(&self) -> Signal {
        let view = View { slot: self.hidden, start: 0, width: self.units };
        Signal { view, kind: Kind::I16, bits: self.bits }
    }
}

struct Builder<'a> {
    params: &'a Params,
    scheme: &'a Scheme,
    observed: Option<&'a Observed>,
    layout: Layout,
    section: Section,
    slots: Vec<Slot>,
    errors: Errors,
    limits: BTreeMap<String, f64>,
}

impl<'a> Builder<'a> {
    fn tensor(&self, name: &str) -> Result<&'a Tensor> {
        self.params.get(name).ok_or_else(|| Error::Model(format!("tensor {name} is missing")))
    }

    fn slot(&mut self, extent: Extent, kind: Kind, width: usize) -> Result<u8> {
        let index = u8::try_from(self.slots.len())
            .map_err(|_| Error::Model("it needs more than 256 pieces of RAM: use fewer layers".into()))?;
        let width = u16::try_from(width)
            .map_err(|_| Error::Model(format!("a vector of {width} elements; at most 65535 fit")))?;
        self.slots.push(Slot { extent, kind, region: index, width });
        Ok(index)
    }

    fn whole(&self, slot: u8) -> View {
        View { slot, start: 0, width: self.slots[slot as usize].width }
    }

    /// A new int8 slot of one row, as a view.
    fn bytes_once(&mut self, width: usize) -> Result<View> {
        let slot = self.slot(Extent::Once, Kind::I8, width)?;
        Ok(self.whole(slot))
    }

    /// What the weights of a product become.
    fn kind(&self, product: &str) -> Result<kinds::Kind> {
        let kind = self.scheme.products.get(product);
        let kind = kind.ok_or_else(|| Error::Model(format!("its scheme lacks the product {product}")))?;
        kinds::Kind::try_from(*kind)
    }

    /// Fraction bits of a 16-bit quantity and what a unit of it is worth; scores and logits are kept in log2 units.
    fn grid(&mut self, quantity: &str) -> Result<(u8, f64)> {
        let bits = self.scheme.bits.get(quantity);
        let bits = *bits.ok_or_else(|| Error::Model(format!("its scheme lacks the bits of {quantity}")))?;
        let log2 = matches!(quantity, "decoder.attention.score" | "decoder.logits");
        let unit = power_of_two(-i32::from(bits)) / if log2 { LOG2_E } else { 1.0 };
        self.limits.insert(quantity.to_owned(), 32_767.0 * unit);
        Ok((bits, unit))
    }

    /// Slots of a new recurrent state; `name` is the cell's.
    fn state(&mut self, extent: Extent, of: Cell, units: usize, name: &str) -> Result<State> {
        let hidden = self.slot(extent, Kind::I16, units)?;
        let bits = match of {
            Cell::Relu => self.grid(&format!("{name}.hidden"))?.0.into(),
            Cell::Gru | Cell::Lstm | Cell::Rnn | Cell::Peephole => STATE_BITS,
        };
        let (cell, cell_bits) = if of.keeps_cell() {
            let slot = self.slot(extent, Kind::I16, units)?;
            (Some(slot), self.grid(&format!("{name}.cell"))?.0)
        } else {
            (None, 0)
        };
        Ok(State { hidden, bits, cell, cell_bits, units: units as u16 })
    }
}
