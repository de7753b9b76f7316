//! Blobs that read numbers, as a user meets them.

mod common;

use std::path::Path;
use std::process::Output;

use common::{done, kinglet};
use kinglet_compiler::desktop::{self, Image};
use kinglet_train::checkpoint::Checkpoint;
use kinglet_train::config::{Config, Resolution, Tokens};
use kinglet_train::data::frames::Frames;
use kinglet_train::model::Seq2Seq;
use kinglet_train::vocab::Vocab;

/// Halves and wholes.
const CORPUS: &str = "0.5,3 -1,0\tab\n20,-4\tb\n-7.5,9 0,1 2.5,-30\tba\n1,1 2,2\tabb\n";

/// A folder with an untrained checkpoint, a corpus and the blob `m.kgl`.
fn workplace(corpus: &str) -> tempfile::TempDir {
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
    model.params.get_mut("encoder.frames.std").unwrap().data = vec![10.0, 1250.0];
    Checkpoint { config, source_vocab, target_vocab, model }.save(&dir.path().join("run")).unwrap();
    std::fs::write(dir.path().join("dev.tsv"), corpus).unwrap();
    done(dir.path(), "compile --checkpoint run --dev dev.tsv --board pico --report r.html -o m.kgl", "");
    dir
}

#[test]
fn lines_of_numbers_are_answered_scored_and_timed() {
    let dir = workplace(CORPUS);
    let dir = dir.path();
    let sources: String =
        CORPUS.lines().map(|line| line.split('\t').next().unwrap().to_owned() + "\n").collect();
    let answers = done(dir, "run m.kgl --return-scores --return-attention", &sources);
    assert_eq!(answers.lines().count(), 4);
    // An attention weight a frame.
    let third = answers.lines().nth(2).unwrap().split('\t').nth(2).unwrap();
    assert_eq!(third.split(']').next().unwrap().matches(',').count(), 2, "{third}");
    // Numbers between counts are those of the nearest count.
    let scored = |line: &str| done(dir, "run m.kgl --return-scores", line);
    assert_eq!(scored("1,3 -1,0\n"), scored("0.8,3.2 -0.9,0.2\n"));
    assert_ne!(scored("1,3 -1,0\n"), scored("0.5,3 -0.5,0\n"));
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
fn a_source_is_as_long_as_it_has_frames() {
    let dir = workplace(CORPUS);
    let image = Image::read(&dir.path().join("m.kgl")).unwrap();
    let model = image.model();
    for (line, frames) in [("1,2", 1), ("-7.5,9 0,1 2.5,-30", 3)] {
        assert_eq!(desktop::source_len(&model, line), frames);
        assert_eq!(desktop::room(&model, line), frames);
    }
    // No marks beside them: the longest source is what the network was trained for.
    assert_eq!(model.limits(1).source, 6);
    assert_eq!(desktop::marks(&model), 0);
}

#[test]
fn what_is_no_frame_is_named_by_its_line() {
    let dir = workplace(CORPUS);
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

/// What `inspect` tells of the numbers of a frame, by their places and its words.
fn numbers(dir: &Path) -> impl Fn(usize, &str) -> f64 {
    let json: serde_json::Value = serde_json::from_str(&done(dir, "inspect m.kgl --json", "")).unwrap();
    move |feature, name| json["features"][feature][name].as_f64().unwrap()
}

#[test]
fn inspect_tells_scale_and_offset_of_every_number() {
    let dir = workplace(CORPUS);
    let text = done(dir.path(), "inspect m.kgl --board pico --data dev.tsv", "");
    assert!(text.contains("source: frames of 2 numbers, at most 6; target: 6 tokens (chars)"), "{text}");
    assert!(text.contains("frames of the source"), "{text}");
    let number = numbers(dir.path());
    // Means of 4 and -2 counts, in the numbers' own units.
    assert_eq!((number(0, "offset"), number(1, "offset")), (2.0, -2.0));
    assert_eq!((number(0, "resolution"), number(1, "resolution")), (0.5, 1.0));
    // One scale over the deviations, in which the number farthest from its mean, of 40 counts, is the end of int8.
    let [one, other] = [0, 1].map(|feature| number(feature, "scale"));
    assert!((one / other / 125.0 - 1.0).abs() < 1e-3, "{one} {other}");
    assert!((one * (40.0 - 4.0) - 127.0).abs() < 0.5, "{one}");
}

#[test]
fn numbers_that_never_differ_from_their_mean_have_a_scale() {
    let dir = workplace("2,-2 2,-2\tab\n2,-2\tb\n");
    assert_eq!(done(dir.path(), "run m.kgl", "2,-2\n").lines().count(), 1);
    let number = numbers(dir.path());
    assert_eq!((number(0, "offset"), number(1, "offset")), (2.0, -2.0));
    assert!((number(0, "scale") / number(1, "scale") / 125.0 - 1.0).abs() < 1e-3);
}

#[test]
fn numbers_beyond_the_scale_are_counted() {
    let dir = workplace(CORPUS);
    let text =
        done(dir.path(), "compile --checkpoint run --dev dev.tsv --evaluation-sources 0 -o again.kgl", "");
    let counted = text.lines().find(|line| line.contains("encoder.frames ") && line.contains("beyond"));
    assert!(counted.is_some_and(|line| line.contains(" 0 of 16 ")), "{text}");
}
