//! Pairs of source and target text, one a line: UTF-8, `source<TAB>target`.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;

use crate::error::{Error, Result};

/// One line of a corpus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// What the model reads.
    pub source: String,
    /// What it should answer.
    pub target: String,
}

/// A source with all the targets that the corpus gives it; any of them is right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group<'a> {
    /// The source text.
    pub source: &'a str,
    /// Its targets, in the corpus' order.
    pub targets: Vec<&'a str>,
}

/// Reads a corpus file. Line ends may be LF or CRLF; a UTF-8 byte order mark is skipped.
///
/// # Errors
/// [`Error::Io`] when the file cannot be read; [`Error::Corpus`] with the line when a line is empty, is not
/// UTF-8, has no tab or more than one, or lacks a side, and when the file holds no lines.
pub fn read(path: &Path) -> Result<Vec<Pair>> {
    let bytes =
        std::fs::read(path).map_err(|source| Error::Io { action: "read", path: path.into(), source })?;
    parse(&bytes, path)
}

/// Cuts the bytes of a corpus file into pairs; `path` appears in errors only.
///
/// # Errors
/// [`Error::Corpus`] as for [`read`].
pub fn parse(bytes: &[u8], path: &Path) -> Result<Vec<Pair>> {
    let fail = |line: usize, reason: String| Err(Error::Corpus { path: path.into(), line, reason });
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    if bytes.is_empty() {
        return fail(1, "the file is empty; expected lines of source<TAB>target".into());
    }
    let body = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let mut pairs = Vec::new();
    for (index, raw) in body.split(|&b| b == b'\n').enumerate() {
        let line = index + 1;
        let raw = raw.strip_suffix(b"\r").unwrap_or(raw);
        let text = match std::str::from_utf8(raw) {
            Ok(text) => text,
            Err(e) => return fail(line, format!("not UTF-8 from byte {} of the line", e.valid_up_to() + 1)),
        };
        if text.is_empty() {
            return fail(line, "empty line; expected source<TAB>target".into());
        }
        let Some((source, target)) = text.split_once('\t') else {
            return fail(line, "no tab; expected source<TAB>target".into());
        };
        if target.contains('\t') {
            let tabs = 1 + target.matches('\t').count();
            return fail(line, format!("{tabs} tabs; expected exactly one between source and target"));
        }
        for (name, side) in [("source", source), ("target", target)] {
            if side.trim().is_empty() {
                return fail(line, format!("the {name} is empty; expected source<TAB>target"));
            }
        }
        pairs.push(Pair { source: source.into(), target: target.into() });
    }
    Ok(pairs)
}

/// The pairs as the text of a corpus file, the inverse of [`parse`].
pub fn to_text(pairs: &[Pair]) -> String {
    let mut text = String::new();
    for pair in pairs {
        writeln!(text, "{}\t{}", pair.source, pair.target).expect("a String takes everything");
    }
    text
}

/// The distinct sources in the order of their first line, each with all its targets.
pub fn group(pairs: &[Pair]) -> Vec<Group<'_>> {
    let mut place: HashMap<&str, usize> = HashMap::new();
    let mut groups: Vec<Group<'_>> = Vec::new();
    for pair in pairs {
        let at = *place.entry(&pair.source).or_insert_with(|| {
            groups.push(Group { source: &pair.source, targets: Vec::new() });
            groups.len() - 1
        });
        groups[at].targets.push(&pair.target);
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(source: &str, target: &str) -> Pair {
        Pair { source: source.into(), target: target.into() }
    }

    fn failure(bytes: &[u8]) -> String {
        parse(bytes, Path::new("x.tsv")).unwrap_err().to_string()
    }

    #[test]
    fn reads_lf_crlf_and_a_last_line_without_end() {
        let expected = vec![pair("ab", "A B"), pair("c d", "C")];
        for text in
            ["ab\tA B\nc d\tC\n", "ab\tA B\r\nc d\tC\r\n", "ab\tA B\nc d\tC", "\u{feff}ab\tA B\nc d\tC"]
        {
            assert_eq!(parse(text.as_bytes(), Path::new("x")).unwrap(), expected, "{text:?}");
        }
        assert_eq!(parse(to_text(&expected).as_bytes(), Path::new("x")).unwrap(), expected);
    }

    #[test]
    fn every_bad_line_is_named_by_its_number() {
        assert_eq!(failure(b"a\tb\n\nc\td\n"), "x.tsv:2: empty line; expected source<TAB>target");
        assert_eq!(failure(b"a\tb\nc\td\n\n"), "x.tsv:3: empty line; expected source<TAB>target");
        assert_eq!(failure(b"a\tb\n\r\n"), "x.tsv:2: empty line; expected source<TAB>target");
        assert_eq!(failure(b"ab\n"), "x.tsv:1: no tab; expected source<TAB>target");
        assert_eq!(
            failure(b"a\tb\tc\td\n"),
            "x.tsv:1: 3 tabs; expected exactly one between source and target"
        );
        assert_eq!(failure(b"a\tb\nq\xff\tb"), "x.tsv:2: not UTF-8 from byte 2 of the line");
        assert_eq!(failure(b"\tb\n"), "x.tsv:1: the source is empty; expected source<TAB>target");
        assert_eq!(failure(b"a\t \n"), "x.tsv:1: the target is empty; expected source<TAB>target");
    }

    #[test]
    fn an_empty_file_says_so() {
        assert!(failure(b"").starts_with("x.tsv:1: the file is empty"));
        let missing = read(Path::new("/nowhere/x.tsv")).unwrap_err().to_string();
        assert!(missing.starts_with("cannot read /nowhere/x.tsv"), "{missing}");
    }

    #[test]
    fn groups_keep_first_order_and_all_targets() {
        let pairs = [pair("b", "1"), pair("a", "2"), pair("b", "3")];
        let groups = group(&pairs);
        assert_eq!(groups[0], Group { source: "b", targets: vec!["1", "3"] });
        assert_eq!(groups[1], Group { source: "a", targets: vec!["2"] });
    }
}
