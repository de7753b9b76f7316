//! A tutorial's vocabulary as a text file.
//!
//! UTF-8, a token a line in the order of ids, among them `<unk>`, `<pad>`, `<sos>` and `<eos>` at theirs (Kinglet's spelling `<s>`
//! and `</s>` is taken as well). Within a token backslash is written `\\`, space `\s` or as it is, tab `\t`, line feed `\n`,
//! carriage return `\r`, as in Kinglet's own vocabulary files.

use std::path::Path;

use crate::config::Tokens;
use crate::error::{self, Error};
use crate::model::{EOS, PAD, SOS, UNK};
use crate::vocab::{MARKS, Vocab, escape, unescape};

/// The marks of PyTorch's tutorials in the order of their ids there, with ours.
const TUTORIAL: [(&str, u32); 4] = [("<unk>", UNK), ("<pad>", PAD), ("<sos>", SOS), ("<eos>", EOS)];

/// A vocabulary with its ids in PyTorch.
#[derive(Debug, Clone, PartialEq)]
pub struct Vocabulary {
    /// The tokens with our ids.
    pub vocab: Vocab,
    /// For each id in PyTorch, ours.
    pub ids: Vec<u32>,
}

impl Vocabulary {
    /// Reads a vocabulary file whose tokens cut text in the given way.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Vocabulary`] with the line that is no token or repeats one, or the mark that is missing.
    pub fn read(cut: Tokens, path: &Path) -> error::Result<Self> {
        let bytes =
            std::fs::read(path).map_err(|source| Error::Io { action: "read", path: path.into(), source })?;
        let fail = |reason: String| Error::Vocabulary { path: path.into(), reason };
        let text = String::from_utf8(bytes).map_err(|e| {
            fail(format!("expected UTF-8 text, found other bytes at offset {}", e.utf8_error().valid_up_to()))
        })?;
        Self::parse(cut, &text).map_err(fail)
    }

    fn parse(cut: Tokens, text: &str) -> Result<Self, String> {
        let mut seen = std::collections::HashMap::new();
        let (mut tokens, mut ids) = (Vec::new(), Vec::new());
        for (index, line) in text.split_terminator('\n').enumerate() {
            let number = index + 1;
            let line = line.strip_suffix('\r').unwrap_or(line);
            let token = unescape(line).ok_or_else(|| format!("line {number}: unknown escape in {line:?}"))?;
            if token.is_empty() {
                return Err(format!("line {number}: expected a token, found an empty line"));
            }
            let mark = mark(&token);
            let name = mark.map_or(token.clone(), |id| MARKS[id as usize].to_owned());
            if let Some(first) = seen.insert(name, number) {
                return Err(format!("line {number}: {token:?} is in line {first} already"));
            }
            ids.push(mark.unwrap_or((MARKS.len() + tokens.len()) as u32));
            if mark.is_none() {
                tokens.push(token);
            }
        }
        for (spelling, id) in TUTORIAL {
            if !ids.contains(&id) {
                return Err(format!("expected {spelling} in a line of its own, found none"));
            }
        }
        Ok(Self { vocab: Vocab::from_tokens(cut, tokens), ids })
    }

    /// A vocabulary with the ids that it has in an export: the marks as in the tutorials, then the other tokens in our order.
    pub fn exported(vocab: &Vocab) -> Self {
        let others = MARKS.len() as u32..vocab.len() as u32;
        Self { vocab: vocab.clone(), ids: TUTORIAL.iter().map(|&(_, id)| id).chain(others).collect() }
    }

    /// The text of its file.
    pub fn to_file_text(&self) -> String {
        let spelling = |&id: &u32| match TUTORIAL.iter().find(|&&(_, mark)| mark == id) {
            Some((spelling, _)) => format!("{spelling}\n"),
            None => escape(self.vocab.token(id)) + "\n",
        };
        self.ids.iter().map(spelling).collect()
    }

    /// For each of our ids, that in PyTorch.
    pub fn theirs(&self) -> Vec<u32> {
        let mut theirs = vec![0; self.ids.len()];
        (0..).zip(&self.ids).for_each(|(id, &ours)| theirs[ours as usize] = id);
        theirs
    }
}

/// Our id of a mark in either spelling.
fn mark(token: &str) -> Option<u32> {
    let own = MARKS.iter().position(|mark| *mark == token).map(|id| id as u32);
    own.or_else(|| TUTORIAL.iter().find(|(spelling, _)| *spelling == token).map(|&(_, id)| id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vocabulary, String> {
        Vocabulary::parse(Tokens::Words, text)
    }

    #[test]
    fn marks_move_to_our_ids_wherever_they_stand() {
        let read = parse("<unk>\na\n<eos>\n<pad>\r\n\\s\\\\\n<s>").unwrap();
        assert_eq!(read.ids, [UNK, 4, EOS, PAD, 5, SOS]);
        assert_eq!(read.theirs(), [3, 5, 2, 0, 1, 4]);
        assert_eq!(read.vocab.tokens()[4..], ["a", " \\"]);
    }

    #[test]
    fn exported_files_are_those_of_the_tutorials() {
        let vocab = Vocab::build(Tokens::Words, ["b a"], 1);
        let exported = Vocabulary::exported(&vocab);
        assert_eq!(exported.to_file_text(), "<unk>\n<pad>\n<sos>\n<eos>\na\nb\n");
        assert_eq!(parse(&exported.to_file_text()).unwrap(), exported);
    }

    #[test]
    fn what_is_no_vocabulary_is_told_with_its_line() {
        let marks = "<unk>\n<pad>\n<sos>\n<eos>\n";
        for (text, expected) in [
            ("<unk>\n<pad>\n<sos>\n", "expected <eos> in a line of its own"),
            (&format!("{marks}a\n\nb\n"), "line 6: expected a token"),
            (&format!("{marks}a\nb\na\n"), "line 7: \"a\" is in line 5 already"),
            (&format!("{marks}<s>\n"), "line 5: \"<s>\" is in line 3 already"),
            (&format!("{marks}\\q\n"), "line 5: unknown escape"),
        ] {
            let message = parse(text).unwrap_err();
            assert!(message.contains(expected), "{text:?}: {message}");
        }
    }
}
