//! Tagging and language models as a user meets them.

use std::path::Path;
use std::process::{Command, Output, Stdio};

fn kinglet_train(args: &[&str], input: &str) -> Output {
    use std::io::Write;
    let mut child = Command::new(env!("CARGO_BIN_EXE_kinglet-train"))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Who fails early does not read.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// Standard output of a command that succeeds.
fn done(args: &[&str], input: &str) -> String {
    let Output { status, stdout, stderr } = kinglet_train(args, input);
    assert_eq!(status.code(), Some(0), "{args:?}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

/// Standard error of a command that ends with `code`.
fn failed(args: &[&str], code: i32) -> String {
    let output = kinglet_train(args, "a\n");
    assert_eq!(output.status.code(), Some(code), "{args:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

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

#[test]
fn intent_and_slots_are_learned_and_scored() {
    let dir = tempfile::tempdir().unwrap();
    let [config, data, run, hyp] = ["c.toml", "d.tsv", "run", "hyp.tsv"].map(|name| dir.path().join(name));
    let lines: String = commands().iter().map(|(s, t)| format!("{s}\t{t}\n")).collect();
    std::fs::write(&data, lines).unwrap();
    let text = "[data]\nsource = \"words\"\nsource_start = true\n[model]\ntask = \"label\"\ndropout = 0.0\n\
                [train]\nmetric = \"line\"\nepochs = 60\npatience = 60\nbatch_size = 4\nthreads = 1\n";
    std::fs::write(&config, format!("{text}{SIZES}")).unwrap();
    let files = ["--config", path(&config), "--train", path(&data), "--dev", path(&data)];
    done(&[&["train"], &files[..], &["--out", path(&run)]].concat(), "");

    let scored =
        done(&["evaluate", "--checkpoint", path(&run), "--data", path(&data), "--hyp", path(&hyp)], "");
    let value = |name: &str| -> f64 {
        let line = scored.lines().find(|line| line.starts_with(&format!("{name} "))).expect(name);
        line.split(' ').nth(1).unwrap().parse().unwrap()
    };
    for metric in ["acc", "slot", "intent", "line"] {
        assert!(value(metric) > 95.0, "{scored}");
    }
    let hypotheses = std::fs::read_to_string(&hyp).unwrap();
    assert_eq!(hypotheses.lines().count(), commands().len());
    let answers =
        done(&["decode", "--checkpoint", path(&run)], "light in big room\nopen now please in hall\n");
    assert_eq!(answers, "LIGHT O O B-place I-place\nOPEN O O O O B-place\n");
    let scores = done(&["decode", "--checkpoint", path(&run), "--return-scores"], "light in hall\n");
    assert!(scores.split('\t').next().unwrap().parse::<f64>().unwrap() < 0.0, "{scores}");
    assert!(failed(&["sample", "--checkpoint", path(&run)], 2).contains("labels"));
    let free = ["evaluate", "--checkpoint", path(&run), "--data", path(&data), "--metric", "free_ppl"];
    assert!(failed(&free, 2).contains("use ppl"));
}

#[test]
fn a_line_with_another_number_of_labels_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let [config, data, run] = ["c.toml", "d.tsv", "run"].map(|name| dir.path().join(name));
    std::fs::write(&config, "[data]\nsource = \"words\"\n[model]\ntask = \"label\"\n").unwrap();
    std::fs::write(&data, "a b\tX Y\na b c\tX Y\n").unwrap();
    let files = ["--config", path(&config), "--train", path(&data), "--dev", path(&data)];
    let message = failed(&[&["train"], &files[..], &["--out", path(&run)]].concat(), 1);
    assert!(message.contains("d.tsv:2: expected 3 labels") && message.contains("found 2"), "{message}");
    assert!(!run.exists());
}

#[test]
fn a_language_model_learns_evaluates_and_draws() {
    let dir = tempfile::tempdir().unwrap();
    let [config, data, run] = ["c.toml", "d.txt", "run"].map(|name| dir.path().join(name));
    let lines: String = (0..60).map(|i| format!("{}\n", "ab".repeat(1 + i % 3))).collect();
    std::fs::write(&data, lines).unwrap();
    let text = "[data]\ntarget = \"chars\"\n[model]\ntask = \"generate\"\ndropout = 0.0\n\
                [train]\nmetric = \"ppl\"\nepochs = 30\nbatch_size = 8\n";
    std::fs::write(&config, format!("{text}{SIZES}")).unwrap();
    let files = ["--config", path(&config), "--train", path(&data), "--dev", path(&data)];
    done(&[&["train"], &files[..], &["--out", path(&run)]].concat(), "");

    let scored = done(&["evaluate", "--checkpoint", path(&run), "--data", path(&data)], "");
    let ppl: f64 = scored.trim().strip_prefix("ppl ").unwrap().parse().unwrap();
    // One line of three, in five tokens on average: e^(3 ln 3 / 15) = 1.246.
    assert!((1.2..1.35).contains(&ppl), "{scored}");
    let draw = |seed: &str| {
        done(&["sample", "--checkpoint", path(&run), "--number", "40", "--seed", seed, "--top-k", "2"], "")
    };
    let drawn = draw("1");
    assert_eq!((drawn.lines().count(), &drawn), (40, &draw("1")));
    assert_ne!(drawn, draw("2"));
    let known = drawn.lines().filter(|line| ["ab", "abab", "ababab"].contains(line)).count();
    assert!(known >= 36, "{drawn}");
    for (args, expected) in [
        (&["decode", "--checkpoint", path(&run)][..], "kinglet-train sample"),
        (&["evaluate", "--checkpoint", path(&run), "--data", path(&data), "--metric", "wer"], "use ppl"),
        (&["sample", "--checkpoint", path(&run), "--temperature", "0"], "--temperature must be above 0"),
        (&["sample", "--checkpoint", path(&run), "--top-p", "2"], "--top-p must be 0 to 1"),
    ] {
        let message = failed(args, 2);
        assert!(message.contains(expected), "{message}");
    }
}
