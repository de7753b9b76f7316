//! Small pictures, pixel by pixel, for language models.
//!
//! A line is a character that names what is drawn, then the rows from the top, each behind a slash: `#` for ink, `.` for none. Behind
//! the character as a prompt a model draws just that.

use crate::data::Pair;
use crate::nn::random::Random;
use crate::rng::below;

/// Pixels a side.
const SIDE: usize = 8;

/// What is drawn: its character, and which pixels are ink, given column, row, width and height.
type Shape = (char, fn(usize, usize, usize, usize) -> bool);

/// Box, filled box, corner, plus, triangle, cross.
const SHAPES: [Shape; 6] = [
    ('b', |x, y, w, h| x == 0 || y == 0 || x == w - 1 || y == h - 1),
    ('f', |_, _, _, _| true),
    ('l', |x, y, _, h| x == 0 || y == h - 1),
    ('p', |x, y, w, h| x == w / 2 || y == h / 2),
    ('t', |x, y, w, h| x == 0 || y == h - 1 || diagonal(x, y, w, h)),
    ('x', |x, y, w, h| diagonal(x, y, w, h) || diagonal(w - 1 - x, y, w, h)),
];

/// Digits, three bits a row from the top.
const DIGITS: [[u8; 5]; 10] = [
    [0b111, 0b101, 0b101, 0b101, 0b111],
    [0b010, 0b110, 0b010, 0b010, 0b111],
    [0b111, 0b001, 0b111, 0b100, 0b111],
    [0b111, 0b001, 0b111, 0b001, 0b111],
    [0b101, 0b101, 0b111, 0b001, 0b001],
    [0b111, 0b100, 0b111, 0b001, 0b111],
    [0b111, 0b100, 0b111, 0b101, 0b111],
    [0b111, 0b001, 0b001, 0b001, 0b001],
    [0b111, 0b101, 0b111, 0b101, 0b111],
    [0b111, 0b101, 0b111, 0b001, 0b111],
];

/// Whether a pixel is on the way from the top left to the bottom right.
fn diagonal(x: usize, y: usize, w: usize, h: usize) -> bool {
    // The nearest pixel of the column, and of the row.
    let near = |at: usize, all: usize, of: usize| (2 * at * (of - 1) + all - 1) / (2 * (all - 1));
    near(x, w, h) == y || near(y, h, w) == x
}

/// A shape or a digit of random size and place.
pub(super) fn pair(random: &mut Random) -> Pair {
    let kind = below(random, SHAPES.len() + DIGITS.len());
    let from = |least: usize, sizes: usize, random: &mut Random| {
        let size = least + below(random, sizes);
        (below(random, SIDE - size + 1), size)
    };
    let target = match SHAPES.get(kind) {
        Some(&(name, ink)) => {
            let (across, down) = (from(3, 5, random), from(3, 5, random));
            draw(name, across, down, |x, y| ink(x, y, across.1, down.1))
        }
        None => {
            let digit = kind - SHAPES.len();
            let (across, down) = (from(3, 4, random), from(5, 4, random));
            let name = char::from(b'0' + digit as u8);
            draw(name, across, down, |x, y| DIGITS[digit][5 * y / down.1] >> (2 - 3 * x / across.1) & 1 == 1)
        }
    };
    Pair { source: String::new(), target }
}

/// The line of a picture; `across` and `down` are where the drawing begins, and its size.
fn draw(
    name: char,
    across: (usize, usize),
    down: (usize, usize),
    ink: impl Fn(usize, usize) -> bool,
) -> String {
    let within = |at: usize, (start, size): (usize, usize)| at.checked_sub(start).filter(|&at| at < size);
    let mut line = String::from(name);
    for y in 0..SIDE {
        line.push('/');
        line.extend((0..SIDE).map(|x| match (within(x, across), within(y, down)) {
            (Some(x), Some(y)) if ink(x, y) => '#',
            _ => '.',
        }));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_what_their_names_say() {
        let rows = |kind: usize, w: usize, h: usize| {
            let row = |y| (0..w).map(|x| if SHAPES[kind].1(x, y, w, h) { '#' } else { '.' }).collect();
            (0..h).map(row).collect::<Vec<String>>().join("/")
        };
        assert_eq!(rows(4, 4, 4), "#.../##../#.#./####");
        assert_eq!(rows(5, 5, 5), "#...#/.#.#./..#../.#.#./#...#");
        assert_eq!(rows(0, 3, 3), "###/#.#/###");
    }

    #[test]
    fn a_picture_is_a_name_and_rows() {
        let mut random = Random::new(1);
        for _ in 0..300 {
            let Pair { source, target } = pair(&mut random);
            let rows: Vec<&str> = target.split('/').collect();
            assert!(source.is_empty() && rows[0].len() == 1 && rows.len() == 1 + SIDE, "{target}");
            assert!(rows[1..].iter().all(|row| row.len() == SIDE) && target.contains('#'), "{target}");
        }
    }
}
