//! Training that is killed without warning at random moments ends with the bits of an unbroken run.

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use common::{data, files, history, small};
use kinglet_train::data::corpus;
use kinglet_train::nn::random::Random;

/// A process lives this long at most, in microseconds; the whole run takes a few times that.
const LONGEST: u64 = 250_000;

/// What happened to the processes.
#[derive(Debug, Default)]
struct Tally {
    kills: usize,
    /// Kills that left a file half written.
    writing: usize,
    /// Runs that reached their end and were compared.
    runs: usize,
}

fn train(root: &Path, out: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kinglet-train"));
    command.arg("train").arg("--resume").arg("--out").arg(out);
    for name in ["config", "train", "dev"] {
        command.arg(format!("--{name}")).arg(root.join(name));
    }
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Temporary files in a directory and when they were written.
fn half_written(dir: &Path) -> Vec<(PathBuf, SystemTime)> {
    let files = std::fs::read_dir(dir).into_iter().flatten().map(|entry| entry.unwrap());
    let temporary = files.filter(|file| file.path().extension().is_some_and(|x| x == "tmp"));
    temporary.map(|file| (file.path(), file.metadata().unwrap().modified().unwrap())).collect()
}

/// Kills trainings until so many kills have happened, and compares each that ends with an unbroken one.
fn kill(times: usize) -> Tally {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let mut config = small(6);
    config.train.checkpoint_every = 2;
    config.train.threads = 1;
    let data = data();
    std::fs::write(root.join("config"), config.to_toml()).unwrap();
    std::fs::write(root.join("train"), corpus::to_text(&data.train)).unwrap();
    std::fs::write(root.join("dev"), corpus::to_text(&data.dev)).unwrap();
    let straight = root.join("straight");
    assert!(train(root, &straight).status().unwrap().success());

    let mut random = Random::new(1);
    let mut tally = Tally::default();
    while tally.kills < times {
        let out = root.join(format!("run{}", tally.runs));
        let mut left = Vec::new();
        loop {
            let mut process = train(root, &out).spawn().unwrap();
            if tally.kills < times {
                std::thread::sleep(Duration::from_micros(random.below(LONGEST)));
                // SIGKILL, which no handler sees.
                process.kill().unwrap();
            }
            let status = process.wait().unwrap();
            if status.success() {
                break;
            }
            assert_eq!(status.code(), None, "it was killed, and did not fail");
            tally.kills += 1;
            let now = half_written(&out);
            tally.writing += usize::from(now.iter().any(|file| !left.contains(file)));
            left = now;
        }
        tally.runs += 1;
        assert_eq!(files(&out), files(&straight), "{tally:?}");
        assert_eq!(history(&out), history(&straight), "{tally:?}");
    }
    tally
}

#[test]
fn ten_kills_change_no_bit() {
    assert_eq!(kill(10).kills, 10);
}

/// The long version, which `tests/kill.sh` runs.
#[test]
#[ignore = "a minute or two"]
fn a_hundred_kills_change_no_bit() {
    let Tally { kills, writing, runs } = kill(100);
    println!(
        "{kills} kills, {writing} of them in the middle of a file: {runs} runs ended with the bits of an unbroken one"
    );
}
