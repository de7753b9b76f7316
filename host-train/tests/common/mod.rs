//! Small runs for the tests of training.
#![allow(dead_code)] // no test uses all of it

pub mod command;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use kinglet_train::Error;
use kinglet_train::config::{Config, DecoderConfig, EncoderConfig, Metric};
use kinglet_train::tasks::{self, Splits, Task};
use kinglet_train::trainer::{Event, Outcome, Run, Start, train};

/// The files of a run that say nothing about time.
pub const FILES: [&str; 6] = [
    "config.toml",
    "vocab.source.txt",
    "vocab.target.txt",
    "model.safetensors",
    "optimizer.safetensors",
    "state.json",
];

/// A network of some hundred weights that learns to reverse strings; the pairs of [`data`] are 10 batches an epoch.
pub fn small(epochs: usize) -> Config {
    let mut config = tasks::config(Task::Reverse);
    config.model.encoder = EncoderConfig { embedding: 6, hidden: 8, ..EncoderConfig::default() };
    config.model.decoder = DecoderConfig { embedding: 6, hidden: 8, ..DecoderConfig::default() };
    config.model.attention.size = 8;
    config.model.dropout = 0.2;
    config.train.batch_size = 16;
    config.train.metric = Metric::Loss;
    config.train.epochs = epochs;
    config
}

/// 160 training and 20 dev pairs.
pub fn data() -> Splits {
    tasks::generate(Task::Reverse, 200, 1).unwrap()
}

/// Trains and asks to stop after so many steps.
pub fn run_until(
    config: &Config,
    data: &Splits,
    out: &Path,
    start: Start,
    last_step: usize,
) -> Result<Outcome, Error> {
    let stop = AtomicBool::new(false);
    let mut steps = 0;
    let run = Run { config, train: &data.train, dev: &data.dev, out, start, teachers: &[] };
    train(&run, &stop, &mut |event| {
        if let Event::Step { .. } = event {
            steps += 1;
            stop.store(steps == last_step, Ordering::Relaxed);
        }
    })
}

/// Trains to the end.
pub fn run(config: &Config, out: &Path, start: Start) -> Result<Outcome, Error> {
    run_until(config, &data(), out, start, usize::MAX)
}

/// What the [`FILES`] hold.
pub fn files(dir: &Path) -> Vec<Vec<u8>> {
    FILES.iter().map(|name| std::fs::read(dir.join(name)).unwrap()).collect()
}

/// The history without what the clock says.
pub fn history(dir: &Path) -> Vec<(u64, f64, f64)> {
    let text = std::fs::read_to_string(dir.join("history.jsonl")).unwrap();
    let line = |line: &str| {
        let record: kinglet_train::trainer::EpochRecord = serde_json::from_str(line).unwrap();
        (record.step, record.train_loss, record.dev_loss)
    };
    text.lines().map(line).collect()
}

/// Copies some files of a run.
pub fn copy(from: &Path, to: &Path, names: &[&str]) {
    for name in names {
        std::fs::copy(from.join(name), to.join(name)).unwrap();
    }
}
