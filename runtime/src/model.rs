//! A checked model and the RAM that it needs.

use crate::blob::Blob;
#[cfg(feature = "characters")]
use crate::blob::schema::Characters;
use crate::blob::schema::{Description, Extent, Frames, Task};
use crate::decode::MAX_BEAM;
use crate::error::{LoadError, RunError};
use crate::frame::{Size, arrange};
use crate::kernels::Layout;
use crate::vocab::Vocab;

/// What a session is planned for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest source in tokens, marks included, 1 to 4096.
    pub source: u16,
    /// Longest target in tokens, end mark excluded, 1 to 4096.
    pub target: u16,
    /// Widest beam, 1 to 8.
    pub beam: u8,
    /// Whether beam searches may penalize what attention leaves uncovered: it takes a number for every source position of
    /// every hypothesis. Needs the feature `coverage`.
    pub coverage: bool,
}

impl Limits {
    /// Whether coverage is counted.
    fn covers(&self) -> bool {
        cfg!(feature = "coverage") && self.coverage
    }

    pub(crate) fn check(self) -> Result<Self, RunError> {
        let ok = (1..=4096).contains(&self.source)
            && (1..=4096).contains(&self.target)
            && (1..=MAX_BEAM).contains(&(self.beam as usize))
            && (cfg!(feature = "coverage") || !self.coverage);
        if ok { Ok(self) } else { Err(RunError::Limits) }
    }
}

/// How a session's buffer is cut, in 16-bit words.
pub(crate) struct Plan {
    pub starts: usize,
    pub columns: usize,
    pub arena: usize,
    pub attention: usize,
    pub source: usize,
    pub history: usize,
    pub coverage: usize,
}

impl Plan {
    /// 16-bit words of all parts.
    pub fn words(&self) -> usize {
        self.starts + self.columns + self.arena + self.attention + self.source + self.history + self.coverage
    }
}

/// A model read in place from its blob. Small: a view of the blob and its slots.
#[derive(Debug, Clone)]
pub struct Model<'a> {
    pub(crate) blob: Blob<'a>,
}

impl<'a> Model<'a> {
    /// Checks a blob in full: magic, version, length, CRC, every shape and offset. Nothing that is done with the model
    /// afterwards can fail because of the blob.
    ///
    /// The bytes may lie anywhere; aligned to 16 they are read fastest (`Aligned`).
    ///
    /// # Errors
    /// [`LoadError`] says what was expected and what was found.
    pub fn from_bytes(bytes: &'a [u8]) -> Result<Self, LoadError> {
        Ok(Self { blob: Blob::from_bytes(bytes)? })
    }

    /// Bytes of RAM that a session with these limits takes from its buffer: exact, not an estimate. 0 for limits that
    /// are out of range.
    pub fn ram(&self, limits: &Limits) -> usize {
        let Ok(limits) = limits.check() else { return 0 };
        self.plan(limits).words() * 2
    }

    /// What that RAM is for, for tools that show it: each part's name and bytes, in the order in which they lie in the
    /// buffer. They add up to [`ram`](Self::ram).
    pub fn ram_parts(&self, limits: &Limits) -> [(&'static str, usize); 7] {
        let plan = limits.check().map(|limits| self.plan(limits));
        let bytes = |part: fn(&Plan) -> usize| plan.as_ref().map_or(0, |plan| 2 * part(plan));
        [
            ("starts of slots", bytes(|p| p.starts)),
            ("columns", bytes(|p| p.columns)),
            ("slots", bytes(|p| p.arena)),
            ("attention weights", bytes(|p| p.attention)),
            ("source", bytes(|p| p.source)),
            ("history", bytes(|p| p.history)),
            ("coverage", bytes(|p| p.coverage)),
        ]
    }

    pub(crate) fn plan(&self, limits: Limits) -> Plan {
        let size = self.size(limits);
        let Size { source, beam, lanes } = size;
        let slots = self.blob.description.slots;
        let attends = slots.iter().any(|s| s.extent == Extent::Source);
        let widest = self.blob.columns;
        Plan {
            starts: slots.0.len() / 2,
            columns: widest.encode.max(lanes * widest.step),
            arena: arrange(slots, size, &mut []),
            attention: if attends { lanes * source } else { 0 },
            source: if self.features() > 0 { 0 } else { source },
            history: match self.task() {
                // A label a position.
                Task::Label => source,
                _ => limits.target as usize * if beam == 1 && !limits.covers() { 1 } else { 2 * beam },
            },
            coverage: if limits.covers() && attends { beam * source } else { 0 },
        }
    }

    /// What the sizes of slots follow from.
    pub(crate) fn size(&self, limits: Limits) -> Size {
        let (source, beam) = (limits.source as usize, limits.beam as usize);
        Size { source, beam, lanes: self.blob.layout.lanes().min(beam) }
    }

    /// The limits that the compiler planned for, with a beam.
    pub fn limits(&self, beam: u8) -> Limits {
        let d = &self.blob.description;
        Limits { source: d.max_source, target: d.max_target, beam, coverage: false }
    }

    /// What the model is for.
    pub fn task(&self) -> Task {
        match self.blob.description.task {
            // Others were refused where their feature is off; said again, so that no code is left for them.
            Task::Label if cfg!(feature = "label") => Task::Label,
            Task::Generate if cfg!(feature = "generate") => Task::Generate,
            _ => Task::Transduce,
        }
    }

    /// Numbers of a source position, for [`read_frames`](crate::Session::read_frames); 0 for a model that reads tokens.
    pub fn features(&self) -> usize {
        let slot = self.frames().and_then(|frames| self.blob.description.slots.get(frames.slot));
        slot.map_or(0, |slot| slot.width as usize)
    }

    /// What a unit of a source's numbers is worth, of one of its [`features`](Self::features): 1 where the model does not say.
    pub fn resolution(&self, feature: usize) -> f64 {
        let told = self.frames().filter(|frames| frames.resolution && feature < self.features());
        let bytes = told.and_then(|frames| {
            let start = frames.records as usize + 8 * (self.features() + feature);
            self.blob.data.get(start..)?.first_chunk()
        });
        bytes.map_or(1.0, |bytes| f64::from_le_bytes(*bytes))
    }

    /// The record of a source of numbers.
    pub(crate) fn frames(&self) -> Option<Frames> {
        // Refused where the feature is off, as above.
        if cfg!(feature = "frames") { Frames::from_bytes(self.blob.description.source) } else { None }
    }

    /// Features of letters, if the model reads any.
    #[cfg(feature = "characters")]
    pub(crate) fn characters(&self) -> Option<Characters<'a>> {
        self.blob.description.characters()
    }

    /// Slot that is filled where a source is read, if there is one.
    #[cfg(any(feature = "frames", feature = "characters"))]
    pub(crate) fn kept(&self) -> Option<u8> {
        self.blob.description.kept()
    }

    /// The model's name.
    pub fn name(&self) -> &'a str {
        core::str::from_utf8(self.blob.description.name).unwrap_or("")
    }

    /// CRC-32 of the blob, as its preamble states it.
    pub fn crc(&self) -> u32 {
        self.blob.crc
    }

    /// How its weights are arranged.
    pub fn layout(&self) -> Layout {
        self.blob.layout
    }

    /// Source vocabulary: of a model that generates, the target's, in which prompts are written; empty for a source of numbers.
    pub fn source(&self) -> Vocab<'a> {
        let d = &self.blob.description;
        let generates = self.task() == Task::Generate;
        Vocab::new(if generates { d.target } else { d.source_vocabulary() }, self.blob.data)
    }

    /// Target vocabulary.
    pub fn target(&self) -> Vocab<'a> {
        Vocab::new(self.blob.description.target, self.blob.data)
    }

    /// The description, for tools that show it.
    pub fn description(&self) -> &Description<'a> {
        &self.blob.description
    }

    /// The data section, for tools that show it.
    pub fn data(&self) -> &'a [u8] {
        self.blob.data
    }
}
