//! Sums of rows, and copies.

use crate::blob::schema::Add;
use crate::fixed::shift_round;
use crate::frame::Frame;

/// `to = (a << up[0] + b << up[1]) >> down`, element by element from the first, for every lane.
#[inline(never)]
pub(super) fn add(frame: &Frame<'_, '_>, op: &Add) -> Option<()> {
    let [up_a, up_b] = op.up.map(|up| up as u32 & 15);
    for lane in 0..frame.lanes.count() {
        let (a, to) = (frame.either(op.a, lane)?, frame.either(op.to, lane)?);
        let b = match op.b {
            Some(b) => Some(frame.either(b, lane)?),
            None => None,
        };
        for at in 0..op.to.width as usize {
            let sum = (a.get(at) << up_a) + b.map_or(0, |b| b.get(at) << up_b);
            to.set(at, shift_round(sum, op.down as u32));
        }
    }
    Some(())
}
