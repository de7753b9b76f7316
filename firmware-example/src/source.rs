//! A line as a model's source: text, or frames of counts.

use core::fmt;

use kinglet::{Model, RunError, Session};

/// Why a line is no source.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Refused {
    /// The runtime refused it.
    Run(RunError),
    /// It is no frames from this byte on.
    Count {
        /// Offset in the line.
        at: usize,
        /// Numbers of a frame.
        features: usize,
    },
}

impl From<RunError> for Refused {
    fn from(error: RunError) -> Self {
        Self::Run(error)
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run(error) => error.fmt(f),
            Self::Count { at, features } => write!(
                f,
                "byte {at}: expected {features} integers a frame, -32768 to 32767, commas between them and a space between frames"
            ),
        }
    }
}

/// Makes a line the source of a session; the number of unknown tokens. Where the model reads numbers, the line is frames with a
/// space between them, a frame its integer counts with commas between them: `12,-3 0,7`.
///
/// # Errors
/// [`Refused`].
pub fn read(session: &mut Session<'_, '_>, model: &Model<'_>, line: &[u8]) -> Result<usize, Refused> {
    let features = model.features();
    if features == 0 {
        return Ok(session.read_text(line)?.unknown);
    }
    let mut counts = Counts { line, at: 0, features, feature: 0, fault: None };
    let result = session.read_numbers(&mut counts);
    match counts.fault {
        Some(at) => Err(Refused::Count { at, features }),
        None => Ok(result.map(|()| 0)?),
    }
}

/// The counts of a line, until it ends or is none.
struct Counts<'a> {
    line: &'a [u8],
    at: usize,
    features: usize,
    /// Which number of its frame the next one is.
    feature: usize,
    /// Where the line stops being frames.
    fault: Option<usize>,
}

impl Counts<'_> {
    fn peek(&self) -> Option<u8> {
        self.line.get(self.at).copied()
    }

    /// The byte after a number must be what separates it from the next one.
    fn separator(&mut self) -> Option<()> {
        self.feature += 1;
        let whole = self.feature == self.features;
        match self.peek() {
            None if whole => return Some(()),
            Some(b' ') if whole => self.feature = 0,
            Some(b',') if !whole => {}
            _ => return None,
        }
        self.at += 1;
        // Something follows.
        self.peek().map(|_| ())
    }

    fn number(&mut self) -> Option<i16> {
        let negative = self.peek() == Some(b'-');
        self.at += negative as usize;
        let mut value: Option<i32> = None;
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            let more = value.unwrap_or(0) * 10 + (digit - b'0') as i32;
            if more > 32_767 + negative as i32 {
                return None;
            }
            value = Some(more);
            self.at += 1;
        }
        let value = value?;
        self.separator()?;
        Some(if negative { value.wrapping_neg() as i16 } else { value as i16 })
    }
}

impl Iterator for Counts<'_> {
    type Item = i16;

    fn next(&mut self) -> Option<i16> {
        if self.fault.is_some() || self.at >= self.line.len() {
            return None;
        }
        let number = self.number();
        if number.is_none() {
            self.fault = Some(self.at);
        }
        number
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use super::*;

    fn counts(line: &str, features: usize) -> Result<Vec<i16>, usize> {
        let mut counts = Counts { line: line.as_bytes(), at: 0, features, feature: 0, fault: None };
        let found = counts.by_ref().collect();
        counts.fault.map_or(Ok(found), Err)
    }

    #[test]
    fn integers_of_all_sizes_are_read() {
        assert_eq!(counts("1,-2 0,32767 -32768,007", 2).unwrap(), [1, -2, 0, 32_767, -32_768, 7]);
        assert_eq!(counts("5 -6", 1).unwrap(), [5, -6]);
        assert_eq!(counts("", 2).unwrap(), []);
    }

    #[test]
    fn the_first_byte_that_does_not_fit_is_named() {
        for (line, at) in [
            ("1", 1),
            ("1,2,3", 3),
            ("1 2", 1),
            ("1,2 ", 4),
            ("1,2  3,4", 4),
            ("1,", 2),
            ("-,1", 1),
            ("1,x", 2),
            ("1,1.5", 3),
            ("32768,1", 4),
            ("1,-32769", 7),
            ("99999999999,1", 4),
        ] {
            assert_eq!(counts(line, 2), Err(at), "{line:?}");
        }
    }
}
