//! One word decoded to one line of text that holds every bit of the result: what desktop and boards compare.

use core::fmt::{self, Write};

use kinglet::{Hypothesis, Model, Options, RunError, Sampling, Session, Task};

use crate::limits;
use crate::source::{self, Refused};

/// Width of the beam of the second search.
pub const BEAM: u8 = 4;

/// Why there is no record.
#[derive(Debug, Clone, Copy)]
pub enum Failure {
    /// The RAM holds no session of this model.
    Room,
    /// The word was refused.
    Source(Refused),
    /// The search was.
    Run(RunError),
    /// The output failed.
    Output,
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        Self::Run(error)
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        Self::Source(refused)
    }
}

impl From<fmt::Error> for Failure {
    fn from(_: fmt::Error) -> Self {
        Self::Output
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Room => f.write_str("not enough RAM for this model"),
            Self::Source(refused) => refused.fmt(f),
            Self::Run(error) => error.fmt(f),
            Self::Output => f.write_str("the output failed"),
        }
    }
}

/// The first line of a list of records: which blob they belong to.
///
/// # Errors
/// What `out` returns.
pub fn header(model: &Model<'_>, out: &mut impl Write) -> fmt::Result {
    write!(out, "# blob crc {:08x}", model.crc())
}

/// Writes the results of greedy search and of a beam of [`BEAM`], best first, each behind a tab: the score's bits in
/// hexadecimal, then the token ids; of a model that generates, then what some seeds draw behind the word; of one that labels,
/// its labels alone. No line end.
///
/// # Errors
/// [`Failure`]; nothing is written unless the word was decoded.
#[inline(never)] // its stack is given back between words
pub fn write(model: &Model<'_>, ram: &mut [u8], word: &[u8], out: &mut impl Write) -> Result<(), Failure> {
    let limits = limits::fit(model, ram.len(), BEAM).ok_or(Failure::Room)?;
    let mut session = Session::new(model, ram, limits)?;
    source::read(&mut session, model, word)?;
    if model.task() == Task::Label {
        let labels = session.label()?;
        return Ok(result(labels.log_prob, labels.tokens, out)?);
    }
    hypothesis(session.greedy(&Options::default())?, out)?;
    let all = Options { beam_size: BEAM, num_hypotheses: BEAM, ..Options::default() };
    for found in session.beam(&all)?.iter() {
        hypothesis(found, out)?;
    }
    if model.task() == Task::Generate {
        for seed in 0..4 {
            hypothesis(session.sample(&SAMPLING, seed)?, out)?;
        }
    }
    Ok(())
}

/// How tokens are drawn.
const SAMPLING: Sampling =
    Sampling { temperature: 1.3, top_k: 20, top_p: 0.9, no_repeat: 3, min_len: 0, max_len: u16::MAX };

fn hypothesis(found: Hypothesis<'_>, out: &mut impl Write) -> fmt::Result {
    result(found.score, found.tokens, out)
}

fn result(score: f32, tokens: &[u16], out: &mut impl Write) -> fmt::Result {
    write!(out, "\t{:08x}", score.to_bits())?;
    tokens.iter().try_for_each(|id| write!(out, " {id}"))
}
