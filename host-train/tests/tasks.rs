//! Tagging and language models as a user meets them.

mod common;

use common::command::{done, failed};

const SIZES: &str = "[model.encoder]\nembedding = 8\nhidden = 12\n[model.decoder]\nembedding = 8\nhidden = 16\n\
                     [optimizer]\nlearning_rate = 0.01\n[schedule]\nkind = \"constant\"\n";

/// Commands: the first word is the intent, and what follows `in` is a place of one or two words.
fn commands() -> Vec<(String, String)> {
    let (mut all, places) = (Vec::new(), ["kitchen", "hall", "big room", "old house"]);
    for verb in ["light", "heat", "open"] {
        for filler in ["", "please ", "now please "] {
            for place in places {
                let outside = "O ".repeat(filler.split_whitespace().count());
                let tags = if place.contains(' ') { "B-place I-place" } else { "B-place" };
                all.push((
                    format!("{verb} {filler}in {place}"),
                    format!("{} O {outside}O {tags}", verb.to_uppercase()),
                ));
            }
        }
    }
    all
}

const TRAIN: &str = "train --config c.toml --train d.tsv --dev d.tsv --out run";

#[test]
fn intent_and_slots_are_learned_and_scored() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let lines: String = commands().iter().map(|(s, t)| format!("{s}\t{t}\n")).collect();
    std::fs::write(dir.join("d.tsv"), lines).unwrap();
    let text = "[data]\nsource = \"words\"\nsource_start = true\n[model]\ntask = \"label\"\ndropout = 0.0\n\
                [train]\nmetric = \"line\"\nepochs = 60\npatience = 60\nbatch_size = 4\nthreads = 1\n";
    std::fs::write(dir.join("c.toml"), format!("{text}{SIZES}")).unwrap();
    done(dir, TRAIN, "");

    let scored = done(dir, "evaluate --checkpoint run --data d.tsv --hyp hyp.tsv", "");
    let value = |name: &str| -> f64 {
        let line = scored.lines().find(|line| line.starts_with(&format!("{name} "))).expect(name);
        line.split(' ').nth(1).unwrap().parse().unwrap()
    };
    for metric in ["acc", "slot", "intent", "line"] {
        assert!(value(metric) > 95.0, "{scored}");
    }
    let hypotheses = std::fs::read_to_string(dir.join("hyp.tsv")).unwrap();
    assert_eq!(hypotheses.lines().count(), commands().len());
    let answers = done(dir, "decode --checkpoint run", "light in big room\nopen now please in hall\n");
    assert_eq!(answers, "LIGHT O O B-place I-place\nOPEN O O O O B-place\n");
    let scores = done(dir, "decode --checkpoint run --return-scores", "light in hall\n");
    assert!(scores.split('\t').next().unwrap().parse::<f64>().unwrap() < 0.0, "{scores}");
    assert!(failed(dir, "sample --checkpoint run", "a\n", 2).contains("labels"));
    let free = "evaluate --checkpoint run --data d.tsv --metric free_ppl";
    assert!(failed(dir, free, "", 2).contains("use ppl"));
}

#[test]
fn a_line_with_another_number_of_labels_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    std::fs::write(dir.join("c.toml"), "[data]\nsource = \"words\"\n[model]\ntask = \"label\"\n").unwrap();
    std::fs::write(dir.join("d.tsv"), "a b\tX Y\na b c\tX Y\n").unwrap();
    let message = failed(dir, TRAIN, "", 1);
    assert!(message.contains("d.tsv:2: expected 3 labels") && message.contains("found 2"), "{message}");
    assert!(!dir.join("run").exists());
}

#[test]
fn a_language_model_learns_evaluates_and_draws() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let lines: String = (0..60).map(|i| format!("{}\n", "ab".repeat(1 + i % 3))).collect();
    std::fs::write(dir.join("d.tsv"), lines).unwrap();
    let text = "[data]\ntarget = \"chars\"\n[model]\ntask = \"generate\"\ndropout = 0.0\n\
                [train]\nmetric = \"ppl\"\nepochs = 30\nbatch_size = 8\n";
    std::fs::write(dir.join("c.toml"), format!("{text}{SIZES}")).unwrap();
    done(dir, TRAIN, "");

    let scored = done(dir, "evaluate --checkpoint run --data d.tsv", "");
    let ppl: f64 = scored.trim().strip_prefix("ppl ").unwrap().parse().unwrap();
    // One line of three, in five tokens on average: e^(3 ln 3 / 15) = 1.246.
    assert!((1.2..1.35).contains(&ppl), "{scored}");
    let draw =
        |seed: u8| done(dir, &format!("sample --checkpoint run --number 40 --seed {seed} --top-k 2"), "");
    let drawn = draw(1);
    assert_eq!((drawn.lines().count(), &drawn), (40, &draw(1)));
    assert_ne!(drawn, draw(2));
    let known = drawn.lines().filter(|line| ["ab", "abab", "ababab"].contains(line)).count();
    assert!(known >= 36, "{drawn}");
    for (args, expected) in [
        ("decode --checkpoint run", "kinglet-train sample"),
        ("evaluate --checkpoint run --data d.tsv --metric wer", "use ppl"),
        ("sample --checkpoint run --temperature 0", "--temperature must be above 0"),
        ("sample --checkpoint run --top-p 2", "--top-p must be 0 to 1"),
    ] {
        let message = failed(dir, args, "a\n", 2);
        assert!(message.contains(expected), "{message}");
    }
}
