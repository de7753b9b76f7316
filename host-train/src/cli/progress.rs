//! Training seen from a terminal, or from a log.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

use crate::config::Metric;
use crate::data::vectors::Coverage;
use crate::model::Reads;
use crate::trainer::{EpochRecord, Event};

/// Shows a run on standard error: a bar with loss, metric, speed and time left on a terminal, a line an epoch
/// elsewhere.
#[derive(Debug)]
pub struct Progress {
    bar: Option<ProgressBar>,
    metric: Metric,
    epochs: usize,
    latest: Option<f64>,
}

impl Progress {
    /// A display of a run that watches `metric`.
    pub fn new(metric: Metric) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{bar:24} {percent:>3}%  {msg}  {eta} left")
                .expect("the template is a constant");
            let bar = ProgressBar::new(1);
            bar.set_style(style);
            bar
        });
        Self { bar, metric, epochs: 0, latest: None }
    }

    /// Shows one event.
    pub fn observe(&mut self, event: &Event<'_>) {
        match *event {
            Event::Start {
                parameters,
                pairs,
                dropped,
                dev_pairs,
                dev_unknown,
                vocab,
                vectors,
                epochs_done,
                steps_done,
                epochs,
            } => {
                self.epochs = epochs;
                let sides = match vocab {
                    (Reads::Tokens(source, _), target) => format!("vocabularies of {source} and {target}"),
                    (Reads::Frames(numbers), target) => {
                        format!("frames of {numbers}, a vocabulary of {target}")
                    }
                };
                self.line(&format!(
                    "{parameters} parameters, {sides}, {pairs} training pairs, {dev_pairs} dev pairs"
                ));
                if let Some(Coverage { found, tokens }) = vectors {
                    self.line(&format!("{found} of {tokens} source tokens begin with a vector"));
                }
                if dropped > 0 {
                    self.line(&format!(
                        "dropped {dropped} training pairs that are longer than [data] allows"
                    ));
                }
                if dev_unknown > 0 {
                    self.line(&format!("the dev set has {dev_unknown} tokens that training does not know"));
                }
                if steps_done > 0 {
                    self.line(&format!("continuing after step {steps_done}, {epochs_done} epochs done"));
                }
            }
            Event::Step { epoch, step, steps, loss, tokens_per_second } => {
                let Some(bar) = &self.bar else { return };
                let total = (self.epochs * steps) as u64;
                let done = ((epoch - 1) * steps + step) as u64;
                if bar.length() != Some(total) {
                    // The time left counts from here, also in a run taken up in the middle.
                    bar.set_length(total);
                    bar.set_position(done);
                    bar.reset_eta();
                }
                bar.set_position(done);
                let metric =
                    self.latest.map_or(String::new(), |v| format!("{} {v:.2}  ", self.metric.name()));
                bar.set_message(format!(
                    "epoch {epoch}/{}  loss {loss:.4}  {metric}{tokens_per_second:.0} tok/s",
                    self.epochs
                ));
            }
            Event::Evaluate => {
                if let Some(bar) = &self.bar {
                    bar.set_message("decoding the dev set");
                }
            }
            Event::Epoch(record) => {
                self.latest = Some(record.get(self.metric));
                self.line(&epoch_line(record, self.epochs));
            }
        }
    }

    /// Removes the bar.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => eprintln!("{text}"),
        }
    }
}

fn epoch_line(record: &EpochRecord, epochs: usize) -> String {
    let EpochRecord { epoch, step, train_loss, dev_loss, wer, per, exact, .. } = record;
    format!(
        "epoch {epoch}/{epochs}  step {step}  loss {train_loss:.4}  dev loss {dev_loss:.4}  wer {wer:.2}  per {per:.2}  \
         exact {exact:.2}  lr {}  {:.0} tok/s  {:.1} s{}",
        record.learning_rate,
        record.tokens_per_second,
        record.seconds,
        if record.best { "  best" } else { "" }
    )
}
