//! A run's promises: the same bits on any number of threads, refusals that say what to do, and files that are never mixed.

mod common;

use std::path::Path;
use std::sync::atomic::AtomicBool;

use common::{FILES, copy, data, files, run, run_until, small};
use kinglet_train::Error;
use kinglet_train::checkpoint::{Checkpoint, load_tensors, save_tensors};
use kinglet_train::config::{Config, Metric, QatConfig};
use kinglet_train::model::Params;
use kinglet_train::quant::Kind;
use kinglet_train::tasks::{self, Splits, Task};
use kinglet_train::trainer::{End, Run, Start, train_from};

#[test]
fn threads_change_no_bit() {
    let root = tempfile::tempdir().unwrap();
    let mut config = small(2);
    let of = |threads: usize, config: &mut Config| {
        config.train.threads = threads;
        let dir = root.path().join(threads.to_string());
        run(config, &dir, Start::Fresh).unwrap();
        std::fs::read(dir.join("optimizer.safetensors")).unwrap()
    };
    let one = of(1, &mut config);
    assert!(one == of(2, &mut config) && one == of(3, &mut config));
}

#[test]
fn damaged_files_are_named() {
    let root = tempfile::tempdir().unwrap();
    let good = root.path().join("good");
    run(&small(1), &good, Start::Fresh).unwrap();
    for name in FILES {
        let dir = root.path().join(format!("cut-{name}"));
        std::fs::create_dir(&dir).unwrap();
        copy(&good, &dir, &FILES);
        let bytes = std::fs::read(good.join(name)).unwrap();
        std::fs::write(dir.join(name), &bytes[..bytes.len() / 2]).unwrap();
        let resumed = run(&small(2), &dir, Start::Resume);
        match name {
            // Written anew from the committed epoch.
            "model.safetensors" | "state.json" => assert!(resumed.is_ok(), "{name}"),
            _ => {
                let error = resumed.unwrap_err();
                assert!(matches!(error, Error::Checkpoint { .. }), "{error:?}");
                assert!(error.to_string().contains(name), "{error}");
                assert_eq!(std::fs::read(dir.join("model.safetensors")).unwrap(), files(&good)[3]);
            }
        }
    }
    std::fs::write(good.join("model.safetensors"), b"GIF89a").unwrap();
    let message = Checkpoint::load(&good).unwrap_err().to_string();
    assert!(message.contains("expected a whole safetensors file, found 6 bytes"), "{message}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_told_and_the_last_checkpoint_kept() {
    let root = tempfile::tempdir().unwrap();
    let [straight, full] = ["straight", "full"].map(|name| root.path().join(name));
    run(&small(2), &straight, Start::Fresh).unwrap();
    run(&small(1), &full, Start::Fresh).unwrap();
    let before = files(&full);
    for name in ["history.jsonl", "optimizer.safetensors"] {
        // The device that never has space left.
        std::os::unix::fs::symlink("/dev/full", full.join(format!(".{name}.tmp"))).unwrap();
        let message = run(&small(2), &full, Start::Resume).unwrap_err().to_string();
        let expected = format!("cannot write {}: No space left on device", full.join(name).display());
        assert!(message.contains(&expected), "{message}");
        let left = std::fs::read_dir(&full)
            .unwrap()
            .filter(|e| e.as_ref().unwrap().file_name().as_encoded_bytes()[0] == b'.');
        assert_eq!(left.count(), 0, "the attempt is cleaned up");
        assert_eq!(files(&full)[1..], before[1..]);
        Checkpoint::load(&full).unwrap();
    }
    // With space again, the run goes on as if nothing had happened.
    run(&small(2), &full, Start::Resume).unwrap();
    assert_eq!(files(&full), files(&straight));
}

#[test]
fn weights_of_another_size_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let out = root.path().join("run");
    run(&small(1), &out, Start::Fresh).unwrap();
    let text = std::fs::read_to_string(out.join("config.toml")).unwrap();
    std::fs::write(out.join("config.toml"), text.replace("hidden = 8", "hidden = 9")).unwrap();
    let error = Checkpoint::load(&out).unwrap_err();
    assert!(
        matches!(&error, Error::Checkpoint { path, .. } if path.ends_with("model.safetensors")),
        "{error}"
    );
}

#[test]
fn a_run_is_not_overwritten_by_accident() {
    let root = tempfile::tempdir().unwrap();
    let out = root.path().join("run");
    run(&small(1), &out, Start::Fresh).unwrap();
    let before = files(&out);
    let message = run(&small(2), &out, Start::Fresh).unwrap_err().to_string();
    assert!(message.contains("--resume") && message.contains("--force"), "{message}");
    assert_eq!(files(&out), before);

    let mut other = small(1);
    other.train.seed = 5;
    run(&other, &out, Start::Overwrite).unwrap();
    assert_ne!(files(&out)[3], before[3]);
}

/// Changes the current weights of a run.
fn change_weights(out: &Path, change: impl Fn(f32) -> f32) {
    let path = out.join("optimizer.safetensors");
    let (params, state) = load_tensors(&path).unwrap();
    let mut tensors: Vec<_> = params.iter().cloned().collect();
    let weights = tensors.iter_mut().filter(|t| t.name.starts_with("param."));
    weights.for_each(|t| t.data.iter_mut().for_each(|x| *x = change(*x)));
    let changed = Params::new(tensors).unwrap();
    save_tensors(&path, &changed.iter().collect::<Vec<_>>(), &state).unwrap();
}

#[test]
fn a_loss_that_explodes_stops_the_run_though_it_is_a_number() {
    let root = tempfile::tempdir().unwrap();
    let out = root.path().join("run");
    run(&small(1), &out, Start::Fresh).unwrap();
    change_weights(&out, |x| 3000.0 * x);
    let message = run(&small(2), &out, Start::Resume).unwrap_err().to_string();
    for part in ["step 11 (epoch 2, 1 of 10; 16 pairs", "schedule.warmup_steps", "epoch 1 is kept"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert!(!message.contains("NaN") && !message.contains("inf"), "{message}");
}

#[test]
fn a_loss_that_is_not_a_number_stops_the_run_and_keeps_the_checkpoint() {
    let root = tempfile::tempdir().unwrap();
    let out = root.path().join("run");
    run(&small(1), &out, Start::Fresh).unwrap();
    change_weights(&out, |_| f32::NAN);
    let message = run(&small(2), &out, Start::Resume).unwrap_err().to_string();
    for part in [
        "step 11 (epoch 2, 1 of 10; 16 pairs, the longest",
        "NaN",
        "optimizer.learning_rate",
        "--resume",
        "epoch 1 is kept",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
}

#[test]
fn training_stops_early_and_stays_stopped() {
    let root = tempfile::tempdir().unwrap();
    let mut config = small(50);
    config.optimizer.learning_rate = 1e-9;
    config.schedule.min_learning_rate = 0.0;
    config.train.metric = Metric::Exact;
    config.train.patience = 2;
    let outcome = run(&config, root.path(), Start::Fresh).unwrap();
    assert_eq!((outcome.end, outcome.epochs), (End::Stopped, 3));
    let again = run(&config, root.path(), Start::Resume).unwrap();
    assert_eq!((again.end, again.epochs), (End::Stopped, 3));
}

#[test]
fn nothing_to_learn_or_to_evaluate_is_said() {
    let root = tempfile::tempdir().unwrap();
    let mut config = small(1);
    config.data.max_source_len = 2;
    let message = run(&config, root.path(), Start::Fresh).unwrap_err().to_string();
    assert!(message.contains("none of the 160 training pairs fits data.max_source_len = 2"), "{message}");
    let without_dev = Splits { dev: Vec::new(), ..data() };
    let message = run_until(&small(1), &without_dev, root.path(), Start::Fresh, 9).unwrap_err().to_string();
    assert!(message.contains("dev set is empty"), "{message}");
}

#[test]
fn a_generated_task_is_learned() {
    let root = tempfile::tempdir().unwrap();
    let mut config = tasks::config(Task::Dates);
    config.train.epochs = 5;
    let data = tasks::generate(Task::Dates, 10_000, 3).unwrap();
    let outcome = run_until(&config, &data, root.path(), Start::Fresh, usize::MAX).unwrap();
    let score = outcome.best.unwrap().score;
    assert!(score >= 95.0, "{score} % of unseen dates are right");
}

#[test]
fn training_for_integers_starts_from_a_float_run_and_resumes_to_the_same_bits() {
    let root = tempfile::tempdir().unwrap();
    let [float, straight, resumed] = ["float", "straight", "resumed"].map(|name| root.path().join(name));
    run(&small(8), &float, Start::Fresh).unwrap();
    let float = Checkpoint::load(&float).unwrap();
    let mut config = Config { qat: Some(QatConfig::default()), ..small(3) };
    config.qat.as_mut().unwrap().weights = "int4:16".parse().unwrap();
    config.optimizer.learning_rate = 1e-3;
    let (data, stop) = (data(), AtomicBool::new(false));
    let train = |epochs: usize, out: &Path, init: Option<Checkpoint>, start| {
        let mut config = config.clone();
        config.train.epochs = epochs;
        let run = Run { config: &config, train: &data.train, dev: &data.dev, out, start, teachers: &[] };
        train_from(&run, init, &stop, &mut |_| {})
    };
    train(3, &straight, Some(float.clone()), Start::Fresh).unwrap();
    train(1, &resumed, Some(float.clone()), Start::Fresh).unwrap();
    let calibrated = std::fs::read(resumed.join("quantization.toml")).unwrap();
    train(3, &resumed, None, Start::Resume).unwrap();
    assert_eq!(files(&straight), files(&resumed));
    assert_eq!(std::fs::read(straight.join("quantization.toml")).unwrap(), calibrated);

    let learned = Checkpoint::load(&straight).unwrap();
    let scheme = learned.model.scheme.clone().unwrap();
    assert_eq!(scheme.products["decoder.fc_out"], Kind::INT8);
    assert_eq!(scheme.products["decoder.rnn.l0"].to_string(), "int4:16");
    // It has learned to live with the grid: on it, better than the float network put there.
    let mut put_there = float.model.clone();
    put_there.scheme = Some(scheme);
    let dev = kinglet_train::data::Dataset::whole(&data.dev, &float.source_vocab, &float.target_vocab);
    let loss = |model| kinglet_train::trainer::mean_loss(model, &dev, 16, 1);
    assert!(loss(&learned.model) < loss(&put_there), "{} {}", loss(&learned.model), loss(&put_there));

    // A float run in the same place forgets the grid.
    run(&small(1), &straight, Start::Overwrite).unwrap();
    assert!(Checkpoint::load(&straight).unwrap().model.scheme.is_none());

    let message = train(1, &root.path().join("x"), None, Start::Fresh).unwrap_err().to_string();
    assert!(message.contains("--init"), "{message}");
    config.model.decoder.hidden = 9;
    let start = Start::Overwrite;
    let run =
        Run { config: &config, train: &data.train, dev: &data.dev, out: &straight, start, teachers: &[] };
    let message = train_from(&run, Some(float), &stop, &mut |_| {}).unwrap_err().to_string();
    assert!(message.contains("[model]") && message.contains("hidden: 9"), "{message}");
}
