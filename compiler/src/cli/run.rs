//! `kinglet run`.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;

use anyhow::{Context, bail};
use kinglet::Model;
use kinglet::blob::schema::Task;
use kinglet_train::cli::Usage;

use super::attention;
use super::options::{DecodingArgs, SamplingArgs};
use crate::desktop::{self, Buffer, How, Image};

/// Decode lines of standard input to lines of standard output with a blob; one that generates goes on with them
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The blob
    blob: PathBuf,
    /// Hypotheses printed for each source, best first; more than one are preceded by the source's line number
    /// [default: 1, with --n-best the beam size]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=8))]
    num_hypotheses: Option<u8>,
    /// Print an n-best list, as Moses writes it: line number from 0 ||| hypothesis ||| score
    #[arg(long)]
    n_best: bool,
    /// Print the score before each hypothesis
    #[arg(long)]
    return_scores: bool,
    /// Print the attention after each hypothesis: a JSON array with a row of weights for each token and the end mark
    #[arg(long)]
    return_attention: bool,
    #[command(flatten)]
    decoding: DecodingArgs,
    #[command(flatten)]
    sampling: SamplingArgs,
}

/// Decodes as the arguments say.
///
/// # Errors
/// Whatever reading the blob gives; a line that is not UTF-8 or too long, with its number.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let image = Image::read(&args.blob)?;
    let model = image.model();
    let longest = model.limits(1).target;
    let drawn = args.sampling.draw(&args.decoding, longest, 0)?.is_some();
    if drawn && model.task() == Task::Label {
        return Err(
            Usage("a model that labels draws nothing: leave out the options of sampling".into()).into()
        );
    }
    // One is drawn; labels have one answer.
    let beam = if drawn || model.task() == Task::Label { 1 } else { args.decoding.beam_size };
    let wanted = args.num_hypotheses.unwrap_or(if args.n_best { beam } else { 1 });
    if wanted > beam {
        return Err(Usage(format!("--num-hypotheses {wanted} needs --beam-size {wanted} or more")).into());
    }
    let mut runner = Runner {
        args,
        model,
        how: args.decoding.how(wanted, longest)?,
        wanted: usize::from(wanted),
        buffer: Buffer::default(),
        line: 0,
        unknown: 0,
    };
    let result = runner.copy(&mut BufReader::new(std::io::stdin().lock()), &mut std::io::stdout().lock());
    if runner.unknown > 0 {
        eprintln!("kinglet: {} tokens that the model does not know were read as <unk>", runner.unknown);
    }
    result
}

struct Runner<'a> {
    args: &'a Args,
    model: Model<'a>,
    how: How,
    wanted: usize,
    buffer: Buffer,
    /// Number of the present line, from 1.
    line: usize,
    unknown: usize,
}

impl Runner<'_> {
    /// Line by line; what is done is shown as soon as no more input is waiting.
    fn copy(&mut self, input: &mut BufReader<impl Read>, output: &mut impl Write) -> anyhow::Result<()> {
        let writing = "cannot write standard output";
        let mut raw = Vec::new();
        let mut pending = String::new();
        loop {
            raw.clear();
            if input.read_until(b'\n', &mut raw).context("cannot read standard input")? == 0 {
                return Ok(());
            }
            self.line += 1;
            let text = raw.strip_suffix(b"\n").unwrap_or(&raw);
            let text = text.strip_suffix(b"\r").unwrap_or(text);
            let Ok(text) = std::str::from_utf8(text) else {
                bail!("standard input:{}: not UTF-8", self.line);
            };
            pending.clear();
            self.decode(text, &mut pending).with_context(|| format!("standard input:{}", self.line))?;
            output.write_all(pending.as_bytes()).context(writing)?;
            if input.buffer().is_empty() {
                output.flush().context(writing)?;
            }
        }
    }

    /// Appends the output for one line.
    fn decode(&mut self, text: &str, out: &mut String) -> anyhow::Result<()> {
        let (args, line) = (self.args, self.line as u64 - 1);
        let drawn = args.sampling.draw(&args.decoding, self.model.limits(1).target, line)?;
        let answer = desktop::decode(&self.model, &mut self.buffer, text, drawn.unwrap_or(self.how))?;
        self.unknown += answer.unknown;
        if answer.hypotheses.is_empty() {
            eprintln!("kinglet: standard input:{}: empty line, gives an empty line", self.line);
            out.push('\n');
            return Ok(());
        }
        for hypothesis in answer.hypotheses.iter().take(self.wanted) {
            let target = desktop::text(&self.model, &hypothesis.tokens);
            if self.args.n_best {
                write!(out, "{} ||| {target} ||| {:.6}", self.line - 1, hypothesis.score)?;
            } else {
                if self.wanted > 1 {
                    write!(out, "{}\t", self.line)?;
                }
                if self.args.return_scores {
                    write!(out, "{:.6}\t", hypothesis.score)?;
                }
                out.push_str(&target);
            }
            if self.args.return_attention {
                let weights = desktop::align(&self.model, &mut self.buffer, text, &hypothesis.tokens)?;
                let separator = if self.args.n_best { " ||| " } else { "\t" };
                write!(out, "{separator}{}", attention::json(&weights))?;
            }
            out.push('\n');
        }
        Ok(())
    }
}
