//! Blobs that label and blobs that generate, as a user meets them.

mod common;

use std::path::Path;

use common::{done, kinglet};
use kinglet_train::checkpoint::Checkpoint;
use kinglet_train::config::{AttentionKind, Config, Metric, Task};
use kinglet_train::model::Seq2Seq;
use kinglet_train::vocab::Vocab;

/// Labels of letters and, before them, of the whole text.
const LABELS: &str = "ab\tgo B-x O\nba\tgo O B-x\nabba\tstop B-x O O B-x\n";
/// Texts.
const TEXTS: &str = "abab\nba\nabba\n";

/// A folder with an untrained checkpoint, a corpus and the blob `m.kgl`.
fn workplace(change: impl Fn(&mut Config), corpus: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::default();
    (config.model.encoder.embedding, config.model.encoder.hidden) = (5, 6);
    (config.model.decoder.embedding, config.model.decoder.hidden) = (5, 7);
    (config.data.max_source_len, config.data.max_target_len) = (6, 7);
    change(&mut config);
    let (source, target): (Vec<&str>, Vec<&str>) =
        corpus.lines().map(|line| line.split_once('\t').unwrap_or(("", line))).unzip();
    let source = Vocab::build(config.data.source, source, 1);
    let target = Vocab::build(config.data.target, target, 1);
    let model = Seq2Seq::new(&config.model, source.len(), target.len(), 3);
    Checkpoint { config, source_vocab: source, target_vocab: target, model }
        .save(&dir.path().join("run"))
        .unwrap();
    std::fs::write(dir.path().join("dev.txt"), corpus).unwrap();
    done(dir.path(), "compile --checkpoint run --dev dev.txt --board pico -o m.kgl", "");
    dir
}

fn labels() -> tempfile::TempDir {
    let change = |config: &mut Config| {
        (config.model.task, config.train.metric) = (Task::Label, Metric::Line);
        config.data.source_start = true;
    };
    workplace(change, LABELS)
}

fn generates() -> tempfile::TempDir {
    let change = |config: &mut Config| {
        (config.model.task, config.train.metric) = (Task::Generate, Metric::Ppl);
        config.data.target = config.data.source;
    };
    workplace(change, TEXTS)
}

/// Standard error of a command that ends with `code`.
fn failed(dir: &Path, args: &str, code: i32) -> String {
    let output = kinglet(dir, args, b"ab\n");
    assert_eq!(output.status.code(), Some(code), "{args}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn labels_are_as_many_as_tokens_and_scored_as_labels() {
    let dir = labels();
    let dir = dir.path();
    let answers = done(dir, "run m.kgl", "ab\nabba\n");
    let counts: Vec<usize> = answers.lines().map(|line| line.split(' ').count()).collect();
    assert_eq!(counts, [3, 5], "one for the start mark, too: {answers}");
    let scored = done(dir, "evaluate m.kgl --data dev.txt", "");
    let names: Vec<&str> = scored.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(names, ["acc", "slot", "intent", "line"]);
    assert!(scored.lines().next().unwrap().ends_with(" of 11 tokens)"), "{scored}");
    assert!(done(dir, "inspect m.kgl", "").contains("task: label\n"));
    let report = done(dir, "compile --checkpoint run --dev dev.txt -o n.kgl", "");
    let head = report.lines().find(|line| line.trim_start().starts_with("search")).unwrap();
    let heads: Vec<&str> = head.split_whitespace().collect();
    assert_eq!(heads[2..6], ["bytes", "line", "slot", "intent"], "what it was trained for comes first");
    assert!(failed(dir, "run m.kgl --seed 1", 2).contains("draws nothing"));
    std::fs::write(dir.join("short.txt"), "ab\tgo O\n").unwrap();
    assert!(failed(dir, "evaluate m.kgl --data short.txt", 1).contains("short.txt:1: expected 3 labels"));
}

#[test]
fn one_seed_one_text_behind_its_prompt() {
    let dir = generates();
    let dir = dir.path();
    let draw = |args: &str, input: &str| done(dir, &format!("run m.kgl {args}"), input);
    let first = draw("--seed 3 --sampling-temperature 2", "\nab\n\n");
    assert_eq!(first.lines().count(), 3);
    assert_eq!(first, draw("--seed 3 --sampling-temperature 2", "\nab\n\n"));
    assert_ne!(first, draw("--seed 4 --sampling-temperature 2", "\nab\n\n"));
    // The third line's seed is 5.
    assert_eq!(first.lines().nth(2), draw("--seed 5 --sampling-temperature 2", "\n").lines().next());
    // Of one token there is no choice.
    let one = draw("--sampling-topk 1 --seed 1", "ab\n");
    assert_eq!(one, draw("--sampling-topp 0.001", "ab\n"));
    assert_eq!(one, draw("--beam-size 1", "ab\n"));
    assert!(failed(dir, "run m.kgl --sampling-topp 0", 2).contains("above 0"));
}

#[test]
fn texts_are_scored_by_perplexity() {
    let dir = generates();
    let dir = dir.path();
    let scored = done(dir, "evaluate m.kgl --data dev.txt --metric loss,ppl", "");
    let values: Vec<f64> =
        scored.lines().map(|line| line.split(' ').nth(1).unwrap().parse().unwrap()).collect();
    assert!((values[0].exp() - values[1]).abs() < 1e-3, "{scored}");
    // An untrained network knows next to nothing of six tokens.
    assert!((4.0..9.0).contains(&values[1]), "{scored}");
    assert!(failed(dir, "evaluate m.kgl --data dev.txt --metric wer", 2).contains("use ppl"));
    assert!(failed(dir, "evaluate m.kgl --data dev.txt --hyp h.tsv", 2).contains("kinglet run --seed"));
    assert!(done(dir, "inspect m.kgl", "").contains("task: generate\n"));
    // Mixed weights are chosen, and reported, by what counts of texts.
    let args = "compile --checkpoint run --dev dev.txt --weights auto --max-loss 5 --json -o n.kgl";
    let report: serde_json::Value = serde_json::from_str(&done(dir, args, "")).unwrap();
    assert_eq!(report["choice"]["metric"], "ppl");
    let steps = report["choice"]["steps"].as_array().unwrap();
    assert!(steps.len() > 1 && steps.iter().all(|step| step["score"].as_f64().unwrap() > 4.0), "{steps:?}");
    let [only] = &report["accuracy"].as_array().unwrap()[..] else { panic!("one a text: {report}") };
    let (float, blob) = (only["float"]["ppl"].as_f64().unwrap(), only["blob"]["ppl"].as_f64().unwrap());
    assert!((float - blob).abs() < 0.2 && only["agreement"].is_null(), "{only}");
}

#[test]
fn what_attention_left_out_lowers_scores() {
    let corpus = "ab\tX Y\nba\tY\nabba\tX X\n";
    let dir = workplace(|_| (), corpus);
    // In two steps no position of five gets all the attention that it is to have.
    let run = |args: &str| {
        done(dir.path(), &format!("run m.kgl --return-scores --max-decoding-length 2 {args}"), "abba\n")
    };
    let score = |text: &str| text.split('\t').next().unwrap().parse::<f64>().unwrap();
    assert!(score(&run("--coverage-penalty 5")) < score(&run("")));
    assert!(failed(dir.path(), "run m.kgl --coverage-penalty 11", 2).contains("0 to 10"));
    let without = workplace(|config| config.model.attention.kind = AttentionKind::None, corpus);
    assert!(failed(without.path(), "run m.kgl --coverage-penalty 1", 1).contains("coverage"));
}
