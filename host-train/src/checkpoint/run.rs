//! The directory of a training run: what is written when, and how it is taken up again.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{load_setup, load_tensors, misfit, save_tensors, write_atomically};
use crate::config::{Config, Metric};
use crate::data::vectors::Coverage;
use crate::error::{Error, Result};
use crate::model::{Params, Seq2Seq};
use crate::nn::params::Tensor;
use crate::optim::{Average, Optimizer, same_layout};
use crate::quant::{self, Scheme};
use crate::schedule::Plateau;
use crate::vocab::Vocab;

/// The best epoch so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// Its number, from 1.
    pub epoch: usize,
    /// Its dev score in the units of the metric.
    pub score: f64,
    /// Its mean negative log-likelihood of a dev token.
    pub dev_loss: f64,
}

/// What is done of an epoch that is not finished.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Partial {
    /// Batches done.
    pub batches: usize,
    /// Fingerprint of all batches of the epoch, in hexadecimal digits.
    pub plan: String,
    /// Training loss of these batches, summed over target tokens.
    pub loss: f64,
    /// Target tokens of these batches.
    pub tokens: usize,
    /// Largest gradient norm before clipping.
    pub gradient_norm: f64,
    /// Seconds of training.
    pub seconds: f64,
}

/// Where training stands after some steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Epochs done.
    pub epoch: usize,
    /// Optimizer steps done.
    pub step: u64,
    /// Batches read; what is drawn for a batch depends on the seed and its number alone.
    pub batches: u64,
    /// The run's seed.
    pub seed: u64,
    /// The learning rate that the schedule goes up to, less what a plateau has taken off.
    pub learning_rate: f32,
    /// What is watched on the dev set.
    pub metric: Metric,
    /// The best epoch.
    pub best: Option<Best>,
    /// Epochs since the score last improved.
    pub bad_epochs: usize,
    /// What the learning rate's schedule has seen.
    pub plateau: Plateau,
    /// Fingerprint of the training pairs, in hexadecimal digits.
    pub data: String,
    /// How many source tokens began with a vector from a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vectors: Option<Coverage>,
    /// What is done of the next epoch; `None` between epochs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partial: Option<Partial>,
}

/// A run taken up again.
#[derive(Debug, Clone)]
pub struct Resumed {
    /// Where it stands.
    pub state: State,
    /// The configuration that it was started or last resumed with.
    pub config: Config,
    /// Tokens of the source side.
    pub source_vocab: Vocab,
    /// Tokens of the target side.
    pub target_vocab: Vocab,
    /// The network with its current weights.
    pub model: Seq2Seq,
    /// The optimizer with its moments.
    pub optimizer: Optimizer,
    /// The average of the weights.
    pub average: Average,
    /// The lines of the history, without line ends.
    pub history: Vec<String>,
}

/// A run at the end of an epoch.
#[derive(Debug, Clone, Copy)]
pub struct Snapshot<'a> {
    /// Where it stands.
    pub state: &'a State,
    /// The current weights.
    pub weights: &'a Params,
    /// The optimizer with its moments.
    pub optimizer: &'a Optimizer,
    /// The average of the weights.
    pub average: &'a Average,
    /// The lines of the history, without line ends.
    pub history: &'a [String],
}

/// File of the letters of words.
pub(super) const CHARACTERS: &str = "vocab.characters.txt";
/// Prefix of the current weights in `optimizer.safetensors`; those of the moments have PyTorch's names.
const WEIGHTS: &str = "param.";
/// Prefix of the average's tensors, with a number.
const AVERAGE: &str = "average.";

/// The directory of a run.
#[derive(Debug, Clone)]
pub struct RunDir {
    dir: PathBuf,
}

impl RunDir {
    /// Names the directory; nothing is read or written.
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.into() }
    }

    /// Whether the directory holds a run to continue, or a model.
    pub fn holds_run(&self) -> bool {
        self.committed() || self.path("model.safetensors").exists()
    }

    /// Whether the directory holds a state that training can continue from; its other files are there then.
    pub fn committed(&self) -> bool {
        self.path("optimizer.safetensors").exists()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Removes a former run's files.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn clear(&self) -> Result<()> {
        for name in [
            "optimizer.safetensors",
            "state.json",
            "model.safetensors",
            "history.jsonl",
            quant::FILE,
            CHARACTERS,
        ] {
            let path = self.path(name);
            match std::fs::remove_file(&path) {
                Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::Io { action: "remove", path, source });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Creates the directory where it is missing.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn create(&self) -> Result<()> {
        std::fs::create_dir_all(&self.dir).map_err(|source| Error::Io {
            action: "create",
            path: self.dir.clone(),
            source,
        })
    }

    /// Writes configuration, vocabularies and, if there is one, the scheme.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write_setup(
        &self,
        config: &Config,
        source: &Vocab,
        target: &Vocab,
        scheme: Option<&Scheme>,
    ) -> Result<()> {
        if let Some(scheme) = scheme {
            scheme.save(&self.dir)?;
        }
        if source.frames().is_none() {
            write_atomically(&self.path("vocab.source.txt"), source.to_file_text().as_bytes())?;
        }
        if let Some(characters) = source.characters() {
            write_atomically(&self.path(CHARACTERS), characters.to_file_text().as_bytes())?;
        }
        write_atomically(&self.path("vocab.target.txt"), target.to_file_text().as_bytes())?;
        write_atomically(&self.path("config.toml"), config.to_toml().as_bytes())
    }

    /// Commits a state; see the [module](super) for the order of the files and its reason.
    ///
    /// # Errors
    /// [`Error::Io`]; the state committed before is intact then.
    pub fn commit(&self, run: &Snapshot<'_>) -> Result<()> {
        let lines: String = run.history.iter().map(|line| format!("{line}\n")).collect();
        write_atomically(&self.path("history.jsonl"), lines.as_bytes())?;

        let named = |prefix: &str, params: &Params| -> Vec<Tensor> {
            params.iter().map(|t| Tensor { name: format!("{prefix}{}", t.name), ..t.clone() }).collect()
        };
        let mut tensors = named(WEIGHTS, run.weights);
        for (name, moments) in run.optimizer.moments() {
            tensors.extend(named(&format!("{name}."), moments));
        }
        for (i, kept) in run.average.kept().iter().enumerate() {
            tensors.extend(named(&format!("{AVERAGE}{i}."), kept));
        }
        let text = serde_json::to_string(run.state).expect("a state is plain data");
        save_tensors(&self.path("optimizer.safetensors"), &tensors.iter().collect::<Vec<_>>(), &text)?;
        self.write_derived(run.state, run.average.weights().as_ref().unwrap_or(run.weights))
    }

    /// Writes what follows from a committed state whose model has the given weights.
    fn write_derived(&self, state: &State, weights: &Params) -> Result<()> {
        // Within the next epoch the best weights are no longer the current ones.
        if state.partial.is_none() && state.best.as_ref().is_some_and(|best| best.epoch == state.epoch) {
            save_tensors(&self.path("model.safetensors"), &weights.iter().collect::<Vec<_>>(), "")?;
        }
        let text = serde_json::to_string_pretty(state).expect("a state is plain data") + "\n";
        write_atomically(&self.path("state.json"), text.as_bytes())
    }

    /// Takes up the last committed state and completes its files.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Checkpoint`] names the file that is damaged or does not fit the others.
    pub fn resume(&self) -> Result<Resumed> {
        let (config, source_vocab, target_vocab) = load_setup(&self.dir)?;
        let path = self.path("optimizer.safetensors");
        let fail = |reason: String| Error::Checkpoint { path: path.clone(), reason };
        let (tensors, text) = load_tensors(&path)?;
        let state: State = serde_json::from_str(&text)
            .map_err(|e| fail(format!("expected a training state in its header, found {text:?}: {e}")))?;

        let weights = part(&tensors, WEIGHTS)?;
        let mut model = Seq2Seq::from_params(&config.model, &source_vocab, target_vocab.len(), weights)
            .map_err(|e| misfit(&path, &e))?;
        model.scheme = Scheme::load(&self.dir, &config.model)?;
        let layout = &model.params;
        let named = |prefix: &str| -> Result<Params> { like(layout, prefix, &part(&tensors, prefix)?) };
        let mut optimizer = Optimizer::new(&config.optimizer, layout);
        optimizer.restore(state.step, |name| named(&format!("{name}."))).map_err(|e| misfit(&path, &e))?;
        let holds = |prefix: &String| tensors.iter().any(|t| t.name.starts_with(prefix));
        let kept = (0..).map(|i| format!("{AVERAGE}{i}.")).take_while(holds);
        let kept: Result<Vec<Params>> = kept.map(|prefix| named(&prefix)).collect();
        let average = Average::resume(&config.average, kept.map_err(|e| misfit(&path, &e))?);

        let history = std::fs::read_to_string(self.path("history.jsonl")).unwrap_or_default();
        let history = history.lines().take(state.epoch).map(str::to_owned).collect();
        self.write_derived(&state, average.weights().as_ref().unwrap_or(&model.params))?;
        if state.best.is_some() {
            load_tensors(&self.path("model.safetensors"))?;
        }
        Ok(Resumed { state, config, source_vocab, target_vocab, model, optimizer, average, history })
    }
}

/// The tensors whose names start with `prefix`, without it.
fn part(tensors: &Params, prefix: &str) -> Result<Params> {
    let strip = |t: &Tensor| Some(Tensor { name: t.name.strip_prefix(prefix)?.to_owned(), ..t.clone() });
    Params::new(tensors.iter().filter_map(strip).collect())
}

/// `tensors` in the order of `layout`; what is missing or has another shape is named with the `prefix` it had.
fn like(layout: &Params, prefix: &str, tensors: &Params) -> Result<Params> {
    let find = |t: &Tensor| {
        let found = tensors.get(&t.name).cloned();
        found.ok_or_else(|| Error::Config(format!("{prefix}{} is missing", t.name)))
    };
    let found = Params::new(layout.iter().map(find).collect::<Result<_>>()?)?;
    same_layout(prefix, layout, &found)?;
    Ok(found)
}
