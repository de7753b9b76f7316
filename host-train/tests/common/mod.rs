//! A network that trains in a moment, its data, and what its directory holds.

// Each test file uses its part.
#![allow(dead_code)]

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use kinglet_train::Error;
use kinglet_train::config::{Config, DecoderConfig, EncoderConfig, Metric};
use kinglet_train::tasks::{self, Splits, Task};
use kinglet_train::trainer::{Event, Outcome, Run, Start, train};

pub const FILES: [&str; 6] = [
    "config.toml",
    "vocab.source.txt",
    "vocab.target.txt",
    "model.safetensors",
    "optimizer.safetensors",
    "state.json",
];

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

pub fn data() -> Splits {
    tasks::generate(Task::Reverse, 200, 1).unwrap()
}

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

pub fn run(config: &Config, out: &Path, start: Start) -> Result<Outcome, Error> {
    run_until(config, &data(), out, start, usize::MAX)
}

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
