//! Search over toy decoders whose every sequence can be listed.

use core::cell::Cell;
use std::ops::ControlFlow;

use heapless::Vec as Fixed;
use kinglet::RunError;
use kinglet::decode::{Decoder, Finished, MAX_BEAM, Options, greedy};

/// Only a beginning, never a continuation.
const SOS: u16 = 999;
const EOS: u16 = 0;
const BITS: u32 = 10;

/// Logits are a hash of the whole prefix, so that a wrong state or row shows at once.
struct Toy {
    seed: u64,
    prefixes: Vec<Vec<u16>>,
    logits: [Vec<Cell<i16>>; 2],
}

impl Toy {
    fn new(seed: u64, vocabulary: usize) -> Self {
        Self {
            seed,
            prefixes: vec![Vec::new(); 8],
            logits: [vec![Cell::new(0); vocabulary], vec![Cell::new(0); vocabulary]],
        }
    }

    fn logits_after(&self, prefix: &[u16]) -> Vec<i16> {
        let mut hash = self.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        for &t in prefix {
            hash = (hash ^ (t as u64 + 1)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            hash ^= hash >> 29;
        }
        (0..self.logits[0].len() as u64)
            .map(|i| {
                let mut z = hash.wrapping_add(i.wrapping_mul(0x94D0_49BB_1331_11EB));
                z = (z ^ (z >> 31)).wrapping_mul(0xD6E8_FEB8_6659_FD93);
                ((z >> 40) % 4096) as i16
            })
            .collect()
    }
}

impl Decoder for Toy {
    fn lanes(&self) -> usize {
        1 + (self.seed % 2) as usize
    }

    fn step(&mut self, hypotheses: &[(u8, u16)]) -> Result<(), RunError> {
        for (lane, &(row, token)) in hypotheses.iter().enumerate() {
            self.prefixes[row as usize].push(token);
            for (to, logit) in self.logits[lane].iter().zip(self.logits_after(&self.prefixes[row as usize])) {
                to.set(logit);
            }
        }
        Ok(())
    }

    fn logits(&self, lane: usize) -> (&[Cell<i16>], u32) {
        (&self.logits[lane], BITS)
    }

    fn copy(&mut self, from: usize, to: usize) -> Result<(), RunError> {
        self.prefixes[to] = self.prefixes[from].clone();
        Ok(())
    }

    fn marks(&self) -> (u16, u16) {
        (SOS, EOS)
    }
}

fn beam(
    toy: &mut Toy,
    history: &mut [u16],
    options: &Options,
) -> Result<Fixed<Finished, MAX_BEAM>, RunError> {
    let mut finished = Fixed::new();
    kinglet::decode::beam(toy, history, options, &mut finished).map(|()| finished)
}

/// Every sequence of at most `limit` tokens, finished or cut at the limit, with its real log-probability.
fn all(toy: &Toy, limit: usize) -> Vec<(Vec<u16>, f64, bool)> {
    let mut found = Vec::new();
    let mut open = vec![(vec![SOS], 0.0)];
    for _ in 0..limit {
        let mut longer = Vec::new();
        for (prefix, log_prob) in open {
            let logits = toy.logits_after(&prefix);
            let total: f64 = logits.iter().map(|&l| (l as f64 / 1024.0).exp2()).sum();
            for (token, &logit) in logits.iter().enumerate() {
                let lp = log_prob + ((logit as f64 / 1024.0).exp2() / total).ln();
                if token as u16 == EOS {
                    found.push((prefix[1..].to_vec(), lp, true));
                } else {
                    let mut prefix = prefix.clone();
                    prefix.push(token as u16);
                    longer.push((prefix, lp));
                }
            }
        }
        open = longer;
    }
    found.extend(open.into_iter().map(|(p, lp)| (p[1..].to_vec(), lp, false)));
    found
}

fn tokens(history: &[u16], row_len: usize, f: &Finished) -> Vec<u16> {
    history[f.row as usize * row_len..][..f.len as usize].to_vec()
}

#[test]
fn a_beam_that_holds_everything_is_exhaustive_search() {
    // (vocabulary with the end mark, length): no step has more than 8 continuations.
    for (vocabulary, limit) in [(2, 2), (2, 7), (3, 2)] {
        for seed in 0..300 {
            for length_penalty in [0.0, 0.5, 1.0] {
                let mut history = vec![0; 16 * limit];
                let options = Options { beam_size: 8, length_penalty, ..Options::default() };
                let found = beam(&mut Toy::new(seed, vocabulary), &mut history, &options).unwrap();
                let score = |(tokens, lp, complete): &(Vec<u16>, f64, bool)| {
                    lp / ((tokens.len() + *complete as usize) as f64).powf(length_penalty as f64)
                };
                let mut want = all(&Toy::new(seed, vocabulary), limit);
                want.sort_by(|a, b| score(b).total_cmp(&score(a)));
                assert_eq!(found.len(), want.len().min(8));
                for (f, w) in found.iter().zip(&want) {
                    assert!((f.score as f64 - score(w)).abs() < 2e-3, "seed {seed}: {f:?} {w:?}");
                }
                let gap = score(&want[0]) - score(&want[1]);
                if gap > 4e-3 {
                    assert_eq!(tokens(&history, limit, &found[0]), want[0].0, "seed {seed}");
                    assert_eq!(found[0].complete, want[0].2);
                }
            }
        }
    }
}

/// Token 1, all but certain, ten times; then the end. Before it, the end is the likeliest of the others.
struct Certain {
    lens: [usize; 8],
    logits: [Cell<i16>; 6],
}

impl Decoder for Certain {
    fn lanes(&self) -> usize {
        1
    }

    fn step(&mut self, hypotheses: &[(u8, u16)]) -> Result<(), RunError> {
        for &(row, token) in hypotheses {
            let len = &mut self.lens[row as usize];
            *len += usize::from(token != SOS);
            let next = if *len < 10 { 1 } else { EOS };
            self.logits.iter().for_each(|logit| logit.set(0));
            self.logits[EOS as usize].set(1 << BITS);
            self.logits[next as usize].set(9 << BITS);
        }
        Ok(())
    }

    fn logits(&self, _: usize) -> (&[Cell<i16>], u32) {
        (&self.logits, BITS)
    }

    fn copy(&mut self, from: usize, to: usize) -> Result<(), RunError> {
        self.lens[to] = self.lens[from];
        Ok(())
    }

    fn marks(&self) -> (u16, u16) {
        (SOS, EOS)
    }
}

#[test]
fn ends_that_come_too_early_do_not_end_the_search() {
    for beam_size in 2..=8 {
        for length_penalty in [0.0, 1.0] {
            let mut certain = Certain { lens: [0; 8], logits: [const { Cell::new(0) }; 6] };
            let mut history = vec![0; 2 * 16 * beam_size as usize];
            let options = Options { beam_size, length_penalty, ..Options::default() };
            let mut found = Fixed::<Finished, MAX_BEAM>::new();
            kinglet::decode::beam(&mut certain, &mut history, &options, &mut found).unwrap();
            let all: Vec<_> = found.iter().map(|f| tokens(&history, 16, f)).collect();
            assert_eq!(all[0], [1; 10], "beam {beam_size}");
            // The others ended early, each a little less probable than the one before.
            let lens = all[1..].iter().map(Vec::len);
            assert!(length_penalty > 0.0 || lens.eq(0..beam_size as usize - 1), "beam {beam_size}: {all:?}");
        }
    }
}

#[test]
fn a_beam_of_one_is_greedy_to_the_bit() {
    for seed in 0..500 {
        let options = Options { min_len: (seed % 3) as u16, ..Options::default() };
        let (mut a, mut b) = ([0; 12], [0; 24]);
        let one =
            greedy(&mut Toy::new(seed, 9), &mut a, &options, &mut |_| ControlFlow::Continue(())).unwrap();
        let beam = beam(&mut Toy::new(seed, 9), &mut b, &options).unwrap();
        assert_eq!(a[..one.len as usize], tokens(&b, 12, &beam[0]));
        assert_eq!((one.log2_prob, one.score.to_bits()), (beam[0].log2_prob, beam[0].score.to_bits()));
        assert_eq!((one.complete, one.len), (beam[0].complete, beam[0].len));
    }
}

#[test]
fn every_hypothesis_is_scored_as_its_own_tokens() {
    // Rows are reused when hypotheses fork: a mix-up would show as a log-probability of another sequence.
    for seed in 0..200 {
        for beam_size in 2..=8u8 {
            let mut history = vec![0; 2 * beam_size as usize * 10];
            let options = Options { beam_size, ..Options::default() };
            let found = beam(&mut Toy::new(seed, 7), &mut history, &options).unwrap();
            assert!(!found.is_empty() && found.len() <= beam_size as usize);
            assert!(found.is_sorted_by(|a, b| a.score >= b.score));
            for f in &found {
                let toy = Toy::new(seed, 7);
                let (mut prefix, mut lp) = (vec![SOS], 0.0);
                let ids = tokens(&history, 10, f);
                for &t in ids.iter().chain(f.complete.then_some(&EOS)) {
                    let logits = toy.logits_after(&prefix);
                    let total: f64 = logits.iter().map(|&l| (l as f64 / 1024.0).exp2()).sum();
                    lp += (logits[t as usize] as f64 / 1024.0).exp2().log2() - total.log2();
                    prefix.push(t);
                }
                assert!((f.log2_prob as f64 / 65_536.0 - lp).abs() < 2e-3, "seed {seed} beam {beam_size}");
            }
        }
    }
}

#[test]
fn the_callback_stops_and_the_minimum_length_holds() {
    for seed in 0..100 {
        let mut history = [0; 20];
        let mut seen = 0;
        let mut stop = |_| {
            seen += 1;
            if seen == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let options = Options { min_len: 5, ..Options::default() };
        let f = greedy(&mut Toy::new(seed, 5), &mut history, &options, &mut stop).unwrap();
        assert_eq!((f.len, f.complete), (3, false));
        let mut history = [0; 8 * 20];
        let options = Options { beam_size: 4, min_len: 5, max_len: 9, ..Options::default() };
        for f in beam(&mut Toy::new(seed, 5), &mut history, &options).unwrap() {
            assert!((5..=9).contains(&f.len), "{f:?}");
        }
    }
}

#[test]
fn the_largest_vocabulary_is_searched_to_its_last_token() {
    // The number after the last token's is not a 16-bit one if a loop steps too far.
    let mut history = [0; 4];
    let one = greedy(&mut Toy::new(2, 65_535), &mut history[..2], &Options::default(), &mut |_| {
        ControlFlow::Continue(())
    });
    assert!(one.unwrap().score.is_finite());
    let mut toy = Toy::new(2, 65_535);
    let found = beam(&mut toy, &mut [0; 8], &Options { beam_size: 2, ..Options::default() }).unwrap();
    assert!(!found.is_empty());
}
