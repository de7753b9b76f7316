//! Additive attention (Bahdanau et al. 2015, section 3.1) over int8 keys and values.

use crate::blob::schema::Attend;
use crate::fixed::{requantize, saturate_i16};
use core::cell::Cell;

use crate::frame::Frame;
use crate::kernels::{self, LANES};
use crate::ops::softmax::softmax;

/// Scores, softmax, context, for every lane. Lanes share each key and each value that is read; the first lane's weights stay
/// in the frame for whoever asks for alignments.
#[inline(never)]
pub(super) fn attend(frame: &mut Frame<'_, '_>, op: &Attend) -> Option<()> {
    let (lanes, len) = (frame.lanes.count(), frame.source_len);
    let mut queries: [&[Cell<i16>]; LANES] = [&[]; LANES];
    let mut scores: [&[Cell<i16>]; LANES] = [&[]; LANES];
    let mut to: [&[Cell<i8>]; LANES] = [&[]; LANES];
    for lane in 0..lanes {
        *queries.get_mut(lane)? = frame.row(op.query, lane)?;
        *scores.get_mut(lane)? = frame.attention.get(lane * len..)?.get(..len)?;
        *to.get_mut(lane)? = frame.bytes(op.to, lane)?;
    }
    let width = queries[0].len();
    let v = frame.tensor(op.v, width)?;
    let (scale, up) = (op.key_scale as i32, 12 - (op.query_bits as u32).min(12));
    let keys = frame.sequence(op.keys)?;
    for t in 0..len {
        let key = keys.get(t * width..)?;
        let set = |lane: usize, sum: i32| -> Option<()> {
            scores.get(lane)?.get(t)?.set(saturate_i16(requantize(sum, op.score)));
            Some(())
        };
        #[cfg(not(any(armv6m, armv7m)))]
        if lanes == 2 {
            let [first, second] = kernels::energy_two(key, queries, v, scale, up);
            set(0, first)?;
            set(1, second)?;
            continue;
        }
        set(0, kernels::energy(key, queries[0], v, scale, up))?;
    }
    for scores in scores.iter().take(lanes) {
        softmax(scores, op.score_bits as u32);
    }
    let values = frame.sequence(op.values)?;
    #[cfg(not(any(armv6m, armv7m)))]
    if lanes == 2 {
        kernels::context_two(values, scores, to);
        return Some(());
    }
    kernels::context(values, scores[0], to[0]);
    Some(())
}
