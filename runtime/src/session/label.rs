//! Labels of source positions.

use core::cell::Cell;

use super::{Session, Stepper};
use crate::blob::schema::Task;
use crate::decode::{Decoder, natural};
use crate::error::RunError;
use crate::kernels;
use crate::ops::softmax::LogSoftmax;

/// Labels of a source, borrowed from the session.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Labels<'s> {
    /// An id of the target vocabulary for each source position; the end mark behind a text has none.
    pub tokens: &'s [u16],
    /// Natural logarithm of the probability of all of them.
    pub log_prob: f32,
}

/// One label as it is found.
#[derive(Debug, Clone, Copy)]
pub struct Label<'s> {
    /// Source position, from 0.
    pub position: usize,
    /// Id of the target vocabulary.
    pub token: u16,
    /// Natural logarithm of its probability.
    pub log_prob: f32,
    /// Logits of all labels.
    pub logits: &'s [Cell<i16>],
}

impl Stepper<'_, '_> {
    /// Runs the step program at a source position.
    fn stand(&mut self, position: usize) -> Option<()> {
        let token = self.frame.token(position)?;
        let lanes = &mut self.frame.lanes;
        lanes.set(1);
        (lanes.positions[0], lanes.hypotheses[0], lanes.tokens[0]) = (position, 0, token);
        self.frame.run(self.model.blob.description.step)
    }
}

impl Session<'_, '_> {
    /// The most probable label at every source position. A start mark that comes before a text has one, too: that of the whole
    /// text, where a model was trained so.
    ///
    /// # Errors
    /// [`RunError::Task`] for a model that does not label; [`RunError::SourceEmpty`] without a source.
    // A function of its own, as searches are.
    #[inline(never)]
    pub fn label(&mut self) -> Result<Labels<'_>, RunError> {
        self.label_with(|_| {})
    }

    /// [`label`](Self::label), with a callback that sees every label as it is found, first position first.
    ///
    /// # Errors
    /// As [`label`](Self::label).
    pub fn label_with(&mut self, mut on_label: impl FnMut(Label<'_>)) -> Result<Labels<'_>, RunError> {
        let found = self.stepper.model.task();
        if found != Task::Label {
            return Err(RunError::Task { found });
        }
        self.stepper.encode()?;
        let len = self.positions();
        let labels = self.history.get_mut(..len).ok_or(RunError::Damaged)?;
        let mut log2_prob = 0i32;
        for (position, to) in labels.iter_mut().enumerate() {
            self.stepper.stand(position).ok_or(RunError::Damaged)?;
            let (logits, bits) = self.stepper.logits(0);
            let (token, logit) = kernels::largest(logits);
            let found = LogSoftmax::new(logits, logit, bits).log_prob(logit);
            *to = token as u16;
            log2_prob = log2_prob.saturating_add(found);
            on_label(Label { position, token: *to, log_prob: natural(found), logits });
        }
        Ok(Labels { tokens: labels, log_prob: natural(log2_prob) })
    }

    /// Source positions that have a label.
    fn positions(&self) -> usize {
        let (frame, model) = (&self.stepper.frame, self.stepper.model);
        let last = frame.source_len.saturating_sub(1);
        let ends = model.features() == 0 && frame.token(last) == Some(model.source().eos());
        if ends { last } else { frame.source_len }
    }
}
