//! `kinglet-train export` and `import` as a user meets them.

use std::path::Path;
use std::process::{Command, Output};

fn kinglet_train(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kinglet-train")).args(args).output().unwrap()
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Standard output and error of a command that succeeds.
fn done(args: &[&str]) -> [String; 2] {
    let Output { status, stdout, stderr } = kinglet_train(args);
    let [stdout, stderr] = [stdout, stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert_eq!(status.code(), Some(0), "{args:?}: {stderr}");
    [stdout, stderr]
}

/// The one line of standard error of a command that fails on files.
fn failed(args: &[&str]) -> String {
    let output = kinglet_train(args);
    assert_eq!(output.status.code(), Some(1), "{args:?}");
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(message.lines().count(), 1, "{message}");
    message
}

#[test]
fn a_run_goes_to_pytorch_and_back() {
    let dir = tempfile::tempdir().unwrap();
    let [data, run, exported, back] = ["data", "run", "exported", "back"].map(|name| dir.path().join(name));
    done(&["generate", "--task", "dates", "--out", path(&data), "--size", "300"]);
    let [config, train, dev, test] =
        ["dates.toml", "train.tsv", "dev.tsv", "test.tsv"].map(|name| data.join(name));
    let files = ["--config", path(&config), "--train", path(&train), "--dev", path(&dev)];
    done(&[&["train"], &files[..], &["--out", path(&run), "--epochs", "1"]].concat());

    let [said, next] = done(&["export", "--checkpoint", path(&run), "--out", path(&exported)]);
    assert!(said.contains("the attention tutorial's names") || said.contains("nn.GRU"), "{said}");
    // The command that it names does the way back.
    let command = next.trim().strip_prefix("back: kinglet-train ").unwrap().replace("DIR", path(&back));
    let import: Vec<&str> = command.split(' ').collect();
    let [said, _] = done(&import);
    assert!(said.contains("parameters"), "{said}");
    assert!(failed(&import).contains("already holds a run"));

    let evaluate = |run: &Path| {
        done(&["evaluate", "--checkpoint", path(run), "--data", path(&test), "--metric", "loss"])
    };
    assert_eq!(evaluate(&run), evaluate(&back));
    let weights = |run: &Path| std::fs::read(run.join("model.safetensors")).unwrap();
    assert_eq!(weights(&run), weights(&back));

    let whole = std::fs::read(exported.join("state_dict.safetensors")).unwrap();
    std::fs::write(exported.join("state_dict.safetensors"), &whole[..whole.len() / 2]).unwrap();
    let message = failed(&[&import[..], &["--force"]].concat());
    assert!(message.contains("expected a whole safetensors file"), "{message}");
    std::fs::write(exported.join("state_dict.safetensors"), &whole).unwrap();
    std::fs::write(exported.join("vocab.target.txt"), "<unk>\n<pad>\n<sos>\n").unwrap();
    let message = failed(&[&import[..], &["--force"]].concat());
    assert!(message.contains("vocab.target.txt: expected <eos>"), "{message}");
    // What was there is whole after both.
    assert_eq!(weights(&run), weights(&back));
}
