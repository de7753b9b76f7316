//! Liveness: slots that are never in use at the same time share one region of the arena.
//!
//! Time is a line of *points*: each pass of the encode program over the source, each operation of the other passes. The
//! step program's points follow the encode program's and repeat. Backward dataflow (Aho, Lam, Sethi & Ullman 2006, section
//! 9.2.5), column by column, tells which slots hold something that is still read; regions are then filled greedily, the
//! largest slots first (Chaitin's interference graph with sizes; first fit).

use std::ops::Range;

use kinglet::blob::schema::{Extent, Inputs, Op, Over, Pass, Slot, View};

/// What the sizes of slots follow from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Source positions.
    pub source: usize,
    /// Beam.
    pub beam: usize,
    /// Hypotheses that are computed at once.
    pub lanes: usize,
}

/// The passes of an encoded program with their operations; it ends where the bytes mean nothing.
pub fn passes(program: &[u8]) -> Vec<(Over, Vec<Op>)> {
    let mut passes = Vec::new();
    let mut rest = program;
    while let Some((pass, after)) =
        rest.split_first_chunk().and_then(|(b, r)| Some((Pass::from_bytes(b)?, r)))
    {
        rest = after;
        let mut ops = Vec::new();
        for _ in 0..pass.ops {
            let op = rest.split_first_chunk().and_then(|(b, r)| Some((Op::from_bytes(b)?, r)));
            let Some((op, after)) = op else { return passes };
            rest = after;
            ops.push(op);
        }
        passes.push((pass.over, ops));
    }
    passes
}

/// Gives every slot a region, so that the arena is small for the given size; whatever the size, no slot in use is
/// overwritten and the arena is no larger than with a region for each slot. The slot that reading a source fills, of numbers or of
/// features of letters, stays `alone`: it is filled before the encode program and outlives every run.
pub fn share(slots: &mut [Slot], encode: &[u8], step: &[u8], logits: u8, alone: Option<u8>, size: Size) {
    let busy = in_use(slots, encode, step, logits);
    let words: Vec<usize> = slots.iter().map(|s| s.words(size.source, size.beam, size.lanes)).collect();
    let mut order: Vec<usize> = (0..slots.len()).collect();
    order.sort_by_key(|&slot| (std::cmp::Reverse(words[slot]), slot));
    let mut regions: Vec<Vec<usize>> = Vec::new();
    for slot in order {
        let kept = |slot: usize| alone.map(usize::from) == Some(slot);
        let apart = |&other: &usize| {
            !kept(slot) && !kept(other) && busy.iter().all(|point| !(point[slot] && point[other]))
        };
        match regions.iter_mut().find(|region| region.iter().all(apart)) {
            Some(region) => region.push(slot),
            None => regions.push(vec![slot]),
        }
    }
    // The format numbers regions in the order of the slots.
    regions.sort_by_key(|region| region.iter().min().copied());
    for (number, region) in regions.iter().enumerate() {
        for &slot in region {
            slots[slot].region = number as u8;
        }
    }
}

/// Columns of a slot.
type Columns = (usize, Range<usize>);

/// What happens at a point: columns read that it did not write itself before, and columns written.
#[derive(Debug, Default)]
struct Point {
    reads: Vec<Columns>,
    writes: Vec<Columns>,
}

/// Which slots are in use, point by point.
fn in_use(slots: &[Slot], encode: &[u8], step: &[u8], logits: u8) -> Vec<Vec<bool>> {
    let mut points = points(slots, encode);
    let first_step = points.len();
    points.extend(self::points(slots, step));

    let row = |live: bool| slots.iter().map(|s| vec![live; usize::from(s.width)]).collect::<Vec<_>>();
    // Columns that are read before they are written, from each point on; at the end, what the search reads.
    let mut end = row(false);
    if let Some(logits) = end.get_mut(usize::from(logits)) {
        logits.fill(true);
    }
    let mut busy = vec![vec![false; slots.len()]; points.len()];
    loop {
        let mut live = end.clone();
        let mut before_step = end.clone();
        for (number, point) in points.iter().enumerate().rev() {
            let mut note = |live: &[Vec<bool>]| {
                for (busy, columns) in busy[number].iter_mut().zip(live) {
                    *busy |= columns.contains(&true);
                }
            };
            note(&live);
            for (slot, columns) in &point.writes {
                // A step that labels writes one row of many.
                if number < first_step || slots[*slot].extent != Extent::Source {
                    live[*slot][columns.clone()].fill(false);
                }
            }
            for (slot, columns) in &point.reads {
                live[*slot][columns.clone()].fill(true);
            }
            note(&live);
            for (slot, _) in point.reads.iter().chain(&point.writes) {
                busy[number][*slot] = true;
            }
            // Rows of other hypotheses wait meanwhile, and are copied between steps.
            for (slot, busy) in busy[number].iter_mut().enumerate().filter(|_| number >= first_step) {
                *busy |= slots[slot].extent == Extent::Hypothesis;
            }
            if number == first_step {
                before_step.clone_from(&live);
            }
        }
        // A step follows a step: what its beginning reads is live at its end.
        let mut changed = false;
        for (end, before) in end.iter_mut().flatten().zip(before_step.iter().flatten()) {
            changed |= *before && !*end;
            *end |= *before;
        }
        if !changed {
            return busy;
        }
    }
}

/// The points of a program.
fn points(slots: &[Slot], program: &[u8]) -> Vec<Point> {
    let mut points = Vec::new();
    for (over, ops) in passes(program) {
        match over {
            Over::Once => points.extend(ops.iter().map(|op| point(slots, std::slice::from_ref(op)))),
            // All positions come before what follows.
            Over::Forward | Over::Backward => points.push(point(slots, &ops)),
        }
    }
    points
}

/// Operations as one point.
fn point(slots: &[Slot], ops: &[Op]) -> Point {
    let mut point = Point::default();
    for op in ops {
        let (reads, writes) = accesses(op);
        let columns = |view: View| {
            let slot = usize::from(view.slot);
            let start = usize::from(view.start);
            // A width of 0 stands for the whole slot.
            let end = if view.width == 0 {
                usize::from(slots[slot].width)
            } else {
                start + usize::from(view.width)
            };
            (slot, start..end)
        };
        for (slot, read) in reads.into_iter().map(columns) {
            let written =
                |c: usize| point.writes.iter().any(|(other, columns)| *other == slot && columns.contains(&c));
            point.reads.extend(read.filter(|&c| !written(c)).map(|c| (slot, c..c + 1)));
        }
        point.writes.extend(writes.into_iter().map(columns));
    }
    point
}

/// What an operation reads and writes; a width of 0 is the whole slot.
fn accesses(op: &Op) -> (Vec<View>, Vec<View>) {
    let whole = |slot| View { slot, start: 0, width: 0 };
    let with = |inputs: &Inputs, slots: &[u8]| {
        inputs.iter().copied().chain(slots.iter().map(|&s| whole(s))).collect()
    };
    match op {
        Op::Embed(op) => (vec![], vec![op.to]),
        Op::Linear(op) => (with(&op.inputs, &[]), vec![op.to]),
        Op::Gru(op) => {
            let writes = [whole(op.hidden)].into_iter().chain(op.out).collect();
            (with(&op.inputs, &[op.hidden]), writes)
        }
        Op::Lstm(op) => {
            let writes = [whole(op.hidden), whole(op.cell)].into_iter().chain(op.out).collect();
            (with(&op.inputs, &[op.hidden, op.cell]), writes)
        }
        Op::Attend(op) => (vec![whole(op.query), whole(op.keys), whole(op.values)], vec![op.to]),
        Op::Add(op) => ([op.a].into_iter().chain(op.b).collect(), vec![op.to]),
        Op::Norm(op) => (vec![op.from], vec![op.to]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pack::Program;
    use kinglet::blob::schema::{Activation, Embed, Gru, Kind, Linear};

    const SIZE: Size = Size { source: 10, beam: 2, lanes: 1 };

    fn slot(extent: Extent, width: u16) -> Slot {
        Slot { extent, kind: Kind::I16, region: 0, width }
    }

    fn view(slot: u8, start: u16, width: u16) -> View {
        View { slot, start, width }
    }

    fn linear(from: View, to: View) -> Op {
        let inputs = [from].into_iter().collect();
        Op::Linear(Linear { inputs, matrix: 0, table: None, activation: Activation::None, to })
    }

    fn gru(input: View, hidden: u8, out: Option<View>) -> Op {
        let inputs = [input].into_iter().collect();
        Op::Gru(Gru { inputs, matrix: 0, table: None, candidate_bits: 12, hidden, out })
    }

    fn embed(to: View) -> Op {
        Op::Embed(Embed { table: 0, to })
    }

    fn regions(slots: &[Slot], encode: &[(Over, &[Op])], step: &[Op], logits: u8) -> Vec<u8> {
        let mut slots = slots.to_vec();
        let mut program = Program::default();
        encode.iter().for_each(|(over, ops)| program.pass(*over, ops));
        let mut steps = Program::default();
        steps.pass(Over::Once, step);
        share(&mut slots, program.bytes(), steps.bytes(), logits, None, SIZE);
        slots.iter().map(|s| s.region).collect()
    }

    #[test]
    fn what_a_step_uses_may_lie_where_the_encoder_worked() {
        let slots = [
            slot(Extent::Once, 4),       // embedding
            slot(Extent::Once, 6),       // encoder's state
            slot(Extent::Hypothesis, 6), // decoder's state
            slot(Extent::Once, 4),       // decoder's embedding
            slot(Extent::Once, 5),       // logits
        ];
        let encode: [(Over, &[Op]); 2] = [
            (Over::Forward, &[embed(view(0, 0, 4)), gru(view(0, 0, 4), 1, None)]),
            (Over::Once, &[linear(view(1, 0, 6), view(2, 0, 6))]),
        ];
        let step = [embed(view(3, 0, 4)), gru(view(3, 0, 4), 2, None), linear(view(2, 0, 6), view(4, 0, 5))];
        let found = regions(&slots, &encode, &step, 4);
        // The decoder's state is not there yet while the encoder embeds; its embedding is done when the logits come.
        assert_eq!(found, [0, 1, 0, 1, 1]);
    }

    #[test]
    fn a_state_whose_zeros_are_read_is_in_use_from_the_start() {
        let slots = [slot(Extent::Once, 4), slot(Extent::Hypothesis, 4), slot(Extent::Once, 4)];
        let encode: [(Over, &[Op]); 1] = [(Over::Forward, &[embed(view(0, 0, 4))])];
        let step = [gru(view(2, 0, 4), 1, None), embed(view(2, 0, 4))];
        // Slot 2 is carried from one step's end to the next one's beginning: its zeros count as well.
        assert_eq!(regions(&slots, &encode, &step, 2), [0, 1, 2]);
    }

    #[test]
    fn halves_are_written_by_two_passes() {
        // Slot 1 is written half by half; the other half must survive the second pass.
        let slots = [
            slot(Extent::Once, 4),
            slot(Extent::Source, 8),
            slot(Extent::Once, 4),
            slot(Extent::Once, 4),
            slot(Extent::Source, 8),
            slot(Extent::Once, 2),
        ];
        let layer = |hidden, at| [embed(view(0, 0, 4)), gru(view(0, 0, 4), hidden, Some(view(1, at, 4)))];
        let encode: [(Over, &[Op]); 3] = [
            (Over::Forward, &layer(2, 0)),
            (Over::Backward, &layer(3, 4)),
            (Over::Forward, &[linear(view(1, 0, 8), view(4, 0, 8))]),
        ];
        let step = [linear(view(4, 0, 8), view(5, 0, 2))];
        let found = regions(&slots, &encode, &step, 5);
        assert_ne!(found[1], found[4]);
        assert_ne!(found[2], found[3], "the second layer's zeros wait while the first runs");
        assert!([0, 2, 3].iter().all(|&s| found[s] != found[1]));
    }

    #[test]
    fn hypotheses_keep_their_rows_through_a_step() {
        // Slot 0 is written and read within a step, but its rows are copied with the others.
        let slots = [slot(Extent::Hypothesis, 4), slot(Extent::Once, 4), slot(Extent::Once, 4)];
        let step = [
            embed(view(0, 0, 4)),
            linear(view(0, 0, 4), view(1, 0, 4)),
            linear(view(1, 0, 4), view(2, 0, 4)),
        ];
        let found = regions(&slots, &[], &step, 2);
        assert_eq!(found, [0, 1, 2]);
    }

    #[test]
    fn a_source_of_numbers_shares_with_none() {
        // Slot 0 is read first, slot 1 is never used: neither may lie where the other does.
        let mut slots = [slot(Extent::Source, 4), slot(Extent::Source, 4), slot(Extent::Once, 4)];
        slots[0].kind = Kind::I8;
        let mut encode = Program::default();
        encode.pass(Over::Forward, &[linear(view(0, 0, 4), view(2, 0, 4))]);
        share(&mut slots, encode.bytes(), &[], 2, Some(0), SIZE);
        assert!(slots[1..].iter().all(|slot| slot.region != slots[0].region));
        share(&mut slots, encode.bytes(), &[], 2, None, SIZE);
        assert_eq!(slots[0].region, slots[1].region, "tokens' slots may");
    }

    #[test]
    fn a_label_writes_one_row_of_many() {
        // Slot 1's rows are written by the encoder; each step writes one again and reads it. The others are still to be read.
        let slots =
            [slot(Extent::Once, 4), slot(Extent::Source, 4), slot(Extent::Source, 4), slot(Extent::Once, 4)];
        let encode: [(Over, &[Op]); 1] =
            [(Over::Forward, &[embed(view(0, 0, 4)), linear(view(0, 0, 4), view(1, 0, 4))])];
        let step = [embed(view(2, 0, 4)), embed(view(1, 0, 4)), linear(view(1, 0, 4), view(3, 0, 4))];
        let found = regions(&slots, &encode, &step, 3);
        assert_ne!(found[1], found[2]);
    }
}
