//! Beam search that minds what attention left out.

use super::{Hypotheses, Session};
use crate::decode::{self, Options};
use crate::error::RunError;

impl Session<'_, '_> {
    /// [`beam`](Self::beam), with `penalty * sum of ln(min(covered, 1))` in every score, where `covered` is the sum of a source
    /// position's attention weights over all steps (Wu et al. 2016, equation 14): what skips parts of the source ranks lower.
    ///
    /// # Errors
    /// [`RunError::Coverage`] when the limits of the session say nothing of coverage, or the model has no attention;
    /// [`RunError::CoveragePenalty`] unless it is 0 to 10; else as [`beam`](Self::beam).
    pub fn beam_covering(&mut self, options: &Options, penalty: f32) -> Result<Hypotheses<'_>, RunError> {
        let (limit, found) = (self.limits.beam, options.beam_size);
        if found == 0 || found > limit {
            return Err(RunError::Beam { limit, found });
        }
        if self.coverage.is_empty() {
            return Err(RunError::Coverage);
        }
        self.encode(options)?;
        let (row_len, beam) = (self.limits.target as usize, found as usize);
        let positions = beam * self.stepper.frame.source_len;
        let coverage = self.coverage.get_mut(..positions).ok_or(RunError::Damaged)?;
        let history = self.history.get_mut(..2 * beam * row_len).ok_or(RunError::Damaged)?;
        decode::beam_covering(&mut self.stepper, history, coverage, options, penalty, &mut self.finished)?;
        Ok(Hypotheses { finished: &self.finished, history: self.history, row_len })
    }
}
