//! `kinglet-train sample`.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;

use crate::checkpoint::Checkpoint;
use crate::cli::Usage;
use crate::config::Task;
use crate::sample::{SampleOptions, sample};
use crate::vocab::Encoded;

/// Draw targets from a model's distribution: for each line of standard input, or of a model that generates, from nothing
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The checkpoint directory; given several times, the models draw together
    #[arg(long, value_name = "DIR", required = true)]
    checkpoint: Vec<PathBuf>,
    /// Targets of each source, or targets at all
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    number: u32,
    /// What logits are divided by: below 1 the probable becomes more so
    #[arg(long, value_name = "X", default_value_t = 1.0)]
    temperature: f32,
    /// Draw from so many of the most probable tokens only; 0 is all
    #[arg(long, value_name = "N", default_value_t = 0)]
    top_k: usize,
    /// Draw from the most probable tokens only that have this probability together
    #[arg(long, value_name = "P", default_value_t = 1.0)]
    top_p: f32,
    /// One seed, one sample
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Most tokens of a target [default: the checkpoint's data.max_target_len]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    max_decoding_length: Option<u16>,
    /// Print the mean log-probability of a token before each target
    #[arg(long)]
    return_scores: bool,
}

/// Sources that are drawn for together at most.
const MOST: usize = 256;

/// Draws as the arguments say.
///
/// # Errors
/// Whatever reading the checkpoint or standard input gives; [`Usage`] for options out of range or a model that labels.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let checkpoints = Checkpoint::load_all(&args.checkpoint)?;
    let Checkpoint { config, source_vocab, target_vocab, .. } = &checkpoints[0];
    let model = Checkpoint::ensemble(&checkpoints)?;
    let max_len = args.max_decoding_length.map_or(config.data.max_target_len, usize::from);
    let &Args { temperature, top_k, top_p, seed, .. } = args;
    if !(temperature > 0.0 && temperature.is_finite()) {
        return Err(Usage(format!("--temperature must be above 0, found {temperature}")).into());
    }
    if !(0.0..=1.0).contains(&top_p) {
        return Err(Usage(format!("--top-p must be 0 to 1, found {top_p}")).into());
    }
    let number = args.number as usize;
    let sources: Vec<Encoded> = match config.model.task {
        Task::Label => {
            return Err(Usage("a model that labels draws nothing; see kinglet-train decode".into()).into());
        }
        Task::Generate => vec![source_vocab.sentence(""); number],
        Task::Transduce => {
            let text = std::io::read_to_string(std::io::stdin()).context("cannot read standard input")?;
            for (number, line) in (1..).zip(text.lines()) {
                source_vocab.check(line).map_err(|e| anyhow::anyhow!("standard input:{number}: {e}"))?;
            }
            text.lines().flat_map(|line| vec![source_vocab.sentence(line); number]).collect()
        }
    };
    let mut output = std::io::stdout().lock();
    for (i, sources) in sources.chunks(MOST).enumerate() {
        // What is drawn must not depend on how many are drawn for together.
        let seed = crate::nn::random::key(seed, i as u64);
        let options = SampleOptions { temperature, top_k, top_p, max_len, seed };
        for drawn in sample(model.clone(), sources, &options) {
            let score = if args.return_scores { format!("{:.6}\t", drawn.score) } else { String::new() };
            writeln!(output, "{score}{}", target_vocab.decode(&drawn.ids))
                .context("cannot write standard output")?;
        }
    }
    Ok(())
}
