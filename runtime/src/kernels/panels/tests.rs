//! Every instruction set against the plain one.

use super::*;
use std::vec::Vec;

/// Instruction sets of this processor.
fn here() -> Vec<Isa> {
    let mut all = std::vec![Isa::Plain];
    match Isa::detected() {
        Isa::Avx512Vnni => all.extend([Isa::Avx2, Isa::Avx512Vnni]),
        Isa::Avx2 => all.push(Isa::Avx2),
        Isa::Plain => {}
    }
    all
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
        assert_eq!(sigmoid(v).to_i16()[0], crate::tables::sigmoid(x));
        assert_eq!(to_byte(v).to_i8()[0], crate::fixed::q15_to_i8(x));
    }
}

/// New states of a gated recurrent unit and of a memory, results of a linear map and of attention.
fn outputs(isa: Isa, units: usize, inputs: usize, group: u16) -> Vec<i16> {
    let (state, rows) = (units.next_multiple_of(4), units.next_multiple_of(WIDTH));
    let weights = noise(4 * rows * (inputs + state), 1);
    let (records, multipliers) = (records(4 * rows), noise(weights.len(), 2));
    let panels = Panels { weights: &weights, records: &records, multipliers: &multipliers, post: 12, group };
    let gathered = noise(inputs + state, 3);
    let columns = Columns { inputs: &gathered[..inputs], state: &gathered[inputs..] };
    let entries = noise(8 * units, 4);
    let table = Entries { entries: entries.as_chunks().0, shift: 2 };
    let bytes = |len: usize, seed: u32| -> Vec<Cell<i8>> {
        noise(len, seed).into_iter().map(|b| Cell::new(b as i8)).collect()
    };
    let (states, cells, out) = (words(units, 5), words(units, 6), bytes(units, 8));
    gru(isa, &Gru { panels, columns, table, candidate_bits: 9, states: &states, out: &out }).unwrap();
    let job = Lstm { panels, columns, table, cell_bits: 11, states: &states, cells: &cells, out: &out };
    lstm(isa, &job).unwrap();
    let (results, narrow) = (words(units, 9), bytes(units, 10));
    let job = Linear { panels, columns: &gathered, table, tanh: Some(3), words: &results, bytes: &[] };
    linear(isa, &job).unwrap();
    linear(isa, &Linear { tanh: None, words: &[], bytes: &narrow, ..job }).unwrap();
    let (keys, scores, context_to) = (bytes(3 * units, 11), [const { Cell::new(0i16) }; 3], bytes(units, 12));
    let score = Multiplier { mantissa: 20_000, pre: 9, post: 13 };
    let v = noise(units, 13);
    let (query, scores) = (&results[..], &scores[..]);
    let job = Energies { query, query_bits: 9, keys: &keys, key_scale: 900, v: &v, score, scores };
    energies(isa, &job).unwrap();
    context(isa, &Context { weights: scores, values: &keys, to: &context_to }).unwrap();
    let words = [&states, &cells, &results].into_iter().flatten().map(Cell::get);
    let bytes = [&out, &narrow, &context_to].into_iter().flatten().map(|b| i16::from(b.get()));
    words.chain(bytes).chain(scores.iter().map(Cell::get)).collect()
}

#[test]
fn every_instruction_set_computes_the_same() {
    for (units, inputs) in [(1, 4), (16, 0), (33, 20), (64, 40), (90, 64)] {
        for group in [0, 16, 32] {
            let want = outputs(Isa::Plain, units, inputs, group);
            assert!(want.iter().any(|&x| x != 0));
            for isa in here() {
                assert_eq!(outputs(isa, units, inputs, group), want, "{isa:?} {units} {inputs} {group}");
            }
        }
    }
}
