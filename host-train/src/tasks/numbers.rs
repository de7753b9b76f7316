//! English number words to digits, up to a million.

use crate::data::Pair;
use crate::nn::random::Random;
use crate::rng::below;

const SMALL: [&str; 20] = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
];

const TENS: [&str; 8] = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];

/// A random number with one to six digits, with or without "and".
pub(super) fn pair(random: &mut Random) -> Pair {
    let digits = 1 + below(random, 6) as u32;
    let number = below(random, 10usize.pow(digits));
    let and = below(random, 2) == 0;
    Pair { source: words(number, and), target: number.to_string() }
}

/// A number below a million in words: "two hundred and five", without "and" in the American way.
fn words(number: usize, and: bool) -> String {
    let mut parts: Vec<String> = Vec::new();
    if number >= 1000 {
        parts.push(format!("{} thousand", words(number / 1000, and)));
    }
    let (hundreds, rest) = (number % 1000 / 100, number % 100);
    if hundreds > 0 {
        parts.push(format!("{} hundred", SMALL[hundreds]));
    }
    if rest > 0 || number == 0 {
        if and && !parts.is_empty() {
            parts.push("and".into());
        }
        parts.push(match (rest / 10, rest % 10) {
            (0 | 1, _) => SMALL[rest].into(),
            (tens, 0) => TENS[tens - 2].into(),
            (tens, ones) => format!("{} {}", TENS[tens - 2], SMALL[ones]),
        });
    }
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_words() {
        for (number, and, expected) in [
            (0, true, "zero"),
            (13, false, "thirteen"),
            (40, false, "forty"),
            (205, true, "two hundred and five"),
            (205, false, "two hundred five"),
            (1000, true, "one thousand"),
            (2026, true, "two thousand and twenty six"),
            (999_999, true, "nine hundred and ninety nine thousand nine hundred and ninety nine"),
            (700_010, false, "seven hundred thousand ten"),
        ] {
            assert_eq!(words(number, and), expected);
        }
    }
}
