//! Sources of numbers.

use super::Session;
use crate::blob::schema::View;
use crate::error::RunError;
use crate::fixed::{saturate_i8, scale};

impl Session<'_, '_> {
    /// Takes rows of raw numbers as the source, [`Model::features`](crate::Model::features) a position: each is scaled as the
    /// model says and kept until another source is read.
    ///
    /// # Errors
    /// [`RunError::Source`] for a model that reads tokens; [`RunError::Frames`] unless they are whole positions;
    /// [`RunError::SourceTooLong`], [`RunError::SourceEmpty`]; the session then has no source.
    pub fn read_frames(&mut self, numbers: &[i16]) -> Result<(), RunError> {
        self.read_numbers(numbers.iter().copied())
    }

    /// [`read_frames`](Self::read_frames) of numbers one by one, as a line or a sensor's queue gives them: they are scaled as they come and
    /// need no memory of their own. It takes no more than fit, however many there are.
    ///
    /// # Errors
    /// As [`read_frames`](Self::read_frames).
    pub fn read_numbers(&mut self, numbers: impl IntoIterator<Item = i16>) -> Result<(), RunError> {
        let (frame, limit) = (&mut self.stepper.frame, self.limits.source as usize);
        frame.source_len = 0;
        let features = self.stepper.model.features();
        let source = self.stepper.model.frames().ok_or(RunError::Source)?;
        let records = frame.tensor(source.records, 8 * features).ok_or(RunError::Damaged)?.as_chunks::<8>().0;
        let mut numbers = numbers.into_iter().peekable();
        let mut positions = 0;
        while numbers.peek().is_some() {
            if positions == limit {
                return Err(RunError::SourceTooLong { limit });
            }
            frame.lanes.positions[0] = positions;
            let view = View { slot: source.slot, start: 0, width: features as u16 };
            let to = frame.bytes(view, 0).ok_or(RunError::Damaged)?;
            let mut found = 0;
            for ((to, &[b0, b1, b2, b3, m0, m1, pre, _]), x) in to.iter().zip(records).zip(&mut numbers) {
                let sum = ((x as i32) << 8).wrapping_add(i32::from_le_bytes([b0, b1, b2, b3]));
                to.set(saturate_i8(scale(sum, u16::from_le_bytes([m0, m1]), pre, source.post)));
                found += 1;
            }
            if found < features {
                return Err(RunError::Frames { features, found: positions * features + found });
            }
            positions += 1;
        }
        if positions == 0 {
            return Err(RunError::SourceEmpty);
        }
        frame.source_len = positions;
        Ok(())
    }
}
