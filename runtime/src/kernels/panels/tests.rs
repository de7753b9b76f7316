//! Every instruction set against the plain one.

use super::*;
use crate::blob::schema::{Activation, Multiplier};
use crate::kernels::{Bits, Layout, gates, layout};
use std::vec::Vec;

/// Instruction sets of this processor.
fn here() -> Vec<Isa> {
    let mut all = std::vec![Isa::Plain];
    if cfg!(target_arch = "x86_64") {
        all.push(Isa::Sse2);
    }
    match Isa::detected() {
        Isa::Avx512Vnni => all.extend([Isa::Avx2, Isa::Avx512Vnni]),
        Isa::Avx2 => all.push(Isa::Avx2),
        Isa::Sse2 | Isa::Plain => {}
    }
    all
}

/// Calls a function for an instruction set's vectors.
macro_rules! with {
    ($isa:expr, $f:ident($($argument:expr),*)) => {
        match $isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni => $f::<x86::Avx512>($($argument),*),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => $f::<x86::Avx2>($($argument),*),
            #[cfg(target_arch = "x86_64")]
            Isa::Sse2 => $f::<x86::Sse2>($($argument),*),
            _ => $f::<Plain>($($argument),*),
        }
    };
}

/// Bytes that look like none in particular.
fn noise(len: usize, seed: u32) -> Vec<u8> {
    let mut x = seed.wrapping_mul(2_654_435_761) | 1;
    let mut next = || {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        (x >> 11) as u8
    };
    (0..len).map(|_| next()).collect()
}

fn words(len: usize, seed: u32) -> Vec<Cell<i16>> {
    noise(2 * len, seed).as_chunks().0.iter().map(|&b| Cell::new(i16::from_le_bytes(b))).collect()
}

/// Records with any bias, mantissas and shifts in range.
fn records(rows: usize) -> Vec<[u8; 8]> {
    let mut records = noise(8 * rows, 7).as_chunks::<8>().0.to_vec();
    for (row, [_, b1, b2, b3, _, m1, pre, zero]) in records.iter_mut().enumerate() {
        (*b2, *b3) = if *b1 & 1 == 0 { (0, 0) } else { (255, 255) };
        (*m1, *pre, *zero) = (*m1 & 127, (row % 9) as u8, 0);
    }
    records
}

#[test]
fn functions_are_the_tables() {
    for x in (i16::MIN..=i16::MAX).step_by(7) {
        let v = Plain::splat(i32::from(x));
        assert_eq!(tanh(v).to_i16()[0], crate::tables::tanh(x));
        let [tanh, sigmoid] = tanh_sigmoid([v; 2]).map(|v| v.to_i16()[0]);
        assert_eq!((tanh, sigmoid), (crate::tables::tanh(x), crate::tables::sigmoid(x)));
        assert_eq!(to_byte(v).to_i8()[0], crate::fixed::q15_to_i8(x));
    }
}

/// New states of a gated recurrent unit and of a memory, results of a linear map and of attention.
fn outputs(isa: Isa, units: usize, inputs: usize, bits: Bits, group: u16, down: bool) -> Vec<i16> {
    let (state, rows) = (Layout::Panels.padded(units), units.next_multiple_of(WIDTH));
    let weights = noise(rows * bits.stream_bytes(inputs + state), 1);
    let (records, multipliers) = (records(4 * rows), noise(4 * rows * (inputs + state), 2));
    let (weights, records, multipliers) = (&weights[..], &records[..], &multipliers[..]);
    let panels = Panels { weights, records, multipliers, post: 12, group, bits };
    let gathered = noise(inputs + state, 3);
    let columns = Columns { inputs: &gathered[..inputs], state: &gathered[inputs..] };
    let entries = noise(8 * units, 4);
    let table = Entries { entries: entries.as_chunks().0, shift: 2 };
    let bytes = |len: usize, seed: u32| -> Vec<Cell<i8>> {
        noise(len, seed).into_iter().map(|b| Cell::new(b as i8)).collect()
    };
    let (states, cells, out) = (words(units, 5), words(units, 6), bytes(units, 8));
    gru(isa, &Gru { panels, columns, table, candidate_bits: 9, states: &states, out: &out, down }).unwrap();
    let peepholes = noise(6 * units, 14);
    let peepholes = Some((Entries { entries: peepholes.as_chunks().0, shift: 0 }, 14));
    for peepholes in [None, peepholes] {
        let (states, cells, out) = (&states[..], &cells[..], &out[..]);
        let job = Lstm { panels, columns, table, cell_bits: 11, peepholes, states, cells, out, down };
        lstm(isa, &job).unwrap();
    }
    let (results, narrow) = (words(units, 9), bytes(units, 10));
    let positive = words(units, 15);
    let activation = Activation::Relu;
    let job = Linear { panels, columns: &gathered, table, activation, words: &positive, bytes: &[] };
    linear(isa, &job).unwrap();
    linear(isa, &Linear { activation: Activation::Tanh { shift: 3 }, words: &results, ..job }).unwrap();
    linear(isa, &Linear { words: &[], bytes: &narrow, ..job }).unwrap();
    let (keys, scores, context_to) = (bytes(3 * units, 11), [const { Cell::new(0i16) }; 6], bytes(units, 12));
    let score = Multiplier { mantissa: 20_000, pre: 9, post: 13 };
    let v = noise(units, 13);
    let (query, keys) = (&results[..], &keys[..]);
    let additive = Energy::Additive { query_bits: 9, key_scale: 900, v: &v };
    energies(isa, &Energies { query, keys, energy: additive, score, scores: &scores[..3] }).unwrap();
    energies(isa, &Energies { query, keys, energy: Energy::Dot, score, scores: &scores[3..] }).unwrap();
    context(isa, &Context { weights: &scores[..3], values: keys, to: &context_to }).unwrap();
    let words = [&states, &cells, &results, &positive].into_iter().flatten().map(Cell::get);
    let bytes = [&out, &narrow, &context_to].into_iter().flatten().map(|b| i16::from(b.get()));
    words.chain(bytes).chain(scores.iter().map(Cell::get)).collect()
}

#[test]
fn every_instruction_set_computes_the_same_in_either_order() {
    for (units, inputs) in [(1, 8), (16, 0), (33, 24), (64, 40), (90, 64)] {
        for (bits, group) in [Bits::Int8, Bits::Int4].into_iter().flat_map(|b| [0, 16, 32].map(|g| (b, g))) {
            let want = outputs(Isa::Plain, units, inputs, bits, group, false);
            assert!(want.iter().any(|&x| x != 0));
            for (isa, down) in here().into_iter().flat_map(|isa| [(isa, false), (isa, true)]) {
                let found = outputs(isa, units, inputs, bits, group, down);
                assert_eq!(found, want, "{isa:?} {units} {inputs} {bits:?} {group} {down}");
            }
        }
    }
}

/// Sums of one panel alone and of three at once, over columns.
fn sums<V: Vector>(panels: [&[u8]; 3], bits: Bits, columns: &[u8]) -> [[i32; WIDTH]; 4] {
    let ([first], [a, b, c]) = match bits {
        Bits::Int8 => (V::dot::<false, 1>([panels[0]], columns), V::dot::<false, 3>(panels, columns)),
        Bits::Int4 => (V::dot::<true, 1>([panels[0]], columns), V::dot::<true, 3>(panels, columns)),
    };
    [first, a, b, c].map(V::to_i32)
}

#[test]
fn sums_are_the_layouts_definition() {
    // Random, and extremes: all at the top, all at the bottom, in turn.
    let bytes: [fn(u8, usize) -> u8; 4] =
        [|x, _| x, |_, _| 127, |_, _| 129, |_, at| if at.is_multiple_of(2) { 127 } else { 129 }];
    let nibbles: [fn(u8, usize) -> u8; 4] = [|x, _| x, |_, _| 0xFF, |_, _| 0, |_, _| 0x0F];
    let widest: [fn(u8, usize) -> u8; 3] = [|x, _| x, |_, _| 255, |_, at| if at % 2 == 1 { 0 } else { 255 }];
    let kinds = [(Bits::Int8, bytes), (Bits::Int4, nibbles)];
    for columns in (0..=64).chain([508, 512]) {
        let padded = Layout::Panels.padded(columns);
        for (bits, fills) in kinds {
            for (seed, (fill, wide)) in fills.iter().flat_map(|f| widest.map(|w| (f, w))).enumerate() {
                let random = |len: usize, seed: usize| noise(len, seed as u32).into_iter().zip(0..);
                let mut gathered: Vec<u8> = random(padded, 90 + seed).map(|(x, at)| wide(x, at)).collect();
                gathered[columns..].fill(0);
                let panels = [0, 1, 2].map(|panel| -> Vec<u8> {
                    let weights = random(4 * bits.stream_bytes(padded), panel + 3 * seed);
                    weights.map(|(w, at)| fill(w, at)).collect()
                });
                let panels = panels.each_ref().map(Vec::as_slice);
                let sum = |panel: usize, row: usize| {
                    let weight = |c: usize| layout::weight(Layout::Panels, bits, panels[panel], row, c);
                    (0..columns).map(|c| weight(c) * i32::from(gathered[c])).sum()
                };
                let want = [0, 0, 1, 2].map(|panel| core::array::from_fn(|row| sum(panel, row)));
                for isa in here() {
                    let found = with!(isa, sums(panels, bits, &gathered));
                    assert_eq!(found, want, "{isa:?} {bits:?} {columns} {seed}");
                }
            }
        }
    }
}

/// Results of everything else that a vector can do.
fn operations<V: Vector>(a: &[i32; WIDTH], b: &[i32; WIDTH], bits: u32) -> Vec<[i32; WIDTH]> {
    let (x, y) = (V::from_i32(a), V::from_i32(b));
    let [first, second] = V::tanh_steps::<7, 8>([x, y]);
    let [third, fourth] = V::tanh_steps::<8, 7>([x.shr(16), y.shr(16)]);
    let records: [[u8; 8]; WIDTH] =
        core::array::from_fn(|i| (i64::from(a[i]) << 32 | i64::from(b[i]) & 0xFFFF_FFFF).to_le_bytes());
    let (bias, rest) = V::records(&records);
    let words = V::from_i16(&x.to_i16());
    let bytes = V::from_i8(&x.to_i8());
    let pairs = [x.add(y), x.sub(y), x.mul(y), x.min(y), x.max(y), x.and(y), x.shr_each(y.and(V::splat(31)))];
    let alone = [
        x.shl(bits),
        x.shr(bits),
        first,
        second,
        third,
        fourth,
        x.and(V::splat(0x7FFF)).exp2_neg(),
        bias,
        rest,
        words,
        bytes,
        V::splat(a[0]),
    ];
    pairs.into_iter().chain(alone).map(V::to_i32).collect()
}

#[test]
fn tables_are_read_everywhere_alike() {
    let all: Vec<i32> = (-32_770..=32_770).collect();
    for x in all.chunks_exact(WIDTH) {
        let x: &[i32; WIDTH] = x.try_into().unwrap();
        let want = functions::<Plain>(x);
        for isa in here() {
            assert_eq!(with!(isa, functions(x)), want, "{isa:?} {x:?}");
        }
    }
}

/// The table of tanh in each step, and of powers.
fn functions<V: Vector>(x: &[i32; WIDTH]) -> [[i32; WIDTH]; 4] {
    let x = V::from_i32(x);
    let [a, b] = V::tanh_steps::<7, 8>([x; 2]);
    let [c, _] = V::tanh_steps::<8, 8>([x; 2]);
    [a, b, c, x.and(V::splat(0x7FFF)).exp2_neg()].map(V::to_i32)
}

#[test]
fn what_the_search_reads_of_logits_is_the_definition() {
    for len in 0..=64 {
        for seed in 0..8 {
            let mut values = words(len, seed);
            // All alike, or among the largest or the smallest that there are.
            match seed {
                0 => values.fill(Cell::new(-7)),
                1 => values.iter().for_each(|x| x.set(x.get() | 0x7F00)),
                2 => values.iter().for_each(|x| x.set(i16::MIN | x.get() & 3)),
                _ => {}
            }
            let want = gates::largest(&values);
            assert_eq!(softmax::largest(&values), want);
            for (isa, bits) in here().into_iter().flat_map(|isa| [0, 6, 10, 15].map(|bits| (isa, bits))) {
                assert_eq!(softmax::most(isa, &&values[..]), want.1, "{isa:?} {len} {seed}");
                let powers = softmax::Powers { values: &values, largest: want.1, bits };
                let sum = gates::sum_exp2(&values, want.1, bits);
                assert_eq!(softmax::powers(isa, &powers), sum, "{isa:?} {len} {seed} {bits}");
            }
        }
    }
}

#[test]
fn operations_are_the_plain_ones() {
    let extremes =
        [0, 1, -1, i32::MAX, i32::MIN, 32_767, -32_768, 65_535, -65_536, 127, -128, 128, 255, 256, 511, 512];
    for seed in 0..64 {
        let random = |seed: u32| -> [i32; WIDTH] {
            let bytes = noise(4 * WIDTH, seed);
            core::array::from_fn(|i| i32::from_le_bytes(bytes.as_chunks().0[i]))
        };
        let a = if seed % 2 == 0 { random(seed) } else { extremes };
        let mut b = if seed % 3 == 0 { random(seed + 100) } else { extremes };
        b.rotate_left(seed as usize % WIDTH);
        let want = operations::<Plain>(&a, &b, seed % 32);
        for isa in here() {
            assert_eq!(with!(isa, operations(&a, &b, seed % 32)), want, "{isa:?} {a:?} {b:?}");
        }
    }
}
