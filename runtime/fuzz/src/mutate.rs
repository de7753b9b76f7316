//! Mutations that know what a blob is made of, so that most mutants pass the first checks and reach the later ones.
//!
//! A mutant is taken apart (description, data), changed in one to three places and put together again; what cannot be
//! taken apart is changed byte by byte.

use kinglet::blob::schema::{Description, Slots, Task};
use kinglet::blob::{ALIGN, OP_BYTES, PREAMBLE};

use crate::CONTROL;

/// A generator of Knuth's MMIX, upper half.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n.max(1)
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// A number near another, or at an edge of its type.
    fn near(&mut self, x: u32, max: u32) -> u32 {
        let edges = [0, 1, 2, 3, 4, 15, 16, 17, 127, 128, 255, 512, 16_384, max / 2, max - 1, max];
        match self.below(4) {
            0 => x.wrapping_add(1) & max,
            1 => x.wrapping_sub(1) & max,
            2 => self.one(&edges) & max,
            _ => self.below(20) as u32,
        }
    }
}

/// A blob in pieces that may be changed one by one.
struct Parts {
    layout: u8,
    name: Vec<u8>,
    vocabularies: [Vec<u8>; 2],
    lengths: [u16; 2],
    slots: Vec<u8>,
    logits: u8,
    logit_bits: u8,
    programs: [Vec<u8>; 2],
    task: Task,
    data: Vec<u8>,
}

impl Parts {
    fn take(blob: &[u8]) -> Option<Self> {
        let start = u32::from_le_bytes(*blob.get(12..)?.first_chunk()?) as usize;
        let (d, rest): (Description<'_>, _) = postcard::take_from_bytes(blob.get(PREAMBLE..start)?).ok()?;
        Some(Self {
            layout: blob[6],
            name: d.name.to_vec(),
            vocabularies: [d.source.to_vec(), d.target.to_vec()],
            lengths: [d.max_source, d.max_target],
            slots: d.slots.0.to_vec(),
            logits: d.logits,
            logit_bits: d.logit_bits,
            programs: [d.encode.to_vec(), d.step.to_vec()],
            task: Task::from_bytes(rest)?,
            data: blob.get(start..)?.to_vec(),
        })
    }

    fn join(&self) -> Option<Vec<u8>> {
        let description = Description {
            name: &self.name,
            source: &self.vocabularies[0],
            target: &self.vocabularies[1],
            max_source: self.lengths[0],
            max_target: self.lengths[1],
            slots: Slots(&self.slots),
            logits: self.logits,
            logit_bits: self.logit_bits,
            encode: &self.programs[0],
            step: &self.programs[1],
            task: self.task,
        };
        let mut blob = vec![0; PREAMBLE];
        blob.extend(postcard::to_allocvec(&description).ok()?);
        blob.resize(blob.len().next_multiple_of(ALIGN), 0);
        let start = (blob.len() as u32).to_le_bytes();
        blob[12..16].copy_from_slice(&start);
        blob[6] = self.layout;
        blob.extend(&self.data);
        Some(blob)
    }

    /// Where operations begin in a program; passes are two bytes.
    fn ops(&self, program: usize) -> Vec<usize> {
        let (bytes, mut at, mut found) = (&self.programs[program], 0, Vec::new());
        while at + 2 <= bytes.len() {
            let ops = bytes[at + 1] as usize;
            found.extend((0..ops).map(|i| at + 2 + i * OP_BYTES).filter(|op| op + OP_BYTES <= bytes.len()));
            at += 2 + ops * OP_BYTES;
        }
        found
    }

    fn change(&mut self, random: &mut Random) {
        let program = random.below(2);
        match random.below(12) {
            0..=3 => self.field(program, random),
            4 => self.slot(random),
            5 => self.width(random),
            6 => self.order(program, random),
            7 => self.matrix(program, random),
            8 => self.vocabulary(random),
            9 => match random.below(5) {
                4 => self.task = random.one(&[Task::Transduce, Task::Label, Task::Generate]),
                0 => self.lengths[program] = random.near(self.lengths[program].into(), 0xFFFF) as u16,
                1 => self.logits = random.below(self.slots.len() / 4 + 1) as u8,
                2 => self.logit_bits = random.below(18) as u8,
                _ => self.layout = random.below(3) as u8,
            },
            10 => {
                let len = self.data.len();
                match random.below(3) {
                    0 => self.data.truncate(len.saturating_sub(random.below(64))),
                    1 => self.data.resize(len + 16 * random.below(40), 0),
                    _ => self.data.extend_from_within(len.saturating_sub(16 * random.below(20))..),
                }
            }
            _ => {
                for _ in 0..1 + random.below(8) {
                    let at = random.below(self.data.len());
                    if let Some(byte) = self.data.get_mut(at) {
                        *byte = random.one(&[0, 1, 127, 128, 255, *byte ^ 16, byte.wrapping_add(1)]);
                    }
                }
            }
        }
    }

    /// One field of an operation.
    fn field(&mut self, program: usize, random: &mut Random) {
        let ops = self.ops(program);
        if ops.is_empty() {
            return;
        }
        let (op, other) = (random.one(&ops), random.one(&ops));
        // Views: slot, start, width; the last of the five is where the result goes.
        let view = 12 + 5 * random.below(5);
        let field = random.one(&[0, 1, 2, 3, 4, 8, view, view + 1, view + 3, view + 3, 37, 38, 39, 40]);
        let size = match field {
            4 | 8 => 4,
            0..=3 | 37..=39 => 1,
            f if f == view => 1,
            _ => 2,
        };
        let bytes = &mut self.programs[program];
        if random.below(3) == 0 {
            bytes.copy_within(other + field..other + field + size, op + field);
            return;
        }
        let at = &mut bytes[op + field..op + field + size];
        let old = at.iter().rev().fold(0u32, |x, &b| x << 8 | u32::from(b));
        let new = match size {
            4 if random.below(2) == 0 => 16 * random.below(self.data.len() / 16 + 1) as u32,
            4 => random.one(&[
                0,
                old.wrapping_add(16),
                old.wrapping_sub(16),
                old + (old < 99) as u32,
                u32::MAX,
            ]),
            2 if field != 40 && random.below(2) == 0 => {
                let slot = 4 * random.below(self.slots.len() / 4);
                self.slots.get(slot + 2..slot + 4).map_or(1, |w| u32::from(w[0]) | u32::from(w[1]) << 8)
            }
            2 => random.near(old, 0xFFFF),
            _ if field == 0 => random.below(10) as u32,
            _ => random.near(old, 0xFF),
        };
        at.copy_from_slice(&new.to_le_bytes()[..size]);
    }

    /// A slot's extent, kind, region or width; or a slot more, or less.
    fn slot(&mut self, random: &mut Random) {
        let slot = 4 * random.below(self.slots.len() / 4);
        if self.slots.len() < slot + 4 {
            return;
        }
        match random.below(6) {
            0 => self.slots[slot] = random.below(3) as u8 | (random.below(2) as u8) << 4,
            1 => self.slots[slot + 1] = random.below(self.slots.len() / 4 + 1) as u8,
            2 | 3 => {
                let old = u16::from_le_bytes([self.slots[slot + 2], self.slots[slot + 3]]);
                let new = (random.near(old.into(), 0xFFFF) as u16).to_le_bytes();
                self.slots[slot + 2..slot + 4].copy_from_slice(&new);
            }
            4 => self.slots.extend_from_within(slot..slot + 4),
            _ => drop(self.slots.drain(slot..slot + 4)),
        }
    }

    /// A slot's width, together with all views and other slots that had it: a model of other dimensions.
    fn width(&mut self, random: &mut Random) {
        let slot = 4 * random.below(self.slots.len() / 4);
        let Some(&[low, high]) = self.slots.get(slot + 2..).and_then(<[u8]>::first_chunk) else { return };
        let old = [low, high];
        let new = (random.near(u16::from_le_bytes(old).into(), 0xFFFF) as u16).to_le_bytes();
        for other in self.slots.chunks_exact_mut(4).filter(|s| s[2..] == old) {
            other[2..].copy_from_slice(&new);
        }
        for program in 0..2 {
            for op in self.ops(program) {
                for view in 0..5 {
                    let width = op + 12 + 5 * view + 3;
                    let width = &mut self.programs[program][width..width + 2];
                    if *width == old {
                        width.copy_from_slice(&new);
                    }
                }
            }
        }
    }

    /// Passes and the order of operations.
    fn order(&mut self, program: usize, random: &mut Random) {
        let ops = self.ops(program);
        let bytes = &mut self.programs[program];
        if ops.is_empty() {
            *bytes = vec![0, 0];
            return;
        }
        let (op, other) = (random.one(&ops), random.one(&ops));
        match random.below(5) {
            0 => bytes.copy_within(other..other + OP_BYTES, op),
            1 => bytes[0] = random.below(4) as u8,
            2 => bytes[1] = random.near(bytes[1].into(), 0xFF) as u8,
            3 if bytes.len() < 1000 => {
                // A pass of its own.
                let pass = [random.below(3) as u8, 1];
                let copy = bytes[op..op + OP_BYTES].to_vec();
                bytes.extend(pass);
                bytes.extend(copy);
            }
            _ => bytes.truncate(op),
        }
    }

    /// A matrix' record, which lies in the data.
    fn matrix(&mut self, program: usize, random: &mut Random) {
        let ops = self.ops(program);
        if ops.is_empty() {
            return;
        }
        let op = random.one(&ops) + 4;
        let at =
            u32::from_le_bytes(*self.programs[program][op..].first_chunk().expect("inside an operation"));
        let aligned = 16 * random.below(self.data.len() / 16 + 1) as u32;
        let Some(record) = self.data.get_mut(at as usize..).and_then(<[u8]>::first_chunk_mut::<16>) else {
            return;
        };
        match random.below(6) {
            word @ 0..=2 => record[4 * word..4 * word + 4].copy_from_slice(&aligned.to_le_bytes()),
            3 => record[12..14].copy_from_slice(&random.one(&[0u16, 16, 32, 48, 240, 256, 8]).to_le_bytes()),
            4 => record[14] = random.one(&[0, 1, 15, 22, 23, 24]),
            _ => record[15] ^= 12,
        }
    }

    fn vocabulary(&mut self, random: &mut Random) {
        let offset = 16 * random.below(self.data.len() / 16 + 1) as u32;
        let bytes = &mut self.vocabularies[random.below(2)];
        if let &mut [ref mut slot, ref mut post, ref mut records @ ..] = &mut bytes[..]
            && records.len() == 4
        {
            // A source of numbers.
            match random.below(3) {
                0 => *slot = random.below(self.slots.len() / 4 + 1) as u8,
                1 => *post = random.one(&[0, 1, 15, 23, 24]),
                _ => records.copy_from_slice(&offset.to_le_bytes()),
            }
            return;
        }
        if bytes.len() < 21 {
            return;
        }
        match random.below(3) {
            0 => {
                let at = 2 * random.below(4);
                let old = u16::from_le_bytes([bytes[at], bytes[at + 1]]);
                bytes[at..at + 2].copy_from_slice(&(random.near(old.into(), 0xFFFF) as u16).to_le_bytes());
            }
            1 => {
                let at = 8 + 4 * random.below(3);
                bytes[at..at + 4].copy_from_slice(&offset.to_le_bytes());
            }
            _ => bytes[20] ^= random.one(&[1, 2, 3, 128]),
        }
    }
}

/// Mutates an input of the `decode` target in place; its new size.
pub fn mutate(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    let mut random = Random(u64::from(seed) << 20 | size as u64);
    random.below(1);
    if size < CONTROL {
        return size;
    }
    let (control, blob) = data.split_at_mut(CONTROL);
    if random.below(3) == 0 {
        control[random.below(CONTROL)] = random.below(256) as u8;
    }
    let size = size - CONTROL;
    if let Some(mut parts) = Parts::take(&blob[..size]) {
        for _ in 0..1 + random.below(3) {
            parts.change(&mut random);
        }
        if let Some(mutant) = parts.join().filter(|mutant| mutant.len() <= max_size - CONTROL) {
            blob[..mutant.len()].copy_from_slice(&mutant);
            return CONTROL + mutant.len();
        }
    }
    if size > PREAMBLE {
        let at = PREAMBLE + random.below(size - PREAMBLE);
        blob[at] ^= 1 << random.below(8);
    }
    CONTROL + size
}
