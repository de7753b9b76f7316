//! Sources of numbers as a user meets them.

mod common;

use common::command::{done, failed};
use kinglet_train::checkpoint::{Checkpoint, load_tensors};

/// Lines of `up` and `down`: what the first of two numbers does, far from 0 and in quarters; the second is always the same.
fn corpus() -> String {
    let line = |i: usize| {
        let (up, mut at, mut frames, mut target) = (i * i + i / 3, 300.0, Vec::new(), Vec::new());
        for t in 0..2 + i % 4 {
            let rises = (up >> t) % 2 == 0;
            at += if rises { 0.75 } else { -0.5 };
            frames.push(format!("{at},-7"));
            target.push(if rises { "up" } else { "down" });
        }
        format!("{}\t{}\n", frames.join(" "), target.join(" "))
    };
    (0..64).map(line).collect()
}

/// A folder with a corpus and a configuration.
fn workplace(more: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let text = "[data]\nsource = \"frames\"\n[data.frames]\nresolution = 0.25\n\
                [train]\nepochs = 4\nbatch_size = 8\nthreads = 1\nmetric = \"exact\"\n\
                [optimizer]\nkind = \"adamw\"\nweight_decay = 0.1\nlearning_rate = 0.02\n[schedule]\nkind = \"constant\"\n\
                [model.encoder]\nhidden = 12\n[model.attention]\nsize = 8\n[model.decoder]\nembedding = 8\nhidden = 16\n";
    std::fs::write(dir.path().join("c.toml"), format!("{text}{more}")).unwrap();
    std::fs::write(dir.path().join("d.tsv"), corpus()).unwrap();
    dir
}

const TRAIN: &str = "train --config c.toml --train d.tsv --dev d.tsv --out";

#[test]
fn frames_are_labelled_in_the_units_of_the_corpus() {
    let dir = workplace("[model]\ntask = \"label\"\ndropout = 0.0\n");
    let dir = dir.path();
    done(dir, &format!("{TRAIN} run --epochs 30"), "");
    assert!(!dir.join("run/vocab.source.txt").exists());
    let answers = done(dir, "decode --checkpoint run", "300.75,-7 301.5,-7 301,-7\n\n299.5,-7\n");
    assert_eq!(answers, "up up down\n\ndown\n");
    let scored = done(dir, "evaluate --checkpoint run --data d.tsv --metric line", "");
    assert!(scored.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() > 90.0, "{scored}");
}

#[test]
fn nothing_learns_what_frames_are_normalised_by() {
    let dir = workplace("");
    let dir = dir.path();
    done(dir, &format!("{TRAIN} run"), "");
    let (tensors, _) = load_tensors(&dir.join("run/model.safetensors")).unwrap();
    let values = |name: &str| tensors.get(name).unwrap().data.clone();
    let counts: Vec<f64> = corpus()
        .lines()
        .flat_map(|line| line.split('\t').next().unwrap().split(' ').map(str::to_owned).collect::<Vec<_>>())
        .map(|frame| frame.split(',').next().unwrap().parse::<f64>().unwrap() / 0.25)
        .collect();
    let mean = counts.iter().sum::<f64>() / counts.len() as f64;
    let deviation = (counts.iter().map(|c| (c - mean).powi(2)).sum::<f64>() / counts.len() as f64).sqrt();
    let [means, deviations] = ["encoder.frames.mean", "encoder.frames.std"].map(values);
    assert!((f64::from(means[0]) - mean).abs() < 1e-3 && means[1] == -28.0, "{means:?}");
    assert!((f64::from(deviations[0]) - deviation).abs() < 1e-4 && deviations[1] == 1.0, "{deviations:?}");
    // The width was read off the first line and is told from then on.
    let config = Checkpoint::load(&dir.join("run")).unwrap().config;
    assert_eq!((config.data.frames.width, config.model.encoder.embedding), (2, 2));
}

#[test]
fn a_resumed_run_has_the_bits_of_an_unbroken_one() {
    let dir = workplace("");
    let dir = dir.path();
    done(dir, &format!("{TRAIN} whole"), "");
    done(dir, &format!("{TRAIN} parts --epochs 2"), "");
    done(dir, &format!("{TRAIN} parts --resume"), "");
    for file in ["model.safetensors", "optimizer.safetensors"] {
        let [whole, parts] = ["whole", "parts"].map(|run| std::fs::read(dir.join(run).join(file)).unwrap());
        assert!(whole == parts, "{file}");
    }
}

#[test]
fn what_is_no_frame_is_named_with_file_and_line() {
    let dir = workplace("");
    let dir = dir.path();
    for (line, expected) in [
        ("1,2 3\ta", "d.tsv:65: frame 2: expected 2 numbers with commas between them, found 1"),
        ("1,nan\ta", "d.tsv:65: frame 1, number 2: expected a decimal number, found \"nan\""),
        ("9000,1\ta", "d.tsv:65: frame 1, number 1: expected -8192 to 8191.75, found 9000"),
        ("", "d.tsv:65: empty line"),
    ] {
        std::fs::write(dir.join("d.tsv"), format!("{}{line}\n", corpus())).unwrap();
        let message = failed(dir, &format!("{TRAIN} run"), "", 1);
        assert!(message.contains(expected), "{message}");
    }
    std::fs::write(dir.join("d.tsv"), corpus()).unwrap();
    done(dir, &format!("{TRAIN} run --epochs 1"), "");
    let message = failed(dir, "decode --checkpoint run", "300,-7\n300,-7 x,1\n", 1);
    assert!(message.contains("standard input:2: frame 2, number 1: expected a decimal"), "{message}");
}
