//! The commands as a user meets them: results, messages and exit codes.

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use common::command;

fn kinglet_train(args: &[&str], input: &[u8]) -> Output {
    command::kinglet_train(Path::new("."), args, input)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Standard output of a command that succeeds.
fn done(args: &[&str], input: &[u8]) -> String {
    let output = kinglet_train(args, input);
    assert_eq!(output.status.code(), Some(0), "{args:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// Exit code and standard error, one line, of a command that fails.
fn failed(args: &[&str], input: &[u8]) -> (i32, String) {
    let output = kinglet_train(args, input);
    let message = text(&output.stderr);
    assert!(message.lines().count() == 1 || output.status.code() == Some(2), "{message}");
    (output.status.code().unwrap(), message)
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A directory with a corpus, shared by all tests, and a run in `run` that has learned it a little.
fn trained() -> &'static Path {
    static DIR: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, dir) = DIR.get_or_init(|| {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().to_owned();
        let said = done(&["generate", "--task", "dates", "--out", path(&dir), "--size", "3000"], b"");
        assert!(said.contains("2400 train, 300 dev, 300 test pairs"), "{said}");
        let said = train(&dir, &["--out", path(&dir.join("run")), "--epochs", "3"]);
        assert!(said.contains("best epoch"), "{said}");
        (root, dir)
    });
    dir
}

fn train_args<'a>(files: &'a [PathBuf; 3], more: &[&'a str]) -> Vec<&'a str> {
    let mut args =
        vec!["train", "--config", path(&files[0]), "--train", path(&files[1]), "--dev", path(&files[2])];
    args.extend(more);
    args
}

fn corpus(dir: &Path) -> [PathBuf; 3] {
    ["dates.toml", "train.tsv", "dev.tsv"].map(|name| dir.join(name))
}

fn train(dir: &Path, more: &[&str]) -> String {
    done(&train_args(&corpus(dir), more), b"")
}

#[test]
fn evaluation_reports_what_is_asked_and_writes_hypotheses() {
    let dir = trained();
    let (run, test, hyp) = (dir.join("run"), dir.join("test.tsv"), dir.join("hyp.tsv"));
    let base = ["evaluate", "--checkpoint", path(&run), "--data", path(&test)];
    let said = done(&[&base[..], &["--metric", "per,wer,loss", "--hyp", path(&hyp)]].concat(), b"");
    let names: Vec<&str> = said.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(names, ["per", "wer", "loss"]);

    let json: serde_json::Value =
        serde_json::from_str(&done(&[&base[..], &["--metric", "wer,exact", "--json"]].concat(), b""))
            .unwrap();
    assert_eq!(json["sources"], 300);
    assert_eq!(json["wer"].as_f64().unwrap() * 3.0, json["wrong_sources"].as_f64().unwrap());

    // The hypotheses file is a corpus that differs from the references where the model is wrong.
    let read = |path: &Path| kinglet_train::data::corpus::read(path).unwrap();
    let (references, hypotheses) = (read(&test), read(&hyp));
    let wrong = references.iter().zip(&hypotheses).filter(|(r, h)| r != h).count();
    assert!(references.iter().zip(&hypotheses).all(|(r, h)| r.source == h.source));
    assert_eq!(json["wrong_sources"], wrong);
}

#[test]
fn decoding_answers_every_line() {
    let run = trained().join("run");
    let base = ["decode", "--checkpoint", path(&run)];
    let plain = done(&base, b"3 May 2020\n4 May 2020\n");
    assert_eq!(plain.lines().count(), 2);
    assert_eq!(done(&base, b"3 May 2020\r\n4 May 2020"), plain);
    assert_eq!(done(&base, b""), "");

    let output = kinglet_train(&base, "3 May 2020\n\n4 Mäy 2020 €\n".as_bytes());
    let (answers, notes) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(answers.lines().nth(1), Some(""));
    assert_eq!(answers.lines().count(), 3);
    assert!(notes.contains("2 tokens") && notes.contains("1 empty lines"), "{notes}");

    let scored = done(
        &[&base[..], &["--return-scores", "--num-hypotheses", "3"]].concat(),
        b"3 May 2020\n4 May 2020\n",
    );
    let columns: Vec<Vec<&str>> = scored.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!(columns.iter().map(|c| c[0]).collect::<String>(), "111222");
    assert_eq!(columns[0][2], plain.lines().next().unwrap());
    let scores: Vec<f64> = columns.iter().map(|c| c[1].parse().unwrap()).collect();
    assert!(scores[0] >= scores[1] && scores[1] >= scores[2], "{scores:?}");
}

#[test]
fn lines_that_are_not_utf8_are_named_after_what_came_before_is_answered() {
    let run = trained().join("run");
    let output = kinglet_train(&["decode", "--checkpoint", path(&run)], b"3 May 2020\nx\xff\n4 May 2020\n");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stdout).lines().count(), 1);
    assert!(text(&output.stderr).contains("standard input:2: not UTF-8 from byte 2"));
}

#[test]
fn wrong_usage_is_told_apart_from_bad_files() {
    let dir = trained();
    let run = dir.join("run");
    let missing = dir.join("missing");
    for args in [
        &["train"][..],
        &["decode", "--checkpoint", path(&run), "--beam-size", "0"],
        &["decode", "--checkpoint", path(&run), "--num-hypotheses", "9"],
        &["evaluate", "--checkpoint", path(&run), "--data", "x", "--metric", "bleurt"],
        &["generate", "--task", "poems", "--out", path(&missing)],
        &["train", "--train", "x", "--dev", "x", "--out", path(&missing), "--resume"],
    ] {
        assert_eq!(failed(args, b"").0, 2, "{args:?}");
    }
    for (args, expected) in [
        (&["decode", "--checkpoint", path(&missing)][..], "missing/config.toml"),
        (&["evaluate", "--checkpoint", path(&run), "--data", path(&missing)], "cannot read"),
        (&["generate", "--task", "dates", "--out", path(dir)], "exists"),
        (&["generate", "--task", "dates", "--out", path(&missing), "--size", "3"], "at least 10"),
    ] {
        let (code, message) = failed(args, b"");
        assert!(code == 1 && message.contains(expected), "{args:?}: {message}");
    }
    assert!(!missing.exists());
}

#[test]
fn bad_configurations_corpora_and_folders_stop_before_anything_is_written() {
    let dir = trained();
    let root = tempfile::tempdir().unwrap();
    let out = root.path().join("run");
    let file = |name: &str, content: &[u8]| {
        let path = root.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let [config, pairs, dev] = corpus(dir);
    let unknown_key = file("a.toml", b"[train]\nlearning_rat = 1.0\n");
    let size = file("b.toml", b"[model.encoder]\nhidden = 0\n");
    let no_tab = file("c.tsv", b"a\tb\nc d\n");
    let empty = file("d.tsv", b"");
    let under_a_file = file("e", b"").join("run");
    for (files, out, expected) in [
        ([&unknown_key, &pairs, &dev], &out, "a.toml"),
        ([&unknown_key, &pairs, &dev], &out, "learning_rat"),
        ([&size, &pairs, &dev], &out, "model.encoder.hidden must be 1 to 4096, found 0"),
        ([&config, &no_tab, &dev], &out, "c.tsv:2: no tab"),
        ([&config, &pairs, &empty], &out, "d.tsv:1: the file is empty"),
        ([&config, &pairs, &dev], &under_a_file, "cannot create"),
    ] {
        let (code, message) = failed(&train_args(&files.map(Clone::clone), &["--out", path(out)]), b"");
        assert!(code == 1 && message.contains(expected), "{message}");
        assert!(!out.exists());
    }
    let run = dir.join("run");
    let before = std::fs::read(run.join("model.safetensors")).unwrap();
    let (code, message) = failed(&train_args(&corpus(dir), &["--out", path(&run)]), b"");
    assert!(code == 1 && message.contains("already holds a run"), "{message}");
    assert_eq!(std::fs::read(run.join("model.safetensors")).unwrap(), before);
}

#[test]
fn several_checkpoints_decode_together_and_teach() {
    let (dir, root) = (trained(), tempfile::tempdir().unwrap());
    let (one, two, test) = (dir.join("run"), root.path().join("two"), dir.join("test.tsv"));
    train(dir, &["--out", path(&two), "--epochs", "3", "--seed", "7"]);
    let score = |runs: &[&Path], more: &[&str]| -> serde_json::Value {
        let runs = runs.iter().flat_map(|run| ["--checkpoint", path(run)]);
        let args = ["evaluate", "--data", path(&test), "--json", "--metric", "loss,ppl,free_ppl,bleu,cer"];
        serde_json::from_str(&done(
            &args.into_iter().chain(runs).chain(more.iter().copied()).collect::<Vec<_>>(),
            b"",
        ))
        .unwrap()
    };
    let loss = |runs: &[&Path]| score(runs, &[])["loss"].as_f64().unwrap();
    // The logarithm is concave: a mean of distributions loses less than distributions do in the mean.
    let (mean, together) = ((loss(&[&one]) + loss(&[&two])) / 2.0, loss(&[&one, &two]));
    assert!(together < mean, "{together} {mean}");
    let all = score(&[&one, &one], &[]);
    assert!((all["loss"].as_f64().unwrap() - loss(&[&one])).abs() < 1e-5);
    assert!((all["ppl"].as_f64().unwrap().ln() - loss(&[&one])).abs() < 1e-5);
    for name in ["free_ppl", "bleu", "cer"] {
        assert!(all[name].as_f64().unwrap() > 0.0, "{name}");
    }
    let both = ["decode", "--checkpoint", path(&one), "--checkpoint", path(&two)];
    assert_eq!(done(&both, b"3 May 2020\n").lines().count(), 1);

    let out = root.path().join("distilled.tsv");
    let distill = ["distill", "--checkpoint", path(&one), "--data", path(&test), "--out", path(&out)];
    let said = done(&[&distill[..], &["--with-references", "--num-hypotheses", "2"]].concat(), b"");
    assert!(said.contains("pairs of 300 lines"), "{said}");
    let read = |path: &Path| kinglet_train::data::corpus::read(path).unwrap();
    let (pairs, references) = (read(&out), read(&test));
    assert!(references.iter().all(|pair| pairs.contains(pair)));
    assert!(pairs.len() > references.len() && pairs.len() <= 3 * references.len());

    let toml = std::fs::read_to_string(dir.join("dates.toml")).unwrap() + "[distill]\nweight = 0.5\n";
    let config = root.path().join("student.toml");
    std::fs::write(&config, toml).unwrap();
    let files = [config, dir.join("train.tsv"), dir.join("dev.tsv")];
    let student = root.path().join("student");
    let more = ["--teacher", path(&one), "--out", path(&student), "--epochs", "1"];
    assert!(done(&train_args(&files, &more), b"").contains("best epoch 1 of 1"));
    let other = root.path().join("other");
    done(&["generate", "--task", "reverse", "--out", path(&other), "--size", "100"], b"");
    let files = ["reverse.toml", "train.tsv", "dev.tsv"].map(|name| other.join(name));
    done(&train_args(&files, &["--out", path(&other.join("run")), "--epochs", "1"]), b"");
    let (code, message) = failed(
        &[
            "evaluate",
            "--checkpoint",
            path(&one),
            "--checkpoint",
            path(&other.join("run")),
            "--data",
            path(&test),
        ],
        b"",
    );
    assert!(code == 1 && message.contains("vocab.source.txt: expected the tokens of"), "{message}");
}

#[cfg(unix)]
#[test]
fn a_disk_without_space_for_the_next_epoch_leaves_the_last_one() {
    let (dir, root) = (trained(), tempfile::tempdir().unwrap());
    let out = root.path().join("run");
    train(dir, &["--out", path(&out), "--epochs", "1"]);
    let before = std::fs::read(out.join("optimizer.safetensors")).unwrap();
    // No file may grow beyond the model, which the optimizer's is three of; the signal that tells so is ignored, so that
    // writing fails instead.
    let blocks = std::fs::metadata(out.join("model.safetensors")).unwrap().len() / 512 + 1;
    let limited = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\"");
    let data = ["train.tsv", "dev.tsv"].map(|name| dir.join(name));
    let output = Command::new("sh")
        .args([
            "-c",
            &limited,
            "sh",
            env!("CARGO_BIN_EXE_kinglet-train"),
            "train",
            "--resume",
            "--epochs",
            "2",
        ])
        .args(["--train", path(&data[0]), "--dev", path(&data[1]), "--out", path(&out)])
        .output()
        .unwrap();
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(
        message.contains("cannot write") && message.contains("optimizer.safetensors: File too large"),
        "{message}"
    );
    assert_eq!(std::fs::read(out.join("optimizer.safetensors")).unwrap(), before);
    kinglet_train::checkpoint::Checkpoint::load(&out).unwrap();
    assert!(!out.join(".optimizer.safetensors.tmp").exists());
}

#[cfg(target_os = "linux")]
#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let (code, message) = failed(&train_args(&corpus(trained()), &["--out", "/proc/kinglet"]), b"");
    assert!(code == 1 && message.contains("cannot create /proc/kinglet"), "{message}");
}

#[cfg(unix)]
#[test]
fn ctrl_c_keeps_the_last_epoch_and_says_how_to_go_on() {
    let dir = trained();
    let root = tempfile::tempdir().unwrap();
    let out = root.path().join("run");
    let child = Command::new(env!("CARGO_BIN_EXE_kinglet-train"))
        .args(train_args(&corpus(dir), &["--out", path(&out), "--epochs", "100000"]))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while !out.join("model.safetensors").exists() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let message = text(&output.stderr);
    assert!(message.contains("interrupted") && message.contains("--resume"), "{message}");
    kinglet_train::checkpoint::Checkpoint::load(&out).unwrap();
}

#[test]
fn a_run_continues_on_integers() {
    let (dir, root) = (trained(), tempfile::tempdir().unwrap());
    let (float, out) = (dir.join("run"), root.path().join("int4"));
    let common = ["--init", path(&float), "--out", path(&out), "--epochs", "1", "--learning-rate", "1e-3"];
    let said =
        train(dir, &[&common[..], &["--qat", "int4", "--qat-group", "16", "--dropout", "0.05"]].concat());
    assert!(said.contains("best epoch 1 of 1"), "{said}");
    let scheme = std::fs::read_to_string(out.join("quantization.toml")).unwrap();
    assert!(scheme.contains("\"decoder.rnn.l0\" = \"int4:16\""), "{scheme}");
    assert!(scheme.contains("\"decoder.fc_out\" = \"int8\""), "{scheme}");
    let config = std::fs::read_to_string(out.join("config.toml")).unwrap();
    assert!(config.contains("[qat]") && config.contains("dropout = 0.05"), "{config}");
    let data = dir.join("test.tsv");
    assert!(done(&["evaluate", "--checkpoint", path(&out), "--data", path(&data)], b"").contains("wer "));
    assert_eq!(done(&["decode", "--checkpoint", path(&out)], b"1 may 1999\n").lines().count(), 1);

    for wrong in [&["--qat", "int9"][..], &["--qat", "int4", "--qat-group", "20"]] {
        let files = ["train.tsv", "dev.tsv"].map(|name| dir.join(name));
        let data = ["train", "--train", path(&files[0]), "--dev", path(&files[1])];
        let (code, message) = failed(&[&data[..], &common, wrong].concat(), b"");
        assert!(code == 2 && (message.contains("2 to 8 bits") || message.contains("16 to 256")), "{message}");
    }
}

/// A pipe nobody reads: `| head` after its last line.
#[cfg(unix)]
#[test]
fn output_that_nobody_reads_ends_the_command_quietly() {
    use std::os::unix::process::ExitStatusExt;
    let (run, data) = (trained().join("run"), trained().join("dev.tsv"));
    for args in ["evaluate --metric per", "evaluate --json"] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = Command::new(env!("CARGO_BIN_EXE_kinglet-train"))
            .args(args.split(' '))
            .args(["--checkpoint", path(&run), "--data", path(&data)])
            .stdout(writer)
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        let text = text(&output.stderr);
        // 13 is SIGPIPE, of which shells make 141.
        assert_eq!((output.status.signal(), text.as_str()), (Some(13), ""), "{args}");
    }
}
