//! A sweep on disk.
//!
//! | file | holds |
//! |---|---|
//! | `sweep.json` | what is asked for, and where each trial stands |
//! | `trial-001/`, ... | the run of each trial, a checkpoint directory like any other |
//! | `sweep.csv` | the trials as a table, best first |
//! | `best.toml` | the configuration of the best trial so far |
//!
//! `sweep.json` is replaced whole each time a trial ends; the last two follow from it and are written again on resuming.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::halving::Method;
use super::space::{Space, Values, apply};
use super::table;
use crate::checkpoint::{Best, checksum, write_atomically};
use crate::config::Config;
use crate::data::{Pair, corpus};
use crate::error::{Error, Result};

/// Name of the state's file.
pub const FILE: &str = "sweep.json";

/// What a sweep is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The configuration that the trials vary.
    pub config: Config,
    /// What they vary, as TOML.
    pub space: String,
    /// How they share the work.
    pub method: Method,
    /// How many there are.
    pub trials: usize,
    /// What is drawn depends on this alone. The trials' own seed is the configuration's.
    pub seed: u64,
}

/// Where a trial stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It has not come to its end yet.
    Waiting,
    /// It has come to its end.
    Done,
    /// Others were better, so it does not run on.
    Dropped,
    /// It could not run, or not go on.
    Failed,
}

/// One configuration and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trial {
    /// From 1.
    pub number: usize,
    /// Its values of the keys that vary.
    pub values: Values,
    /// Where it stands.
    pub status: Status,
    /// Rungs done.
    pub rungs: usize,
    /// Epochs done.
    pub epochs: usize,
    /// Numbers that its model learns; 0 before it has begun.
    pub parameters: usize,
    /// Its best epoch so far.
    pub best: Option<Best>,
    /// Why it failed.
    pub reason: Option<String>,
}

impl Trial {
    /// The name of its run's directory.
    pub fn folder(&self) -> String {
        format!("trial-{:03}", self.number)
    }
}

/// All that a sweep keeps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// The configuration that the trials vary, as TOML.
    config: String,
    /// What they vary, as TOML.
    space: String,
    /// How they share the work.
    pub method: Method,
    /// Fingerprint of the training and dev pairs, in hexadecimal digits.
    data: String,
    /// In the order of their numbers.
    pub trials: Vec<Trial>,
}

impl State {
    /// Draws the trials of a new sweep and writes it to the folder `out`.
    ///
    /// # Errors
    /// [`Error::Config`] when the plan cannot work; [`Error::Training`] when the folder holds a sweep; [`Error::Io`].
    pub fn create(plan: &Plan, train: &[Pair], dev: &[Pair], out: &Path) -> Result<Self> {
        if out.join(FILE).exists() {
            return Err(Error::Training(format!(
                "{} already holds a sweep; continue it with --resume, or name another folder",
                out.display()
            )));
        }
        let space = Space::from_toml(&plan.space, &plan.config)?;
        // Scores of different metrics cannot be compared, and threads change no score.
        let mut fixed = vec!["train.metric", "train.threads"];
        if plan.method != Method::Random {
            fixed.push("train.epochs");
        }
        if let Some(key) = space.keys().find(|key| fixed.contains(key)) {
            return Err(Error::Config(format!(
                "space: {key} must be the same for all trials of this method"
            )));
        }
        plan.method.rungs(plan.trials, plan.config.train.epochs)?;
        let trial = |(i, values)| Trial {
            number: i + 1,
            values,
            status: Status::Waiting,
            rungs: 0,
            epochs: 0,
            parameters: 0,
            best: None,
            reason: None,
        };
        let state = Self {
            config: plan.config.to_toml(),
            space: plan.space.clone(),
            method: plan.method,
            data: fingerprint(train, dev),
            trials: space.draw(plan.trials, plan.seed)?.into_iter().enumerate().map(trial).collect(),
        };
        std::fs::create_dir_all(out).map_err(|source| Error::Io {
            action: "create",
            path: out.into(),
            source,
        })?;
        state.save(out)?;
        Ok(state)
    }

    /// Takes up the sweep in the folder `out`.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Checkpoint`] when its file is damaged; [`Error::Config`] when the pairs are not those that it
    /// began with.
    pub fn resume(train: &[Pair], dev: &[Pair], out: &Path) -> Result<Self> {
        let path = out.join(FILE);
        let text = std::fs::read_to_string(&path).map_err(|source| Error::Io {
            action: "read",
            path: path.clone(),
            source,
        })?;
        let state: Self = serde_json::from_str(&text).map_err(|e| Error::Checkpoint {
            path: path.clone(),
            reason: format!("expected a sweep, found {e}"),
        })?;
        Config::from_toml(&state.config).map_err(|e| Error::Checkpoint { path, reason: e.to_string() })?;
        let data = fingerprint(train, dev);
        if state.data != data {
            return Err(Error::Config(format!(
                "a resumed sweep keeps its training and dev pairs (fingerprint): it was {} and is now {data}",
                state.data
            )));
        }
        Ok(state)
    }

    /// The configuration that the trials vary.
    pub fn base(&self) -> Config {
        Config::from_toml(&self.config).expect("checked when the sweep began or was taken up")
    }

    /// Replaces the files in the folder `out`.
    ///
    /// # Errors
    /// [`Error::Io`]; the state written before is intact then.
    pub fn save(&self, out: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).expect("a sweep is plain data") + "\n";
        write_atomically(&out.join(FILE), text.as_bytes())?;
        write_atomically(&out.join("sweep.csv"), table::csv(self).as_bytes())?;
        match self.best() {
            Some(best) => {
                write_atomically(&best_config(out), apply(&self.base(), &best.values)?.to_toml().as_bytes())
            }
            None => Ok(()),
        }
    }

    /// The trials, best first: by score, then loss on the dev set, then number. Those without a score come last.
    pub fn ranked(&self) -> Vec<&Trial> {
        let metric = self.base().train.metric;
        let mut ranked: Vec<&Trial> = self.trials.iter().collect();
        let key = |trial: &Trial| {
            let sign = if metric.improves(1.0, 0.0) { -1.0 } else { 1.0 };
            let best = trial.best.as_ref().filter(|_| trial.status != Status::Failed);
            best.map_or([f64::INFINITY; 2], |best| [sign * best.score, best.dev_loss])
        };
        ranked.sort_by(|a, b| {
            let ([a0, a1], [b0, b1]) = (key(a), key(b));
            a0.total_cmp(&b0).then(a1.total_cmp(&b1)).then(a.number.cmp(&b.number))
        });
        ranked
    }

    /// The best trial so far.
    pub fn best(&self) -> Option<&Trial> {
        self.ranked().first().copied().filter(|trial| trial.best.is_some() && trial.status != Status::Failed)
    }
}

/// Where the best configuration is written.
pub fn best_config(out: &Path) -> PathBuf {
    out.join("best.toml")
}

fn fingerprint(train: &[Pair], dev: &[Pair]) -> String {
    let text = [corpus::to_text(train), corpus::to_text(dev)].join("\n");
    format!("{:016x}", checksum(text.bytes()))
}
