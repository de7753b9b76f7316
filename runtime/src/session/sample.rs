//! Targets drawn by chance.

use core::ops::ControlFlow;

use super::{Hypothesis, Session, hypothesis};
use crate::blob::schema::Task;
use crate::decode::{self, Options, Sampling};
use crate::error::RunError;

impl Session<'_, '_> {
    /// A target drawn by chance, of the source or behind the prompt. The same seed draws the same tokens on every core.
    ///
    /// # Errors
    /// [`RunError::Sampling`]; [`RunError::SourceEmpty`] without a source; [`RunError::Task`] for a model that labels.
    pub fn sample(&mut self, how: &Sampling, seed: u64) -> Result<Hypothesis<'_>, RunError> {
        self.sample_with(how, seed, |_| ControlFlow::Continue(()))
    }

    /// [`sample`](Self::sample), with a callback that sees every token as it is drawn and may stop.
    ///
    /// # Errors
    /// As [`sample`](Self::sample).
    pub fn sample_with(
        &mut self,
        how: &Sampling,
        seed: u64,
        mut on_token: impl FnMut(u16) -> ControlFlow<()>,
    ) -> Result<Hypothesis<'_>, RunError> {
        self.encode(&Options::default())?;
        let row_len = self.limits.target as usize;
        let history = self.history.get_mut(..row_len).ok_or(RunError::Damaged)?;
        let finished = decode::sample(&mut self.stepper, history, how, seed, &mut on_token)?;
        Ok(hypothesis(&finished, self.history, row_len))
    }

    /// Goes on with a prompt of token ids, which may be empty, by chance: [`read_ids`](Self::read_ids) and
    /// [`sample`](Self::sample) in one. [`greedy`](Self::greedy) and [`beam`](Self::beam) go on with a prompt as well. What comes
    /// back does not repeat it.
    ///
    /// # Errors
    /// [`RunError::Task`] for a model that does not generate; else as those.
    pub fn generate(
        &mut self,
        how: &Sampling,
        seed: u64,
        prompt: &[u16],
    ) -> Result<Hypothesis<'_>, RunError> {
        let found = self.stepper.model.task();
        if found != Task::Generate {
            return Err(RunError::Task { found });
        }
        self.read_ids(prompt)?;
        self.sample(how, seed)
    }
}
