//! Search over hyper-parameters: many short or long runs, some at a time, and a table of what became of them.
//!
//! A trial is a run like any other in a folder of its own, so that a sweep that was killed goes on where each trial's last
//! checkpoint stands. Which trials there are, and which of them run on, depends on the plan and the pairs alone: not on the
//! number of jobs, nor on how often the sweep was interrupted.

mod halving;
mod space;
mod state;
mod table;

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

pub use halving::{Method, Rung};
pub use space::{Domain, Space, Values, apply};
pub use state::{FILE, Plan, State, Status, Trial, best_config};
pub use table::{csv, text};

use crate::config::Config;
use crate::data::Pair;
use crate::error::{Error, Result};
use crate::trainer::{self, End, Event, Run, Start};

/// How a sweep is carried out; changes no result.
#[derive(Debug, Clone, Copy)]
pub struct Work<'a> {
    /// The pairs to learn.
    pub train: &'a [Pair],
    /// The pairs that tell how good a trial is.
    pub dev: &'a [Pair],
    /// The sweep's folder.
    pub out: &'a Path,
    /// Trials that run at the same time.
    pub jobs: usize,
    /// Threads of a trial.
    pub threads: usize,
}

/// Runs the trials of a sweep that are not at their end, and tells of each that comes to the end of a rung. Returns whether all
/// have; `stop` is looked at after each step of each trial.
///
/// A trial that cannot work, or whose loss is not finite, is recorded with its reason and the others go on.
///
/// # Errors
/// [`Error::Io`]: a file could not be read or written, which would be so for the other trials too.
pub fn run(
    state: &mut State,
    work: &Work<'_>,
    stop: &AtomicBool,
    observe: &(dyn Fn(&Trial) + Sync),
) -> Result<bool> {
    let base = state.base();
    let rungs = state.method.rungs(state.trials.len(), base.train.epochs)?;
    for (i, rung) in rungs.iter().enumerate() {
        drop_all_but(state, rung.trials);
        let last = i + 1 == rungs.len();
        // In random search a trial's own configuration says how many epochs it has.
        let epochs = if last { usize::MAX } else { rung.epochs };
        let waiting: Vec<usize> = (0..state.trials.len())
            .filter(|&t| state.trials[t].status == Status::Waiting && state.trials[t].rungs <= i)
            .collect();
        if !run_rung(state, &base, work, &waiting, epochs, stop, observe)? {
            return Ok(false);
        }
        state.save(work.out)?;
    }
    Ok(true)
}

/// The best `count` of the trials that have not failed run on.
fn drop_all_but(state: &mut State, count: usize) {
    let in_the_race =
        state.ranked().into_iter().filter(|trial| matches!(trial.status, Status::Waiting | Status::Done));
    let dropped: Vec<usize> = in_the_race.skip(count).map(|trial| trial.number).collect();
    for trial in &mut state.trials {
        if dropped.contains(&trial.number) && trial.status == Status::Waiting {
            trial.status = Status::Dropped;
        }
    }
}

/// Runs some trials up to an epoch, `work.jobs` at a time.
fn run_rung(
    state: &mut State,
    base: &Config,
    work: &Work<'_>,
    waiting: &[usize],
    epochs: usize,
    stop: &AtomicBool,
    observe: &(dyn Fn(&Trial) + Sync),
) -> Result<bool> {
    let (next, broken) = (AtomicUsize::new(0), AtomicBool::new(false));
    let stopped = || stop.load(Ordering::Relaxed) || broken.load(Ordering::Relaxed);
    let shared = Mutex::new(state);
    let worker = || -> Result<()> {
        while let Some(&index) = waiting.get(next.fetch_add(1, Ordering::Relaxed)) {
            if stopped() {
                break;
            }
            let trial = shared.lock().expect("no trial panics").trials[index].clone();
            let ended = run_trial(trial, base, work, epochs, &stopped).and_then(|trial| {
                let mut state = shared.lock().expect("no trial panics");
                let told = trial.status == Status::Failed || trial.rungs > state.trials[index].rungs;
                state.trials[index] = trial.clone();
                state.save(work.out)?;
                if told {
                    observe(&trial);
                }
                Ok(())
            });
            if ended.is_err() {
                broken.store(true, Ordering::Relaxed);
                return ended;
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..work.jobs.min(waiting.len())).map(|_| scope.spawn(worker)).collect();
        let own = worker();
        others.into_iter().map(|t| t.join().expect("no trial panics")).fold(own, Result::and)
    })?;
    Ok(!stopped())
}

/// The trial after it has run up to an epoch, or as far as it came.
fn run_trial(
    mut trial: Trial,
    base: &Config,
    work: &Work<'_>,
    epochs: usize,
    stopped: &(dyn Fn() -> bool + Sync),
) -> Result<Trial> {
    let out = work.out.join(trial.folder());
    let enough = AtomicBool::new(false);
    let mut watch = |event: &Event<'_>| {
        let done = match *event {
            Event::Start { parameters, epochs_done, .. } => {
                trial.parameters = parameters;
                epochs_done >= epochs
            }
            Event::Epoch(record) => record.epoch >= epochs,
            _ => false,
        };
        if done || stopped() {
            enough.store(true, Ordering::Relaxed);
        }
    };
    let outcome = space::apply(base, &trial.values).and_then(|mut config| {
        config.train.threads = work.threads;
        let run = Run {
            config: &config,
            train: work.train,
            dev: work.dev,
            out: &out,
            start: Start::Resume,
            teachers: &[],
        };
        trainer::train(&run, &enough, &mut watch)
    });
    match outcome {
        Err(error @ Error::Io { .. }) => return Err(error),
        Err(error) => {
            trial.status = Status::Failed;
            trial.reason = Some(error.to_string());
        }
        Ok(outcome) => {
            trial.epochs = outcome.epochs;
            trial.best = outcome.best;
            let at_its_end = outcome.end != End::Interrupted;
            if at_its_end {
                trial.status = Status::Done;
            }
            if at_its_end || trial.epochs >= epochs {
                trial.rungs += 1;
            }
        }
    }
    Ok(trial)
}
