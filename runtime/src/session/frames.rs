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
        let (frame, limit) = (&mut self.stepper.frame, self.limits.source as usize);
        frame.source_len = 0;
        let (features, found) = (self.stepper.model.features(), numbers.len());
        let source = self.stepper.model.frames().ok_or(RunError::Source)?;
        if found == 0 {
            return Err(RunError::SourceEmpty);
        }
        if !found.is_multiple_of(features) {
            return Err(RunError::Frames { features, found });
        }
        let records = frame.tensor(source.records, 8 * features).ok_or(RunError::Damaged)?.as_chunks::<8>().0;
        let mut positions = 0;
        for row in numbers.chunks_exact(features.max(1)) {
            if positions == limit {
                return Err(RunError::SourceTooLong { limit });
            }
            frame.lanes.positions[0] = positions;
            let view = View { slot: source.slot, start: 0, width: features as u16 };
            let to = frame.bytes(view, 0).ok_or(RunError::Damaged)?;
            for ((&x, to), &[b0, b1, b2, b3, m0, m1, pre, _]) in row.iter().zip(to).zip(records) {
                let sum = ((x as i32) << 8).wrapping_add(i32::from_le_bytes([b0, b1, b2, b3]));
                to.set(saturate_i8(scale(sum, u16::from_le_bytes([m0, m1]), pre, source.post)));
            }
            positions += 1;
        }
        frame.source_len = positions;
        Ok(())
    }
}
