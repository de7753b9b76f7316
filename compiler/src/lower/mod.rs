//! From the trained network to programs over slots: the one place that knows both vocabularies.
//!
//! The encode program runs each encoder layer forward and, if asked, backward; then the bridge sets the decoder's
//! state and the attention's keys are computed. The step program computes the query from the previous state, the
//! context, the decoder's cells and the logits.

mod cells;
mod decoder;
mod encoder;
mod product;
mod token;
mod vocabulary;

use std::collections::BTreeMap;

use kinglet::blob::schema::{Description, Extent, Kind, Slot, Slots, View};
use kinglet::kernels::Layout;
use kinglet_train::config::{AttentionKind, Cell};
use kinglet_train::model::{Params, Seq2Seq, Tensor};
use kinglet_train::vocab::Vocab;

use crate::calibrate::Ranges;
use crate::error::{Error, Result};
use crate::kinds::Kinds;
use crate::pack::{self, Program, Section};
use crate::plan::{Size, share};
use product::Errors;

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

/// A network with what turns text into its ids.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// The float network.
    pub model: &'a Seq2Seq,
    /// Tokens of the source side.
    pub source_vocab: &'a Vocab,
    /// Tokens of the target side.
    pub target_vocab: &'a Vocab,
}

/// What the model is planned for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Name in the blob.
    pub name: String,
    /// Longest source, end mark included.
    pub max_source: u16,
    /// Longest target, end mark excluded.
    pub max_target: u16,
    /// Widest beam.
    pub beam: u8,
    /// Where embeddings become tables.
    pub fold: Fold,
    /// What weights become.
    pub kinds: Kinds,
    /// How they are arranged.
    pub layout: Layout,
}

impl Plan {
    /// A plan for greedy search and int8 weights in the layout that every core but those with DSP reads fast.
    pub fn new(name: impl Into<String>, max_source: u16, max_target: u16) -> Self {
        let (kinds, layout) = (Kinds::default(), Layout::Tiles);
        Self { name: name.into(), max_source, max_target, beam: 1, fold: Fold::Auto, kinds, layout }
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

/// Quantizes and packs a network whose ranges were calibrated.
///
/// # Errors
/// [`Error::Model`] when the network does not fit the format.
pub fn lower<'a>(source: Source<'a>, ranges: &'a Ranges, plan: &'a Plan) -> Result<Lowered> {
    let mut builder = Builder {
        params: &source.model.params,
        ranges,
        fold: plan.fold,
        kinds: &plan.kinds,
        layout: plan.layout,
        section: Section::default(),
        slots: Vec::new(),
        errors: Errors::default(),
        limits: BTreeMap::new(),
    };
    let config = &source.model.config;
    let attention = config.attention.kind != AttentionKind::None;
    let states = builder.decoder_states(config)?;
    let mut encode = Program::default();
    let encoded = builder.encoder(config, &states, &mut encode)?;
    let attention = if attention { Some(builder.attention(config, &encoded, &mut encode)?) } else { None };
    let mut step = Program::default();
    let (logits, logit_bits) =
        builder.decoder(config, source.target_vocab.len(), &states, attention.as_ref(), &mut step)?;
    let source_vocabulary = builder.vocabulary("source", source.source_vocab)?;
    let target_vocabulary = builder.vocabulary("target", source.target_vocab)?;
    let beam = usize::from(plan.beam);
    let size = Size { source: plan.max_source.into(), beam, lanes: plan.layout.lanes().min(beam) };
    share(&mut builder.slots, encode.bytes(), step.bytes(), logits, size);
    let slots: Vec<u8> = builder.slots.iter().flat_map(Slot::to_bytes).collect();
    let description = Description {
        name: plan.name.as_bytes(),
        source: &source_vocabulary,
        target: &target_vocabulary,
        max_source: plan.max_source,
        max_target: plan.max_target,
        slots: Slots(&slots),
        logits,
        logit_bits,
        encode: encode.bytes(),
        step: step.bytes(),
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
    /// LSTM only.
    cell: Option<u8>,
    cell_bits: u8,
    units: u16,
}

struct Builder<'a> {
    params: &'a Params,
    ranges: &'a Ranges,
    fold: Fold,
    kinds: &'a Kinds,
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

    /// Slots of a new recurrent state.
    fn state(&mut self, extent: Extent, cell: Cell, units: usize, ranges: &[String]) -> Result<State> {
        let hidden = self.slot(extent, Kind::I16, units)?;
        let (cell, cell_bits) = match cell {
            Cell::Gru => (None, 0),
            Cell::Lstm => (Some(self.slot(extent, Kind::I16, units)?), self.cell_bits(ranges)),
        };
        Ok(State { hidden, cell, cell_bits, units: units as u16 })
    }
}
