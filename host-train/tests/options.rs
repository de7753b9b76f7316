//! What training can be told to do: every option learns, and resumes to the same bits.

mod common;

use std::path::Path;
use std::sync::atomic::AtomicBool;

use common::*;
use kinglet_train::Error;
use kinglet_train::checkpoint::{Checkpoint, load_tensors};
use kinglet_train::config::*;
use kinglet_train::data::{Dataset, Pair};
use kinglet_train::model::{EOS, Seq2Seq};
use kinglet_train::search::greedy;
use kinglet_train::trainer::{Behind, Outcome, Run, Start, mean_loss, train_from, walk_loss};
use kinglet_train::vocab::Vocab;

fn kind(kind: OptimizerKind) -> Config {
    let mut config = small(3);
    config.optimizer.kind = kind;
    config
}

fn schedule(kind: ScheduleKind) -> Config {
    let mut config = small(3);
    config.schedule = ScheduleConfig { warmup_steps: 7, min_learning_rate: 1e-4, kind };
    config
}

fn exposed(kind: ExposureKind, tokens: OwnTokens) -> Config {
    Config { exposure: ExposureConfig { tokens, kind }, ..small(3) }
}

fn subwords(shared: bool, dropout: f32) -> Config {
    let mut config = small(3);
    (config.data.source, config.data.target) = (Tokens::Subwords, Tokens::Subwords);
    config.data.subwords = SubwordsConfig { source_size: 60, target_size: 60, shared, dropout };
    config
}

/// Every source is one word, which is read by its letters; few words are met twice.
fn spelled() -> Config {
    let mut config = small(3);
    (config.data.source, config.data.min_count) = (Tokens::Words, 2);
    config.model.encoder.characters =
        CharactersConfig { kind: CharactersKind::Conv, embedding: 4, size: 8, ..CharactersConfig::default() };
    config
}

fn configs() -> Vec<Config> {
    let sgd = SgdConfig::default();
    let step = StepConfig { factor: 0.3, every: 1 };
    let mut configs = vec![
        kind(OptimizerKind::Sgd(sgd)),
        kind(OptimizerKind::Sgd(SgdConfig { nesterov: true, weight_decay: 1e-4, ..sgd })),
        kind(OptimizerKind::AdamW(AdamConfig { weight_decay: 0.01, ..AdamConfig::default() })),
        schedule(ScheduleKind::Constant),
        schedule(ScheduleKind::InverseSqrt),
        schedule(ScheduleKind::Cosine(Horizon::default())),
        schedule(ScheduleKind::Linear(Horizon { until_epoch: 2 })),
        schedule(ScheduleKind::Step(step)),
        Config { average: AverageConfig::Ema(EmaConfig { decay: 0.95 }), ..small(3) },
        Config { average: AverageConfig::Epochs(EpochsConfig { last: 2 }), ..small(3) },
        small(3),
        small(3),
        exposed(ExposureKind::Constant(ConstantExposure { ratio: 0.5 }), OwnTokens::Sampled),
        exposed(ExposureKind::Linear(LinearExposure { start: 1.0, end: 0.2, batches: 20 }), OwnTokens::Best),
        exposed(ExposureKind::Exponential(ExponentialExposure { k: 0.9, end: 0.5 }), OwnTokens::Best),
        exposed(ExposureKind::InverseSigmoid(SigmoidExposure { k: 5.0, end: 0.5 }), OwnTokens::Sampled),
        subwords(false, 0.0),
        subwords(true, 0.3),
        spelled(),
    ];
    // 160 pairs are 10 batches: the last step of an epoch has one.
    configs[10].train.accumulate = 3;
    configs[11].train.metric = Metric::FreePpl;
    configs
}

#[test]
fn every_option_learns_and_resumes_to_the_same_bits() {
    let root = tempfile::tempdir().unwrap();
    for (i, config) in configs().into_iter().enumerate() {
        let [straight, resumed] = ["straight", "resumed"].map(|name| root.path().join(format!("{name}{i}")));
        run(&config, &straight, Start::Fresh).unwrap();
        // In the middle of the second epoch, which has ten steps or, of three batches each, four.
        let stop = if config.train.accumulate > 1 { 6 } else { 14 };
        assert_eq!(run_until(&config, &data(), &resumed, Start::Fresh, stop).unwrap().epochs, 1);
        run(&config, &resumed, Start::Resume).unwrap();
        assert!(files(&straight) == files(&resumed), "{config:?}");
        let losses: Vec<f64> = history(&straight).iter().map(|line| line.1).collect();
        assert_eq!(losses.len(), 3);
        assert!(losses[2] < losses[0], "{config:?}: {losses:?}");
    }
}

fn tensors(dir: &Path, prefix: &str) -> Vec<Vec<f32>> {
    let (params, _) = load_tensors(&dir.join("optimizer.safetensors")).unwrap();
    params.iter().filter(|t| t.name.starts_with(prefix)).map(|t| t.data.clone()).collect()
}

#[test]
fn accumulated_batches_are_one_large_batch() {
    let root = tempfile::tempdir().unwrap();
    let step = |batch_size, accumulate| {
        let mut config = small(1);
        config.model.dropout = 0.0;
        config.optimizer.kind = OptimizerKind::Sgd(SgdConfig::default());
        (config.train.batch_size, config.train.accumulate) = (batch_size, accumulate);
        let dir = root.path().join(format!("{batch_size}x{accumulate}"));
        run(&config, &dir, Start::Fresh).unwrap();
        assert_eq!(history(&dir)[0].0, 1, "one step");
        tensors(&dir, "param.")
    };
    let (large, small) = (step(160, 1), step(24, 100));
    for (a, b) in large.iter().flatten().zip(small.iter().flatten()) {
        assert!((a - b).abs() < 1e-6, "{a} {b}");
    }
}

#[test]
fn the_model_is_the_average() {
    let root = tempfile::tempdir().unwrap();
    let config = Config { average: AverageConfig::Epochs(EpochsConfig { last: 2 }), ..small(3) };
    let dirs = [2, 3].map(|epochs| {
        let dir = root.path().join(epochs.to_string());
        let train = TrainConfig { epochs, ..config.train.clone() };
        run(&Config { train, ..config.clone() }, &dir, Start::Fresh).unwrap();
        dir
    });
    let [two, three] = dirs.each_ref().map(|dir| tensors(dir, "param."));
    let (model, _) = load_tensors(&dirs[1].join("model.safetensors")).unwrap();
    let expected = two.iter().flatten().zip(three.iter().flatten()).map(|(a, b)| (a + b) / 2.0);
    for (found, expected) in model.iter().flat_map(|t| &t.data).zip(expected) {
        assert!((found - expected).abs() < 1e-6, "{found} {expected}");
    }
}

#[test]
fn embeddings_start_from_word_vectors_and_stay_if_frozen() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("vectors.txt");
    std::fs::write(&file, "e 1 0 -0.5 0 0 2\nwhole 0 0 0 0 0 0\na 0.25 0 0 0 0 1\n").unwrap();
    let mut config = kind(OptimizerKind::AdamW(AdamConfig { weight_decay: 0.1, ..AdamConfig::default() }));
    config.model.encoder.vectors = file.clone();
    let begun = |config: &Config, name: &str| {
        let dir = root.path().join(name);
        run_until(config, &data(), &dir, Start::Fresh, 14).unwrap();
        dir
    };
    let learned = begun(&config, "learned");
    config.model.encoder.freeze_vectors = true;
    let (frozen, whole) = (begun(&config, "frozen"), root.path().join("whole"));
    run(&config, &whole, Start::Fresh).unwrap();

    let table = |dir: &Path| tensors(dir, "param.encoder.embedding.weight").remove(0);
    let Checkpoint { source_vocab, target_vocab, .. } = Checkpoint::load(&frozen).unwrap();
    let (sizes, seed) = ((source_vocab.len(), target_vocab.len()), config.train.seed);
    let mut expected = Seq2Seq::new(&config.model, sizes.0, sizes.1, seed).params;
    let expected = &mut expected.get_mut("encoder.embedding.weight").unwrap().data;
    for (letter, vector) in [("a", [0.25, 0.0, 0.0, 0.0, 0.0, 1.0]), ("e", [1.0, 0.0, -0.5, 0.0, 0.0, 2.0])] {
        expected[source_vocab.word(letter).unwrap() as usize * 6..][..6].copy_from_slice(&vector);
    }
    assert_eq!(table(&frozen), *expected);
    assert!(table(&learned).iter().zip(&*expected).all(|(a, b)| a != b || *b == 0.0));

    // A resumed run has its weights.
    std::fs::remove_file(&file).unwrap();
    run(&config, &frozen, Start::Resume).unwrap();
    assert!(files(&frozen) == files(&whole));
    let line = format!("\"vectors\":{{\"found\":2,\"tokens\":{}}}", source_vocab.len() - 4);
    for dir in [&frozen, &learned] {
        let history = std::fs::read_to_string(dir.join("history.jsonl")).unwrap();
        assert!(history.lines().all(|record| record.contains(&line)), "{history}");
    }
    // A new one does not begin without them, and leaves what is there.
    let message = run(&config, &whole, Start::Overwrite).unwrap_err().to_string();
    assert!(message.contains("cannot read") && message.contains("vectors.txt"), "{message}");
    assert!(files(&frozen) == files(&whole));
}

#[test]
fn losses_behind_a_teacher_and_behind_oneself() {
    let root = tempfile::tempdir().unwrap();
    run(&small(3), root.path(), Start::Fresh).unwrap();
    let Checkpoint { model, source_vocab, target_vocab, .. } = Checkpoint::load(root.path()).unwrap();
    let dev = Dataset::whole(&data().dev, &source_vocab, &target_vocab);
    let taught = mean_loss(&model, &dev, 7, 1);
    let walk = |behind, threads| walk_loss(&(&model).into(), &dev, behind, threads);
    assert!((walk(Behind::TargetTokens, 1) - taught).abs() < 1e-5);
    assert!((walk(Behind::OwnTokens, 1) - taught).abs() > 1e-6);
    assert_eq!(walk(Behind::OwnTokens, 1), walk(Behind::OwnTokens, 3));
    // Behind targets that are its own best tokens it makes no difference.
    let own = |pair: &Pair| {
        let mut source = source_vocab.encode(&pair.source).ids;
        source.push(EOS);
        let best = &greedy(&model, &[source], 12)[0];
        Pair { source: pair.source.clone(), target: target_vocab.decode(&best.ids) }
    };
    let own: Vec<Pair> = data().dev.iter().map(own).filter(|pair| pair.target.len() < 12).collect();
    let own = Dataset::whole(&own, &source_vocab, &target_vocab);
    let walk = |behind| walk_loss(&(&model).into(), &own, behind, 1);
    assert_eq!(walk(Behind::OwnTokens), walk(Behind::TargetTokens));
}

/// A run in `root` that has learned a little, and its checkpoint.
fn learned(root: &Path, seed: u64) -> Checkpoint {
    let mut config = small(12);
    config.train.seed = seed;
    config.optimizer.learning_rate = 1e-2;
    let dir = root.join(format!("learned{seed}"));
    run(&config, &dir, Start::Fresh).unwrap();
    Checkpoint::load(&dir).unwrap()
}

fn run_from(
    config: &Config,
    init: Option<&Checkpoint>,
    teachers: &[Checkpoint],
    out: &Path,
    start: Start,
) -> Result<Outcome, Error> {
    let data = data();
    let run = Run { config, train: &data.train, dev: &data.dev, out, start, teachers };
    train_from(&run, init.cloned(), &AtomicBool::new(false), &mut |_| {})
}

/// Runs of `config` in one piece and in two; both end with the same files.
fn in_one_and_two_pieces(
    root: &Path,
    name: &str,
    config: &Config,
    init: Option<&Checkpoint>,
    teachers: &[Checkpoint],
) -> Vec<(u64, f64, f64)> {
    let [straight, resumed] = ["straight", "resumed"].map(|piece| root.join(format!("{name}-{piece}")));
    run_from(config, init, teachers, &straight, Start::Fresh).unwrap();
    let first = Config { train: TrainConfig { epochs: 1, ..config.train.clone() }, ..config.clone() };
    run_from(&first, init, teachers, &resumed, Start::Fresh).unwrap();
    run_from(config, None, teachers, &resumed, Start::Resume).unwrap();
    assert!(files(&straight) == files(&resumed), "{name}");
    history(&straight)
}

#[test]
fn risk_falls_and_resumes_to_the_same_bits() {
    let root = tempfile::tempdir().unwrap();
    let start = learned(root.path(), 1);
    let mrt = RiskConfig { weight: 1.0, candidates: 4, cost: Cost::Edits, ..RiskConfig::default() };
    for (name, risk) in [
        ("beam", mrt.clone()),
        ("sample", RiskConfig { from: Candidates::Sample, cost: Cost::Bleu, ..mrt.clone() }),
        ("self-critical", RiskConfig { method: RiskMethod::SelfCritical, ..mrt.clone() }),
    ] {
        let mut config = Config { risk: Some(risk), ..small(4) };
        config.model.dropout = 0.0;
        config.optimizer.learning_rate = 2e-3;
        let losses: Vec<f64> = in_one_and_two_pieces(root.path(), name, &config, Some(&start), &[])
            .iter()
            .map(|l| l.1)
            .collect();
        assert!(losses[3] < losses[0], "{name}: {losses:?}");
    }
    let config = Config { risk: Some(mrt), ..small(1) };
    let message = run_from(&config, None, &[], &root.path().join("x"), Start::Fresh).unwrap_err().to_string();
    assert!(message.contains("[risk]") && message.contains("--init"), "{message}");
}

#[test]
fn students_come_near_their_teachers_and_resume_to_the_same_bits() {
    let root = tempfile::tempdir().unwrap();
    let teachers = [learned(root.path(), 1), learned(root.path(), 2)];
    let distill = DistillConfig { weight: 1.0, temperature: 2.0 };
    let mut config = Config { distill: Some(distill), ..small(3) };
    config.model.decoder.hidden = 6;
    let losses = in_one_and_two_pieces(root.path(), "student", &config, None, &teachers);
    assert!(losses[2].1 < losses[0].1, "{losses:?}");

    let out = root.path().join("x");
    let message = run_from(&config, None, &[], &out, Start::Fresh).unwrap_err().to_string();
    assert!(message.contains("--teacher"), "{message}");
    let message = run_from(&small(1), None, &teachers, &out, Start::Fresh).unwrap_err().to_string();
    assert!(message.contains("[distill]"), "{message}");
    let mut stranger = teachers.clone();
    stranger[1].target_vocab = Vocab::build(Tokens::Chars, ["zyx"], 1);
    let message = run_from(&config, None, &stranger, &out, Start::Fresh).unwrap_err().to_string();
    assert!(message.contains("teacher 2 does not have the run's tokens"), "{message}");
}

#[test]
fn published_configurations_and_those_of_the_documentation_work() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let text = std::fs::read_to_string(root.join("docs/training.md")).unwrap();
    let blocks: Vec<&str> =
        text.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(blocks.len() >= 10);
    let files = std::fs::read_dir(root.join("configs")).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<String> = files
        .filter(|path| path.extension().is_some_and(|ext| ext == "toml"))
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect();
    for text in blocks.into_iter().chain(files.iter().map(|text| &text[..])) {
        Config::from_toml(text).unwrap_or_else(|error| panic!("{text}\n{error}"));
    }
    // What the documentation calls defaults is what a configuration has without being told.
    let keys = Config::default().to_toml();
    for key in keys.lines().filter_map(|line| line.split_once(" = ")).map(|(key, _)| key) {
        assert!(text.contains(&format!("\n{key} = ")), "{key} is not documented");
    }
}
