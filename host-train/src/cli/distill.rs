//! `kinglet-train distill`.

use std::path::PathBuf;

use anyhow::bail;

use crate::checkpoint::{Checkpoint, write_atomically};
use crate::cli::Usage;
use crate::cli::options::DecodingArgs;
use crate::config::Task;
use crate::data::{Pair, corpus};
use crate::trainer::decode_groups;

/// Write what a teacher answers to a corpus' sources, as training pairs for a smaller model (sequence-level distillation,
/// Kim and Rush 2016)
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The teacher's checkpoint directory; given several times, the models decode together
    #[arg(long, value_name = "DIR", required = true)]
    checkpoint: Vec<PathBuf>,
    /// Pairs whose sources are answered
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// The corpus to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Hypotheses of each source, best first, each a pair
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    num_hypotheses: u16,
    /// Write the corpus' own pairs first; hypotheses that are among them are not written again
    #[arg(long)]
    with_references: bool,
    /// Threads [default: the checkpoint's train.threads]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    #[command(flatten)]
    decoding: DecodingArgs,
}

/// Decodes and writes as the arguments say.
///
/// # Errors
/// Whatever reading the checkpoints and the corpus, or writing the other one, gives; all answers empty.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let checkpoints = Checkpoint::load_all(&args.checkpoint)?;
    let Checkpoint { config, source_vocab, target_vocab, .. } = &checkpoints[0];
    let options = args.decoding.search(args.num_hypotheses.into(), config.data.max_target_len)?;
    let threads = args.threads.unwrap_or(config.train.threads);
    if config.model.task != Task::Transduce {
        return Err(Usage(
            "only models that answer a source with a target are distilled by their answers".into(),
        )
        .into());
    }
    let pairs = corpus::read(&args.data)?;
    let decoded = decode_groups(Checkpoint::ensemble(&checkpoints)?, source_vocab, &pairs, &options, threads);

    let mut out: Vec<Pair> = Vec::new();
    let mut empty = 0;
    for (case, hypotheses) in decoded {
        let targets = hypotheses.iter().map(|h| target_vocab.decode(&h.ids));
        let references = if args.with_references { &case.targets[..] } else { &[] };
        let pair = |target: String| Pair { source: case.source.to_owned(), target };
        out.extend(references.iter().map(|target| pair((*target).to_owned())));
        for target in targets {
            // A corpus has no empty sides.
            if target.trim().is_empty() {
                empty += 1;
            } else if !references.contains(&&target[..]) {
                out.push(pair(target));
            }
        }
    }
    if out.is_empty() {
        bail!("all answers to {} are empty; is the teacher trained?", args.data.display());
    }
    write_atomically(&args.out, corpus::to_text(&out).as_bytes())?;
    let path = args.out.display();
    println!("{path}: {} pairs of {} lines, {empty} empty answers left out", out.len(), pairs.len());
    eprintln!("next: kinglet-train train --train {path} --config FILE --dev FILE --out DIR");
    Ok(())
}
