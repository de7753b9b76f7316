//! `kinglet-train evaluate`.

use std::path::PathBuf;

use crate::checkpoint::{Checkpoint, write_atomically};
use crate::cli::options::DecodingArgs;
use crate::config::Metric;
use crate::data::{Dataset, Pair, corpus};
use crate::metrics::{self, Scores};
use crate::trainer::{decode_groups, mean_loss};

/// Score a checkpoint on a corpus
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The checkpoint directory
    #[arg(long, value_name = "DIR")]
    checkpoint: PathBuf,
    /// Pairs to score on, a line each: `source<TAB>target`; lines with one source are alternatives
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// What to report
    #[arg(long, value_delimiter = ',', default_value = "wer,per,exact")]
    metric: Vec<Metric>,
    /// Also write the hypotheses, a line for each distinct source: `source<TAB>target`
    #[arg(long, value_name = "FILE")]
    hyp: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
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
    let checkpoint = Checkpoint::load(&args.checkpoint)?;
    let Checkpoint { config, source_vocab, target_vocab, model } = &checkpoint;
    let options = args.decoding.search(1, config.data.max_target_len)?;
    let threads = args.threads.unwrap_or(config.train.threads);
    let pairs = corpus::read(&args.data)?;

    let decoded = decode_groups(model, source_vocab, &pairs, &options, threads);
    let best: Vec<&[u32]> =
        decoded.iter().map(|(_, n_best)| n_best.first().map_or(&[][..], |h| h.ids.as_slice())).collect();
    let tokens: Vec<Vec<&str>> = best.iter().map(|ids| target_vocab.tokens_of(ids)).collect();
    let scores = metrics::score(config.data.target, &pairs, &tokens);
    if let Some(path) = &args.hyp {
        let line = |((case, _), ids): (&(corpus::Group<'_>, _), &&[u32])| Pair {
            source: case.source.to_owned(),
            target: target_vocab.decode(ids),
        };
        let lines: Vec<Pair> = decoded.iter().zip(&best).map(line).collect();
        write_atomically(path, corpus::to_text(&lines).as_bytes())?;
    }
    let data = Dataset::whole(&pairs, source_vocab, target_vocab);
    if data.unknown() > 0 {
        eprintln!("{}: {} tokens that the model does not know", args.data.display(), data.unknown());
    }
    let loss = args.metric.contains(&Metric::Loss).then(|| mean_loss(model, &data, 64, threads));
    print(&args.metric, args.json, &scores, loss);
    Ok(())
}

/// Prints the metrics asked for on standard output: a line each, or one JSON object with the counts.
pub fn print(metrics: &[Metric], json: bool, scores: &Scores, loss: Option<f64>) {
    if json {
        let mut object = serde_json::to_value(scores).expect("counts are plain data");
        for &metric in metrics {
            if let Some(value) = scores.get(metric).or(loss) {
                object[metric.name()] = value.into();
            }
        }
        println!("{object}");
        return;
    }
    for metric in metrics {
        match metric {
            Metric::Wer => {
                println!(
                    "wer {:.2}  ({} of {} sources wrong)",
                    scores.wer(),
                    scores.wrong_sources,
                    scores.sources
                );
            }
            Metric::Per => {
                println!(
                    "per {:.2}  ({} edits, {} tokens)",
                    scores.per(),
                    scores.edits,
                    scores.reference_tokens
                );
            }
            Metric::Exact => {
                println!(
                    "exact {:.2}  ({} of {} lines right)",
                    scores.exact(),
                    scores.exact_lines,
                    scores.lines
                );
            }
            Metric::Loss => {
                if let Some(loss) = loss {
                    println!("loss {loss:.4}");
                }
            }
        }
    }
}
