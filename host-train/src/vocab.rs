//! Text to ids and back.
//!
//! Ids 0 to 3 are `<pad>`, `<s>`, `</s>` and `<unk>`; then come the tokens of the training text in the order of
//! their UTF-8 bytes, so that one corpus always gives the same ids.
//!
//! Subwords are in the order in which they were learned, behind the mark of words and the characters: see [`Vocab::learn`].
//!
//! # File
//! UTF-8, one token a line in the order of ids, the four marks first. Within a token backslash is written `\\`,
//! space `\s`, tab `\t`, line feed `\n`, carriage return `\r`; everything else stands for itself.

mod encoded;
mod spelling;
mod subwords;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use kinglet::hangul::letters;

use crate::config::{Config, Task, Tokens};
use crate::data::Pair;
use crate::data::frames::{Frames, to_counts, to_ids};
use crate::error::{Error, Result};
use crate::model::{EOS, SOS, UNK};
use crate::nn::random::Random;
pub use encoded::{Encoded, Sentence};
pub use spelling::Spelling;
use subwords::Joins;

/// The spelling of ids 0 to 3.
pub const MARKS: [&str; 4] = ["<pad>", "<s>", "</s>", "<unk>"];

/// The tokens of one side and how its text is cut; or, of a source of numbers, how they are read.
#[derive(Debug, Clone, PartialEq)]
pub struct Vocab {
    cut: Tokens,
    start: bool,
    /// Whether they end with the end mark.
    end: bool,
    tokens: Vec<String>,
    ids: HashMap<String, u32>,
    /// Which neighbours become one; empty but for subwords.
    joins: Joins,
    /// Letters of words, where these are read.
    characters: Option<Arc<Vocab>>,
    /// Numbers in place of tokens.
    frames: Option<Frames>,
}

/// Cuts a text into what it is compared by: its code points, what stands between spaces, or code points and letters of Hangul.
/// These are its tokens, but for subwords: texts of those are compared by words.
pub fn cut(how: Tokens, text: &str) -> Vec<&str> {
    match how {
        Tokens::Chars => text.char_indices().map(|(at, c)| &text[at..at + c.len_utf8()]).collect(),
        Tokens::Words | Tokens::Subwords | Tokens::Frames => {
            text.split(' ').filter(|word| !word.is_empty()).collect()
        }
        Tokens::Hangul => cut(Tokens::Chars, text)
            .into_iter()
            .flat_map(|token| match token.chars().next().and_then(letters) {
                Some(letters) => letters,
                None => [token, "", ""],
            })
            .filter(|token| !token.is_empty())
            .collect(),
    }
}

/// Joins the parts of a text that [`cut`] takes apart; letters of Hangul stay apart, which to Unicode is the same text.
pub fn join<S: AsRef<str>>(how: Tokens, tokens: &[S]) -> String {
    let mut text = String::new();
    for (i, token) in tokens.iter().enumerate() {
        if i > 0 && matches!(how, Tokens::Words | Tokens::Subwords) {
            text.push(' ');
        }
        text.push_str(token.as_ref());
    }
    text
}

/// The vocabularies of both sides of training pairs, as a configuration wants them.
///
/// # Errors
/// As [`Vocab::learn`].
pub fn vocabularies(config: &Config, pairs: &[Pair]) -> Result<(Vocab, Vocab)> {
    let data = &config.data;
    let (sizes, least) = (&data.subwords, data.min_count);
    let side = |how, texts: Vec<&str>, size| match how {
        Tokens::Frames => {
            let first = texts.first().copied().unwrap_or_default();
            Frames::of(&data.frames, first).map(Vocab::of_frames).map_err(Error::Config)
        }
        Tokens::Subwords => Vocab::learn(texts, size, least),
        Tokens::Chars | Tokens::Words | Tokens::Hangul => Ok(Vocab::build(how, texts, least)),
    };
    let sources: Vec<&str> = pairs.iter().map(|pair| &*pair.source).collect();
    let targets: Vec<&str> = pairs.iter().map(|pair| &*pair.target).collect();
    let (source, target) = if sizes.shared {
        let both = side(data.source, [sources, targets].concat(), sizes.source_size)?;
        (both.clone(), both)
    } else {
        (side(data.source, sources, sizes.source_size)?, side(data.target, targets, sizes.target_size)?)
    };
    let mut source = source.with_start(data.source_start);
    if config.model.encoder.characters.features() > 0 {
        let words = pairs.iter().flat_map(|pair| cut(data.source, &pair.source));
        source = source.with_characters(Vocab::build(Tokens::Chars, words, least));
    }
    Ok((source, target.with_end(config.model.task != Task::Label)))
}

impl Vocab {
    /// The vocabulary of the tokens that the texts hold at least `min_count` times; of subwords, the mark of words and the
    /// characters alone.
    ///
    /// A word spelled like one of the [`MARKS`] gets no id of its own: it encodes to `<unk>`.
    pub fn build<'a>(how: Tokens, texts: impl IntoIterator<Item = &'a str>, min_count: usize) -> Self {
        let counts = count(how, texts);
        let mut atoms: BTreeMap<&str, usize> = BTreeMap::new();
        for (token, n) in counts {
            match how {
                Tokens::Subwords => {
                    subwords::atoms(token).for_each(|atom| *atoms.entry(atom).or_insert(0) += n)
                }
                Tokens::Chars | Tokens::Words | Tokens::Hangul | Tokens::Frames => {
                    atoms.insert(token, n);
                }
            }
        }
        let frequent = atoms.into_iter().filter(|&(token, n)| n >= min_count && !MARKS.contains(&token));
        Self::with_tokens(how, frequent.map(|(token, _)| token.to_owned()))
    }

    /// The vocabulary of at most `size` subwords, marks included: all characters that the texts hold at least `min_count` times,
    /// then what neighbours in a word make most often, at least `min_count` times and more than once (byte-pair encoding, Sennrich,
    /// Haddow and Birch 2016; `subwords.rs` has the rule).
    ///
    /// # Errors
    /// [`Error::Config`] when the characters alone are more than `size`.
    pub fn learn<'a>(
        texts: impl IntoIterator<Item = &'a str>,
        size: usize,
        min_count: usize,
    ) -> Result<Self> {
        let how = Tokens::Subwords;
        let texts: Vec<&str> = texts.into_iter().collect();
        let alphabet = Self::build(how, texts.iter().copied(), min_count);
        if alphabet.len() > size {
            return Err(Error::Config(format!(
                "a vocabulary of subwords takes at least its {} marks and {} characters, the mark of words among them; found {size} \
                 in data.subwords: raise it or data.min_count",
                MARKS.len(),
                alphabet.len() - MARKS.len()
            )));
        }
        let tokens = subwords::learn(alphabet.tokens, &count(how, texts), size, min_count.max(2));
        Ok(Self::with_tokens(how, tokens.into_iter().skip(MARKS.len())))
    }

    fn with_tokens(cut: Tokens, tokens: impl Iterator<Item = String>) -> Self {
        let tokens: Vec<String> = MARKS.iter().map(|mark| (*mark).to_owned()).chain(tokens).collect();
        let ids = (0u32..).zip(&tokens).skip(MARKS.len()).map(|(id, token)| (token.clone(), id)).collect();
        let joins = if cut == Tokens::Subwords { subwords::joins(&ids) } else { Joins::new() };
        Self { cut, start: false, end: true, tokens, ids, joins, characters: None, frames: None }
    }

    /// Rows of numbers, which have neither tokens nor marks.
    pub fn of_frames(frames: Frames) -> Self {
        let plain = Self::with_tokens(Tokens::Frames, std::iter::empty());
        Self { end: false, frames: Some(frames), ..plain }
    }

    /// How numbers are read, if there are numbers.
    pub fn frames(&self) -> Option<&Frames> {
        self.frames.as_ref()
    }

    /// Tokens or frames of a sentence, marks not counted.
    pub fn length(&self, ids: &[u32]) -> usize {
        (ids.len() - self.marks()) / self.frames.as_ref().map_or(1, Frames::width)
    }

    /// Whether a text can be read: any can, but as frames.
    ///
    /// # Errors
    /// As [`Frames::counts`].
    pub fn check(&self, text: &str) -> std::result::Result<(), String> {
        self.frames.as_ref().map_or(Ok(()), |frames| frames.counts(text).map(|_| ()))
    }

    /// The tokens of a file from elsewhere, which become ids 4 onwards in their order.
    pub(crate) fn from_tokens(cut: Tokens, tokens: Vec<String>) -> Self {
        Self::with_tokens(cut, tokens.into_iter())
    }

    /// The same vocabulary whose sentences begin with the start mark, or do not.
    #[must_use]
    pub fn with_start(self, start: bool) -> Self {
        Self { start, ..self }
    }

    /// The same vocabulary whose sentences end with the end mark, or do not, as those of labels.
    #[must_use]
    pub fn with_end(self, end: bool) -> Self {
        Self { end, ..self }
    }

    /// The same vocabulary of words whose letters are read.
    #[must_use]
    pub fn with_characters(self, characters: Self) -> Self {
        Self { characters: Some(Arc::new(characters)), ..self }
    }

    /// The vocabulary of the letters of words, where these are read.
    pub fn characters(&self) -> Option<&Self> {
        self.characters.as_deref()
    }

    /// Reads the text of a vocabulary file; `path` appears in errors only.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] with the line when the marks are not the first four lines, a token is empty, appears
    /// twice or has an unknown escape.
    pub fn from_file_text(how: Tokens, text: &str, path: &Path) -> Result<Self> {
        let fail = |line: usize, reason: String| {
            Err(Error::Checkpoint { path: path.into(), reason: format!("line {line}: {reason}") })
        };
        if !text.is_empty() && !text.ends_with('\n') {
            let last = text.lines().count();
            return fail(last, "expected a line feed at the end, the file looks cut short".into());
        }
        let mut lines = text.split_terminator('\n').enumerate();
        for mark in MARKS {
            let (line, found) = lines.next().map_or((0, None), |(i, found)| (i + 1, Some(found)));
            if found != Some(mark) {
                return fail(
                    line,
                    format!("expected {mark}, found {:?}", found.unwrap_or("the end of the file")),
                );
            }
        }
        let mut tokens = Vec::new();
        for (index, line) in lines {
            match unescape(line) {
                Some(token) if !token.is_empty() => tokens.push(token),
                Some(_) => return fail(index + 1, "expected a token, found an empty line".into()),
                None => return fail(index + 1, format!("unknown escape in {line:?}")),
            }
        }
        let vocab = Self::with_tokens(how, tokens.into_iter());
        for (id, token) in vocab.tokens.iter().enumerate().skip(MARKS.len()) {
            if vocab.ids[token] as usize != id || MARKS.contains(&token.as_str()) {
                return fail(id + 1, format!("{token:?} appears twice"));
            }
        }
        Ok(vocab)
    }

    /// The text of the vocabulary file.
    pub fn to_file_text(&self) -> String {
        self.tokens.iter().map(|token| escape(token) + "\n").collect()
    }

    /// Number of ids, the four marks included.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether there is no token besides the marks.
    pub fn is_empty(&self) -> bool {
        self.len() == MARKS.len()
    }

    /// How text is cut.
    pub fn tokenization(&self) -> Tokens {
        self.cut
    }

    /// Marks of a sentence, 0 to 2: where it has them, the end mark behind it and the start mark before it.
    pub fn marks(&self) -> usize {
        usize::from(self.end) + usize::from(self.start)
    }

    /// Whether sentences begin with the start mark.
    pub fn start(&self) -> bool {
        self.start
    }

    /// All tokens in the order of ids.
    pub fn tokens(&self) -> &[String] {
        &self.tokens
    }

    /// The token of an id; `<unk>` for an id outside the vocabulary.
    pub fn token(&self, id: u32) -> &str {
        self.tokens.get(id as usize).map_or(MARKS[UNK as usize], String::as_str)
    }

    /// The id of the token that is a whole word; of subwords, that of the word and its mark.
    pub fn word(&self, word: &str) -> Option<u32> {
        let marked = format!("{}{word}", if self.cut == Tokens::Subwords { subwords::MARK } else { "" });
        self.ids.get(&marked).copied()
    }

    /// The ids of a text, without marks; unknown tokens become `<unk>`. Of frames the counts; none for a text that [`Vocab::check`]
    /// refuses.
    pub fn encode(&self, text: &str) -> Encoded {
        match &self.frames {
            Some(frames) => to_ids(frames.counts(text).unwrap_or_default()).into(),
            None => self.encode_where(text, &mut || true),
        }
    }

    /// [`Vocab::encode`] with those joinings of subwords that `keep` lets happen.
    fn encode_where(&self, text: &str, keep: &mut dyn FnMut() -> bool) -> Encoded {
        let (mut ids, mut unknown) = (Vec::new(), Vec::new());
        let mut id = |token: &str| {
            self.ids.get(token).copied().unwrap_or_else(|| {
                unknown.push(token.to_owned());
                UNK
            })
        };
        for token in cut(self.cut, text) {
            if self.cut == Tokens::Subwords {
                let mut pieces = subwords::atoms(token).map(&mut id).collect();
                let joined = |left, right| self.joins.get(&(left, right)).copied();
                subwords::merge(&mut pieces, joined, &mut *keep);
                ids.extend(pieces);
            } else {
                ids.push(id(token));
            }
        }
        Encoded { ids, unknown }
    }

    /// The ids of a text between its marks: what a network reads.
    pub fn sentence(&self, text: &str) -> Encoded {
        self.between_marks(self.encode(text))
    }

    /// [`Vocab::sentence`] in which every joining of subwords that is possible is passed over with probability `dropout`, each
    /// time that one is chosen (Provilkov et al. 2020, "BPE-dropout: simple and effective subword regularization").
    pub fn sentence_drawn(&self, text: &str, dropout: f32, random: &mut Random) -> Encoded {
        self.between_marks(self.encode_where(text, &mut || random.uniform() >= dropout))
    }

    fn between_marks(&self, Encoded { ids, unknown }: Encoded) -> Encoded {
        let (start, end) = (self.start.then_some(SOS), self.end.then_some(EOS));
        Encoded { ids: start.into_iter().chain(ids).chain(end).collect(), unknown }
    }

    /// The tokens of ids, one for each.
    pub fn tokens_of(&self, ids: &[u32]) -> Vec<&str> {
        ids.iter().map(|&id| self.token(id)).collect()
    }

    /// What the text of ids is compared by: the tokens, of subwords the words.
    pub fn parts_of(&self, ids: &[u32]) -> Vec<Cow<'_, str>> {
        if self.cut == Tokens::Subwords {
            let text = self.decode(ids);
            cut(self.cut, &text).into_iter().map(|word| word.to_owned().into()).collect()
        } else {
            self.tokens_of(ids).into_iter().map(Cow::from).collect()
        }
    }

    /// The text of ids: characters and subwords joined by nothing, words by single spaces. The mark of the first word is left out.
    /// Of frames their numbers.
    pub fn decode(&self, ids: &[u32]) -> String {
        if let Some(frames) = &self.frames {
            return frames.text(to_counts(ids));
        }
        let tokens = self.tokens_of(ids);
        if self.cut != Tokens::Subwords {
            return join(self.cut, &tokens);
        }
        let text = tokens.concat();
        text.strip_prefix(subwords::MARK).unwrap_or(&text).to_owned()
    }
}

/// How often the texts hold each of their parts.
fn count<'a>(how: Tokens, texts: impl IntoIterator<Item = &'a str>) -> BTreeMap<&'a str, usize> {
    let mut counts = BTreeMap::new();
    for text in texts {
        for token in cut(how, text) {
            *counts.entry(token).or_insert(0) += 1;
        }
    }
    counts
}

pub(crate) fn escape(token: &str) -> String {
    let mut out = String::with_capacity(token.len());
    for c in token.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            ' ' => out.push_str("\\s"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            c => out.push(c),
        }
    }
    out
}

pub(crate) fn unescape(line: &str) -> Option<String> {
    let mut out = String::with_capacity(line.len());
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        out.push(match c {
            '\\' => match chars.next()? {
                '\\' => '\\',
                's' => ' ',
                't' => '\t',
                'n' => '\n',
                'r' => '\r',
                _ => return None,
            },
            c => c,
        });
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn load(how: Tokens, text: &str) -> Result<Vocab> {
        Vocab::from_file_text(how, text, Path::new("vocab.txt"))
    }

    #[test]
    fn ids_follow_the_bytes_of_the_tokens() {
        let a = Vocab::build(Tokens::Words, ["b a é b", "Z"], 1);
        let b = Vocab::build(Tokens::Words, ["Z é", "a b"], 1);
        assert_eq!(a, b);
        assert_eq!(a.tokens(), ["<pad>", "<s>", "</s>", "<unk>", "Z", "a", "b", "é"]);
        assert_eq!(a.encode("b  q Z"), Encoded { ids: vec![6, UNK, 4], unknown: vec!["q".into()] });
        assert_eq!(a.decode(&[6, 3, 4]), "b <unk> Z");
        assert_eq!(a.decode(&[99]), "<unk>");
    }

    #[test]
    fn sentences_stand_between_marks() {
        let vocab = Vocab::build(Tokens::Chars, ["ab"], 1);
        assert_eq!(vocab.sentence("b?").ids, [5, UNK, EOS]);
        let vocab = vocab.with_start(true);
        assert_eq!(vocab.sentence("b?"), Encoded { ids: vec![SOS, 5, UNK, EOS], unknown: vec!["?".into()] });
        assert_eq!(vocab.sentence("").ids.len(), vocab.marks());
        let labels = vocab.with_start(false).with_end(false);
        assert_eq!((labels.sentence("b?").ids, labels.marks()), (vec![5, UNK], 0));
    }

    #[test]
    fn rare_tokens_and_marks_are_unknown() {
        let vocab = Vocab::build(Tokens::Words, ["a a b <s>", "a b c </s> <s>"], 2);
        assert_eq!(vocab.tokens()[4..], ["a", "b"]);
        assert_eq!(vocab.encode("c <s>").unknown, ["c", "<s>"]);
    }

    #[test]
    fn characters_are_code_points() {
        let vocab = Vocab::build(Tokens::Chars, ["né e"], 1);
        assert_eq!(vocab.tokens()[4..], [" ", "e", "n", "é"]);
        assert_eq!(vocab.decode(&vocab.encode("één ne").ids), "één ne");
        assert_eq!(vocab.to_file_text(), "<pad>\n<s>\n</s>\n<unk>\n\\s\ne\nn\né\n");
    }

    #[test]
    fn damaged_files_are_refused_with_their_line() {
        let head = "<pad>\n<s>\n</s>\n<unk>\n";
        for (text, expected) in [
            ("", "expected <pad>, found \"the end of the file\""),
            ("<pad>\n<s>\n", "expected </s>"),
            ("<pad>\n</s>\n<s>\n<unk>\n", "line 2: expected <s>, found \"</s>\""),
            (&format!("{head}a\n\nb\n"), "line 6: expected a token"),
            (&format!("{head}a\nb\na\n"), "line 5: \"a\" appears twice"),
            (&format!("{head}a\n<s>\n"), "line 6: \"<s>\" appears twice"),
            (&format!("{head}a\\q\n"), "line 5: unknown escape"),
            (&format!("{head}a\nb"), "line 6: expected a line feed"),
        ] {
            let message = load(Tokens::Words, text).unwrap_err().to_string();
            assert!(message.contains(expected) && message.contains("vocab.txt"), "{text:?}: {message}");
        }
    }

    proptest! {
        #[test]
        fn files_and_texts_round_trip(text in "\\PC*[ \\t\\r\\n\\\\]*\\PC*") {
            for how in [Tokens::Chars, Tokens::Words] {
                let vocab = Vocab::build(how, [text.as_str()], 1);
                prop_assert_eq!(&load(how, &vocab.to_file_text()).unwrap(), &vocab);
                if how == Tokens::Chars {
                    prop_assert_eq!(vocab.decode(&vocab.encode(&text).ids), text.clone());
                }
            }
        }
    }
}
