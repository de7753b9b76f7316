//! Hexadecimal digits written on a touch pad: what it reports, to the text.
//!
//! A frame is `dx,dy,up`: how far the pen has gone since the last one, in counts of the pad, and whether it was lifted (1) or not (0).
//! The pad reports at even times, so that a quick hand leaves few frames. Everything is drawn with additions, products and square
//! roots, which any host computes to the same bits.

use std::fmt::Write as _;

use crate::data::Pair;
use crate::nn::random::Random;
use crate::rng::below;

/// Most digits of a line.
const DIGITS: usize = 4;
/// How far a corner strays, in units of a glyph, which is 4 wide and 6 high.
const CORNER: f32 = 0.4;
/// How far a reported point strays, likewise.
const JITTER: f32 = 0.08;

/// Strokes of a digit: its corners as column and row, from the top left.
type Glyph = &'static [&'static [(i8, i8)]];

const GLYPHS: [(char, Glyph); 16] = [
    ('0', &[&[(2, 0), (0, 2), (0, 4), (2, 6), (4, 4), (4, 2), (2, 0)]]),
    ('1', &[&[(1, 1), (2, 0), (2, 6)]]),
    ('2', &[&[(0, 1), (2, 0), (4, 1), (4, 2), (0, 6), (4, 6)]]),
    ('3', &[&[(0, 0), (4, 0), (2, 2), (4, 4), (2, 6), (0, 5)]]),
    ('4', &[&[(1, 0), (0, 3), (4, 3)], &[(3, 1), (3, 6)]]),
    ('5', &[&[(4, 0), (0, 0), (0, 2), (3, 2), (4, 4), (3, 6), (0, 6)]]),
    ('6', &[&[(3, 0), (0, 3), (0, 5), (2, 6), (4, 5), (3, 3), (0, 4)]]),
    ('7', &[&[(0, 0), (4, 0), (1, 6)]]),
    ('8', &[&[(4, 1), (2, 0), (0, 1), (4, 5), (2, 6), (0, 5), (4, 1)]]),
    ('9', &[&[(4, 1), (2, 0), (0, 1), (1, 3), (4, 2), (4, 1), (3, 6)]]),
    ('A', &[&[(0, 6), (2, 0), (4, 6)], &[(1, 4), (3, 4)]]),
    ('B', &[&[(0, 6), (0, 0), (3, 0), (4, 1), (3, 3), (0, 3)], &[(2, 3), (4, 4), (3, 6), (0, 6)]]),
    ('C', &[&[(4, 1), (2, 0), (0, 2), (0, 4), (2, 6), (4, 5)]]),
    ('D', &[&[(0, 0), (0, 6)], &[(0, 0), (3, 1), (4, 3), (3, 5), (0, 6)]]),
    ('E', &[&[(4, 0), (0, 0), (0, 6), (4, 6)], &[(0, 3), (3, 3)]]),
    ('F', &[&[(4, 0), (0, 0), (0, 6)], &[(0, 3), (3, 3)]]),
];

/// How a line is written.
struct Hand {
    /// Counts of a unit.
    size: f32,
    /// Units to the right a unit upwards.
    slant: f32,
    /// Units between two frames.
    speed: f32,
}

/// What the pad has reported.
struct Pad {
    /// Where the pen was in the last report, in counts.
    at: Option<[i32; 2]>,
    source: String,
}

impl Pad {
    fn report(&mut self, point: [f32; 2], up: bool) {
        let now = point.map(|p| p.round() as i32);
        // The first touch has nothing before it.
        if let Some(before) = self.at {
            let separator = if self.source.is_empty() { "" } else { " " };
            let [dx, dy] = [now[0] - before[0], now[1] - before[1]];
            write!(self.source, "{separator}{dx},{dy},{}", i32::from(up)).expect("a String takes everything");
        }
        self.at = Some(now);
    }
}

/// One to four digits of one hand.
pub(super) fn pair(random: &mut Random) -> Pair {
    let hand = Hand {
        size: between(random, 6.0, 14.0),
        slant: between(random, -0.1, 0.4),
        speed: between(random, 1.2, 2.4),
    };
    let mut pad = Pad { at: None, source: String::new() };
    let mut target = String::new();
    let mut left = 0.0;
    for _ in 0..1 + below(random, DIGITS) {
        let (digit, glyph) = GLYPHS[below(random, GLYPHS.len())];
        target.push(digit);
        let (wide, high) = (between(random, 0.8, 1.2), between(random, 0.8, 1.2));
        for stroke in glyph {
            let corners: Vec<[f32; 2]> = stroke
                .iter()
                .map(|&(x, y)| {
                    [left + wide * stray(random, x.into(), CORNER), high * stray(random, y.into(), CORNER)]
                })
                .collect();
            write_stroke(&mut pad, &hand, &corners, random);
        }
        left += 4.0 * wide + between(random, 0.8, 2.0);
    }
    Pair { source: pad.source, target }
}

/// A stroke through its corners, the pen up before it.
fn write_stroke(pad: &mut Pad, hand: &Hand, corners: &[[f32; 2]], random: &mut Random) {
    let mut report = |[x, y]: [f32; 2], up: bool, random: &mut Random| {
        let [x, y] = [x, y].map(|p| stray(random, p, JITTER));
        pad.report([hand.size * (x - hand.slant * y), hand.size * y], up);
    };
    report(corners[0], true, random);
    let mut wait = hand.speed * between(random, 0.7, 1.3);
    for side in corners.windows(2) {
        let [from, to] = [side[0], side[1]];
        let way = [to[0] - from[0], to[1] - from[1]];
        let length = (way[0] * way[0] + way[1] * way[1]).sqrt();
        let mut gone = wait;
        while gone < length {
            report([0, 1].map(|i| from[i] + way[i] * gone / length), false, random);
            gone += hand.speed * between(random, 0.7, 1.3);
        }
        wait = gone - length;
    }
    report(corners[corners.len() - 1], false, random);
}

fn between(random: &mut Random, low: f32, high: f32) -> f32 {
    low + (high - low) * random.uniform()
}

fn stray(random: &mut Random, value: f32, far: f32) -> f32 {
    value + between(random, -far, far)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::frames::Frames;

    #[test]
    fn pens_are_lifted_between_strokes_alone() {
        let frames = Frames::new(vec![1.0; 3]);
        let mut random = Random::new(5);
        for _ in 0..200 {
            let Pair { source, target } = pair(&mut random);
            let strokes = |digit: char| GLYPHS.iter().find(|(name, _)| *name == digit).unwrap().1.len();
            let counts = frames.counts(&source).unwrap();
            let lifted: i32 = counts.chunks(3).map(|frame| i32::from(frame[2])).sum();
            assert_eq!(lifted as usize + 1, target.chars().map(strokes).sum::<usize>(), "{target}: {source}");
            assert!(counts.iter().all(|count| count.abs() < 300) && (1..=4).contains(&target.len()));
        }
    }
}
