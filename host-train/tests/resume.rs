//! A stopped or killed run goes on to the bits of an unbroken one.

mod common;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use common::{FILES, copy, data, files, history, run, run_until, small};
use kinglet_train::checkpoint::Checkpoint;
use kinglet_train::config::{AdamConfig, AverageConfig, Config, EmaConfig, Metric, OptimizerKind};
use kinglet_train::trainer::{End, Event, Run, Start, train_from};

#[test]
fn a_resumed_run_ends_with_the_same_bits() {
    let root = tempfile::tempdir().unwrap();
    let (straight, resumed) = (root.path().join("straight"), root.path().join("resumed"));
    run(&small(4), &straight, Start::Fresh).unwrap();
    run(&small(2), &resumed, Start::Fresh).unwrap();
    let outcome = run(&small(4), &resumed, Start::Resume).unwrap();
    assert_eq!((outcome.end, outcome.epochs), (End::Finished, 4));
    assert_eq!(files(&straight), files(&resumed));
    assert_eq!(history(&straight), history(&resumed));
}

#[test]
fn an_interrupted_run_keeps_every_step_and_resumes_to_the_same_bits() {
    let root = tempfile::tempdir().unwrap();
    let (straight, stopped) = (root.path().join("straight"), root.path().join("stopped"));
    run(&small(2), &straight, Start::Fresh).unwrap();
    let first = run_until(&small(2), &data(), &stopped, Start::Fresh, 4).unwrap();
    assert_eq!((first.end, first.epochs, first.best), (End::Interrupted, 0, None));
    let message = Checkpoint::load(&stopped).unwrap_err().to_string();
    assert!(message.contains("model.safetensors: not there yet"), "{message}");
    // 4 and 11 of the 20 steps: the second stop is in the second epoch.
    let second = run_until(&small(2), &data(), &stopped, Start::Resume, 11).unwrap();
    assert_eq!((second.end, second.epochs), (End::Interrupted, 1));
    Checkpoint::load(&stopped).unwrap();
    assert_eq!(steps_left(&small(2), &stopped), 5);
    assert_eq!(files(&straight), files(&stopped));
    assert_eq!(history(&straight), history(&stopped));
}

/// The steps that a resumed run takes to its end.
fn steps_left(config: &Config, out: &Path) -> usize {
    let (data, mut steps) = (data(), 0);
    let run = Run { config, train: &data.train, dev: &data.dev, out, start: Start::Resume, teachers: &[] };
    let mut count = |event: &Event<'_>| steps += usize::from(matches!(event, Event::Step { .. }));
    train_from(&run, None, &AtomicBool::new(false), &mut count).unwrap();
    steps
}

#[test]
fn checkpoints_within_an_epoch_change_nothing_but_what_a_kill_costs() {
    let root = tempfile::tempdir().unwrap();
    let (straight, killed) = (root.path().join("straight"), root.path().join("killed"));
    run(&small(3), &straight, Start::Fresh).unwrap();
    let mut config = small(3);
    config.train.checkpoint_every = 4;
    // A panic at step 19 leaves what a kill would: the checkpoint of step 16.
    let data = data();
    let panicked = std::panic::catch_unwind(|| {
        let run = Run {
            config: &config,
            train: &data.train,
            dev: &data.dev,
            out: &killed,
            start: Start::Fresh,
            teachers: &[],
        };
        train_from(&run, None, &AtomicBool::new(false), &mut |event| {
            assert!(!matches!(event, Event::Step { epoch: 2, batch: 9, .. }), "the power is gone");
        })
    });
    assert!(panicked.is_err());
    assert_eq!(steps_left(&config, &killed), 30 - 16);
    assert_eq!(files(&straight)[1..], files(&killed)[1..], "all but the configuration");
    assert_eq!(history(&straight), history(&killed));
}

#[test]
fn a_kill_between_two_files_mixes_nothing() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    // States in the order of training: at the start, within and after each epoch.
    let states: Vec<PathBuf> = [0, 4, 10, 14, 17, 20, 23]
        .map(|steps| {
            let out = at(&steps.to_string());
            match steps {
                0 => drop(stop_at_once(&small(3), &out)),
                10 | 20 => drop(run(&small(steps / 10), &out, Start::Fresh).unwrap()),
                _ => drop(run_until(&small(3), &data(), &out, Start::Fresh, steps).unwrap()),
            }
            out
        })
        .into();
    let end = at("end");
    run(&small(3), &end, Start::Fresh).unwrap();
    let model = |state: &Path| std::fs::read(state.join("model.safetensors")).ok();
    assert_ne!(model(&states[2]), model(&states[5]), "both epochs are to be the best of their time");
    // The order of writing. A kill leaves the new ones up to some place.
    let order = ["history.jsonl", "optimizer.safetensors", "model.safetensors", "state.json"];
    for (i, pair) in states.windows(2).enumerate() {
        for written in 0..=order.len() {
            let dir = at(&format!("killed{i}-{written}"));
            std::fs::create_dir(&dir).unwrap();
            let there = |from: &Path, names: &[&str]| {
                let names: Vec<&str> =
                    names.iter().copied().filter(|name| from.join(name).exists()).collect();
                copy(from, &dir, &names);
            };
            there(&pair[0], &FILES);
            there(&pair[0], &order);
            there(&pair[1], &order[..written]);
            std::fs::write(dir.join(".optimizer.safetensors.tmp"), b"half").unwrap();
            assert_eq!(Checkpoint::load(&dir).is_ok(), dir.join("model.safetensors").exists());
            run(&small(3), &dir, Start::Resume).unwrap();
            let place = format!("killed between {:?} after {written} files", pair);
            assert_eq!(files(&dir), files(&end), "{place}");
            assert_eq!(history(&dir), history(&end), "{place}");
        }
    }
}

/// A run that is stopped before its first step.
fn stop_at_once(config: &Config, out: &Path) -> kinglet_train::trainer::Outcome {
    let data = data();
    let run = Run { config, train: &data.train, dev: &data.dev, out, start: Start::Fresh, teachers: &[] };
    train_from(&run, None, &AtomicBool::new(true), &mut |_| {}).unwrap()
}

#[test]
fn a_run_that_began_with_other_weights_never_resumes_without_them() {
    let root = tempfile::tempdir().unwrap();
    let [first, straight, stopped] = ["first", "straight", "stopped"].map(|name| root.path().join(name));
    run(&small(2), &first, Start::Fresh).unwrap();
    let init = Checkpoint::load(&first).unwrap();
    let (config, data) = (small(1), data());
    let begin = |out: &Path, stop: bool| {
        let run = Run {
            config: &config,
            train: &data.train,
            dev: &data.dev,
            out,
            start: Start::Fresh,
            teachers: &[],
        };
        train_from(&run, Some(init.clone()), &AtomicBool::new(stop), &mut |_| {}).unwrap()
    };
    begin(&straight, false);
    assert_eq!(begin(&stopped, true).end, End::Interrupted);
    run(&config, &stopped, Start::Resume).unwrap();
    assert_eq!(files(&straight), files(&stopped));

    // A model without a training state is somebody's work, not a run that has not begun.
    std::fs::remove_file(stopped.join("optimizer.safetensors")).unwrap();
    let message = run(&config, &stopped, Start::Resume).unwrap_err().to_string();
    assert!(message.contains("--init") && message.contains("--force"), "{message}");
    assert_eq!(files(&straight)[3], std::fs::read(stopped.join("model.safetensors")).unwrap());
}

#[test]
fn batches_may_change_between_epochs_but_not_within() {
    let root = tempfile::tempdir().unwrap();
    let mut config = small(2);
    run_until(&config, &data(), root.path(), Start::Fresh, 13).unwrap();
    config.train.batch_size = 20;
    let message = run(&config, root.path(), Start::Resume).unwrap_err().to_string();
    assert!(message.contains("train.batch_size") && message.contains("3 steps of epoch 2"), "{message}");
    config.train.batch_size = 16;
    run(&config, root.path(), Start::Resume).unwrap();
    config.train.batch_size = 20;
    config.train.epochs = 3;
    run(&config, root.path(), Start::Resume).unwrap();
}

#[test]
fn resuming_something_else_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let out = root.path().join("run");
    run(&small(1), &out, Start::Fresh).unwrap();
    let before = files(&out);
    let mut configs = [small(2), small(2), small(2), small(2), small(2), small(2)];
    configs[0].train.seed = 9;
    configs[1].model.decoder.hidden = 9;
    configs[2].data.max_source_len = 30;
    configs[3].train.metric = Metric::Wer;
    configs[4].optimizer.kind = OptimizerKind::AdamW(AdamConfig::default());
    configs[5].average = AverageConfig::Ema(EmaConfig::default());
    let names = ["train.seed", "[model]", "[data]", "train.metric", "[optimizer]", "[average]"];
    for (config, name) in configs.iter().zip(names) {
        let message = run(config, &out, Start::Resume).unwrap_err().to_string();
        assert!(message.contains(name), "{message}");
    }
    let mut other = data();
    other.train.swap(0, 1);
    let message = run_until(&small(2), &other, &out, Start::Resume, 99).unwrap_err().to_string();
    assert!(message.contains("training pairs"), "{message}");
    assert_eq!(files(&out), before);
}
