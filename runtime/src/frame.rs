//! The RAM of a session while it runs: slots, the gathered columns, attention weights, the source, and where the
//! program stands.

#[cfg(any(feature = "add", feature = "norm"))]
mod row;

#[cfg(any(feature = "add", feature = "norm"))]
pub(crate) use row::Row;

use core::cell::Cell;

use crate::arena::as_bytes;
use crate::blob::schema::*;
use crate::blob::{take_pass, tensor};
use crate::fixed::q15_to_i8;
use crate::kernels::{self, Columns, LANES, Layout, Rows};
use crate::ops;

/// What operations read and write. Slots are cells, so that an operation may read one part of the arena while it writes
/// another.
///
/// A program runs for one vector, or for two at once: two hypotheses, or two neighbouring source positions. Each has a
/// *lane*: its own row of every slot, its own token, its own columns.
pub(crate) struct Frame<'m, 'b> {
    pub data: &'m [u8],
    pub layout: Layout,
    pub slots: Slots<'m>,
    /// Where each slot starts in `arena`, low half, high half.
    pub starts: &'b [[u16; 2]],
    pub arena: &'b [Cell<i16>],
    /// Gathered inputs of a product: int8 values, widened, with the layout's offset.
    pub columns: &'b mut [i16],
    /// Attention weights in 2^-15, one a source position.
    pub attention: &'b [Cell<i16>],
    pub source: &'b [Cell<u16>],
    pub source_len: usize,
    /// Most source positions.
    #[cfg(any(feature = "frames", feature = "characters"))]
    pub limit: usize,
    /// Slot that is filled where a source is read: of numbers, or of features of letters.
    #[cfg(any(feature = "frames", feature = "characters"))]
    pub kept: Option<u8>,
    pub lanes: Lanes,
    /// Whether blocks of units are walked last one first: every other time, so that some weights are still in the first cache.
    #[cfg(feature = "std")]
    pub down: bool,
}

/// One or two vectors that a program runs for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Lanes {
    count: usize,
    pub positions: [usize; LANES],
    pub hypotheses: [usize; LANES],
    pub tokens: [u16; LANES],
}

impl Lanes {
    /// How many are in use.
    pub fn count(&self) -> usize {
        // A core that never has two need not look.
        if LANES == 1 { 1 } else { self.count }
    }

    /// Uses so many.
    pub fn set(&mut self, count: usize) {
        self.count = count.min(LANES);
    }
}

/// What `gather` left in the columns: those of the inputs, then those of the hidden state, for each lane.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gathered {
    /// Padded columns of the inputs.
    pub inputs: usize,
    /// All padded columns.
    pub all: usize,
    /// Whether two lanes lie interleaved.
    interleaved: bool,
    /// Sums of the inputs' columns and of the others, by lane.
    totals: [[i32; 2]; LANES],
}

/// Columns of a gathered product that some rows see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    All,
    Inputs,
    State,
}

/// What the sizes of slots follow from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub source: usize,
    pub beam: usize,
    pub lanes: usize,
}

/// Words of all slots, or the largest number: each region is as long as the longest slot in it. Notes where slots start,
/// as many as there is room for.
#[inline(never)]
pub(crate) fn arrange(slots: Slots<'_>, size: Size, starts: &mut [[u16; 2]]) -> usize {
    let mut start = 0usize;
    // At most as many regions as slots, without a gap.
    for region in 0..=u8::MAX {
        let mut longest = None;
        for (index, slot) in slots.iter().enumerate().filter(|(_, slot)| slot.region == region) {
            if let Some(place) = starts.get_mut(index) {
                *place = [start as u16, (start >> 16) as u16];
            }
            longest = longest.max(Some(slot.words(size.source, size.beam, size.lanes)));
        }
        match longest {
            Some(words) => start = start.saturating_add(words),
            None => break,
        }
    }
    start
}

impl<'m, 'b> Frame<'m, 'b> {
    /// Runs a program; `None` when the blob changed under it.
    pub fn run(&mut self, program: &'m [u8]) -> Option<()> {
        let mut rest = program;
        while !rest.is_empty() {
            let (pass, body) = take_pass(rest)?;
            rest = match pass.over {
                Over::Once => self.pass(body, pass.ops)?,
                Over::Forward | Over::Backward => self.positions(pass, body)?,
            };
        }
        Some(())
    }

    /// Runs some operations; what follows them.
    fn pass(&mut self, body: &'m [u8], ops: u8) -> Option<&'m [u8]> {
        #[cfg(feature = "std")]
        {
            self.down = !self.down;
        }
        let mut rest = body;
        for _ in 0..ops {
            let (op, after) = rest.split_first_chunk()?;
            // Read where it lies, and not moved.
            let Some(op) = &Op::from_bytes(op) else { return None };
            ops::run(self, op)?;
            rest = after;
        }
        Some(rest)
    }

    /// Runs a pass at every source position, two at a time where its only operation keeps nothing from one to the next.
    fn positions(&mut self, pass: Pass, body: &'m [u8]) -> Option<&'m [u8]> {
        let pairs = LANES.min(self.layout.lanes()) == 2
            && pass.ops == 1
            && ops::independent(self, &Op::from_bytes(body.first_chunk()?)?);
        let mut rest = body;
        let mut done = 0;
        while done < self.source_len {
            self.lanes.set(if pairs && self.source_len - done > 1 { 2 } else { 1 });
            for lane in 0..self.lanes.count() {
                let step = done + lane;
                let position = if pass.over == Over::Backward { self.source_len - 1 - step } else { step };
                *self.lanes.positions.get_mut(lane)? = position;
                *self.lanes.tokens.get_mut(lane)? = self.token(position)?;
            }
            done += self.lanes.count();
            rest = self.pass(body, pass.ops)?;
        }
        self.lanes.set(1);
        Some(rest)
    }

    /// The source's token at a position; sources of numbers have none, and nothing asks for them.
    pub fn token(&self, position: usize) -> Option<u16> {
        if self.numbers() {
            return Some(0);
        }
        Some(self.source.get(position)?.get())
    }

    /// Whether the source is made of numbers: then there is no room for tokens.
    pub fn numbers(&self) -> bool {
        cfg!(feature = "frames") && self.source.is_empty()
    }

    /// Zeroes every slot but that of the source.
    pub fn clear(&mut self) {
        #[cfg(any(feature = "frames", feature = "characters"))]
        if let Some(slot) = self.kept
            && let (Some(start), Some(place)) = (self.starts.get(slot as usize), self.slots.get(slot))
        {
            let (start, words) = (word(start), place.words(self.limit, 0, 0));
            let rest = self.arena.iter().take(start).chain(self.arena.iter().skip(start + words));
            return rest.for_each(|w| w.set(0));
        }
        self.arena.iter().for_each(|w| w.set(0));
    }

    /// Copies one hypothesis' rows over another's.
    pub fn copy(&mut self, from: usize, to: usize) -> Option<()> {
        for (slot, start) in self.slots.iter().zip(self.starts) {
            if slot.extent != Extent::Hypothesis {
                continue;
            }
            let width = slot.width as usize;
            let start = word(start);
            match slot.kind {
                Kind::I8 => {
                    let rows = as_bytes(self.arena.get(start..)?);
                    copy_cells(rows.get(from * width..)?.get(..width)?, rows.get(to * width..)?);
                }
                Kind::I16 => {
                    let rows = self.arena.get(start..)?;
                    copy_cells(rows.get(from * width..)?.get(..width)?, rows.get(to * width..)?);
                }
            }
        }
        Some(())
    }

    /// The arena from a slot's start on, and the slot.
    #[cfg_attr(armv6m, inline(never))]
    fn slot(&self, slot: u8) -> Option<(&'b [Cell<i16>], Slot)> {
        let start = word(self.starts.get(slot as usize)?);
        Some((self.arena.get(start..)?, self.slots.get(slot)?))
    }

    /// First element of a view in a lane's present row.
    fn offset(&self, slot: &Slot, view: View, lane: usize) -> usize {
        let row = match slot.extent {
            Extent::Once => lane,
            Extent::Source => self.lanes.positions.get(lane).copied().unwrap_or(0),
            Extent::Hypothesis => self.lanes.hypotheses.get(lane).copied().unwrap_or(0),
        };
        row * slot.width as usize + view.start as usize
    }

    /// The present row of an int8 view.
    #[cfg_attr(armv6m, inline(never))]
    pub fn bytes(&self, view: View, lane: usize) -> Option<&'b [Cell<i8>]> {
        let (words, slot) = self.slot(view.slot)?;
        as_bytes(words).get(self.offset(&slot, view, lane)..)?.get(..view.width as usize)
    }

    /// The present row of a 16-bit view.
    #[cfg_attr(armv6m, inline(never))]
    pub fn words(&self, view: View, lane: usize) -> Option<&'b [Cell<i16>]> {
        let (words, slot) = self.slot(view.slot)?;
        words.get(self.offset(&slot, view, lane)..)?.get(..view.width as usize)
    }

    /// The present row of a view of either kind.
    #[cfg(any(feature = "add", feature = "norm"))]
    pub fn either(&self, view: View, lane: usize) -> Option<Row<'b>> {
        Some(match self.slots.get(view.slot)?.kind {
            Kind::I8 => Row::Bytes(self.bytes(view, lane)?),
            Kind::I16 => Row::Words(self.words(view, lane)?),
        })
    }

    /// The present row of a 16-bit slot.
    #[cfg_attr(armv6m, inline(never))]
    pub fn row(&self, slot: u8, lane: usize) -> Option<&'b [Cell<i16>]> {
        self.words(self.whole(slot)?, lane)
    }

    /// The whole present row of a slot.
    #[cfg_attr(armv6m, inline(never))]
    pub fn whole(&self, slot: u8) -> Option<View> {
        Some(View { slot, start: 0, width: self.slots.get(slot)?.width })
    }

    /// An int8 slot that has a row a source position, from the first row on.
    pub fn sequence(&self, slot: u8) -> Option<&'b [Cell<i8>]> {
        Some(as_bytes(self.slot(slot)?.0))
    }

    /// Gathers the inputs of a product and, for a recurrent step, the hidden state, for every lane.
    pub fn gather(
        &mut self,
        inputs: &Inputs,
        state: Option<View>,
        matrix: &MatrixRecord,
    ) -> Option<Gathered> {
        let input_width: usize = inputs.iter().map(|view| view.width as usize).sum();
        let padded = self.layout.padded(input_width);
        let all = padded + self.layout.padded(state.map_or(0, |view| view.width as usize));
        let interleaved = self.lanes.count() == 2 && kernels::interleaved(self.layout);
        let mut gathered = Gathered { inputs: padded, all, interleaved, totals: [[0; 2]; LANES] };
        for lane in 0..self.lanes.count() {
            let mut at = 0;
            for view in inputs {
                self.gather_view(&gathered, lane, at, *view)?;
                at += view.width as usize;
            }
            self.pad(&gathered, lane, at..padded)?;
            if let Some(view) = state {
                self.gather_view(&gathered, lane, padded, view)?;
                self.pad(&gathered, lane, padded + view.width as usize..all)?;
            }
            if !interleaved && kernels::needs_totals(self.layout, matrix.bits) {
                let (inputs, state) = self.columns.get(lane * all..)?.get(..all)?.split_at_checked(padded)?;
                *gathered.totals.get_mut(lane)? = [kernels::total(inputs), kernels::total(state)];
            }
            if !interleaved {
                kernels::prepare(self.layout, self.columns.get_mut(lane * all..)?.get_mut(..all)?);
            }
        }
        if interleaved && kernels::needs_totals(self.layout, matrix.bits) {
            let (inputs, state) = self.columns.get(..2 * all)?.split_at_checked(2 * padded)?;
            let sums = kernels::totals_two(inputs).into_iter().zip(kernels::totals_two(state));
            gathered
                .totals
                .iter_mut()
                .zip(sums)
                .for_each(|(totals, (inputs, state))| *totals = [inputs, state]);
        }
        Some(gathered)
    }

    #[cfg_attr(armv6m, inline(never))]
    fn gather_view(&mut self, gathered: &Gathered, lane: usize, at: usize, view: View) -> Option<()> {
        let offset = self.layout.column_offset();
        match self.slots.get(view.slot)?.kind {
            Kind::I8 => {
                let row = self.bytes(view, lane)?;
                if LANES == 2 && gathered.interleaved {
                    return interleave(self.columns, lane, at, row.iter().map(|x| x.get() as i16 + offset));
                }
                kernels::columns_of_bytes(row, offset, self.columns.get_mut(lane * gathered.all + at..)?);
            }
            Kind::I16 => {
                let row = self.words(view, lane)?;
                if LANES == 2 && gathered.interleaved {
                    let values = row.iter().map(|x| q15_to_i8(x.get()) as i16 + offset);
                    return interleave(self.columns, lane, at, values);
                }
                kernels::columns_of_words(row, offset, self.columns.get_mut(lane * gathered.all + at..)?);
            }
        }
        Some(())
    }

    fn pad(&mut self, gathered: &Gathered, lane: usize, range: core::ops::Range<usize>) -> Option<()> {
        if range.is_empty() {
            return Some(());
        }
        let offset = self.layout.column_offset();
        if LANES == 2 && gathered.interleaved {
            return interleave(self.columns, lane, range.start, range.map(|_| offset));
        }
        self.columns.get_mut(lane * gathered.all..)?.get_mut(range)?.fill(offset);
        Some(())
    }

    /// Computes rows for every lane from gathered columns.
    #[cfg_attr(armv6m, inline(never))]
    pub fn project(
        &self,
        rows: &Rows<'_>,
        gathered: &Gathered,
        part: Part,
        to: [&[Cell<i16>]; LANES],
    ) -> Option<()> {
        let (start, end) = match part {
            Part::All => (0, gathered.all),
            Part::Inputs => (0, gathered.inputs),
            Part::State => (gathered.inputs, gathered.all),
        };
        let total = |[inputs, state]: [i32; 2]| match part {
            Part::All => inputs.wrapping_add(state),
            Part::Inputs => inputs,
            Part::State => state,
        };
        if LANES == 2 && gathered.interleaved {
            kernels::project_two(rows, self.columns.get(2 * start..2 * end)?, gathered.totals.map(total), to);
            return Some(());
        }
        for (lane, to) in to.into_iter().enumerate().take(self.lanes.count()) {
            let values = self.columns.get(lane * gathered.all..)?.get(start..end)?;
            let total = total(*gathered.totals.get(lane)?);
            kernels::project(rows, &Columns { values, total }, to);
        }
        Some(())
    }

    /// `len` bytes of a tensor.
    pub fn tensor(&self, offset: Offset, len: usize) -> Option<&'m [u8]> {
        tensor(self.data, offset, len)
    }

    /// A lane's token's row of a token table with `rows` entries a token, and the entries' shift.
    #[cfg_attr(armv6m, inline(never))]
    pub fn table_row(&self, table: &Option<Table>, rows: usize, lane: usize) -> Option<(&'m [[u8; 2]], u8)> {
        let Some(table) = table else { return Some((&[], 0)) };
        let token = *self.lanes.tokens.get(lane)? as usize;
        let row = self.data.get(table.table as usize..)?.get(token * rows * 2..)?.get(..rows * 2)?;
        Some((row.as_chunks().0, table.shift))
    }
}

/// Writes columns of a lane from `at` on: two of the first lane, two of the second, and so on.
#[inline]
fn interleave(
    columns: &mut [i16],
    lane: usize,
    mut at: usize,
    mut values: impl Iterator<Item = i16>,
) -> Option<()> {
    if at & 1 == 1 {
        *columns.get_mut(2 * at - 1 + 2 * lane)? = values.next()?;
        at += 1;
    }
    for to in columns.get_mut(2 * at + 2 * lane..)?.chunks_mut(4) {
        let (Some(value), Some(to)) = (values.next(), to.first_chunk_mut::<2>()) else { break };
        to[0] = value;
        if let Some(value) = values.next() {
            to[1] = value;
        }
    }
    Some(())
}

fn word([low, high]: &[u16; 2]) -> usize {
    (*low as u32 | (*high as u32) << 16) as usize
}

fn copy_cells<T: Copy>(from: &[Cell<T>], to: &[Cell<T>]) {
    for (from, to) in from.iter().zip(to) {
        to.set(from.get());
    }
}
