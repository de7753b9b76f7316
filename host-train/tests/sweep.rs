//! A sweep's promises: the same trials and the same table whatever the jobs and however often it was stopped.

mod common;

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::{data, files, history, run as train, small};
use kinglet_train::Error;
use kinglet_train::config::{Config, Metric};
use kinglet_train::data::corpus;
use kinglet_train::sweep::{self, Method, Plan, State, Status, Trial, Work};
use kinglet_train::trainer::Start;

const SPACE: &str =
    "optimizer.learning_rate = { log_uniform = [1e-3, 1e-1] }\nmodel.decoder.hidden = { integer = [4, 8] }\n";
const FILES: [&str; 3] = ["sweep.json", "sweep.csv", "best.toml"];

fn plan(method: Method, trials: usize, epochs: usize, space: &str) -> Plan {
    Plan { config: small(epochs), space: space.into(), method, trials, seed: 7 }
}

fn begin(plan: &Plan, out: &Path) -> Result<State, Error> {
    let data = data();
    State::create(plan, &data.train, &data.dev, out)
}

/// Goes on until so many more epochs of all trials are on disk, which is in the middle of some trial.
fn go_on(state: &mut State, out: &Path, jobs: usize, more: usize) -> bool {
    let (data, stop, ended) = (data(), AtomicBool::new(false), AtomicBool::new(false));
    let work = Work { train: &data.train, dev: &data.dev, out, jobs, threads: 1 };
    let enough = epochs_on_disk(out).saturating_add(more);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                stop.store(epochs_on_disk(out) >= enough, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let finished = sweep::run(state, &work, &stop, &|_| ());
        ended.store(true, Ordering::Relaxed);
        finished.unwrap()
    })
}

fn epochs_on_disk(out: &Path) -> usize {
    let trials = std::fs::read_dir(out).unwrap().map(|entry| entry.unwrap().path().join("history.jsonl"));
    trials.filter_map(|path| std::fs::read_to_string(path).ok()).map(|text| text.lines().count()).sum()
}

fn written(out: &Path) -> Vec<String> {
    FILES.iter().map(|name| std::fs::read_to_string(out.join(name)).unwrap()).collect()
}

#[test]
fn neither_jobs_nor_stops_change_a_sweep() {
    let root = tempfile::tempdir().unwrap();
    for (name, method) in [("random", Method::Random), ("halving", Method::Halving { eta: 2 })] {
        let plan = plan(method, 4, 4, SPACE);
        let [straight, stopped] =
            ["straight", "stopped"].map(|end| root.path().join(format!("{name}-{end}")));
        assert!(go_on(&mut begin(&plan, &straight).unwrap(), &straight, 1, usize::MAX));
        let mut parts = 1;
        let data = data();
        begin(&plan, &stopped).unwrap();
        while !go_on(&mut State::resume(&data.train, &data.dev, &stopped).unwrap(), &stopped, 3, 2) {
            parts += 1;
            assert!(parts < 40, "it comes to an end");
        }
        assert!(parts > 1, "{name}: it was stopped");
        assert_eq!(written(&straight), written(&stopped), "{name}");
        let best = State::resume(&data.train, &data.dev, &stopped).unwrap().best().unwrap().folder();
        assert_eq!(files(&straight.join(&best)), files(&stopped.join(&best)), "{name}");
    }
}

#[test]
fn halving_gives_the_best_more_epochs() {
    let root = tempfile::tempdir().unwrap();
    let mut state = begin(&plan(Method::Halving { eta: 2 }, 4, 4, SPACE), root.path()).unwrap();
    go_on(&mut state, root.path(), 2, usize::MAX);
    let mut epochs: Vec<usize> = state.trials.iter().map(|trial| trial.epochs).collect();
    epochs.sort_unstable();
    assert_eq!(epochs, [1, 1, 2, 4]);
    // Those that ran on were the best after the epochs that all had.
    let after_one = |trial: &&Trial| history(&root.path().join(trial.folder()))[0].2;
    let dropped =
        state.trials.iter().filter(|trial| trial.epochs == 1).map(|t| after_one(&t)).fold(9.0, f64::min);
    assert!(state.trials.iter().filter(|trial| trial.epochs > 1).all(|t| after_one(&t) < dropped));
    assert_eq!(state.best().unwrap().status, Status::Done);
}

#[test]
fn a_trial_is_a_run_of_its_configuration() {
    let root = tempfile::tempdir().unwrap();
    let (out, alone) = (root.path().join("sweep"), root.path().join("alone"));
    let mut state = begin(&plan(Method::Random, 2, 2, SPACE), &out).unwrap();
    go_on(&mut state, &out, 2, usize::MAX);
    let mut best = Config::from_toml(&std::fs::read_to_string(out.join("best.toml")).unwrap()).unwrap();
    best.train.threads = 1;
    train(&best, &alone, Start::Fresh).unwrap();
    assert_eq!(files(&alone), files(&out.join(state.best().unwrap().folder())));
}

#[test]
fn a_trial_that_fails_is_told_and_the_others_go_on() {
    let root = tempfile::tempdir().unwrap();
    let space = "model.dropout = { choice = [0.1, 1.5] }\ndata.max_source_len = { choice = [2, 64] }\n";
    let mut state = begin(&plan(Method::Random, 4, 1, space), root.path()).unwrap();
    assert!(go_on(&mut state, root.path(), 2, usize::MAX));
    let failed: Vec<&str> = state.trials.iter().filter_map(|trial| trial.reason.as_deref()).collect();
    assert_eq!(failed.len(), 3);
    assert!(
        failed.iter().any(|reason| reason.contains("model.dropout must be 0 to 0.95, found 1.5")),
        "{failed:?}"
    );
    assert!(
        failed.iter().any(|reason| reason.contains("training pairs fits data.max_source_len = 2")),
        "{failed:?}"
    );
    assert_eq!(state.best().unwrap().status, Status::Done);
    let csv = std::fs::read_to_string(root.path().join("sweep.csv")).unwrap();
    assert!(csv.starts_with(
        "trial,status,epochs,best_epoch,loss,dev_loss,parameters,data.max_source_len,model.dropout,reason\n"
    ));
    assert_eq!((csv.matches(",done,").count(), csv.matches(",failed,").count()), (1, 3), "{csv}");
    assert_eq!(csv.lines().nth(1).unwrap().split(',').nth(1), Some("done"), "the best comes first: {csv}");
}

#[test]
fn what_cannot_be_compared_or_continued_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let halving = Method::Halving { eta: 2 };
    for (method, space, expected) in [
        (Method::Random, "train.metric = { choice = [\"wer\"] }", "train.metric must be the same"),
        (halving, "train.epochs = { integer = [1, 2] }", "train.epochs must be the same"),
        (Method::Halving { eta: 1 }, SPACE, "eta must be 2 or more"),
    ] {
        let message = begin(&plan(method, 2, 2, space), root.path()).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
    let state = begin(&plan(halving, 2, 2, SPACE), root.path()).unwrap();
    let message = begin(&plan(halving, 2, 2, SPACE), root.path()).unwrap_err().to_string();
    assert!(message.contains("--resume"), "{message}");
    let mut data = data();
    assert_eq!(State::resume(&data.train, &data.dev, root.path()).unwrap(), state);
    data.dev.swap(0, 1);
    let message = State::resume(&data.train, &data.dev, root.path()).unwrap_err().to_string();
    assert!(message.contains("training and dev pairs"), "{message}");
    std::fs::write(root.path().join("sweep.json"), "{").unwrap();
    let message = State::resume(&data.train, &data.dev, root.path()).unwrap_err().to_string();
    assert!(message.contains("sweep.json: expected a sweep"), "{message}");
}

#[test]
fn a_killed_sweep_goes_on() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let mut config = small(4);
    config.train.metric = Metric::Loss;
    config.train.checkpoint_every = 3;
    let data = data();
    for (name, text) in [
        ("config", config.to_toml()),
        ("space", SPACE.to_owned()),
        ("train", corpus::to_text(&data.train)),
        ("dev", corpus::to_text(&data.dev)),
    ] {
        std::fs::write(root.join(name), text).unwrap();
    }
    let command = |out: &Path, resume: bool| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kinglet-train"));
        command.args(["sweep", "--jobs", "2", "--out"]).arg(out);
        let files: &[&str] = if resume { &["train", "dev"] } else { &["config", "space", "train", "dev"] };
        for name in files {
            command.arg(format!("--{name}")).arg(root.join(name));
        }
        let how = ["--trials", "4", "--method", "halving", "--eta", "2"];
        if resume {
            command.arg("--resume")
        } else {
            command.args(how)
        };
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        command
    };
    let (straight, killed) = (root.join("straight"), root.join("killed"));
    let said = command(&straight, false).output().unwrap();
    let table = String::from_utf8(said.stdout).unwrap();
    assert!(said.status.success() && table.lines().count() == 5, "{table}");

    let mut kills = 0;
    loop {
        let mut process = command(&killed, killed.join("sweep.json").exists()).spawn().unwrap();
        if kills < 5 {
            std::thread::sleep(Duration::from_millis(40 * (kills + 1)));
            process.kill().unwrap();
        }
        let output = process.wait_with_output().unwrap();
        if output.status.success() {
            assert_eq!(String::from_utf8(output.stdout).unwrap(), table);
            break;
        }
        assert_eq!(output.status.code(), None, "it was killed, and did not fail");
        kills += 1;
    }
    assert_eq!(written(&straight), written(&killed));
}
