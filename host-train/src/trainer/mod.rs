//! Training: epochs over batches, evaluation on the dev set, and a checkpoint after every epoch and, if wanted, within.
//!
//! Nothing here prints: what happens is told to a closure as [`Event`]s.

mod epoch;
mod evaluate;
mod event;
mod exposure;
mod risk;

use std::path::Path;
use std::sync::atomic::AtomicBool;

pub use evaluate::{Behind, Evaluation, decode_all, decode_groups, evaluate, mean_loss, walk_loss};
pub use event::{End, EpochRecord, Event, Outcome};

use crate::checkpoint::{Checkpoint, RunDir, Snapshot, State};
use crate::config::{AttentionConfig, Config, DataConfig, EncoderConfig, ModelConfig};
use crate::data::corpus::check_sides;
use crate::data::{Dataset, Pair, vectors};
use crate::error::{Error, Result};
use crate::model::{Params, Reads, Seq2Seq};
use crate::optim::{Average, Optimizer};
use crate::quant::Scheme;
use crate::schedule::Plateau;
use crate::vocab::{Vocab, vocabularies};
use risk::References;

/// What a run does with what its directory already holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Refuses a directory that holds a run.
    Fresh,
    /// Removes the run that is there.
    Overwrite,
    /// Continues from the last checkpoint; starts from the beginning when the directory holds no run.
    Resume,
}

/// A training run.
#[derive(Debug, Clone, Copy)]
pub struct Run<'a> {
    /// Model and training.
    pub config: &'a Config,
    /// The pairs to learn.
    pub train: &'a [Pair],
    /// The pairs that tell which epoch is the best.
    pub dev: &'a [Pair],
    /// The checkpoint directory.
    pub out: &'a Path,
    /// What to do with what it holds.
    pub start: Start,
    /// Trained networks to learn from, as `[distill]` says; without it there are none.
    pub teachers: &'a [Checkpoint],
}

/// Trains a model and keeps its checkpoint in `run.out`: from the start, after every epoch, and after every
/// `train.checkpoint_every` steps.
///
/// After each step `stop` is looked at; when it is set, the run is kept as it stands. The result depends on configuration, seed and pairs alone: not on
/// threads, nor on how often the run was interrupted and resumed.
///
/// # Errors
/// [`Error::Io`] and [`Error::Checkpoint`] as [`RunDir`] gives them; [`Error::Config`] when a resumed run's
/// configuration or data is not what it was started with; [`Error::Training`] when there is nothing to learn or to
/// evaluate, or a loss is not finite; [`Error::Vectors`] of a file of word vectors. The last checkpoint stays.
pub fn train(run: &Run<'_>, stop: &AtomicBool, observe: &mut dyn FnMut(&Event<'_>)) -> Result<Outcome> {
    train_from(run, None, stop, observe)
}

/// [`train`] that begins with the weights and vocabularies of another run, if given; a resumed run has its own. With `[qat]`
/// in the configuration, the other run's network is calibrated on the training pairs and learns on the chip's grid from then on.
///
/// # Errors
/// As [`train`]; [`Error::Corpus`] when the pairs are not what the task needs; [`Error::Config`] when the other run's network or tokens are not the configuration's, or when there is `[qat]`
/// without another run.
pub fn train_from(
    run: &Run<'_>,
    init: Option<Checkpoint>,
    stop: &AtomicBool,
    observe: &mut dyn FnMut(&Event<'_>),
) -> Result<Outcome> {
    run.config.check()?;
    let config = run.config.completed(run.train.first().map_or("", |pair| &pair.source))?;
    let run = &Run { config: &config, ..*run };
    for (pairs, name) in [(run.train, "the training pairs"), (run.dev, "the dev pairs")] {
        check_sides(pairs, run.config, Path::new(name))?;
    }
    let mut work = prepare(run, init)?;
    let (config, epochs) = (run.config, run.config.train.epochs);
    observe(&Event::Start {
        parameters: work.model.params.values(),
        pairs: work.train.len(),
        dropped: work.train.dropped(),
        dev_pairs: run.dev.len(),
        dev_unknown: work.dev.unknown(),
        vocab: (work.model.reads(), work.target_vocab.len()),
        vectors: work.state.vectors,
        epochs_done: work.state.epoch,
        steps_done: work.state.step,
        epochs,
    });
    loop {
        let end = if work.state.bad_epochs >= config.train.patience {
            End::Stopped
        } else if work.state.epoch >= epochs {
            End::Finished
        } else if work.epoch(run, stop, observe)? {
            continue;
        } else {
            End::Interrupted
        };
        return Ok(Outcome { end, epochs: work.state.epoch, best: work.state.best });
    }
}

/// Everything that changes or is looked at while training.
struct Work {
    dir: RunDir,
    source_vocab: Vocab,
    target_vocab: Vocab,
    train: Dataset,
    dev: Dataset,
    model: Seq2Seq,
    optimizer: Optimizer,
    average: Average,
    /// What hypotheses are measured by, in risk training.
    references: Option<References>,
    state: State,
    history: Vec<String>,
}

/// Encodes the data and takes up, or begins, the run.
fn prepare(run: &Run<'_>, init: Option<Checkpoint>) -> Result<Work> {
    let config = run.config;
    let dir = RunDir::new(run.out);
    if run.start == Start::Fresh && dir.holds_run() {
        return Err(Error::Training(format!(
            "{} already holds a run; continue it with --resume, replace it with --force, or name another folder",
            run.out.display()
        )));
    }
    if run.dev.is_empty() {
        return Err(Error::Training("the dev set is empty; it decides which epoch is the best".into()));
    }
    let resumed = match (run.start, dir.committed()) {
        (Start::Resume, true) => Some(dir.resume()?),
        (Start::Resume, false) if dir.holds_run() => {
            return Err(Error::Training(format!(
                "{} holds a model, but not the state of a training to continue; begin with its weights in another folder \
                 with --init, or replace it with --force",
                run.out.display()
            )));
        }
        _ => None,
    };

    let known = init.as_ref().or(run.teachers.first());
    let (source_vocab, target_vocab) = match (&resumed, known) {
        (Some(old), _) => (old.source_vocab.clone(), old.target_vocab.clone()),
        (None, Some(known)) => (known.source_vocab.clone(), known.target_vocab.clone()),
        (None, None) => vocabularies(config, run.train)?,
    };
    check_teachers(run, &source_vocab, &target_vocab)?;
    let train = Dataset::training(run.train, &source_vocab, &target_vocab, &config.data);
    if train.is_empty() {
        return Err(Error::Training(format!(
            "none of the {} training pairs fits data.max_source_len = {} and data.max_target_len = {}",
            run.train.len(),
            config.data.max_source_len,
            config.data.max_target_len
        )));
    }
    let dev = Dataset::whole(run.dev, &source_vocab, &target_vocab);
    let data = format!("{:016x}", train.fingerprint());

    let (model, optimizer, average, state, history) = match resumed {
        Some(old) => {
            check_same(&old.config, config, &old.state, &data)?;
            let mut state = old.state;
            let rate = config.optimizer.learning_rate;
            if old.config.optimizer.learning_rate != rate {
                // On disk before the configuration is: a kill between the two must not lose the new rate.
                state.learning_rate = rate;
                dir.commit(&Snapshot {
                    state: &state,
                    weights: &old.model.params,
                    optimizer: &old.optimizer,
                    average: &old.average,
                    history: &old.history,
                })?;
            }
            dir.write_setup(config, &source_vocab, &target_vocab, old.model.scheme.as_ref())?;
            (old.model, old.optimizer, old.average, state, old.history)
        }
        None => {
            let t = &config.train;
            let fresh = init.is_none();
            let mut model = match init {
                Some(init) => taken_over(init, config, &train)?,
                None if config.qat.is_some() || config.risk.is_some() => {
                    let section = if config.qat.is_some() { "[qat]" } else { "[risk]" };
                    return Err(Error::Config(format!(
                        "{section} starts from a trained network: name its checkpoint with --init"
                    )));
                }
                None => {
                    let mut model = Seq2Seq::new(&config.model, &source_vocab, target_vocab.len(), t.seed);
                    if let Reads::Frames(width) = *model.reads() {
                        standardize(&mut model.params, train.frame_statistics(width));
                    }
                    model
                }
            };
            let vectors = match &config.model.encoder.vectors {
                path if fresh && !path.as_os_str().is_empty() => {
                    Some(vectors::read(path, &source_vocab, tensor(&mut model.params, SOURCE_TABLE))?)
                }
                _ => None,
            };
            let optimizer = Optimizer::new(&config.optimizer, &model.params);
            let average = Average::new(&config.average, &model.params);
            let state = State {
                epoch: 0,
                step: 0,
                batches: 0,
                seed: t.seed,
                learning_rate: config.optimizer.learning_rate,
                metric: t.metric,
                best: None,
                bad_epochs: 0,
                plateau: Plateau::default(),
                data,
                vectors,
                partial: None,
            };
            dir.create()?;
            dir.clear()?;
            dir.write_setup(config, &source_vocab, &target_vocab, model.scheme.as_ref())?;
            // Before the first step, so that a run that began with another's weights never resumes without them.
            dir.commit(&Snapshot {
                state: &state,
                weights: &model.params,
                optimizer: &optimizer,
                average: &average,
                history: &[],
            })?;
            (model, optimizer, average, state, Vec::new())
        }
    };
    let references = config.risk.is_some().then(|| References::new(&train));
    Ok(Work {
        dir,
        source_vocab,
        target_vocab,
        train,
        dev,
        model,
        optimizer,
        average,
        references,
        state,
        history,
    })
}

/// What frames are brought to their normal form by.
const STANDARD: [&str; 2] = ["encoder.frames.mean", "encoder.frames.std"];

/// Sets means and deviations of frames.
fn standardize(params: &mut Params, statistics: [Vec<f32>; 2]) {
    for (name, values) in STANDARD.into_iter().zip(statistics) {
        tensor(params, name).copy_from_slice(&values);
    }
}

/// The source embeddings, [source vocabulary, width].
const SOURCE_TABLE: &str = "encoder.embedding.weight";

/// The values of a tensor among parameters or gradients that have it.
fn tensor<'a>(params: &'a mut Params, name: &str) -> &'a mut [f32] {
    &mut params.get_mut(name).expect("a tensor of the network").data
}

/// The network of another run, on the grid that the configuration asks for.
fn taken_over(init: Checkpoint, config: &Config, train: &Dataset) -> Result<Seq2Seq> {
    let Checkpoint { config: old, mut model, .. } = init;
    // Dropout, what attention should cover and what embeddings start from are how it is trained, not what it is.
    let sizes = |model: &ModelConfig| {
        let plain = EncoderConfig::default();
        let (vectors, freeze_vectors) = (plain.vectors, plain.freeze_vectors);
        let encoder = EncoderConfig { vectors, freeze_vectors, ..model.encoder.clone() };
        let attention = AttentionConfig { coverage_loss: 0.0, ..model.attention.clone() };
        ModelConfig { dropout: 0.0, embedding_dropout: None, attention, encoder, ..model.clone() }
    };
    if sizes(&old.model) != sizes(&config.model) {
        return Err(Error::Config(format!(
            "[model] is not that of the run to start from: expected {:?}, found {:?}",
            old.model, config.model
        )));
    }
    let text = |data: &DataConfig| (data.source, data.target, data.source_start, data.frames.clone());
    if text(&old.data) != text(&config.data) {
        return Err(Error::Config(
            "[data] cuts or marks text in another way than the run to start from".into(),
        ));
    }
    model.config = config.model.clone();
    model.scheme = None;
    if let Some(qat) = &config.qat {
        // Spread over all pairs, which may be sorted.
        let count = qat.calibration_pairs.min(train.len());
        let chosen: Vec<usize> = (0..count).map(|i| i * train.len() / count).collect();
        let batch = train.batch(&chosen);
        let pairs: Vec<(&[u32], &[u32])> =
            batch.sources.iter().zip(&batch.targets).map(|(s, t)| (&s.ids[..], &t[..])).collect();
        model.scheme = Some(Scheme::choose(&model, qat, &pairs)?);
    }
    Ok(model)
}

/// Teachers are there if and only if the configuration asks for them, and know the run's tokens.
fn check_teachers(run: &Run<'_>, source: &Vocab, target: &Vocab) -> Result<()> {
    match (&run.config.distill, run.teachers) {
        (Some(_), []) => {
            Err(Error::Config("[distill] learns from trained networks: name them with --teacher".into()))
        }
        (None, [_, ..]) => {
            Err(Error::Config("a teacher's share is told by [distill]; expected that section".into()))
        }
        (_, teachers) => {
            let knows =
                |teacher: &Checkpoint| teacher.source_vocab == *source && teacher.target_vocab == *target;
            match teachers.iter().position(|teacher| !knows(teacher)) {
                None => Ok(()),
                Some(i) => Err(Error::Config(format!(
                    "teacher {} does not have the run's tokens in their order: train it on the same corpus",
                    i + 1
                ))),
            }
        }
    }
}

/// Refuses to resume a run with another model, other data, another seed or another metric.
fn check_same(old: &Config, new: &Config, state: &State, data: &str) -> Result<()> {
    let differs = |what: &str, old: &dyn std::fmt::Debug, new: &dyn std::fmt::Debug| {
        Err(Error::Config(format!("a resumed run keeps its {what}: it was {old:?} and is now {new:?}")))
    };
    if old.model != new.model {
        return differs("[model]", &old.model, &new.model);
    }
    if old.qat != new.qat {
        return differs("[qat]", &old.qat, &new.qat);
    }
    if old.optimizer.kind != new.optimizer.kind {
        return differs("[optimizer] but for the learning rate", &old.optimizer.kind, &new.optimizer.kind);
    }
    if old.average != new.average {
        return differs("[average]", &old.average, &new.average);
    }
    if (&old.exposure, &old.risk, &old.distill) != (&new.exposure, &new.risk, &new.distill) {
        let objective = |c: &Config| (c.exposure.clone(), c.risk.clone(), c.distill);
        return differs("[exposure], [risk] and [distill]", &objective(old), &objective(new));
    }
    if old.data != new.data {
        return differs("[data]", &old.data, &new.data);
    }
    if state.seed != new.train.seed {
        return differs("train.seed", &state.seed, &new.train.seed);
    }
    if state.metric != new.train.metric {
        return differs("train.metric", &state.metric, &new.train.metric);
    }
    if state.data != data {
        return differs("training pairs (fingerprint)", &state.data, &data);
    }
    Ok(())
}
