//! Corpus to integers in seconds: generate, train, compile, decode.

use std::sync::atomic::AtomicBool;

use kinglet::{Model, Options};
use kinglet_compiler::desktop;
use kinglet_compiler::lower::{Plan, Source};
use kinglet_train::config::{Cell, Metric};
use kinglet_train::tasks::{self, Task};
use kinglet_train::trainer::{Run, Start, train};

/// Numbers in words to digits: an LSTM learns it in seconds; its integers must be as good.
#[test]
fn a_generated_task_is_learned_compiled_and_decoded() {
    let pairs = tasks::generate(Task::Numbers, 6000, 11).unwrap();
    let mut config = tasks::config(Task::Numbers);
    config.model.encoder.cell = Cell::Lstm;
    config.train.epochs = 12;
    let out = tempfile::tempdir().unwrap();
    let run = Run {
        config: &config,
        train: &pairs.train,
        dev: &pairs.dev,
        out: out.path(),
        start: Start::Overwrite,
        teachers: &[],
    };
    train(&run, &AtomicBool::new(false), &mut |_| ()).unwrap();
    let checkpoint = kinglet_train::checkpoint::Checkpoint::load(out.path()).unwrap();
    let source = Source {
        model: &checkpoint.model,
        source_vocab: &checkpoint.source_vocab,
        target_vocab: &checkpoint.target_vocab,
    };
    let options = kinglet_compiler::Options {
        calibration_pairs: 64,
        evaluation_sources: 0,
        threads: 2,
        ..kinglet_compiler::Options::new(Plan { beam: 4, ..Plan::new("numbers", 64, 16) }, Metric::Wer)
    };
    let compiled = kinglet_compiler::compile(source, &pairs.dev, &options).unwrap();
    assert_eq!(
        compiled.blob,
        kinglet_compiler::compile(source, &pairs.dev, &options).unwrap().blob,
        "compiling twice gives the same bytes"
    );
    let model = Model::from_bytes(&compiled.blob).unwrap();
    let texts: Vec<&str> = pairs.test.iter().map(|pair| pair.source.as_str()).collect();
    for beam_size in [1, 4] {
        let options = Options { beam_size, ..Options::default() };
        let answers = desktop::decode_all(&model, &texts, &options, 2).unwrap();
        let right = answers
            .iter()
            .zip(&pairs.test)
            .filter(|(answer, pair)| {
                let mut text = String::new();
                model.target().write(&answer.hypotheses[0].tokens, &mut text).unwrap();
                text == pair.target
            })
            .count();
        let accuracy = right as f64 / texts.len() as f64;
        assert!(accuracy >= 0.95, "beam {beam_size}: {accuracy} of unseen numbers are right");
    }
}
