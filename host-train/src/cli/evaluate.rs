//! `kinglet-train evaluate`.

use std::path::PathBuf;

use crate::checkpoint::Checkpoint;
use crate::cli::Usage;
use crate::cli::options::DecodingArgs;
use crate::cli::scoring::ScoringArgs;
use crate::config::{Metric, Task};
use crate::data::{Dataset, Pair, corpus};
use crate::metrics::{self, Scores};
use crate::trainer::{Behind, decode_groups, walk_loss};

/// Score a checkpoint on a corpus
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The checkpoint directory; given several times, the models decode together
    #[arg(long, value_name = "DIR", required = true)]
    checkpoint: Vec<PathBuf>,
    #[command(flatten)]
    scoring: ScoringArgs,
    /// Threads [default: the checkpoint's train.threads]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    #[command(flatten)]
    decoding: DecodingArgs,
}

/// Scores as the arguments say.
///
/// # Errors
/// Whatever reading the checkpoint and the corpus, or writing the hypotheses, gives.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let checkpoints = Checkpoint::load_all(&args.checkpoint)?;
    let Checkpoint { config, source_vocab, target_vocab, .. } = &checkpoints[0];
    let model = Checkpoint::ensemble(&checkpoints)?;
    let options = args.decoding.search(1, config.data.max_target_len)?;
    let threads = args.threads.unwrap_or(config.train.threads);
    let pairs = corpus::read_for(&args.scoring.data, config)?;
    let wanted = args.scoring.metrics(config.model.task);

    let mut scores = Scores::default();
    if config.model.task == Task::Generate {
        if let Some(metric) = wanted.iter().find(|metric| !metric.is_of_losses()) {
            let name = metric.name();
            return Err(Usage(format!(
                "{name} compares answers to sources, which this model has not; use ppl"
            ))
            .into());
        }
        if args.scoring.hyp.is_some() {
            return Err(Usage("--hyp: this model answers no sources; see kinglet-train sample".into()).into());
        }
    } else {
        let decoded = decode_groups(model.clone(), source_vocab, &pairs, &options, threads);
        let best: Vec<&[u32]> =
            decoded.iter().map(|(_, n_best)| n_best.first().map_or(&[][..], |h| h.ids.as_slice())).collect();
        let parts: Vec<_> = best.iter().map(|ids| target_vocab.parts_of(ids)).collect();
        scores = metrics::score(config.data.target, &pairs, &parts);
        let line = |((case, _), ids): (&(corpus::Group<'_>, _), &&[u32])| Pair {
            source: case.source.to_owned(),
            target: target_vocab.decode(ids),
        };
        args.scoring.write(decoded.iter().zip(&best).map(line))?;
    }
    let data = Dataset::whole(&pairs, source_vocab, target_vocab);
    if data.unknown() > 0 {
        eprintln!("{}: {} tokens that the model does not know", args.scoring.data.display(), data.unknown());
    }
    let loss = |behind| walk_loss(&model, &data, behind, threads);
    let mut losses = Vec::new();
    for &metric in wanted {
        match metric {
            Metric::Loss => losses.push((metric, loss(Behind::TargetTokens))),
            Metric::Ppl => losses.push((metric, loss(Behind::TargetTokens).exp())),
            Metric::FreePpl if model.labels() => {
                return Err(Usage("free_ppl is for decoders, which read tokens; use ppl".into()).into());
            }
            Metric::FreePpl => losses.push((metric, loss(Behind::OwnTokens).exp())),
            _ => {}
        }
    }
    args.scoring.print(config.model.task, &scores, &losses);
    Ok(())
}
