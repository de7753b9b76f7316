//! Blobs at work on the desktop: the device's runtime with a buffer that grows with its input.

use std::cell::Cell;
use std::path::Path;

use kinglet::blob::schema::{Task, Tokens};
use kinglet_train::data::frames::Frames;

use kinglet::{Hypothesis, Labels, Limits, LoadError, Model, Options, RunError, Sampling, Session, Vocab};

use crate::error::{Error, Result};
use crate::retile;
pub use crate::retile::retile;

/// Longest source or target that the runtime takes, in tokens.
pub const MAX_LENGTH: u16 = 4096;

/// One decoded target.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// Token ids, end mark excluded.
    pub tokens: Vec<u16>,
    /// `log_prob / length^length_penalty`.
    pub score: f32,
    /// Natural logarithm of the probability.
    pub log_prob: f32,
}

/// What the model makes of one text.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Answer {
    /// Source tokens that the vocabulary does not know.
    pub unknown: usize,
    /// Best first; empty for a text without tokens.
    pub hypotheses: Vec<Decoded>,
}

/// How targets are found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum How {
    /// By search; greedy when the beam is 1.
    Search(Options),
    /// Likewise, with a penalty for what attention left out (Wu et al. 2016).
    Covering(Options, f32),
    /// By chance, from a seed.
    Draw(Sampling, u64),
}

impl From<&Options> for How {
    fn from(options: &Options) -> Self {
        Self::Search(*options)
    }
}

impl How {
    /// Beam, and the most tokens of a target.
    fn size(&self) -> (u8, u16) {
        match self {
            Self::Search(options) | Self::Covering(options, _) => (options.beam_size, options.max_len),
            Self::Draw(sampling, _) => (1, sampling.max_len),
        }
    }
}

/// Attention weights of one hypothesis: for each of its tokens and the end mark, one weight a source token.
pub type Alignment = Vec<Vec<f32>>;

/// RAM as a session needs it: a multiple of 4 bytes aligned to 4, grown on demand.
#[derive(Debug, Default)]
pub struct Buffer(Vec<u8>);

impl Buffer {
    /// At least `bytes` bytes.
    pub fn get(&mut self, bytes: usize) -> &mut [u8] {
        const ALIGN: usize = 4;
        if self.0.len() < bytes + ALIGN {
            self.0.resize(bytes + ALIGN, 0);
        }
        let start = self.0.as_ptr().align_offset(ALIGN);
        &mut self.0[start..]
    }
}

/// The bytes of a blob file.
///
/// # Errors
/// [`Error::Io`].
pub fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|source| Error::Io { action: "read", path: path.into(), source })
}

/// The distinct sources of a file, a line each, in its order; what follows a tab is another column.
///
/// # Errors
/// [`Error::Io`], for text that is not UTF-8 too.
pub fn sources(path: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::Io {
        action: "read",
        path: path.into(),
        source,
    })?;
    let mut seen = std::collections::HashSet::new();
    let first = |line: &str| line.split('\t').next().unwrap_or_default().to_owned();
    Ok(text.lines().map(first).filter(|source| !source.is_empty() && seen.insert(source.clone())).collect())
}

/// The model in the bytes of a file.
///
/// # Errors
/// [`Error::Blob`] with what the runtime has against it.
pub fn load<'a>(bytes: &'a [u8], path: &Path) -> Result<Model<'a>> {
    Model::from_bytes(bytes).map_err(|e| Error::Blob { path: path.into(), reason: e.to_string() })
}

/// A blob in memory, arranged for this processor: see [`retile`](fn@retile).
#[derive(Debug)]
pub struct Image {
    bytes: Vec<u8>,
    /// Where the blob begins: a multiple of [`retile::ALIGN`] in memory.
    start: usize,
}

impl Image {
    /// Rearranges a blob.
    ///
    /// # Errors
    /// What the runtime has against it.
    pub fn new(blob: &[u8]) -> std::result::Result<Self, LoadError> {
        let blob = retile(blob)?;
        let mut bytes = vec![0; blob.len() + retile::ALIGN];
        let start = bytes.as_ptr().align_offset(retile::ALIGN);
        bytes[start..][..blob.len()].copy_from_slice(&blob);
        bytes.truncate(start + blob.len());
        Ok(Self { bytes, start })
    }

    /// Reads a blob file.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Blob`].
    pub fn read(path: &Path) -> Result<Self> {
        Self::new(&read(path)?).map_err(|e| Error::Blob { path: path.into(), reason: e.to_string() })
    }

    /// The model; its answers are those of the file's.
    pub fn model(&self) -> Model<'_> {
        Model::from_bytes(&self.bytes[self.start..]).expect("retiling keeps a checked blob sound")
    }
}

/// How a model reads lines of numbers, if it does.
pub fn frames(model: &Model<'_>) -> Option<Frames> {
    let resolution = |feature| model.resolution(feature);
    (model.features() > 0).then(|| Frames::new((0..model.features()).map(resolution).collect()))
}

/// Marks of a source: none of numbers.
pub fn marks(model: &Model<'_>) -> usize {
    if model.features() > 0 { 0 } else { model.source().marks() }
}

/// Positions of a source: its tokens and marks, or its frames.
pub fn source_len(model: &Model<'_>, text: &str) -> usize {
    match model.features() {
        0 => source_ids(model, text).len() + marks(model),
        _ => text.split(' ').count(),
    }
}

/// The most positions that reading a text takes.
pub fn room(model: &Model<'_>, text: &str) -> usize {
    match model.features() {
        0 => model.source().cut(text).take(usize::from(MAX_LENGTH)).count() + marks(model),
        _ => source_len(model, text),
    }
}

/// Makes a line the source of a session; the number of unknown tokens, or `None` for a line with nothing in it.
///
/// # Errors
/// [`Error::Run`] when it is too long, or no frames where a model reads frames.
pub fn read_line(session: &mut Session<'_, '_>, model: &Model<'_>, text: &str) -> Result<Option<usize>> {
    let read = match frames(model) {
        Some(_) if text.is_empty() => Err(RunError::SourceEmpty),
        Some(frames) => {
            let counts = frames.counts(text).map_err(Error::Run)?;
            session.read_frames(&counts).map(|()| 0)
        }
        None => session.read_text(text.as_bytes()).map(|read| read.unknown),
    };
    match read {
        Ok(unknown) => Ok(Some(unknown)),
        Err(RunError::SourceEmpty) => Ok(None),
        Err(e) => Err(run(e)),
    }
}

/// Limits that fit a text: the planned ones, or longer where the text or the options ask for it.
fn limits(model: &Model<'_>, text: &str, how: &How) -> Limits {
    let (beam, max_len) = how.size();
    let planned = model.limits(beam);
    let positions = room(model, text);
    let target = if max_len == u16::MAX { planned.target } else { max_len };
    Limits {
        source: planned.source.max(positions.min(MAX_LENGTH.into()) as u16),
        target: target.clamp(1, MAX_LENGTH),
        coverage: matches!(how, How::Covering(..)),
        ..planned
    }
}

/// Targets of one text, or what goes on with it. A model that labels has one answer, however it is asked: a label a source token.
///
/// # Errors
/// [`Error::Run`] when options are out of range or the text is longer than the runtime takes.
pub fn decode(model: &Model<'_>, buffer: &mut Buffer, text: &str, how: impl Into<How>) -> Result<Answer> {
    let how = how.into();
    let limits = limits(model, text, &how);
    let mut session = Session::new(model, buffer.get(model.ram(&limits)), limits).map_err(run)?;
    let Some(unknown) = read_line(&mut session, model, text)? else { return Ok(Answer::default()) };
    let decoded =
        |h: Hypothesis<'_>| Decoded { tokens: h.tokens.to_vec(), score: h.score, log_prob: h.log_prob };
    let hypotheses = match (model.task(), how) {
        (Task::Label, _) => {
            let Labels { tokens, log_prob } = session.label().map_err(run)?;
            vec![Decoded { tokens: tokens.to_vec(), score: log_prob, log_prob }]
        }
        (_, How::Search(options)) => session.beam(&options).map_err(run)?.iter().map(decoded).collect(),
        (_, How::Covering(options, penalty)) => {
            session.beam_covering(&options, penalty).map_err(run)?.iter().map(decoded).collect()
        }
        (_, How::Draw(sampling, seed)) => vec![decoded(session.sample(&sampling, seed).map_err(run)?)],
    };
    Ok(Answer { unknown, hypotheses })
}

/// Attention of a hypothesis over the tokens of its text; rows are empty for a model without attention.
///
/// # Errors
/// [`Error::Run`] as for [`decode`].
pub fn align(model: &Model<'_>, buffer: &mut Buffer, text: &str, tokens: &[u16]) -> Result<Alignment> {
    let limits = limits(model, text, &(&Options::default()).into());
    let mut session = Session::new(model, buffer.get(model.ram(&limits)), limits).map_err(run)?;
    if read_line(&mut session, model, text)?.is_none() {
        return Err(run(RunError::SourceEmpty));
    }
    let mut alignment = Alignment::new();
    session
        .align(tokens, |_, weights| {
            alignment.push(weights.iter().map(|w| f32::from(w.get()) / 32_768.0).collect());
        })
        .map_err(run)?;
    Ok(alignment)
}

/// [`decode`]s many texts on several threads; the answers are in the order of the texts.
///
/// # Errors
/// As for [`decode`].
pub fn decode_all(
    model: &Model<'_>,
    texts: &[&str],
    how: impl Into<How>,
    threads: usize,
) -> Result<Vec<Answer>> {
    let how = how.into();
    let part = texts.len().div_ceil(threads.max(1)).max(1);
    let decode_part = |texts: &[&str]| -> Result<Vec<Answer>> {
        let mut buffer = Buffer::default();
        texts.iter().map(|text| decode(model, &mut buffer, text, how)).collect()
    };
    let parts: Vec<Result<Vec<Answer>>> = std::thread::scope(|scope| {
        let running: Vec<_> =
            texts.chunks(part).map(|texts| scope.spawn(move || decode_part(texts))).collect();
        running.into_iter().map(|t| t.join().expect("decoding does not panic")).collect()
    });
    let mut answers = Vec::with_capacity(texts.len());
    for part in parts {
        answers.extend(part?);
    }
    Ok(answers)
}

/// Ids of a source's tokens, without marks.
pub fn source_ids(model: &Model<'_>, text: &str) -> Vec<u16> {
    ids(model.source(), text)
}

/// Ids of a target's tokens, without marks.
pub fn target_ids(model: &Model<'_>, text: &str) -> Vec<u16> {
    ids(model.target(), text)
}

fn ids(vocab: Vocab<'_>, text: &str) -> Vec<u16> {
    // No token is of less than one piece.
    let ids = vec![Cell::new(0); vocab.cut(text).count()];
    let (len, _) = vocab.encode(text, &ids).expect("there is room for all pieces");
    ids[..len].iter().map(Cell::get).collect()
}

/// Texts of what a session reads of a source: its frames; or its tokens, and `mark` for each mark.
pub fn source_texts(model: &Model<'_>, text: &str, mark: &str) -> Vec<String> {
    if model.features() > 0 {
        return text.split(' ').map(str::to_owned).collect();
    }
    let vocab = model.source();
    let tokens: Vec<String> = match vocab.tokens() {
        Tokens::Subwords => texts(vocab, &source_ids(model, text)),
        Tokens::Chars | Tokens::Words | Tokens::Hangul => vocab.cut(text).map(str::to_owned).collect(),
    };
    let start = (vocab.marks() > 1).then_some(mark);
    start.map(str::to_owned).into_iter().chain(tokens).chain([mark.to_owned()]).collect()
}

/// Texts of target tokens, one each.
pub fn token_texts(model: &Model<'_>, tokens: &[u16]) -> Vec<String> {
    texts(model.target(), tokens)
}

fn texts(vocab: Vocab<'_>, tokens: &[u16]) -> Vec<String> {
    tokens.iter().map(|&id| String::from_utf8_lossy(vocab.token(id)).into_owned()).collect()
}

/// What a target is compared by: its tokens, of subwords its words.
pub fn parts(model: &Model<'_>, tokens: &[u16]) -> Vec<String> {
    match model.target().tokens() {
        Tokens::Subwords => {
            let text = text(model, tokens);
            text.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect()
        }
        Tokens::Chars | Tokens::Words | Tokens::Hangul => token_texts(model, tokens),
    }
}

/// Target tokens as plain text.
pub fn text(model: &Model<'_>, tokens: &[u16]) -> String {
    let mut text = String::new();
    model.target().write(tokens, &mut text).expect("a String takes everything");
    text
}

fn run(error: RunError) -> Error {
    Error::Run(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_first_columns_without_repetitions() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "two\ta\ntwo\tb\r\n\none\r\n").unwrap();
        assert_eq!(sources(file.path()).unwrap(), ["two", "one"]);
    }
}
