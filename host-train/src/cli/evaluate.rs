//! `kinglet-train evaluate`.

use std::path::PathBuf;

use crate::checkpoint::{Checkpoint, write_atomically};
use crate::cli::Usage;
use crate::cli::options::DecodingArgs;
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
    /// Pairs to score on, a line each: `source<TAB>target`; lines with one source are alternatives. For a model that generates,
    /// targets alone
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// What to report [default: wer,per,exact; of labels acc,slot,intent,line; of a model that generates ppl]
    #[arg(long, value_delimiter = ',')]
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
    let checkpoints = Checkpoint::load_all(&args.checkpoint)?;
    let Checkpoint { config, source_vocab, target_vocab, .. } = &checkpoints[0];
    let model = Checkpoint::ensemble(&checkpoints)?;
    let options = args.decoding.search(1, config.data.max_target_len)?;
    let threads = args.threads.unwrap_or(config.train.threads);
    let pairs = corpus::read_for(&args.data, config)?;
    let wanted = match (&args.metric[..], config.model.task) {
        ([], Task::Transduce) => &[Metric::Wer, Metric::Per, Metric::Exact][..],
        ([], Task::Label) => &[Metric::Acc, Metric::Slot, Metric::Intent, Metric::Line],
        ([], Task::Generate) => &[Metric::Ppl],
        (metrics, _) => metrics,
    };

    let mut scores = Scores::default();
    if config.model.task == Task::Generate {
        if let Some(metric) = wanted.iter().find(|metric| !metric.is_of_losses()) {
            let name = metric.name();
            return Err(Usage(format!(
                "{name} compares answers to sources, which this model has not; use ppl"
            ))
            .into());
        }
        if args.hyp.is_some() {
            return Err(Usage("--hyp: this model answers no sources; see kinglet-train sample".into()).into());
        }
    } else {
        let decoded = decode_groups(model.clone(), source_vocab, &pairs, &options, threads);
        let best: Vec<&[u32]> =
            decoded.iter().map(|(_, n_best)| n_best.first().map_or(&[][..], |h| h.ids.as_slice())).collect();
        let parts: Vec<_> = best.iter().map(|ids| target_vocab.parts_of(ids)).collect();
        scores = metrics::score(config.data.target, &pairs, &parts);
        if let Some(path) = &args.hyp {
            let line = |((case, _), ids): (&(corpus::Group<'_>, _), &&[u32])| Pair {
                source: case.source.to_owned(),
                target: target_vocab.decode(ids),
            };
            let lines: Vec<Pair> = decoded.iter().zip(&best).map(line).collect();
            write_atomically(path, corpus::to_text(&lines).as_bytes())?;
        }
    }
    let data = Dataset::whole(&pairs, source_vocab, target_vocab);
    if data.unknown() > 0 {
        eprintln!("{}: {} tokens that the model does not know", args.data.display(), data.unknown());
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
    print(wanted, args.json, &scores, &losses);
    Ok(())
}

/// Prints the metrics asked for on standard output: a line each, or one JSON object with the counts. `losses` are those
/// that text does not tell.
pub fn print(metrics: &[Metric], json: bool, scores: &Scores, losses: &[(Metric, f64)]) {
    let loss = |metric| losses.iter().find(|(name, _)| *name == metric).map(|&(_, value)| value);
    let values = metrics.iter().filter_map(|&m| Some((m, scores.get(m).or_else(|| loss(m))?)));
    if json {
        let mut object = serde_json::to_value(scores).expect("counts are plain data");
        values.for_each(|(metric, value)| object[metric.name()] = value.into());
        println!("{object}");
        return;
    }
    for (metric, value) in values {
        let Scores { sources, lines, bleu, .. } = scores;
        let name = metric.name();
        match metric {
            Metric::Wer => {
                println!("{name} {value:.2}  ({} of {sources} sources wrong)", scores.wrong_sources)
            }
            Metric::Per => {
                println!("{name} {value:.2}  ({} edits, {} tokens)", scores.edits, scores.reference_tokens);
            }
            Metric::Cer => {
                println!(
                    "{name} {value:.2}  ({} edits, {} characters)",
                    scores.char_edits, scores.reference_chars
                );
            }
            Metric::Exact => println!("{name} {value:.2}  ({} of {lines} lines right)", scores.exact_lines),
            Metric::Bleu => println!(
                "{name} {value:.2}  ({lines} lines, {} tokens for {})",
                bleu.hypothesis_tokens, bleu.reference_tokens
            ),
            Metric::Acc => {
                let labels = &scores.labels;
                println!(
                    "{name} {value:.2}  ({} of {} tokens)",
                    labels.right_labels, labels.reference_labels
                );
            }
            Metric::Slot => {
                let labels = &scores.labels;
                println!(
                    "{name} {value:.2}  ({} right of {} found and {} expected)",
                    labels.right_spans, labels.found_spans, labels.reference_spans
                );
            }
            Metric::Intent => {
                println!("{name} {value:.2}  ({} of {lines} lines)", scores.labels.right_intents)
            }
            Metric::Line => println!("{name} {value:.2}  ({} of {lines} lines right)", scores.exact_lines),
            Metric::Loss | Metric::Ppl | Metric::FreePpl => println!("{name} {value:.4}"),
        }
    }
}
