//! Attention (Bahdanau et al. 2015, section 3.1; Luong et al. 2015, section 3.1) over int8 keys and values.

use crate::blob::schema::{Attend, Energy, Offset};
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
    let mut scores: [&[Cell<i16>]; LANES] = [&[]; LANES];
    let mut to: [&[Cell<i8>]; LANES] = [&[]; LANES];
    for lane in 0..lanes {
        *scores.get_mut(lane)? = frame.attention.get(lane * len..)?.get(..len)?;
        *to.get_mut(lane)? = frame.bytes(op.to, lane)?;
    }
    match op.energy {
        Energy::Additive { query_bits, key_scale, v } => {
            additive(frame, op, &scores, (key_scale as i32, 12 - (query_bits as u32).min(12)), v)?;
        }
        #[cfg(feature = "dot")]
        Energy::Dot => dot(frame, op, &scores)?,
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

/// Scores by energies.
// Not inlined beside the other kind, whose values would take its registers.
#[cfg_attr(feature = "dot", inline(never))]
fn additive(
    frame: &Frame<'_, '_>,
    op: &Attend,
    scores: &[&[Cell<i16>]; LANES],
    (scale, up): (i32, u32),
    v: Offset,
) -> Option<()> {
    let (lanes, len) = (frame.lanes.count(), frame.source_len);
    let mut queries: [&[Cell<i16>]; LANES] = [&[]; LANES];
    for (lane, query) in queries.iter_mut().enumerate().take(lanes) {
        *query = frame.row(op.query, lane)?;
    }
    let width = queries[0].len();
    let (v, keys) = (frame.tensor(v, width)?, frame.sequence(op.keys)?);
    for t in 0..len {
        let key = keys.get(t * width..)?;
        #[cfg(not(any(armv6m, armv7m)))]
        if lanes == 2 {
            set(op, scores, t, kernels::energy_two(key, queries, v, scale, up))?;
            continue;
        }
        set(op, scores, t, [kernels::energy(key, queries[0], v, scale, up)])?;
    }
    Some(())
}

/// Puts a position's scores, a lane each.
#[inline(always)]
fn set<const N: usize>(op: &Attend, scores: &[&[Cell<i16>]; LANES], t: usize, sums: [i32; N]) -> Option<()> {
    for (scores, sum) in scores.iter().zip(sums) {
        scores.get(t)?.set(saturate_i16(requantize(sum, op.score)));
    }
    Some(())
}

/// Scores by products: queries are rounded to int8 once.
#[cfg(feature = "dot")]
#[inline(never)]
fn dot(frame: &mut Frame<'_, '_>, op: &Attend, scores: &[&[Cell<i16>]; LANES]) -> Option<()> {
    let (lanes, len) = (frame.lanes.count(), frame.source_len);
    let width = frame.slots.get(op.query)?.width as usize;
    let padded = width.next_multiple_of(4);
    for lane in 0..lanes {
        let query = frame.row(op.query, lane)?;
        kernels::columns_of_words(query, 0, frame.columns.get_mut(lane * padded..)?.get_mut(..width)?);
    }
    let mut queries: [&[i16]; LANES] = [&[]; LANES];
    for (lane, query) in queries.iter_mut().enumerate().take(lanes) {
        *query = frame.columns.get(lane * padded..)?.get(..width)?;
    }
    let keys = frame.sequence(op.keys)?;
    for t in 0..len {
        let key = keys.get(t * width..)?.get(..width)?;
        #[cfg(not(any(armv6m, armv7m)))]
        if lanes == 2 {
            set(op, scores, t, kernels::dot_two(key, queries))?;
            continue;
        }
        set(op, scores, t, [kernels::dot(key, queries[0])])?;
    }
    Some(())
}
