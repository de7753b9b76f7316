//! Decodes what the desktop decoded and compares every bit.

use core::fmt::{self, Write};

use kinglet::Model;

use crate::record::{self, Failure};

/// Where device and desktop differ.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// The table was made with another blob.
    OtherBlob,
    /// A line of the table, from 1, is not what this device computes.
    Differs(usize),
    /// A line of the table, from 1, cannot be decoded.
    Fails(usize, Failure),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherBlob => f.write_str("the expected results were made with another blob"),
            Self::Differs(line) => write!(f, "line {line} of the expected results differs"),
            Self::Fails(line, failure) => write!(f, "line {line} of the expected results: {failure}"),
        }
    }
}

/// Decodes every word of a table made by `desktop`; how many there were.
///
/// # Errors
/// The first [`Fault`].
pub fn run(model: &Model<'_>, ram: &mut [u8], table: &[u8]) -> Result<usize, Fault> {
    let mut lines = table.split(|&b| b == b'\n').filter(|line| !line.is_empty());
    let Some(head) = lines.next() else { return Ok(0) };
    let mut expect = Expect(head);
    if record::header(model, &mut expect).is_err() || !expect.0.is_empty() {
        return Err(Fault::OtherBlob);
    }
    let mut words = 0;
    for line in lines {
        let number = words + 2;
        let word = line.split(|&b| b == b'\t').next().unwrap_or_default();
        let mut expect = Expect(line.get(word.len()..).unwrap_or_default());
        match record::write(model, ram, word, &mut expect) {
            Ok(()) if expect.0.is_empty() => words += 1,
            Ok(()) | Err(Failure::Output) => return Err(Fault::Differs(number)),
            Err(failure) => return Err(Fault::Fails(number, failure)),
        }
    }
    Ok(words)
}

/// Compares what is written with bytes that are left.
struct Expect<'a>(&'a [u8]);

impl Write for Expect<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 = self.0.strip_prefix(text.as_bytes()).ok_or(fmt::Error)?;
        Ok(())
    }
}
