//! What a corpus is scored by and how scores are told, of checkpoints and blobs alike.

use std::path::PathBuf;

use crate::checkpoint::write_atomically;
use crate::config::{Metric, Task};
use crate::data::{Pair, corpus};
use crate::error::Result;
use crate::metrics::Scores;

/// A corpus and what to tell of it.
#[derive(Debug, clap::Args)]
pub struct ScoringArgs {
    /// Pairs to score on, a line each: `source<TAB>target`; lines with one source are alternatives. For a model that generates,
    /// targets alone
    #[arg(long, value_name = "FILE")]
    pub data: PathBuf,
    /// What to report [default: wer,per,exact; of labels acc,slot,intent,line; of a model that generates ppl]
    #[arg(long, value_delimiter = ',')]
    metric: Vec<Metric>,
    /// Also write the hypotheses, a line for each distinct source: `source<TAB>target`
    #[arg(long, value_name = "FILE")]
    pub hyp: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl ScoringArgs {
    /// What is asked for, or what a task is commonly scored by.
    pub fn metrics(&self, task: Task) -> &[Metric] {
        match (&self.metric[..], task) {
            ([], Task::Transduce) => &[Metric::Wer, Metric::Per, Metric::Exact],
            ([], Task::Label) => &[Metric::Acc, Metric::Slot, Metric::Intent, Metric::Line],
            ([], Task::Generate) => &[Metric::Ppl],
            (metrics, _) => metrics,
        }
    }

    /// Writes the hypotheses, if they are wanted.
    ///
    /// # Errors
    /// [`crate::Error::Io`].
    pub fn write(&self, hypotheses: impl Iterator<Item = Pair>) -> Result<()> {
        let Some(path) = &self.hyp else { return Ok(()) };
        write_atomically(path, corpus::to_text(&hypotheses.collect::<Vec<_>>()).as_bytes())
    }

    /// Prints the metrics asked for on standard output: a line each, or one JSON object with the counts. `losses` are those
    /// that text does not tell.
    pub fn print(&self, task: Task, scores: &Scores, losses: &[(Metric, f64)]) {
        let loss = |metric| losses.iter().find(|(name, _)| *name == metric).map(|&(_, value)| value);
        let values = self.metrics(task).iter().filter_map(|&m| Some((m, scores.get(m).or_else(|| loss(m))?)));
        if self.json {
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
                    println!(
                        "{name} {value:.2}  ({} edits, {} tokens)",
                        scores.edits, scores.reference_tokens
                    );
                }
                Metric::Cer => {
                    println!(
                        "{name} {value:.2}  ({} edits, {} characters)",
                        scores.char_edits, scores.reference_chars
                    );
                }
                Metric::Exact => {
                    println!("{name} {value:.2}  ({} of {lines} lines right)", scores.exact_lines)
                }
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
                Metric::Line => {
                    println!("{name} {value:.2}  ({} of {lines} lines right)", scores.exact_lines)
                }
                Metric::Loss | Metric::Ppl | Metric::FreePpl => println!("{name} {value:.4}"),
            }
        }
    }
}
