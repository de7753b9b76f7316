//! Targets drawn by chance: temperature, the best few (Fan et al. 2018), the nucleus (Holtzman et al. 2020).
//!
//! Weights of tokens are 2^-15 units of the largest one's, from the table of 2^-x; chance is an integer generator: the same
//! seed draws the same tokens on every core.

use core::cell::Cell;
use core::ops::ControlFlow;

use super::{Decoder, Finished};
use crate::error::RunError;
use crate::kernels;
use crate::ops::softmax::LogSoftmax;
use crate::tables::exp2_neg;

/// How to draw.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// Log-probabilities are divided by it before tokens are drawn, 1/16 to 16: below 1 the probable ones come more often.
    /// Tokens less probable than 2^-15 of the best, so divided, are never drawn.
    pub temperature: f32,
    /// Only the most probable so many are drawn from, and their equals; 0 for all.
    pub top_k: u16,
    /// Of those, only the most probable whose probabilities make up this, and their equals; above 0, 1 for all.
    pub top_p: f32,
    /// No token that would repeat so many in a row is drawn; 0 allows all.
    pub no_repeat: u8,
    /// The end mark is not drawn before this many tokens.
    pub min_len: u16,
    /// Most tokens, end mark excluded; the session's target limit when that is smaller.
    pub max_len: u16,
}

impl Default for Sampling {
    fn default() -> Self {
        Self { temperature: 1.0, top_k: 0, top_p: 1.0, no_repeat: 0, min_len: 0, max_len: u16::MAX }
    }
}

/// Draws into `history`, one token at a time; `on_token` sees each and may stop. The log-probability is the model's, as if the
/// tokens had been given.
///
/// # Errors
/// [`RunError::Sampling`] for a temperature or nucleus out of range; what the decoder's step returns.
// A function of its own: a caller that also searches takes either's stack, not both.
#[inline(never)]
pub fn sample<D: Decoder>(
    decoder: &mut D,
    history: &mut [u16],
    how: &Sampling,
    seed: u64,
    on_token: &mut dyn FnMut(u16) -> ControlFlow<()>,
) -> Result<Finished, RunError> {
    let draw = Draw::new(how)?;
    let mut random = Random::new(seed);
    let (mut token, eos) = decoder.marks();
    let (mut len, mut complete, mut log2_prob) = (0, false, 0i32);
    let limit = history.len().min(how.max_len as usize);
    while len < limit {
        decoder.step(&[(0, token)])?;
        let (logits, bits) = decoder.logits(0);
        let log = LogSoftmax::of(logits, bits);
        if len < how.min_len as usize {
            ban(logits, eos);
        }
        repetitions(history.get(..len).unwrap_or(&[]), how.no_repeat as usize, |id| ban(logits, id));
        let Some((id, logit)) = draw.token(logits, bits, random.next()) else { break };
        log2_prob = log2_prob.saturating_add(log.log_prob(logit));
        if id == eos {
            complete = true;
            break;
        }
        if let Some(to) = history.get_mut(len) {
            *to = id;
        }
        (token, len) = (id, len + 1);
        if on_token(id).is_break() {
            break;
        }
    }
    Ok(Finished::new(0, len, complete, log2_prob, 1.0))
}

/// What is never drawn.
const BANNED: i16 = i16::MIN;

fn ban(logits: &[Cell<i16>], id: u16) {
    logits.get(id as usize).into_iter().for_each(|logit| logit.set(BANNED));
}

/// Tells the tokens that would repeat a row of `n`.
fn repetitions(tokens: &[u16], n: usize, mut tell: impl FnMut(u16)) {
    let Some(begun) =
        n.checked_sub(1).and_then(|n| tokens.len().checked_sub(n)).and_then(|at| tokens.get(at..))
    else {
        return;
    };
    for row in tokens.windows(n) {
        if let Some((&last, beginning)) = row.split_last()
            && beginning == begun
        {
            tell(last);
        }
    }
}

/// What to draw from, in integers.
#[derive(Debug, Clone, Copy)]
struct Draw {
    /// 2^12 by the temperature.
    sharpness: u32,
    top_k: usize,
    /// In 2^-16.
    top_p: u64,
}

impl Draw {
    fn new(how: &Sampling) -> Result<Self, RunError> {
        let sound = (0.0625..=16.0).contains(&how.temperature) && how.top_p > 0.0 && how.top_p <= 1.0;
        if !sound {
            return Err(RunError::Sampling);
        }
        let top_k = if how.top_k == 0 { usize::MAX } else { how.top_k as usize };
        let top_p = (how.top_p * 65_536.0) as u64;
        Ok(Self { sharpness: (4096.0 / how.temperature) as u32, top_k, top_p })
    }

    /// The token that a number falls to, and its logit; none where all are banned.
    fn token(&self, logits: &[Cell<i16>], bits: u32, number: u32) -> Option<(u16, i16)> {
        let (_, largest) = kernels::largest(logits);
        if largest == BANNED {
            return None;
        }
        let weight = |logit: i16| {
            let below = (largest as i32 - logit as i32) as u32;
            exp2_neg((below * self.sharpness) >> 12, bits & 15)
        };
        let at_least = move |least: i16| logits.iter().map(Cell::get).filter(move |&logit| logit >= least);
        let mass = |least: i16| at_least(least).map(weight).fold(0u32, u32::wrapping_add);
        let mut least = BANNED + 1;
        if self.top_k < logits.len() {
            least = highest(least, largest, |least| at_least(least).count() >= self.top_k);
        }
        if self.top_p < 1 << 16 {
            let enough = (mass(least) as u64 * self.top_p) >> 16;
            least = highest(least, largest, |least| mass(least) as u64 >= enough);
        }
        let mut left = ((mass(least) as u64 * number as u64) >> 32) as u32;
        for (logit, id) in logits.iter().map(Cell::get).zip(0u16..).filter(|&(logit, _)| logit >= least) {
            match left.checked_sub(weight(logit)) {
                Some(rest) => left = rest,
                None => return Some((id, logit)),
            }
        }
        None
    }
}

/// The highest number of a range for which a condition holds that fails from some number on; the lowest where it holds for none.
fn highest(mut low: i16, mut high: i16, holds: impl Fn(i16) -> bool) -> i16 {
    while low < high {
        let middle = ((low as i32 + high as i32 + 1) >> 1) as i16;
        if holds(middle) { low = middle } else { high = middle - 1 }
    }
    low
}

/// PCG-XSH-RR 64/32 (O'Neill 2014), one of its streams.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        let mut random = Self(0);
        random.next();
        random.0 = random.0.wrapping_add(seed);
        random.next();
        random
    }

    fn next(&mut self) -> u32 {
        let old = self.0;
        self.0 = old.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(109);
        ((((old >> 18) ^ old) >> 27) as u32).rotate_right((old >> 59) as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    extern crate std;
    use std::vec::Vec;

    fn cells(logits: &[i16]) -> Vec<Cell<i16>> {
        logits.iter().copied().map(Cell::new).collect()
    }

    #[test]
    fn chance_is_pcg32() {
        // The first numbers that its author's demonstration prints, of seed 42 and stream 54.
        let mut random = Random::new(42);
        let wanted = [0xa15c_02b7, 0x7b47_f409, 0xba1d_3330, 0x83d2_f293, 0xbfa4_784b, 0xcbed_606e];
        assert_eq!(wanted.map(|_| random.next()), wanted);
    }

    /// How often each token is drawn from all numbers, evenly spread, in 2^-16.
    fn frequencies(how: &Sampling, logits: &[i16], bits: u32) -> Vec<f64> {
        let draw = Draw::new(how).unwrap();
        let cells = cells(logits);
        let mut counts = std::vec![0.0; logits.len()];
        for number in 0..1u32 << 16 {
            let (id, logit) = draw.token(&cells, bits, number << 16).unwrap();
            assert_eq!(logit, logits[id as usize]);
            counts[id as usize] += 1.0 / 65_536.0;
        }
        counts
    }

    #[test]
    fn tokens_are_drawn_as_often_as_they_are_probable() {
        let logits = [300, -200, 1024, 700, 1024, -9000, 0, 512];
        for (temperature, top_k, top_p) in [
            (1.0, 0, 1.0),
            (0.5, 0, 1.0),
            (2.5, 0, 1.0),
            (1.0, 3, 1.0),
            (1.0, 0, 0.6),
            (0.7, 5, 0.8),
            (16.0, 1, 0.01),
        ] {
            let how = Sampling { temperature, top_k, top_p, ..Sampling::default() };
            let weight = |x: i16| libm::exp2(f64::from(x) / 512.0 / f64::from(temperature));
            // The k most probable, then those of them whose sum reaches p.
            let mut sorted = logits;
            sorted.sort_by(|a, b| b.cmp(a));
            let mut kept = if top_k == 0 { sorted.len() } else { usize::from(top_k) };
            while kept < sorted.len() && sorted[kept] == sorted[kept - 1] {
                kept += 1;
            }
            let all: f64 = sorted[..kept].iter().map(|&x| weight(x)).sum();
            let (mut sum, mut least) = (0.0, sorted[0]);
            for &x in &sorted[..kept] {
                if sum < f64::from(top_p) * all - 1e-9 {
                    least = x;
                }
                sum += weight(x);
            }
            let total: f64 = logits.iter().filter(|&&x| x >= least).map(|&x| weight(x)).sum();
            for (found, &x) in frequencies(&how, &logits, 9).iter().zip(&logits) {
                let wanted = if x >= least { weight(x) / total } else { 0.0 };
                assert!((found - wanted).abs() < 3e-4, "{how:?} {x}: {found} {wanted}");
            }
        }
    }

    #[test]
    fn what_is_banned_is_never_drawn() {
        let draw = Draw::new(&Sampling { temperature: 16.0, ..Sampling::default() }).unwrap();
        let logits = cells(&[BANNED, 5, BANNED]);
        for number in [0, 1 << 31, u32::MAX] {
            assert_eq!(draw.token(&logits, 15, number), Some((1, 5)));
        }
        assert_eq!(draw.token(&cells(&[BANNED; 3]), 9, 7), None);
    }

    #[test]
    fn repetitions_are_those_of_the_last_tokens() {
        let told = |tokens: &[u16], n: usize| {
            let mut told = Vec::new();
            repetitions(tokens, n, |id| told.push(id));
            told
        };
        assert_eq!(told(&[1, 2, 3, 1, 2], 3), [3]);
        assert_eq!(told(&[1, 2, 1, 3, 1], 2), [2, 3]);
        assert_eq!(told(&[4, 5], 1), [4, 5]);
        assert_eq!(told(&[4, 5], 0), []);
        assert_eq!(told(&[4], 3), []);
    }

    #[test]
    fn ranges_are_checked() {
        for (temperature, top_p) in
            [(0.0, 1.0), (17.0, 1.0), (f32::NAN, 1.0), (1.0, 0.0), (1.0, 1.1), (1.0, f32::NAN)]
        {
            let how = Sampling { temperature, top_p, ..Sampling::default() };
            assert_eq!(Draw::new(&how).err(), Some(RunError::Sampling), "{how:?}");
        }
    }
}
