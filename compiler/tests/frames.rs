//! Blobs that read numbers, as a user meets them.

mod common;

use std::process::Output;

use common::{done, kinglet};
use kinglet_train::checkpoint::Checkpoint;
use kinglet_train::config::{Config, Resolution, Tokens};
use kinglet_train::data::frames::Frames;
use kinglet_train::model::Seq2Seq;
use kinglet_train::vocab::Vocab;

/// Halves and wholes.
const CORPUS: &str = "0.5,3 -1,0\tab\n20,-4\tb\n-7.5,9 0,1 2.5,-30\tba\n1,1 2,2\tabb\n";

/// A folder with an untrained checkpoint, a corpus and the blob `m.kgl`.
fn workplace() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::default();
    config.data.source = Tokens::Frames;
    config.data.frames.resolution = Resolution::Each(vec![0.5, 1.0]);
    (config.data.target, config.data.max_source_len, config.data.max_target_len) = (Tokens::Chars, 6, 7);
    config.model.encoder.hidden = 6;
    (config.model.decoder.embedding, config.model.decoder.hidden) = (5, 7);
    let config = config.completed("0.5,3").unwrap();
    let source_vocab = Vocab::of_frames(Frames::new(vec![0.5, 1.0]));
    let target_vocab = Vocab::build(Tokens::Chars, ["ab"], 1);
    let mut model = Seq2Seq::new(&config.model, &source_vocab, target_vocab.len(), 3);
    model.params.get_mut("encoder.frames.mean").unwrap().data = vec![4.0, -2.0];
    model.params.get_mut("encoder.frames.std").unwrap().data = vec![10.0, 12.5];
    Checkpoint { config, source_vocab, target_vocab, model }.save(&dir.path().join("run")).unwrap();
    std::fs::write(dir.path().join("dev.tsv"), CORPUS).unwrap();
    done(dir.path(), "compile --checkpoint run --dev dev.tsv --board pico --report r.html -o m.kgl", "");
    dir
}

#[test]
fn lines_of_numbers_are_answered_scored_and_timed() {
    let dir = workplace();
    let dir = dir.path();
    let sources: String =
        CORPUS.lines().map(|line| line.split('\t').next().unwrap().to_owned() + "\n").collect();
    let answers = done(dir, "run m.kgl --return-scores --return-attention", &sources);
    assert_eq!(answers.lines().count(), 4);
    // An attention weight a frame.
    let third = answers.lines().nth(2).unwrap().split('\t').nth(2).unwrap();
    assert_eq!(third.split(']').next().unwrap().matches(',').count(), 2, "{third}");
    // Numbers between counts are those of the nearest count.
    assert_eq!(done(dir, "run m.kgl", "0.5,3 -1,0\n"), done(dir, "run m.kgl", "0.6,2.8 -0.9,0.2\n"));
    assert_eq!(done(dir, "run m.kgl", "\n"), "\n");
    for command in
        ["evaluate m.kgl --data dev.tsv --beam-size 2", "bench m.kgl --data dev.tsv --seconds 0.01"]
    {
        assert!(!done(dir, command, "").is_empty(), "{command}");
    }
    let auto = "compile --checkpoint run --dev dev.tsv --weights auto --max-flash 7000 -o small.kgl";
    assert!(done(dir, auto, "").contains("small.kgl"));
}

#[test]
fn what_is_no_frame_is_named_by_its_line() {
    let dir = workplace();
    for (input, expected) in [
        ("1,2\n1,2,3\n", "standard input:2: frame 1: expected 2 numbers with commas between them, found 3"),
        ("1,2 a,b\n", "standard input:1: frame 2, number 1: expected a decimal number, found \"a\""),
        ("16384,0\n", "standard input:1: frame 1, number 1: expected -16384 to 16383.5, found 16384"),
    ] {
        let Output { status, stderr, .. } = kinglet(dir.path(), "run m.kgl", input.as_bytes());
        // The chain of reasons is a line each.
        let message = String::from_utf8(stderr).unwrap().replace("\n  ", " ");
        assert_eq!(status.code(), Some(1), "{message}");
        for part in expected.splitn(3, ": ") {
            assert!(message.contains(part), "{message}");
        }
    }
}

#[test]
fn inspect_tells_scale_and_offset_of_every_number() {
    let dir = workplace();
    let text = done(dir.path(), "inspect m.kgl --board pico --data dev.tsv", "");
    assert!(text.contains("source: frames of 2 numbers, at most 6; target: 6 tokens (chars)"), "{text}");
    assert!(text.contains("frames of the source"), "{text}");
    let json: serde_json::Value =
        serde_json::from_str(&done(dir.path(), "inspect m.kgl --json", "")).unwrap();
    let features = json["features"].as_array().unwrap();
    let number = |feature: usize, name: &str| features[feature][name].as_f64().unwrap();
    // Means of 4 and -2 counts, in the numbers' own units.
    assert_eq!((number(0, "offset"), number(1, "offset")), (2.0, -2.0));
    assert_eq!((number(0, "resolution"), number(1, "resolution")), (0.5, 1.0));
    // One scale over the deviations.
    assert!((number(0, "scale") / number(1, "scale") - 1.25).abs() < 1e-3, "{features:?}");
}
