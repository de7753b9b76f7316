//! Pairs of source and target text, one a line: UTF-8, `source<TAB>target`.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;

use crate::config::{Config, Task, Tokens};
use crate::data::frames::Frames;
use crate::error::{Error, Result};
use crate::vocab::cut;

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
    let pair = |text: &str| {
        if text.is_empty() {
            return Err("empty line; expected source<TAB>target".into());
        }
        let Some((source, target)) = text.split_once('\t') else {
            return Err("no tab; expected source<TAB>target".into());
        };
        if target.contains('\t') {
            let tabs = 1 + target.matches('\t').count();
            return Err(format!("{tabs} tabs; expected exactly one between source and target"));
        }
        for (name, side) in [("source", source), ("target", target)] {
            if side.trim().is_empty() {
                return Err(format!("the {name} is empty; expected source<TAB>target"));
            }
        }
        Ok(Pair { source: source.into(), target: target.into() })
    };
    lines(bytes, path, "lines of source<TAB>target", pair)
}

/// The pairs that lines are, or the reason why the first that is none is not.
fn lines(
    bytes: &[u8],
    path: &Path,
    expected: &str,
    pair: impl Fn(&str) -> std::result::Result<Pair, String>,
) -> Result<Vec<Pair>> {
    let fail = |line: usize, reason: String| Error::Corpus { path: path.into(), line, reason };
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    if bytes.is_empty() {
        return Err(fail(1, format!("the file is empty; expected {expected}")));
    }
    let body = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let read = |(index, raw): (usize, &[u8])| {
        let raw = raw.strip_suffix(b"\r").unwrap_or(raw);
        let text = std::str::from_utf8(raw)
            .map_err(|e| format!("not UTF-8 from byte {} of the line", e.valid_up_to() + 1));
        text.and_then(&pair).map_err(|reason| fail(index + 1, reason))
    };
    body.split(|&b| b == b'\n').enumerate().map(read).collect()
}

/// Reads the corpus of a task: pairs, or for a language model lines of targets alone, whose sources are empty. Sources of numbers are
/// frames of one width. Labels are as many as what they label.
///
/// # Errors
/// As [`read`] and [`check_sides`].
pub fn read_for(path: &Path, config: &Config) -> Result<Vec<Pair>> {
    let pairs = match config.model.task {
        Task::Transduce | Task::Label => read(path)?,
        Task::Generate => {
            let bytes = std::fs::read(path).map_err(|source| Error::Io {
                action: "read",
                path: path.into(),
                source,
            })?;
            parse_lines(&bytes, path)?
        }
    };
    check_sides(&pairs, config, path).map(|()| pairs)
}

/// Cuts the bytes of a file of targets into pairs without sources; `path` appears in errors only.
///
/// # Errors
/// [`Error::Corpus`] with the line when a line is empty, is not UTF-8 or has a tab, and when the file holds no lines.
pub fn parse_lines(bytes: &[u8], path: &Path) -> Result<Vec<Pair>> {
    let pair = |text: &str| match text {
        text if text.trim().is_empty() => Err("empty line; expected a target".into()),
        text if text.contains('\t') => Err("a tab; expected a target alone".into()),
        text => Ok(Pair { source: String::new(), target: text.into() }),
    };
    lines(bytes, path, "a line each", pair)
}

/// Checks that sources of numbers are frames, as wide as the configuration says or else as the first; and that labels are as many as
/// the tokens or frames that they label: those of the source and, where sources begin with the start mark, that mark.
///
/// # Errors
/// [`Error::Corpus`] with the line of the first pair that is not so; `path` appears in it only.
pub fn check_sides(pairs: &[Pair], config: &Config, path: &Path) -> Result<()> {
    let fail = |line: usize, reason: String| Error::Corpus { path: path.into(), line, reason };
    if let (Tokens::Frames, Some(first)) = (config.data.source, pairs.first()) {
        let frames = Frames::of(&config.data.frames, &first.source).map_err(Error::Config)?;
        for (index, pair) in pairs.iter().enumerate() {
            frames.counts(&pair.source).map_err(|reason| fail(index + 1, reason))?;
        }
    }
    if config.model.task != Task::Label {
        return Ok(());
    }
    let start = usize::from(config.data.source_start);
    for (index, pair) in pairs.iter().enumerate() {
        let expected = cut(config.data.source, &pair.source).len() + start;
        let found = cut(config.data.target, &pair.target).len();
        if found != expected {
            let mark = if start > 0 { " and one for the start mark" } else { "" };
            let of = if config.data.source == Tokens::Frames { "frame" } else { "source token" };
            return Err(fail(
                index + 1,
                format!("expected {expected} labels, one for each {of}{mark}, found {found}"),
            ));
        }
    }
    Ok(())
}

/// The pairs as the text of a corpus file, the inverse of [`parse`], or, of targets without sources, of [`parse_lines`].
pub fn to_text(pairs: &[Pair]) -> String {
    let mut text = String::new();
    for pair in pairs {
        let tab = if pair.source.is_empty() { "" } else { "\t" };
        writeln!(text, "{}{tab}{}", pair.source, pair.target).expect("a String takes everything");
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
    fn labels_are_as_many_as_what_they_label() {
        let mut config = Config::default();
        (config.model.task, config.data.source) = (Task::Label, crate::config::Tokens::Words);
        let check = |config: &Config, pairs: &[Pair]| check_sides(pairs, config, Path::new("x.tsv"));
        let pairs = [pair("a b", "X Y"), pair("a b c", "X Y")];
        assert!(check(&config, &pairs[..1]).is_ok());
        let message = check(&config, &pairs).unwrap_err().to_string();
        assert_eq!(message, "x.tsv:2: expected 3 labels, one for each source token, found 2");
        config.data.source_start = true;
        assert!(check(&config, &[pair("a", "INTENT X")]).is_ok());
        let message = check(&config, &pairs).unwrap_err().to_string();
        assert!(
            message.starts_with("x.tsv:1: expected 3 labels") && message.contains("start mark"),
            "{message}"
        );
        config.model.task = Task::Transduce;
        assert!(check(&config, &pairs).is_ok());
    }

    #[test]
    fn frames_are_checked_line_by_line() {
        let mut config = Config::default();
        config.data.source = Tokens::Frames;
        let check = |config: &Config, pairs: &[Pair]| check_sides(pairs, config, Path::new("x.tsv"));
        let pairs = [pair("1,2 3,4", "A B"), pair("5,6", "C"), pair("5,6,7", "D")];
        assert!(check(&config, &pairs[..2]).is_ok());
        let message = check(&config, &pairs).unwrap_err().to_string();
        assert_eq!(message, "x.tsv:3: frame 1: expected 2 numbers with commas between them, found 3");
        config.data.frames.width = 3;
        let message = check(&config, &pairs).unwrap_err().to_string();
        assert!(message.starts_with("x.tsv:1: frame 1: expected 3 numbers"), "{message}");
        (config.data.frames.width, config.model.task) = (2, Task::Label);
        assert!(check(&config, &pairs[..2]).is_ok());
        let message = check(&config, &[pair("1,2 3,4", "A")]).unwrap_err().to_string();
        assert_eq!(message, "x.tsv:1: expected 2 labels, one for each frame, found 1");
    }

    #[test]
    fn targets_alone_are_lines_without_tabs() {
        let parse = |text: &str| parse_lines(text.as_bytes(), Path::new("x.txt"));
        let expected = vec![pair("", "a b"), pair("", "c")];
        assert_eq!(parse("a b\r\nc\n").unwrap(), expected);
        assert_eq!(parse(&to_text(&expected)).unwrap(), expected);
        for (text, expected) in [
            ("a\n\nb", "x.txt:2: empty line; expected a target"),
            ("a\tb", "x.txt:1: a tab; expected a target alone"),
            ("", "x.txt:1: the file is empty; expected a line each"),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn groups_keep_first_order_and_all_targets() {
        let pairs = [pair("b", "1"), pair("a", "2"), pair("b", "3")];
        let groups = group(&pairs);
        assert_eq!(groups[0], Group { source: "b", targets: vec!["1", "3"] });
        assert_eq!(groups[1], Group { source: "a", targets: vec!["2"] });
    }
}
