//! Every shape and bound of a description, checked once, so that running it has nothing left to check.
//!
//! Order: slots, vocabularies, logits, then the operations of the encode program and of the step program: each one's
//! own numbers first, then the slots that it names, then the tensors, whose sizes follow from those.

mod ops;

use super::schema::*;
use super::{ALIGN, matrix, take_op, take_pass, tensor};
use crate::decode::MAX_BEAM;
use crate::error::{Fault, Feature, LoadError};
use crate::fixed::MAX_MANTISSA;
use crate::frame::{Size, arrange};
use crate::kernels::{Layout, ROWS};
#[cfg(feature = "subwords")]
use crate::vocab::Vocab;

/// Most columns of a product.
const MAX_COLUMNS: usize = 16_384;
/// Fewer 16-bit words than this take all slots with the longest source and the widest beam, so that no size of RAM
/// overflows where addresses have 32 bits.
const MAX_WORDS: usize = 1 << 29;
/// Longest source or target that a model may be planned for.
pub const MAX_LENGTH: u16 = 4096;

type Check<T = ()> = Result<T, Fault>;

/// Columns of the widest gathered product of each program.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Widest {
    pub encode: usize,
    pub step: usize,
}

struct Context<'a> {
    description: &'a Description<'a>,
    layout: Layout,
    data: &'a [u8],
    /// Vocabulary size of the present token.
    vocabulary: usize,
    /// Whether the present pass stands at a source position.
    at_position: bool,
    /// Whether the present pass belongs to the step program.
    step: bool,
    columns: Widest,
}

/// Checks everything; the widest gathered products.
pub fn validate(description: &Description<'_>, layout: Layout, data: &[u8]) -> Result<Widest, LoadError> {
    let outside = |fault| LoadError::Invalid { op: 255, fault };
    if let Some(feature) = missing(description) {
        return Err(LoadError::Feature(feature));
    }
    let mut context = Context {
        description,
        layout,
        data,
        vocabulary: 0,
        at_position: false,
        step: false,
        columns: Widest::default(),
    };
    context.globals().map_err(outside)?;
    // A step that labels stands at a source position.
    let labels = cfg!(feature = "label") && description.task == Task::Label;
    let source = description.source_vocabulary();
    let of_step = if labels { source } else { description.target };
    let mut op = 0u8;
    for (program, vocabulary, step) in
        [(description.encode, source, false), (description.step, of_step, true)]
    {
        context.vocabulary = Vocabulary::from_bytes(vocabulary).map_or(0, |v| v.size as usize);
        context.step = step;
        let mut rest = program;
        while !rest.is_empty() {
            let at = |fault| LoadError::Invalid { op, fault };
            let (pass, after) = take_pass(rest).ok_or(at(Fault::Program))?;
            if pass.ops == 0 || (step && pass.over != Over::Once) {
                return Err(at(Fault::Program));
            }
            context.at_position = pass.over != Over::Once || (step && labels);
            rest = after;
            for _ in 0..pass.ops {
                let at = |fault| LoadError::Invalid { op, fault };
                let Some((operation, after)) = take_op(rest) else {
                    return Err(Feature::of_op(rest).map_or(at(Fault::Program), LoadError::Feature));
                };
                context.operation(&operation).map_err(at)?;
                rest = after;
                op = op.saturating_add(1).min(254);
            }
        }
    }
    Ok(context.columns)
}

/// What this build lacks for a model as a whole.
fn missing(description: &Description<'_>) -> Option<Feature> {
    if !cfg!(feature = "frames") && Frames::from_bytes(description.source).is_some() {
        return Some(Feature::Frames);
    }
    if !cfg!(feature = "characters") && description.source.len() > VOCABULARY_BYTES {
        return Some(Feature::Characters);
    }
    match description.task {
        Task::Label if !cfg!(feature = "label") => Some(Feature::Label),
        Task::Generate if !cfg!(feature = "generate") => Some(Feature::Generate),
        _ => None,
    }
}

impl Feature {
    /// What this build lacks for the operation that these bytes begin with.
    fn of_op(bytes: &[u8]) -> Option<Self> {
        match *bytes {
            [5, ..] if !cfg!(feature = "add") => Some(Self::Add),
            [6, ..] if !cfg!(feature = "norm") => Some(Self::Norm),
            [7, ..] if !cfg!(feature = "dot") => Some(Self::Dot),
            [8, ..] if !cfg!(feature = "peephole") => Some(Self::Peephole),
            _ => None,
        }
    }
}

fn ensure(condition: bool, fault: Fault) -> Check {
    if condition { Ok(()) } else { Err(fault) }
}

impl Context<'_> {
    #[inline(never)]
    fn globals(&self) -> Check {
        let d = self.description;
        for length in [d.max_source, d.max_target] {
            ensure((1..=MAX_LENGTH).contains(&length), Fault::Range)?;
        }
        let bytes = d.slots.0.len();
        ensure(
            bytes.is_multiple_of(4) && bytes <= 4 * 256 && d.slots.iter().count() * 4 == bytes,
            Fault::Slot,
        )?;
        let mut regions = 0;
        for slot in d.slots.iter() {
            ensure(slot.width > 0, Fault::Width)?;
            ensure(slot.region as u16 <= regions, Fault::Slot)?;
            regions = regions.max(slot.region as u16 + 1);
        }
        let largest = Size { source: MAX_LENGTH as usize, beam: MAX_BEAM, lanes: 2 };
        ensure(arrange(d.slots, largest, &mut []) < MAX_WORDS, Fault::Range)?;
        self.source()?;
        let size = self.vocabulary(d.target)?;
        let logits = self.slot(d.logits, Kind::I16, Extent::Once)?;
        ensure(logits == size, Fault::Width)?;
        ensure((2..=15).contains(&d.logit_bits), Fault::Range)
    }

    /// Checks what the source is made of.
    #[inline(always)]
    fn source(&self) -> Check {
        let d = self.description;
        #[cfg(feature = "generate")]
        if d.task == Task::Generate {
            return ensure(d.source.is_empty() && d.encode.is_empty(), Fault::Program);
        }
        #[cfg(feature = "frames")]
        if let Some(frames) = Frames::from_bytes(d.source) {
            return self.frames(&frames);
        }
        self.vocabulary(d.source_vocabulary())?;
        #[cfg(feature = "characters")]
        if d.source.len() > VOCABULARY_BYTES {
            return self.characters(&d.characters().ok_or(Fault::Vocabulary)?);
        }
        Ok(())
    }

    #[cfg(feature = "characters")]
    fn characters(&self, characters: &Characters<'_>) -> Check {
        let tokens = |bytes| Vocabulary::from_bytes(bytes).map(|vocabulary| vocabulary.tokens);
        let sides = [self.description.source_vocabulary(), characters.vocabulary].map(tokens);
        ensure(sides == [Some(Tokens::Words), Some(Tokens::Chars)], Fault::Vocabulary)?;
        let letters = self.vocabulary(characters.vocabulary)?;
        let features = self.kept(characters.slot)?;
        let Characters { width, shift, max_len, .. } = *characters;
        ensure(width % 2 == 1 && width <= 9 && shift <= 12, Fault::Range)?;
        ensure((2..=MAX_LETTERS).contains(&(max_len as usize)), Fault::Range)?;
        // Both factors are below 2^16.
        let entries = letters * features;
        ensure(entries < 1 << 26, Fault::Tensor)?;
        self.tensor(characters.table, 2 * width as usize * entries).map(|_| ())
    }

    /// Width of a slot that outlives runs: alone in its region.
    #[cfg(any(feature = "frames", feature = "characters"))]
    fn kept(&self, slot: u8) -> Check<usize> {
        let width = self.slot(slot, Kind::I8, Extent::Source)?;
        let region = self.find(slot)?.region;
        ensure(self.description.slots.iter().filter(|slot| slot.region == region).count() == 1, Fault::Slot)?;
        Ok(width)
    }

    #[cfg(feature = "frames")]
    fn frames(&self, frames: &Frames) -> Check {
        let features = self.kept(frames.slot)?;
        ensure((1..=23).contains(&frames.post), Fault::Range)?;
        let resolution = if frames.resolution { 8 } else { 0 };
        self.tensor(frames.records, features * (8 + resolution))?;
        self.records(frames.records, features)
    }

    /// Checks a vocabulary; its size.
    #[inline(never)]
    fn vocabulary(&self, bytes: &[u8]) -> Check<usize> {
        let v = Vocabulary::from_bytes(bytes).ok_or(Fault::Vocabulary)?;
        let size = v.size as usize;
        for id in [v.sos, v.eos, v.unk] {
            ensure(id < v.size, Fault::Range)?;
        }
        let starts = self.tensor(v.starts, (size + 1) * 4)?;
        let sorted = self.tensor(v.sorted, size * 2)?;
        let mut last = 0;
        for start in starts.as_chunks::<4>().0 {
            let start = u32::from_le_bytes(*start);
            ensure(start >= last, Fault::Vocabulary)?;
            last = start;
        }
        let text = self.tensor(v.text, last as usize)?;
        ensure(core::str::from_utf8(text).is_ok(), Fault::Vocabulary)?;
        for id in sorted.as_chunks::<2>().0 {
            ensure(u16::from_le_bytes(*id) < v.size, Fault::Vocabulary)?;
        }
        #[cfg(feature = "subwords")]
        if v.tokens == Tokens::Subwords {
            // What joins is what is found: a table out of order would cut text into other pieces.
            ensure(Vocab::new(bytes, self.data).is_sorted(), Fault::Vocabulary)?;
        }
        Ok(size)
    }

    #[inline(never)]
    fn tensor(&self, offset: Offset, len: usize) -> Check<&[u8]> {
        ensure((offset as usize).is_multiple_of(ALIGN), Fault::Tensor)?;
        tensor(self.data, offset, len).ok_or(Fault::Tensor)
    }

    fn find(&self, slot: u8) -> Check<Slot> {
        self.description.slots.get(slot).ok_or(Fault::Slot)
    }

    /// Width of a slot that must be of this kind and extent.
    #[inline(never)]
    fn slot(&self, slot: u8, kind: Kind, extent: Extent) -> Check<usize> {
        let slot = self.find(slot)?;
        ensure(slot.kind == kind && slot.extent == extent, Fault::Kind)?;
        Ok(slot.width as usize)
    }

    /// Kind of a view that must lie inside its slot and have a present row.
    #[inline(never)]
    fn view(&self, view: View) -> Check<Kind> {
        let slot = self.find(view.slot)?;
        ensure(view.width > 0 && view.start as u32 + view.width as u32 <= slot.width as u32, Fault::View)?;
        ensure(slot.extent != Extent::Source || self.at_position, Fault::Kind)?;
        Ok(slot.kind)
    }

    /// Kind of a view that is written: none of what was filled where the source was read and stays so for the next search.
    fn written(&self, view: View) -> Check<Kind> {
        #[cfg(any(feature = "frames", feature = "characters"))]
        ensure(self.description.kept() != Some(view.slot), Fault::Program)?;
        self.view(view)
    }

    #[inline(never)]
    fn written_i8(&self, view: View) -> Check {
        ensure(self.written(view)? == Kind::I8, Fault::Kind)
    }

    /// Padded columns of the inputs.
    fn inputs(&self, inputs: &Inputs) -> Check<usize> {
        let mut columns = 0;
        for view in inputs {
            self.view(*view)?;
            columns += view.width as usize;
        }
        Ok(self.layout.padded(columns))
    }

    /// Notes that a product gathers so many columns; with fewer than this no size of a tensor overflows.
    fn gathers(&mut self, columns: usize) -> Check {
        ensure(columns <= MAX_COLUMNS, Fault::Width)?;
        let widest = if self.step { &mut self.columns.step } else { &mut self.columns.encode };
        *widest = columns.max(*widest);
        Ok(())
    }

    /// A present token is needed: the source's at a position, if it has any, or the target's in the step program.
    fn token(&self) -> Check {
        ensure(
            (self.at_position || self.step) && (!cfg!(feature = "frames") || self.vocabulary > 0),
            Fault::Program,
        )
    }

    #[inline(never)]
    fn table(&self, table: &Option<Table>, rows: usize) -> Check {
        let Some(table) = table else { return Ok(()) };
        self.token()?;
        ensure(table.shift <= 15, Fault::Range)?;
        // Both factors are below 2^16.
        let entries = self.vocabulary * rows;
        ensure(entries < 1 << 30, Fault::Tensor)?;
        self.tensor(table.table, entries * 2).map(|_| ())
    }

    /// Tensors of a matrix: so many streams, all of them over `parts[0]` and `parts[1]` columns but for those of `apart`,
    /// each of which sees only one of the parts.
    fn matrix(&self, offset: Matrix, streams: usize, parts: [usize; 2], apart: [usize; 2]) -> Check {
        self.tensor(offset, 16)?;
        let matrix = matrix(self.data, offset).ok_or(Fault::Range)?;
        let rows = self.layout.rows();
        let over = |part: [usize; 2]| -> usize {
            streams * (part[0] + part[1]) + apart[0] * part[0] + apart[1] * part[1]
        };
        ensure((1..=23).contains(&matrix.post), Fault::Range)?;
        self.tensor(matrix.weights, matrix.bits.stream_bytes(over(parts)) / ROWS * rows)?;
        if let Some(group) = core::num::NonZeroUsize::new(matrix.group as usize) {
            ensure(group.get() <= 256 && group.get().is_multiple_of(16), Fault::Range)?;
            self.tensor(matrix.multipliers, over(parts.map(|part| (part + group.get() - 1) / group)) * rows)?;
        }
        self.records(matrix.rows, (streams + apart[0] + apart[1]) * rows)
    }

    /// So many row records.
    fn records(&self, offset: Offset, rows: usize) -> Check {
        for record in self.tensor(offset, rows * 8)?.as_chunks::<8>().0 {
            let [_, _, _, _, m0, m1, pre, zero] = *record;
            let mantissa = u16::from_le_bytes([m0, m1]);
            ensure(mantissa <= MAX_MANTISSA && pre <= 31 && zero == 0, Fault::Range)?;
        }
        Ok(())
    }
}
