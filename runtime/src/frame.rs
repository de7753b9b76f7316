//! The RAM of a session while it runs: slots, the gathered columns, attention weights, the source, and where the
//! program stands.

use core::cell::Cell;

use crate::blob::schema::*;
use crate::blob::{take, tensor};
use crate::fixed::q15_to_i8;
use crate::kernels::{self, padded};
use crate::ops;

/// What operations read and write. Slots are cells, so that an operation may read one part of a pool while it writes
/// another.
pub(crate) struct Frame<'m, 'b> {
    pub data: &'m [u8],
    pub slots: Slots<'m>,
    /// Hypotheses and source positions that there is room for.
    pub beam: usize,
    /// Gathered inputs of a product: int8 values, widened.
    pub columns: &'b mut [i16],
    /// Attention weights in 2^-15, one a source position.
    pub attention: &'b [Cell<u16>],
    pub words: &'b [Cell<i16>],
    pub bytes: &'b [Cell<i8>],
    pub source: &'b [Cell<u16>],
    pub source_len: usize,
    pub position: usize,
    pub hypothesis: usize,
    pub token: u16,
}

/// Elements of all slots of a kind for a source length and a number of hypotheses.
pub(crate) fn pool_len(slots: impl Iterator<Item = Slot>, kind: Kind, source: usize, beam: usize) -> usize {
    let rows = |extent| match extent {
        Extent::Once => 1,
        Extent::Source => source,
        Extent::Hypothesis => beam,
    };
    slots.filter(|s| s.kind == kind).map(|s| rows(s.extent) * s.width as usize).sum()
}

impl<'m, 'b> Frame<'m, 'b> {
    /// Runs a program; `None` when the blob changed under it.
    pub fn run(&mut self, program: &'m [u8]) -> Option<()> {
        let mut rest = program;
        while !rest.is_empty() {
            let (pass, body) = take::<Pass>(rest)?;
            let positions = if pass.over == Over::Once { 1 } else { self.source_len };
            for step in 0..positions {
                self.position = if pass.over == Over::Backward { positions - 1 - step } else { step };
                if pass.over != Over::Once {
                    self.token = self.source.get(self.position)?.get();
                }
                rest = body;
                for _ in 0..pass.ops {
                    let (op, after) = take::<Op>(rest)?;
                    ops::run(self, &op)?;
                    rest = after;
                }
            }
        }
        Some(())
    }

    /// Zeroes every slot.
    pub fn clear(&mut self) {
        self.words.iter().for_each(|w| w.set(0));
        self.bytes.iter().for_each(|b| b.set(0));
    }

    /// Copies one hypothesis' rows over another's.
    pub fn copy(&mut self, from: usize, to: usize) -> Option<()> {
        for (index, slot) in (0u8..).zip(self.slots.iter()) {
            if slot.extent != Extent::Hypothesis {
                continue;
            }
            let width = slot.width as usize;
            let start = self.slot_start(index, slot.kind);
            let (from, to) = (start + from * width, start + to * width);
            match slot.kind {
                Kind::I8 => copy_cells(self.bytes.get(from..)?.get(..width)?, self.bytes.get(to..)?),
                Kind::I16 => copy_cells(self.words.get(from..)?.get(..width)?, self.words.get(to..)?),
            }
        }
        Some(())
    }

    /// Position of a slot's first element in its pool: what the slots of its kind before it take. Cheap beside any
    /// operation, and no table of it in RAM.
    fn slot_start(&self, slot: u8, kind: Kind) -> usize {
        pool_len(self.slots.iter().take(slot as usize), kind, self.source.len(), self.beam)
    }

    /// Position of a view's first element in its pool.
    fn start(&self, view: View) -> Option<usize> {
        let slot = self.slots.get(view.slot)?;
        let row = match slot.extent {
            Extent::Once => 0,
            Extent::Source => self.position,
            Extent::Hypothesis => self.hypothesis,
        };
        Some(self.slot_start(view.slot, slot.kind) + row * slot.width as usize + view.start as usize)
    }

    /// The present row of an int8 view.
    pub fn bytes(&self, view: View) -> Option<&'b [Cell<i8>]> {
        self.bytes.get(self.start(view)?..)?.get(..view.width as usize)
    }

    /// The present row of a 16-bit view.
    pub fn words(&self, view: View) -> Option<&'b [Cell<i16>]> {
        self.words.get(self.start(view)?..)?.get(..view.width as usize)
    }

    /// The whole present row of a slot.
    pub fn whole(&self, slot: u8) -> Option<View> {
        Some(View { slot, start: 0, width: self.slots.get(slot)?.width })
    }

    /// Rows of an int8 slot that has one a source position.
    pub fn sequence(&self, slot: u8) -> Option<impl Iterator<Item = &'b [Cell<i8>]> + use<'b>> {
        let width = self.slots.get(slot)?.width as usize;
        let start = self.slot_start(slot, Kind::I8);
        let rows = self.bytes.get(start..)?;
        // Not `chunks_exact`: its length is a division that the optimizer cannot prove safe.
        Some((0..self.source_len).map_while(move |t| rows.get(t * width..)?.get(..width)))
    }

    /// Fills the columns from `at` on with a view, rounded to int8 when it is Q0.15; where it ends.
    pub fn gather(&mut self, at: usize, view: View) -> Option<usize> {
        let end = at + view.width as usize;
        let kind = self.slots.get(view.slot)?.kind;
        let (bytes, words) = match kind {
            Kind::I8 => (self.bytes(view)?, [].as_slice()),
            Kind::I16 => ([].as_slice(), self.words(view)?),
        };
        let columns = self.columns.get_mut(at..end)?;
        for (column, byte) in columns.iter_mut().zip(bytes) {
            *column = byte.get() as i16;
        }
        for (column, word) in columns.iter_mut().zip(words) {
            *column = q15_to_i8(word.get()) as i16;
        }
        Some(end)
    }

    /// Fills the columns up to the next whole tile with zeros; where they end.
    pub fn pad(&mut self, at: usize) -> Option<usize> {
        let end = padded(at);
        self.columns.get_mut(at..end)?.fill(0);
        Some(end)
    }

    /// Gathers all inputs of a product, padded; where they end.
    pub fn gather_all(&mut self, inputs: &Inputs) -> Option<usize> {
        let mut at = 0;
        for view in inputs {
            at = self.gather(at, *view)?;
        }
        self.pad(at)
    }

    /// The first `len` columns, in the order that the kernels read.
    pub fn arranged(&mut self, len: usize) -> Option<&[i16]> {
        let columns = self.columns.get_mut(..len)?;
        kernels::arrange(columns);
        Some(columns)
    }

    /// `len` bytes of a tensor.
    pub fn tensor(&self, offset: Offset, len: usize) -> Option<&'m [u8]> {
        tensor(self.data, offset, len)
    }

    /// The present token's row of a token table with `rows` entries a token.
    pub fn table_row(&self, table: &Table, rows: usize) -> Option<&'m [[u8; 2]]> {
        let row =
            self.data.get(table.table as usize..)?.get(self.token as usize * rows * 2..)?.get(..rows * 2)?;
        Some(row.as_chunks().0)
    }
}

fn copy_cells<T: Copy>(from: &[Cell<T>], to: &[Cell<T>]) {
    for (from, to) in from.iter().zip(to) {
        to.set(from.get());
    }
}
