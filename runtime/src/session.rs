//! A model at work in a caller's buffer.

#[cfg(feature = "coverage")]
mod coverage;
mod frames;
mod label;
mod sample;

pub use label::{Label, Labels};

use core::cell::Cell;
use core::ops::ControlFlow;

use heapless::Vec;

use crate::arena::{signed, unsigned, words};
use crate::blob::schema::Task;
use crate::decode::{self, Decoder, Finished, MAX_BEAM, Options, natural};
use crate::error::RunError;
use crate::frame::{Frame, Lanes, arrange};
use crate::kernels::LANES;
use crate::model::{Limits, Model};
#[cfg(feature = "characters")]
use crate::ops;

/// What became of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Read {
    /// Tokens, marks included.
    pub tokens: usize,
    /// How many of them were not in the vocabulary and became its unknown mark.
    pub unknown: usize,
}

/// One result of a search, borrowed from the session.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hypothesis<'s> {
    /// Token ids, end mark excluded.
    pub tokens: &'s [u16],
    /// `log_prob / length^length_penalty`.
    pub score: f32,
    /// Natural logarithm of the probability, end mark included.
    pub log_prob: f32,
    /// Whether the end mark was reached before the length limit.
    pub complete: bool,
}

/// All results of a beam search, best first.
#[derive(Debug)]
pub struct Hypotheses<'s> {
    finished: &'s [Finished],
    history: &'s [u16],
    row_len: usize,
}

impl<'s> Hypotheses<'s> {
    /// Hypotheses, best first; at least one.
    pub fn iter(&self) -> impl Iterator<Item = Hypothesis<'s>> + '_ {
        self.finished.iter().map(|f| hypothesis(f, self.history, self.row_len))
    }

    /// The best hypothesis.
    pub fn best(&self) -> Hypothesis<'s> {
        self.iter().next().unwrap_or(Hypothesis { tokens: &[], score: 0.0, log_prob: 0.0, complete: false })
    }
}

fn hypothesis<'s>(f: &Finished, history: &'s [u16], row_len: usize) -> Hypothesis<'s> {
    let tokens =
        history.get(f.row as usize * row_len..).and_then(|row| row.get(..f.len as usize)).unwrap_or(&[]);
    Hypothesis { tokens, score: f.score, log_prob: natural(f.log2_prob), complete: f.complete }
}

/// A model with the RAM to run it: reads a source, then searches for targets.
pub struct Session<'m, 'b> {
    stepper: Stepper<'m, 'b>,
    history: &'b mut [u16],
    #[cfg(feature = "coverage")]
    coverage: &'b mut [u16],
    /// Results of the last beam search, best first.
    finished: Vec<Finished, MAX_BEAM>,
    limits: Limits,
}

/// The model's programs over the session's frame.
struct Stepper<'m, 'b> {
    model: &'m Model<'m>,
    frame: Frame<'m, 'b>,
}

impl Decoder for Stepper<'_, '_> {
    fn step(&mut self, pairs: &[(u8, u16)]) -> Result<(), RunError> {
        let lanes = &mut self.frame.lanes;
        lanes.set(pairs.len());
        for ((&(row, token), hypothesis), to) in
            pairs.iter().zip(&mut lanes.hypotheses).zip(&mut lanes.tokens)
        {
            (*hypothesis, *to) = (row as usize, token);
        }
        self.frame.run(self.model.blob.description.step).ok_or(RunError::Damaged)
    }

    fn logits(&self, lane: usize) -> (&[Cell<i16>], u32) {
        let description = &self.model.blob.description;
        let view = self.frame.whole(description.logits);
        let logits = view.and_then(|v| self.frame.words(v, lane)).unwrap_or(&[]);
        (logits, description.logit_bits as u32)
    }

    fn attention(&self, lane: usize) -> &[Cell<i16>] {
        let len = self.frame.source_len;
        self.frame.attention.get(lane * len..).and_then(|weights| weights.get(..len)).unwrap_or(&[])
    }

    fn copy(&mut self, from: usize, to: usize) -> Result<(), RunError> {
        self.frame.copy(from, to).ok_or(RunError::Damaged)
    }

    fn lanes(&self) -> usize {
        self.model.layout().lanes().min(LANES)
    }

    fn marks(&self) -> (u16, u16) {
        let target = self.model.target();
        // What a prompt leaves to be read is its last token.
        let last =
            if self.prompts() { self.frame.source.get(self.frame.source_len.wrapping_sub(1)) } else { None };
        (last.map_or(target.sos(), Cell::get), target.eos())
    }
}

impl Stepper<'_, '_> {
    /// Whether the source is a prompt, to be gone on with.
    fn prompts(&self) -> bool {
        self.model.task() == Task::Generate
    }

    /// Runs the encoder over the source, or the decoder over a prompt but for its last token.
    fn encode(&mut self) -> Result<(), RunError> {
        if self.frame.source_len == 0 && !self.prompts() {
            return Err(RunError::SourceEmpty);
        }
        self.frame.clear();
        self.frame.lanes = Lanes::default();
        self.frame.lanes.set(1);
        if self.prompts() {
            let mut last = self.model.target().sos();
            for token in self.frame.source.iter().take(self.frame.source_len) {
                self.step(&[(0, last)])?;
                last = token.get();
            }
            return Ok(());
        }
        self.frame.run(self.model.blob.description.encode).ok_or(RunError::Damaged)
    }
}

impl<'m, 'b> Session<'m, 'b> {
    /// Cuts `buffer` for a model; `Model::ram(&limits)` bytes at a multiple of 4 are enough.
    ///
    /// # Errors
    /// [`RunError::BufferTooSmall`] says how many bytes are needed; [`RunError::BufferMisaligned`];
    /// [`RunError::Limits`].
    pub fn new(model: &'m Model<'m>, buffer: &'b mut [u8], limits: Limits) -> Result<Self, RunError> {
        let limits = limits.check()?;
        let (needed, found) = (model.ram(&limits), buffer.len());
        if found < needed {
            return Err(RunError::BufferTooSmall { needed, found });
        }
        let plan = model.plan(limits);
        let words = words(buffer, plan.words()).ok_or(RunError::BufferMisaligned)?;
        let cut = |words: &'b mut [u16], at: usize| words.split_at_mut_checked(at).ok_or(RunError::Damaged);
        let (starts, words) = cut(words, plan.starts)?;
        let (columns, words) = cut(words, plan.columns)?;
        let (arena, words) = cut(words, plan.arena)?;
        let (attention, words) = cut(words, plan.attention)?;
        let (source, words) = cut(words, plan.source)?;
        let (history, _coverage) = cut(words, plan.history)?;
        let slots = model.blob.description.slots;
        let starts = starts.as_chunks_mut::<2>().0;
        arrange(slots, model.size(limits), starts);
        let frame = Frame {
            data: model.blob.data,
            layout: model.blob.layout,
            slots,
            starts,
            arena: Cell::from_mut(signed(arena)).as_slice_of_cells(),
            columns: signed(columns),
            attention: Cell::from_mut(signed(attention)).as_slice_of_cells(),
            source: Cell::from_mut(source).as_slice_of_cells(),
            source_len: 0,
            #[cfg(any(feature = "frames", feature = "characters"))]
            limit: limits.source as usize,
            #[cfg(any(feature = "frames", feature = "characters"))]
            kept: model.kept(),
            lanes: Lanes::default(),
            #[cfg(feature = "std")]
            down: false,
        };
        Ok(Self {
            stepper: Stepper { model, frame },
            history,
            #[cfg(feature = "coverage")]
            coverage: _coverage,
            finished: Vec::new(),
            limits,
        })
    }

    /// The limits that the buffer was cut for.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Takes a text as the source: cut into tokens, unknown ones replaced by the unknown mark, end mark appended;
    /// where the model was trained so, the start mark comes first. A model that generates takes it as a prompt: the beginning
    /// that it is to go on with, without marks, or nothing.
    ///
    /// # Errors
    /// [`RunError::Utf8`], [`RunError::SourceTooLong`] (of subwords, a word must fit as its characters before they are joined),
    /// [`RunError::SourceEmpty`], [`RunError::Source`]; the session then has no source.
    pub fn read_text(&mut self, text: &[u8]) -> Result<Read, RunError> {
        let (prompts, model) = (self.stepper.prompts(), self.stepper.model);
        let vocab = model.source();
        let frame = self.tokens()?;
        let text = core::str::from_utf8(text).map_err(|e| RunError::Utf8 { at: e.valid_up_to() })?;
        let too_long = RunError::SourceTooLong { limit: frame.source.len() };
        // Without a start mark the first token overwrites it.
        frame.source.first().ok_or(too_long)?.set(vocab.sos());
        let first = if prompts { 0 } else { vocab.marks() - 1 };
        let (len, unknown) =
            frame.source.get(first..).and_then(|ids| vocab.encode(text, ids)).ok_or(too_long)?;
        let tokens = first + len;
        if prompts {
            frame.source_len = tokens;
            return Ok(Read { tokens, unknown });
        }
        if len == 0 {
            return Err(RunError::SourceEmpty);
        }
        frame.source.get(tokens).ok_or(too_long)?.set(vocab.eos());
        #[cfg(feature = "characters")]
        if let Some(op) = model.characters() {
            // Marks have no letters.
            let words = core::iter::repeat_n("", first).chain(vocab.cut(text)).chain([""]);
            for (position, word) in words.enumerate() {
                ops::characters(frame, &op, position, word).ok_or(RunError::Damaged)?;
            }
        }
        frame.source_len = tokens + 1;
        Ok(Read { tokens: tokens + 1, unknown })
    }

    /// Takes token ids as the source, as they are: the end mark is the caller's. A prompt may be empty. A model that reads letters
    /// reads those of the vocabulary's words, and none of the unknown mark.
    ///
    /// # Errors
    /// [`RunError::Token`], [`RunError::SourceTooLong`], [`RunError::SourceEmpty`], [`RunError::Source`]; the session then has no
    /// source.
    pub fn read_ids(&mut self, ids: &[u16]) -> Result<(), RunError> {
        let (prompts, model) = (self.stepper.prompts(), self.stepper.model);
        let vocab = model.source();
        let size = vocab.size();
        let frame = self.tokens()?;
        if ids.is_empty() && !prompts {
            return Err(RunError::SourceEmpty);
        }
        if ids.len() > frame.source.len() {
            return Err(RunError::SourceTooLong { limit: frame.source.len() });
        }
        for (to, &id) in frame.source.iter().zip(ids) {
            if id >= size {
                return Err(RunError::Token { found: id, size });
            }
            to.set(id);
        }
        #[cfg(feature = "characters")]
        if let Some(op) = model.characters() {
            for (position, &id) in ids.iter().enumerate() {
                ops::characters(frame, &op, position, vocab.word(id)).ok_or(RunError::Damaged)?;
            }
        }
        frame.source_len = ids.len();
        Ok(())
    }

    /// The frame without a source, to be filled with tokens.
    fn tokens(&mut self) -> Result<&mut Frame<'m, 'b>, RunError> {
        let frame = &mut self.stepper.frame;
        frame.source_len = 0;
        if frame.numbers() {
            return Err(RunError::Source);
        }
        Ok(frame)
    }

    /// Runs the encoder, for a search.
    fn encode(&mut self, options: &Options) -> Result<(), RunError> {
        // Bits of floats from 0 on are in their order: no comparison of floats is needed, whose code a small core spares.
        let penalty = options.length_penalty.to_bits();
        if penalty > const { 10f32.to_bits() } && penalty != const { (-0f32).to_bits() } {
            return Err(RunError::LengthPenalty);
        }
        let found = self.stepper.model.task();
        if found == Task::Label {
            return Err(RunError::Task { found });
        }
        self.stepper.encode()
    }

    /// The target of the most probable token at every step.
    ///
    /// # Errors
    /// [`RunError::SourceEmpty`] without a source; [`RunError::LengthPenalty`].
    pub fn greedy(&mut self, options: &Options) -> Result<Hypothesis<'_>, RunError> {
        self.greedy_with(options, |_| ControlFlow::Continue(()))
    }

    /// [`greedy`](Self::greedy), with a callback that sees every token as it is found and may stop the search.
    ///
    /// # Errors
    /// As [`greedy`](Self::greedy).
    pub fn greedy_with(
        &mut self,
        options: &Options,
        mut on_token: impl FnMut(u16) -> ControlFlow<()>,
    ) -> Result<Hypothesis<'_>, RunError> {
        self.encode(options)?;
        let row_len = self.limits.target as usize;
        let history = self.history.get_mut(..row_len).ok_or(RunError::Damaged)?;
        let finished = decode::greedy(&mut self.stepper, history, options, &mut on_token)?;
        Ok(hypothesis(&finished, self.history, row_len))
    }

    /// The best targets of a beam search with `options.beam_size` hypotheses.
    ///
    /// # Errors
    /// [`RunError::Beam`] when the session was not planned for that width; else as [`greedy`](Self::greedy).
    pub fn beam(&mut self, options: &Options) -> Result<Hypotheses<'_>, RunError> {
        let (limit, found) = (self.limits.beam, options.beam_size);
        if found == 0 || found > limit {
            return Err(RunError::Beam { limit, found });
        }
        self.encode(options)?;
        let row_len = self.limits.target as usize;
        if found == 1 {
            let history = self.history.get_mut(..row_len).ok_or(RunError::Damaged)?;
            let best =
                decode::greedy(&mut self.stepper, history, options, &mut |_| ControlFlow::Continue(()))?;
            self.finished.clear();
            let _ = self.finished.push(best);
        } else {
            let history = self.history.get_mut(..2 * found as usize * row_len).ok_or(RunError::Damaged)?;
            decode::beam(&mut self.stepper, history, options, &mut self.finished)?;
        }
        Ok(Hypotheses { finished: &self.finished, history: self.history, row_len })
    }

    /// Decodes given target tokens again and reports, for each of them and then for the end mark, the attention over
    /// the source in 2^-15 (empty for a model without attention). Needs no memory of its own.
    ///
    /// # Errors
    /// [`RunError::Token`] for an id outside the target vocabulary; [`RunError::SourceEmpty`].
    pub fn align(
        &mut self,
        tokens: &[u16],
        mut on_step: impl FnMut(usize, &[Cell<u16>]),
    ) -> Result<(), RunError> {
        self.forced(tokens, |step, stepper| {
            let weights = stepper.frame.attention.get(..stepper.frame.source_len).unwrap_or(&[]);
            on_step(step, unsigned(weights));
        })
    }

    /// Decodes given target tokens and reports the logits of every step: what parity tests compare.
    ///
    /// # Errors
    /// As [`align`](Self::align).
    pub fn force(
        &mut self,
        tokens: &[u16],
        mut on_step: impl FnMut(usize, &[Cell<i16>]),
    ) -> Result<(), RunError> {
        self.forced(tokens, |step, stepper| on_step(step, stepper.logits(0).0))
    }

    /// Steps through given target tokens, then the end mark.
    fn forced(
        &mut self,
        tokens: &[u16],
        mut on_step: impl FnMut(usize, &Stepper<'m, 'b>),
    ) -> Result<(), RunError> {
        let target = self.stepper.model.target();
        let size = target.size();
        if let Some(&found) = tokens.iter().find(|&&id| id >= size) {
            return Err(RunError::Token { found, size });
        }
        self.encode(&Options::default())?;
        let (mut last, _) = self.stepper.marks();
        for (step, next) in tokens.iter().copied().chain([target.eos()]).enumerate() {
            self.stepper.step(&[(0, last)])?;
            on_step(step, &self.stepper);
            last = next;
        }
        Ok(())
    }
}
