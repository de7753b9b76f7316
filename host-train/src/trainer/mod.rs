//! Training: epochs over batches, evaluation on the dev set, and a checkpoint after every epoch and, if wanted, within.
//!
//! Nothing here prints: what happens is told to a closure as [`Event`]s.

mod evaluate;
mod event;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

pub use evaluate::{Evaluation, decode_all, decode_groups, evaluate, mean_loss};
pub use event::{End, EpochRecord, Event, Outcome};

use crate::checkpoint::{Best, Checkpoint, Partial, RunDir, State, checksum};
use crate::config::{Config, DataConfig, Metric, ModelConfig};
use crate::data::{Dataset, Pair, batch};
use crate::error::{Error, Result};
use crate::model::{Gradients, Seq2Seq, StepOptions};
use crate::optim::{Adam, clip_grad_norm};
use crate::quant::Scheme;
use crate::rng::{Stream, derive};
use crate::schedule::Plateau;
use crate::vocab::Vocab;

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
/// evaluate, or a loss is not finite. The last checkpoint stays.
pub fn train(run: &Run<'_>, stop: &AtomicBool, observe: &mut dyn FnMut(&Event<'_>)) -> Result<Outcome> {
    train_from(run, None, stop, observe)
}

/// [`train`] that begins with the weights and vocabularies of another run, if given; a resumed run has its own. With `[qat]`
/// in the configuration, the other run's network is calibrated on the training pairs and learns on the chip's grid from then on.
///
/// # Errors
/// As [`train`]; [`Error::Config`] when the other run's network or tokens are not the configuration's, or when there is `[qat]`
/// without another run.
pub fn train_from(
    run: &Run<'_>,
    init: Option<Checkpoint>,
    stop: &AtomicBool,
    observe: &mut dyn FnMut(&Event<'_>),
) -> Result<Outcome> {
    run.config.check()?;
    let mut work = prepare(run, init)?;
    let (config, epochs) = (run.config, run.config.train.epochs);
    observe(&Event::Start {
        parameters: work.model.params.values(),
        pairs: work.train.len(),
        dropped: work.train.dropped(),
        dev_pairs: run.dev.len(),
        dev_unknown: work.dev.unknown(),
        vocab: (work.source_vocab.len(), work.target_vocab.len()),
        epochs_done: work.state.epoch,
        steps_done: work.state.step,
        epochs,
    });
    let mut grads = work.model.params.zeros_like();
    let lengths = work.train.lengths();
    loop {
        let end = if work.state.bad_epochs >= config.train.patience {
            End::Stopped
        } else if work.state.epoch >= epochs {
            End::Finished
        } else if work.epoch(run, &lengths, &mut grads, stop, observe)? {
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
    adam: Adam,
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

    let (source_vocab, target_vocab) = match (&resumed, &init) {
        (Some(old), _) => (old.source_vocab.clone(), old.target_vocab.clone()),
        (None, Some(init)) => (init.source_vocab.clone(), init.target_vocab.clone()),
        (None, None) => (
            Vocab::build(
                config.data.source,
                run.train.iter().map(|p| p.source.as_str()),
                config.data.min_count,
            )
            .with_start(config.data.source_start),
            Vocab::build(
                config.data.target,
                run.train.iter().map(|p| p.target.as_str()),
                config.data.min_count,
            ),
        ),
    };
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

    let (model, adam, state, history) = match resumed {
        Some(old) => {
            check_same(&old.config, config, &old.state, &data)?;
            let mut state = old.state;
            let t = &config.train;
            if old.config.train.learning_rate != t.learning_rate {
                // On disk before the configuration is: a kill between the two must not lose the new rate.
                state.learning_rate = t.learning_rate;
                dir.commit(&state, &old.model.params, &old.adam, &old.history)?;
            }
            state.plateau.factor = t.lr_factor;
            state.plateau.patience = t.lr_patience;
            state.plateau.min_lr = t.min_learning_rate;
            dir.write_setup(config, &source_vocab, &target_vocab, old.model.scheme.as_ref())?;
            (old.model, old.adam, state, old.history)
        }
        None => {
            let t = &config.train;
            let model = match init {
                Some(init) => taken_over(init, config, &train)?,
                None if config.qat.is_some() => {
                    let reason = "[qat] starts from a trained network: name its checkpoint with --init";
                    return Err(Error::Config(reason.into()));
                }
                None => Seq2Seq::new(&config.model, source_vocab.len(), target_vocab.len(), t.seed),
            };
            let adam = Adam::new(&model.params, t.learning_rate);
            let state = State {
                epoch: 0,
                step: 0,
                seed: t.seed,
                learning_rate: t.learning_rate,
                metric: t.metric,
                best: None,
                bad_epochs: 0,
                plateau: Plateau::new(t.lr_factor, t.lr_patience, t.min_learning_rate),
                data,
                partial: None,
            };
            dir.create()?;
            dir.clear()?;
            dir.write_setup(config, &source_vocab, &target_vocab, model.scheme.as_ref())?;
            // Before the first step, so that a run that began with another's weights never resumes without them.
            dir.commit(&state, &model.params, &adam, &[])?;
            (model, adam, state, Vec::new())
        }
    };
    Ok(Work { dir, source_vocab, target_vocab, train, dev, model, adam, state, history })
}

/// The network of another run, on the grid that the configuration asks for.
fn taken_over(init: Checkpoint, config: &Config, train: &Dataset) -> Result<Seq2Seq> {
    let Checkpoint { config: old, mut model, .. } = init;
    // Dropout is how it is trained, not what it is.
    let sizes = |model: &ModelConfig| ModelConfig { dropout: 0.0, ..model.clone() };
    if sizes(&old.model) != sizes(&config.model) {
        return Err(Error::Config(format!(
            "[model] is not that of the run to start from: expected {:?}, found {:?}",
            old.model, config.model
        )));
    }
    let text = |data: &DataConfig| (data.source, data.target, data.source_start);
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
            batch.sources.iter().zip(&batch.targets).map(|(s, t)| (&s[..], &t[..])).collect();
        model.scheme = Some(Scheme::choose(&model, qat, &pairs)?);
    }
    Ok(model)
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

impl Work {
    /// Trains, evaluates and commits one epoch, or what is left of it; `false` when the caller asked to stop.
    fn epoch(
        &mut self,
        run: &Run<'_>,
        lengths: &[(usize, usize)],
        grads: &mut Gradients,
        stop: &AtomicBool,
        observe: &mut dyn FnMut(&Event<'_>),
    ) -> Result<bool> {
        let t = &run.config.train;
        let begun = Instant::now();
        let epoch = self.state.epoch + 1;
        let batches = batch::plan(lengths, t.batch_size, t.seed, epoch as u64);
        let mut done = self.take_partial(&batches)?;
        let seconds_before = done.seconds;
        let seconds = || seconds_before + begun.elapsed().as_secs_f64();
        let speed = |tokens: usize| tokens as f64 / seconds().max(1e-9);
        let mut kept = done.batches;
        self.adam.lr = self.state.learning_rate;
        for pairs in batches.iter().skip(done.batches) {
            if stop.load(Ordering::Relaxed) {
                if done.batches > kept {
                    self.commit_partial(Partial { seconds: seconds(), ..done })?;
                }
                return Ok(false);
            }
            let step = self.adam.step + 1;
            let options = StepOptions {
                label_smoothing: t.label_smoothing,
                dropout_seed: Some(derive(t.seed, Stream::Dropout, step)),
                threads: t.threads,
            };
            let sum = self.model.loss_and_gradients(&self.train.batch(pairs), grads, &options);
            let norm = clip_grad_norm(grads, t.clip_norm);
            if !sum.loss.is_finite() || !norm.is_finite() {
                return Err(self.not_finite(run, step, epoch, sum.loss / sum.tokens as f64, norm));
            }
            self.adam.step(&mut self.model.params, grads);
            done.batches += 1;
            done.loss += sum.loss;
            done.tokens += sum.tokens;
            done.gradient_norm = done.gradient_norm.max(norm);
            // No step is a multiple of 0.
            if step.is_multiple_of(t.checkpoint_every) {
                self.commit_partial(Partial { seconds: seconds(), ..done.clone() })?;
                kept = done.batches;
            }
            observe(&Event::Step {
                epoch,
                batch: done.batches,
                batches: batches.len(),
                loss: done.loss / done.tokens as f64,
                tokens_per_second: speed(done.tokens),
            });
        }
        let tokens_per_second = speed(done.tokens);
        let step = self.adam.step;

        observe(&Event::Evaluate);
        let dev = evaluate(&self.model, &self.source_vocab, &self.target_vocab, run, &self.dev);
        if !dev.loss.is_finite() {
            return Err(self.not_finite(run, step, epoch, dev.loss, done.gradient_norm));
        }
        let mut record = EpochRecord {
            epoch,
            step,
            train_loss: done.loss / done.tokens as f64,
            dev_loss: dev.loss,
            wer: dev.scores.wer(),
            per: dev.scores.per(),
            exact: dev.scores.exact(),
            best: false,
            learning_rate: self.state.learning_rate,
            gradient_norm: done.gradient_norm,
            seconds: seconds(),
            tokens_per_second,
        };
        let score = record.get(t.metric);
        let best = self.state.best.as_ref();
        let improved = best.is_none_or(|best| t.metric.improves(score, best.score));
        // A metric that counts whole lines stands still long before the model stops getting surer.
        record.best = improved || best.is_some_and(|best| score == best.score && dev.loss < best.dev_loss);
        self.state.epoch = epoch;
        self.state.step = step;
        self.state.partial = None;
        self.state.bad_epochs = if improved { 0 } else { self.state.bad_epochs + 1 };
        if record.best {
            self.state.best = Some(Best { epoch, score, dev_loss: dev.loss });
        }
        // The schedule takes smaller for better.
        let falling = if t.metric == Metric::Exact { -score } else { score };
        self.state.learning_rate = self.state.plateau.observe(falling, self.state.learning_rate);

        self.history.push(serde_json::to_string(&record).expect("a record is plain data"));
        self.dir.commit(&self.state, &self.model.params, &self.adam, &self.history)?;
        observe(&Event::Epoch(&record));
        Ok(true)
    }

    /// What is done of the epoch with these batches.
    fn take_partial(&mut self, batches: &[Vec<usize>]) -> Result<Partial> {
        let numbers =
            batches.iter().flat_map(|batch| std::iter::once(batch.len()).chain(batch.iter().copied()));
        let plan = format!("{:016x}", checksum(numbers.flat_map(usize::to_le_bytes)));
        match self.state.partial.take() {
            Some(done) if done.plan != plan => Err(Error::Config(format!(
                "a run resumed within an epoch keeps its train.batch_size to the end of the epoch: {} steps of epoch {} are \
                 done, and its batches are no longer the same",
                done.batches,
                self.state.epoch + 1
            ))),
            Some(done) => Ok(done),
            None => Ok(Partial { plan, ..Partial::default() }),
        }
    }

    /// Keeps the run in the middle of an epoch.
    fn commit_partial(&mut self, done: Partial) -> Result<()> {
        self.state.step = self.adam.step;
        self.state.partial = Some(done);
        self.dir.commit(&self.state, &self.model.params, &self.adam, &self.history)
    }

    fn not_finite(&self, run: &Run<'_>, step: u64, epoch: usize, loss: f64, norm: f64) -> Error {
        let kept = match self.state.epoch {
            0 => "no epoch has finished yet".to_owned(),
            n => format!("epoch {n} is kept in {}", run.out.display()),
        };
        Error::Training(format!(
            "step {step} (epoch {epoch}): loss {loss}, gradient norm {norm}; lower train.learning_rate ({}) or \
             train.clip_norm ({}) and continue with --resume; {kept}",
            self.state.learning_rate, run.config.train.clip_norm
        ))
    }
}
