//! Word vectors in a text file, as GloVe and word2vec write them: a line a word, then its numbers, all separated by spaces.
//!
//! A first line of two whole numbers is word2vec's header, words and numbers of each. Words may hold spaces, as some of GloVe's do.

use std::io::{BufRead, BufReader};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::vocab::{MARKS, Vocab};

/// How many tokens have a vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Coverage {
    /// Tokens that a file has vectors for.
    pub found: usize,
    /// Tokens of the vocabulary, without its marks.
    pub tokens: usize,
}

/// Puts the vectors of a file in place of the rows of `table` [vocabulary, width] whose tokens it has; of several for one word
/// the first. Tokens are words, of subwords those that are whole words.
///
/// # Errors
/// [`Error::Io`]; [`Error::Vectors`] with the line that is not UTF-8, has another width, or a number that is none.
pub fn read(path: &Path, vocab: &Vocab, table: &mut [f32]) -> Result<Coverage> {
    let width = table.len() / vocab.len();
    let io = |source| Error::Io { action: "read", path: path.into(), source };
    let mut lines = BufReader::with_capacity(1 << 20, std::fs::File::open(path).map_err(io)?);
    let mut seen = vec![false; vocab.len()];
    let (mut raw, mut row) = (Vec::new(), vec![0.0; width]);
    for line in 1.. {
        raw.clear();
        if lines.read_until(b'\n', &mut raw).map_err(io)? == 0 {
            break;
        }
        let fail = |reason: String| Error::Vectors { path: path.into(), line, reason };
        let text = std::str::from_utf8(&raw)
            .map_err(|e| fail(format!("not UTF-8 from byte {} of the line", e.valid_up_to() + 1)))?;
        let text = text.trim_end();
        let wide = |found: usize| {
            fail(format!(
                "expected a word and {width} numbers (model.encoder.embedding), found {found} numbers"
            ))
        };
        if line == 1
            && let Some(header) = header(text)
        {
            if header != width {
                return Err(wide(header));
            }
            continue;
        }
        let fields = text.split(' ').count();
        // The first line tells the width; behind it, more than that belong to the word.
        if fields < width + 1 || (line == 1 && fields > width + 1) {
            return Err(wide(fields - 1));
        }
        let mut numbers = text.rsplitn(width + 1, ' ');
        for (value, number) in row.iter_mut().rev().zip(&mut numbers) {
            *value = number
                .parse()
                .ok()
                .filter(|value: &f32| value.is_finite())
                .ok_or_else(|| fail(format!("expected a number, found {number:?}")))?;
        }
        let word = numbers.next().unwrap_or_default();
        if let Some(id) = vocab.word(word).map(|id| id as usize)
            && !std::mem::replace(&mut seen[id], true)
        {
            table[id * width..][..width].copy_from_slice(&row);
        }
    }
    let found = seen.iter().filter(|&&seen| seen).count();
    Ok(Coverage { found, tokens: vocab.len() - MARKS.len() })
}

/// The width that word2vec's header tells, if this is one.
fn header(line: &str) -> Option<usize> {
    let (words, width) = line.split_once(' ')?;
    words.parse::<usize>().ok().and(width.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Tokens;

    fn read_into(text: &[u8], vocab: &Vocab) -> Result<(Coverage, Vec<f32>)> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let mut table = vec![9.0; vocab.len() * 2];
        let coverage = read(file.path(), vocab, &mut table)?;
        Ok((coverage, table[8..].to_vec()))
    }

    #[test]
    fn rows_of_known_words_are_replaced() {
        let vocab = Vocab::build(Tokens::Words, ["a b c"], 1);
        let expected = (Coverage { found: 2, tokens: 3 }, vec![9.0, 9.0, 0.5, -1.0, 3e-2, 4.0]);
        for text in ["b 0.5 -1\nx 1 2\nc 3e-2 4\nb 7 7\n", "4 2\nb 0.5 -1 \r\n. . . 1 2\nc 3e-2 4\n<unk> 1 1"]
        {
            assert_eq!(read_into(text.as_bytes(), &vocab).unwrap(), expected, "{text:?}");
        }
    }

    #[test]
    fn of_subwords_whole_words_have_vectors() {
        let vocab = Vocab::learn(["ab ab cab"; 3], 10, 1).unwrap();
        assert_eq!(vocab.tokens()[8..], ["ab", " ab"]);
        let (coverage, rows) = read_into(b"ab 1 2\ncab 3 4\n", &vocab).unwrap();
        assert_eq!(coverage, Coverage { found: 1, tokens: 6 });
        assert_eq!(rows[8..], [9.0, 9.0, 1.0, 2.0]);
    }

    #[test]
    fn what_is_no_vector_is_told_with_its_line() {
        let vocab = Vocab::build(Tokens::Words, ["a"], 1);
        for (text, expected) in [
            (
                &b"a 1 2\nb 3\n"[..],
                ":2: expected a word and 2 numbers (model.encoder.embedding), found 1 numbers",
            ),
            (b"a 1 2 3\n", ":1: expected a word and 2 numbers (model.encoder.embedding), found 3 numbers"),
            (b"7 300\na 1 2\n", ":1: expected a word and 2 numbers (model.encoder.embedding), found 300"),
            (b"a 1 2\n\n", ":2: expected a word and 2 numbers (model.encoder.embedding), found 0 numbers"),
            (b"a 1 2\nx 1 two\n", ":2: expected a number, found \"two\""),
            (b"a nan 2\n", ":1: expected a number, found \"nan\""),
            (b"a 1 2\nb\xFF 1 2\n", ":2: not UTF-8 from byte 2"),
        ] {
            let message = read_into(text, &vocab).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
        let missing = read(Path::new("/nowhere/v.txt"), &vocab, &mut [0.0; 10]).unwrap_err().to_string();
        assert!(missing.starts_with("cannot read /nowhere/v.txt"), "{missing}");
    }
}
