//! The `kinglet` commands as a user meets them: output, messages and exit codes.

mod common;

use std::process::{Command, Output, Stdio};

use common::{done, kinglet};
use kinglet_train::checkpoint::Checkpoint;
use kinglet_train::config::{AttentionConfig, Config, DecoderConfig, EncoderConfig};
use kinglet_train::model::Seq2Seq;
use kinglet_train::vocab::Vocab;

const DEV: &str = "ab\tX Y\nba\tY\nabba\tX X\n";

/// A folder with an untrained checkpoint, its dev set and its blob.
fn workplace() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::default();
    config.model.encoder = EncoderConfig { embedding: 5, hidden: 6, ..EncoderConfig::default() };
    config.model.decoder = DecoderConfig { embedding: 5, hidden: 7, ..DecoderConfig::default() };
    config.model.attention = AttentionConfig { size: 6, ..AttentionConfig::default() };
    config.data.max_source_len = 6;
    config.data.max_target_len = 5;
    let source = Vocab::build(config.data.source, ["abba"], 1);
    let target = Vocab::build(config.data.target, ["X Y"], 1);
    let model = Seq2Seq::new(&config.model, source.len(), target.len(), 3);
    Checkpoint { config, source_vocab: source, target_vocab: target, model }
        .save(&dir.path().join("run"))
        .unwrap();
    std::fs::write(dir.path().join("dev.tsv"), DEV).unwrap();
    done(dir.path(), "compile --checkpoint run --dev dev.tsv -o m.kgl", "");
    dir
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn run_answers_line_by_line_and_says_what_it_does_not_know() {
    let dir = workplace();
    let plain = kinglet(dir.path(), "run m.kgl", b"ab\nba\n");
    assert_eq!(code(&plain), 0);
    assert_eq!(stdout(&plain).lines().count(), 2);
    assert_eq!(stderr(&plain), "");

    let odd = kinglet(dir.path(), "run m.kgl", b"ab\r\n\nba?\xC3\xA9");
    assert_eq!(code(&odd), 0);
    let lines: Vec<String> = stdout(&odd).split('\n').map(str::to_owned).collect();
    assert_eq!((lines.len(), lines[1].as_str()), (4, ""));
    assert_eq!(lines[0], stdout(&plain).lines().next().unwrap());
    assert!(stderr(&odd).contains("standard input:2: empty line"), "{}", stderr(&odd));
    assert!(stderr(&odd).contains("2 tokens that the model does not know"), "{}", stderr(&odd));

    let bad = kinglet(dir.path(), "run m.kgl", b"ab\n\xFF\nba\n");
    assert_eq!(code(&bad), 1);
    assert_eq!(stdout(&bad).lines().count(), 1);
    assert_eq!(stderr(&bad), "kinglet: standard input:2: not UTF-8\n");
}

#[test]
fn sources_may_be_longer_than_planned_up_to_the_runtime_s_limit() {
    let dir = workplace();
    assert_eq!(code(&kinglet(dir.path(), "run m.kgl", "ab".repeat(100).as_bytes())), 0);
    let long = kinglet(dir.path(), "run m.kgl", "ab".repeat(2048).as_bytes());
    assert_eq!(code(&long), 1);
    assert!(
        stderr(&long).contains("standard input:1: the source is too long: at most 4096"),
        "{}",
        stderr(&long)
    );
}

#[test]
fn hypotheses_scores_and_attention_have_their_columns() {
    let dir = workplace();
    let args = "run m.kgl --beam-size 3 --num-hypotheses 2 --return-scores --return-attention";
    let text = stdout(&kinglet(dir.path(), args, b"ab\n"));
    for line in text.lines() {
        let columns: Vec<&str> = line.split('\t').collect();
        assert_eq!((columns.len(), columns[0]), (4, "1"), "{line}");
        assert!(columns[1].parse::<f32>().unwrap() <= 0.0);
        let weights: Vec<Vec<f32>> = serde_json::from_str(columns[3]).unwrap();
        for row in weights {
            assert_eq!(row.len(), 3);
            assert!((row.iter().sum::<f32>() - 1.0).abs() < 0.01);
        }
    }
    assert_eq!(text.lines().count(), 2);
    let n_best = stdout(&kinglet(dir.path(), "run m.kgl --beam-size 3 --n-best", b"ab\nba\n"));
    assert_eq!(n_best.lines().filter(|l| l.starts_with("0 ||| ")).count(), 3);
    assert_eq!(n_best.lines().filter(|l| l.starts_with("1 ||| ")).count(), 3);
}

#[test]
fn wrong_usage_and_bad_files_have_their_exit_codes() {
    let dir = workplace();
    std::fs::write(dir.path().join("text.kgl"), "not a model, but long enough").unwrap();
    let blob = std::fs::read(dir.path().join("m.kgl")).unwrap();
    std::fs::write(dir.path().join("cut.kgl"), &blob[..blob.len() - 1]).unwrap();
    std::fs::write(dir.path().join("empty.tsv"), "").unwrap();
    let compile = "compile --checkpoint run --dev dev.tsv -o";
    for (args, expected, message) in [
        ("run", 2, "Usage"),
        ("run m.kgl --beam-size 9", 2, "1..=8"),
        ("run m.kgl --num-hypotheses 5", 2, "--beam-size 5"),
        ("run m.kgl --min-decoding-length 9 --max-decoding-length 3", 2, "more than"),
        ("evaluate m.kgl --data dev.tsv --metric loss", 2, "kinglet-train evaluate"),
        ("run missing.kgl", 1, "cannot read missing.kgl"),
        ("run text.kgl", 1, "not a Kinglet blob"),
        ("inspect cut.kgl", 1, "cut short"),
        ("evaluate m.kgl --data empty.tsv", 1, "empty.tsv:1: the file is empty"),
        ("compile --checkpoint run --dev empty.tsv -o n.kgl", 1, "empty.tsv:1: the file is empty"),
        ("compile --checkpoint nowhere --dev dev.tsv -o n.kgl", 1, "cannot read nowhere"),
        (&format!("{compile} missing/n.kgl"), 1, "cannot write missing/n.kgl"),
        (&format!("{compile} n.kgl --max-ram 10"), 1, "bytes of RAM, 10 are allowed"),
        (&format!("{compile} n.kgl --max-flash 10"), 1, "bytes of flash, 10 are allowed"),
        (&format!("{compile} n.kgl --weights int5"), 2, "int5"),
    ] {
        let output = kinglet(dir.path(), args, b"");
        assert_eq!(code(&output), expected, "{args}: {}", stderr(&output));
        assert!(stderr(&output).contains(message), "{args}: {}", stderr(&output));
        assert!(expected == 2 || stderr(&output).lines().count() == 1, "{args}: {}", stderr(&output));
    }
    assert!(!dir.path().join("n.kgl").exists());
}

#[test]
fn evaluate_and_inspect_speak_json() {
    let dir = workplace();
    let output = kinglet(dir.path(), "evaluate m.kgl --data dev.tsv --hyp h.tsv --json --threads 3", b"");
    let scores: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(scores["sources"], 3);
    assert!(scores["wer"].is_number() && scores["per"].is_number() && scores["exact"].is_number());
    let one = std::fs::read_to_string(dir.path().join("h.tsv")).unwrap();
    let sources: Vec<&str> = one.lines().map(|line| line.split('\t').next().unwrap()).collect();
    assert_eq!(sources, ["ab", "ba", "abba"]);
    kinglet(dir.path(), "evaluate m.kgl --data dev.tsv --hyp h.tsv --json --threads 1", b"");
    assert_eq!(std::fs::read_to_string(dir.path().join("h.tsv")).unwrap(), one);

    let output = kinglet(dir.path(), "inspect m.kgl --json", b"");
    let contents: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let size = std::fs::metadata(dir.path().join("m.kgl")).unwrap().len();
    assert_eq!(contents["bytes"], size);
    assert_eq!((&contents["max_source"], &contents["max_target"]), (&7.into(), &5.into()));
    let operations: Vec<&str> =
        contents["layers"].as_array().unwrap().iter().map(|l| l["operation"].as_str().unwrap()).collect();
    let step = ["linear", "attend", "gru", "linear"];
    assert!(operations.ends_with(&step), "{operations:?}");
    // Weights, tables and vocabularies: what is listed cannot be more than there is.
    let listed: u64 = contents["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|l| l["weight_bytes"].as_u64().unwrap() + l["table_bytes"].as_u64().unwrap())
        .sum();
    assert!(listed < contents["data_bytes"].as_u64().unwrap());
}

#[test]
fn times_are_told_for_the_lengths_of_given_words() {
    let dir = workplace();
    std::fs::write(dir.path().join("words.txt"), "abba\nab\n").unwrap();
    let lengths = |data: &str| {
        let output = kinglet(dir.path(), &format!("inspect m.kgl --board microbit-v1 --json{data}"), b"");
        let contents: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let time = &contents["fit"]["time"];
        // The blob is arranged for this core: what it takes is what is told.
        assert_eq!(time["foreign"], false);
        assert!(time["beam_4"]["ms"].as_f64().unwrap() > time["greedy"]["ms"].as_f64().unwrap());
        ["source", "steps", "beam_4_steps"].map(|name| time["lengths"][name].as_f64().unwrap())
    };
    // Half of the planned 7 and 6.
    assert_eq!(lengths(""), [3.5, 3.0, 3.0]);
    let [source, steps, beam_4_steps] = lengths(" --data words.txt");
    assert_eq!(source, 4.0);
    assert!((1.0..=5.0).contains(&steps) && steps <= beam_4_steps);
}

/// A pipe nobody reads: `| head` after its last line.
#[cfg(unix)]
#[test]
fn output_that_nobody_reads_ends_the_command_quietly() {
    use std::os::unix::process::ExitStatusExt;
    let dir = workplace();
    let printing =
        ["inspect m.kgl", "evaluate m.kgl --data dev.tsv", "compile --checkpoint run --dev dev.tsv -o n.kgl"];
    for args in printing {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = Command::new(env!("CARGO_BIN_EXE_kinglet"))
            .args(args.split(' '))
            .current_dir(dir.path())
            .stdout(writer)
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        let text = stderr(&output);
        // 13 is SIGPIPE, of which shells make 141.
        assert_eq!((output.status.signal(), text.as_str()), (Some(13), ""), "{args}");
    }
}
