//! Additive attention (Bahdanau et al. 2015, section 3.1) over int8 keys and values.

use crate::blob::schema::Attend;
use crate::fixed::{requantize, saturate_i8, saturate_i16, shift_round};
use crate::frame::Frame;
use crate::ops::softmax::softmax;
use crate::tables::tanh;

/// Scores, softmax, context, for every lane. The weights of the last stay in the frame for whoever asks for alignments.
#[inline(never)]
pub(super) fn attend(frame: &mut Frame<'_, '_>, op: &Attend) -> Option<()> {
    let scores = frame.attention.get(..frame.source_len)?;
    let up = 12 - (op.query_bits as u32).min(12);
    let scale = op.key_scale as i32;
    for lane in 0..frame.lanes.count() {
        let query = frame.row(op.query, lane)?;
        let v = frame.tensor(op.v, query.len())?;
        for (score, key) in scores.iter().zip(frame.sequence(op.keys)?) {
            let mut sum = 0i32;
            for ((key, query), &v) in key.iter().zip(query).zip(v) {
                let x = shift_round(key.get() as i32 * scale, 6) + ((query.get() as i32) << up);
                sum = sum.wrapping_add(v as i8 as i32 * tanh(saturate_i16(x)) as i32);
            }
            score.set(saturate_i16(requantize(sum, op.score)) as u16);
        }
        softmax(scores, op.score_bits as u32);
        for (i, to) in frame.bytes(op.to, lane)?.iter().enumerate() {
            let mut sum = 0i32;
            for (weight, value) in scores.iter().zip(frame.sequence(op.values)?) {
                sum = sum.wrapping_add(weight.get() as i32 * value.get(i)?.get() as i32);
            }
            to.set(saturate_i8(shift_round(sum, 15)));
        }
    }
    Some(())
}
