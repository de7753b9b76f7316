//! Dates as people write them, to ISO 8601.
//!
//! Every form can be read in one way only: years lie in 1950-2049, so that two digits name one of them; between
//! dots the day comes first (`3.4.26`), between slashes the month (`4/3/26`), unless a year of four digits leads
//! (`2026/4/3`, `2026-04-03`). A weekday, where written, is the true one.

use crate::data::Pair;
use crate::nn::random::Random;
use crate::rng::{below, pick};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// Monday first.
const WEEKDAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// A day of the proleptic Gregorian calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Date {
    year: usize,
    month: usize,
    day: usize,
}

/// A random date in a random form.
pub(super) fn pair(random: &mut Random) -> Pair {
    let date = Date::random(random);
    let target = format!("{:04}-{:02}-{:02}", date.year, date.month, date.day);
    let written = date.write(random);
    let source = match below(random, 8) {
        0 => written.to_uppercase(),
        1 => written.to_lowercase(),
        _ => written,
    };
    Pair { source, target }
}

fn is_leap(year: usize) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_in(year: usize, month: usize) -> usize {
    match month {
        2 => 28 + usize::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// "st", "nd", "rd" or "th".
fn ordinal(day: usize) -> &'static str {
    match (day % 10, day / 10) {
        (1, tens) if tens != 1 => "st",
        (2, tens) if tens != 1 => "nd",
        (3, tens) if tens != 1 => "rd",
        _ => "th",
    }
}

impl Date {
    fn random(random: &mut Random) -> Self {
        let year = 1950 + below(random, 100);
        let month = 1 + below(random, 12);
        Self { year, month, day: 1 + below(random, days_in(year, month)) }
    }

    /// Days since a Monday, modulo 7 (Sakamoto's method: month offsets, January and February count as the year
    /// before).
    fn weekday(self) -> usize {
        const OFFSETS: [usize; 12] = [0, 3, 2, 5, 0, 3, 5, 1, 4, 6, 2, 4];
        let year = self.year - usize::from(self.month < 3);
        (year + year / 4 - year / 100 + year / 400 + OFFSETS[self.month - 1] + self.day + 6) % 7
    }

    fn write(self, random: &mut Random) -> String {
        let Self { year, month, day } = self;
        let short = year % 100;
        let full = MONTHS[month - 1];
        let name = if below(random, 3) == 0 { &full[..3] } else { full };
        let th = ordinal(day);
        let body = match below(random, 16) {
            0 => format!("{day}.{month}.{short:02}"),
            1 => format!("{day:02}.{month:02}.{year}"),
            2 => format!("{day}.{month}.{year}"),
            3 => format!("{year}/{month}/{day}"),
            4 => format!("{year}-{month:02}-{day:02}"),
            5 => format!("{month}/{day}/{year}"),
            6 => format!("{month:02}/{day:02}/{short:02}"),
            7 => format!("{day:02}-{}-{short:02}", &full[..3]),
            8 => format!("{name} {day}, {year}"),
            9 => format!("{day} {name} {year}"),
            10 => format!("the {day}{th} of {name} {year}"),
            11 => format!("{name} {day}{th}, {year}"),
            12 => format!("{day}{th} {name} {year}"),
            13 => format!("{name} {day}{th} {year}"),
            14 => format!("{day} {name} '{short:02}"),
            _ => format!("{day}{th} of {name}, {year}"),
        };
        // A quarter of the forms in words carry the weekday.
        if body.contains(&full[..3]) && below(random, 4) == 0 {
            let weekday = WEEKDAYS[self.weekday()];
            let weekday = if below(random, 3) == 0 { &weekday[..3] } else { weekday };
            let comma = pick(random, &[", ", " "]);
            return format!("{weekday}{comma}{body}");
        }
        body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weekdays_are_true() {
        for (year, month, day, expected) in [
            (1969, 7, 20, "Sunday"),
            (2000, 1, 1, "Saturday"),
            (2000, 2, 29, "Tuesday"),
            (2026, 3, 3, "Tuesday"),
            (2049, 12, 31, "Friday"),
        ] {
            assert_eq!(WEEKDAYS[Date { year, month, day }.weekday()], expected);
        }
    }

    #[test]
    fn months_have_their_days() {
        assert_eq!(
            [days_in(2000, 2), days_in(2026, 2), days_in(2026, 4), days_in(2026, 12)],
            [29, 28, 30, 31]
        );
        assert_eq!(
            [1, 2, 3, 4, 11, 12, 13, 21, 22, 23, 30, 31].map(ordinal),
            ["st", "nd", "rd", "th", "th", "th", "th", "st", "nd", "rd", "th", "st"]
        );
    }

    /// Reads a written date by the rules of this file alone.
    fn read(text: &str) -> (usize, usize, usize) {
        let text = text.to_lowercase();
        let months: Vec<String> = MONTHS.iter().map(|m| m[..3].to_lowercase()).collect();
        let full = |y: usize| if y >= 100 { y } else { y + if y < 50 { 2000 } else { 1900 } };
        let mut numbers = Vec::new();
        let mut month = None;
        for word in text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|w| !w.is_empty()) {
            let digits: String = word.chars().take_while(char::is_ascii_digit).collect();
            if let Ok(number) = digits.parse::<usize>() {
                numbers.push((number, digits.len()));
            } else if let Some(m) = months.iter().position(|m| word.starts_with(m.as_str())) {
                // "mon" is a weekday, no month starts with it.
                month = Some(m + 1);
            }
        }
        match (month, numbers.as_slice()) {
            (Some(month), [(day, _), (year, _)]) => (full(*year), month, *day),
            (None, [(year, 4), (month, _), (day, _)]) => (*year, *month, *day),
            (None, [(month, _), (day, _), (year, _)]) if text.contains('/') => (full(*year), *month, *day),
            (None, [(day, _), (month, _), (year, _)]) if text.contains('.') => (full(*year), *month, *day),
            _ => panic!("cannot read {text}"),
        }
    }

    #[test]
    fn every_form_reads_in_one_way() {
        let mut random = Random::new(4);
        for _ in 0..20_000 {
            let pair = pair(&mut random);
            let (year, month, day) = read(&pair.source);
            assert_eq!(format!("{year:04}-{month:02}-{day:02}"), pair.target, "{}", pair.source);
            assert!((1950..2050).contains(&year) && pair.source.len() <= 48, "{}", pair.source);
        }
    }
}
