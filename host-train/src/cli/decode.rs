//! `kinglet-train decode`.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;

use anyhow::{Context, bail};

use crate::checkpoint::Checkpoint;
use crate::cli::Usage;
use crate::cli::options::DecodingArgs;
use crate::config::Task;
use crate::ensemble::Ensemble;
use crate::search::SearchOptions;
use crate::trainer::decode_all;
use crate::vocab::Vocab;

/// Decode lines of standard input to lines of standard output, as the checkpoint computes: in floating point, or on the
/// integers that it was trained for
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The checkpoint directory; given several times, the models decode together
    #[arg(long, value_name = "DIR", required = true)]
    checkpoint: Vec<PathBuf>,
    /// Hypotheses printed for each source, best first; more than one are preceded by the source's line number
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    num_hypotheses: u16,
    /// Print the score before each hypothesis
    #[arg(long)]
    return_scores: bool,
    /// Threads [default: the checkpoint's train.threads]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    #[command(flatten)]
    decoding: DecodingArgs,
}

/// Lines that are decoded together at most.
const MOST: usize = 1024;

/// Decodes as the arguments say.
///
/// # Errors
/// Whatever reading the checkpoint gives; a line that is not UTF-8, or no frames where frames are read, with its number.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let checkpoints = Checkpoint::load_all(&args.checkpoint)?;
    let first = &checkpoints[0];
    if first.config.model.task == Task::Generate {
        return Err(Usage("this model answers no sources; see kinglet-train sample".into()).into());
    }
    let options = args.decoding.search(args.num_hypotheses.into(), first.config.data.max_target_len)?;
    let mut decoder = Decoder {
        threads: args.threads.unwrap_or(first.config.train.threads),
        scores: args.return_scores,
        model: Checkpoint::ensemble(&checkpoints)?,
        source_vocab: &first.source_vocab,
        target_vocab: &first.target_vocab,
        options,
        done: 0,
        unknown: 0,
        empty: 0,
    };
    let mut input = BufReader::with_capacity(1 << 16, std::io::stdin().lock());
    let mut output = std::io::stdout().lock();
    let result = decoder.copy(&mut input, &mut output);
    if decoder.unknown > 0 {
        eprintln!("{} tokens that the model does not know were read as <unk>", decoder.unknown);
    }
    if decoder.empty > 0 {
        eprintln!("{} empty lines gave empty lines", decoder.empty);
    }
    result
}

struct Decoder<'a> {
    model: Ensemble<'a>,
    source_vocab: &'a Vocab,
    target_vocab: &'a Vocab,
    options: SearchOptions,
    threads: usize,
    scores: bool,
    /// Lines written out.
    done: usize,
    unknown: usize,
    empty: usize,
}

impl Decoder<'_> {
    /// Decodes what is there as soon as no more is waiting, so that a person or program at the other end of a
    /// pipe gets answers line by line.
    fn copy(
        &mut self,
        input: &mut BufReader<impl std::io::Read>,
        output: &mut impl Write,
    ) -> anyhow::Result<()> {
        let mut lines: Vec<String> = Vec::new();
        let mut raw = Vec::new();
        loop {
            raw.clear();
            let end = input.read_until(b'\n', &mut raw).context("cannot read standard input")? == 0;
            let mut bad = None;
            if !end {
                let text = raw.strip_suffix(b"\n").unwrap_or(&raw);
                let text = text.strip_suffix(b"\r").unwrap_or(text);
                let line = self.done + lines.len() + 1;
                match std::str::from_utf8(text) {
                    Ok(text) => match self.source_vocab.check(text) {
                        Err(reason) if !text.is_empty() => bad = Some(format!("{line}: {reason}")),
                        _ => lines.push(text.to_owned()),
                    },
                    Err(e) => {
                        bad =
                            Some(format!("{line}: not UTF-8 from byte {} of the line", e.valid_up_to() + 1));
                    }
                }
            }
            if end || bad.is_some() || lines.len() >= MOST || input.buffer().is_empty() {
                output.write_all(self.decode(&lines).as_bytes()).context("cannot write standard output")?;
                output.flush().context("cannot write standard output")?;
                self.done += lines.len();
                lines.clear();
            }
            if let Some(reason) = bad {
                bail!("standard input:{reason}");
            }
            if end {
                return Ok(());
            }
        }
    }

    /// The output for some lines.
    fn decode(&mut self, lines: &[String]) -> String {
        let Self { model, source_vocab, target_vocab, .. } = self;
        let mut sources = Vec::new();
        for line in lines {
            let sentence = source_vocab.sentence(line);
            self.unknown += sentence.unknown.len();
            if sentence.ids.len() > source_vocab.marks() {
                sources.push(sentence);
            }
        }
        self.empty += lines.len() - sources.len();
        let mut decoded = decode_all(model, &sources, &self.options, self.threads).into_iter();
        let mut text = String::new();
        for (i, line) in lines.iter().enumerate() {
            if source_vocab.encode(line).ids.is_empty() {
                text.push('\n');
                continue;
            }
            for hypothesis in decoded.next().unwrap_or_default() {
                if self.options.num_hypotheses > 1 {
                    write!(text, "{}\t", self.done + i + 1).expect("a String takes everything");
                }
                if self.scores {
                    write!(text, "{:.6}\t", hypothesis.score).expect("a String takes everything");
                }
                text.push_str(&target_vocab.decode(&hypothesis.ids));
                text.push('\n');
            }
        }
        text
    }
}
