//! The example configurations of the family: each trained for a moment on a small corpus, compiled, and measured.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result};
use kinglet::Model;
use kinglet_compiler::calibrate::Example;
use kinglet_compiler::kinds::{Kind, Kinds};
use kinglet_compiler::lower::{Plan, Source};
use kinglet_compiler::mixed::cross_entropy;
use kinglet_compiler::{Options, compile};
use kinglet_train::checkpoint::Checkpoint;
use kinglet_train::config::{Config, Metric, Task, Tokens};
use kinglet_train::data::{Dataset, Pair};
use kinglet_train::tasks;
use kinglet_train::trainer::{self, Event, Run, Start, mean_loss};

/// Pairs of a corpus, dev and test included.
const PAIRS: usize = 500;
/// Epochs of a moment.
const EPOCHS: usize = 6;

/// An example configuration.
#[derive(Debug, Clone)]
pub struct Architecture {
    /// Its file's name without the ending.
    pub name: String,
    /// What the file says, trained for a moment only.
    pub config: Config,
}

/// All of `configs/family`, by name.
///
/// # Errors
/// What reading them gives.
pub fn all() -> Result<Vec<Architecture>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/family");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    files.sort();
    let read = |path: &PathBuf| {
        let text = std::fs::read_to_string(path)?;
        let mut config = Config::from_toml(&text).with_context(|| path.display().to_string())?;
        (config.train.epochs, config.train.threads) = (EPOCHS, 1);
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Architecture { name, config })
    };
    files.iter().map(read).collect()
}

/// Training and dev pairs for a task: letters to the same from their end; letters with a label each, whether they come behind the one
/// before in the alphabet, and behind a start mark whether they are even in number; words with a label each, whether their last letter
/// comes behind their first; letters in their order. Where numbers are read, a letter is a frame of two.
pub fn corpus(config: &Config) -> Result<[Vec<Pair>; 2]> {
    let splits = tasks::generate(tasks::Task::Reverse, PAIRS, 1)?;
    let start = config.data.source_start;
    let label = |source: &str| {
        let letters: Vec<char> = source.chars().collect();
        let whole = start.then_some(if letters.len().is_multiple_of(2) { "even" } else { "odd" });
        let of = |at: usize| match at.checked_sub(1).map(|before| letters[before] < letters[at]) {
            None => "B-first",
            Some(true) => "B-up",
            Some(false) => "O",
        };
        whole.into_iter().chain((0..letters.len()).map(of)).collect::<Vec<&str>>().join(" ")
    };
    // Words of at most four letters.
    let words = |pair: Pair| {
        let letters: Vec<char> = pair.source.chars().collect();
        let words: Vec<String> = letters.chunks(4).map(|word| word.iter().collect()).collect();
        let label = |word: &String| if word.chars().next() < word.chars().last() { "up" } else { "down" };
        Pair { target: words.iter().map(label).collect::<Vec<_>>().join(" "), source: words.join(" ") }
    };
    let pair = |pair: Pair| match config.model.task {
        Task::Label if config.data.source == Tokens::Words => words(pair),
        Task::Transduce => pair,
        Task::Label => Pair { target: label(&pair.source), source: pair.source },
        Task::Generate => {
            let mut letters: Vec<char> = pair.source.chars().collect();
            letters.sort_unstable();
            Pair { source: String::new(), target: letters.into_iter().collect() }
        }
    };
    let drawn = |pair: Pair| match config.data.source {
        Tokens::Frames => Pair { source: frames(&pair.source), ..pair },
        _ => pair,
    };
    Ok([splits.train, splits.dev].map(|pairs| pairs.into_iter().map(pair).map(drawn).collect()))
}

/// A frame of two numbers for each letter, no two letters alike.
fn frames(letters: &str) -> String {
    let frame = |letter: u8| {
        let place = i32::from(letter) - i32::from(b'm');
        format!("{},{}", 20 * place, place * place - 60)
    };
    letters.bytes().map(frame).collect::<Vec<_>>().join(" ")
}

/// A trained network with its losses on dev pairs, nats a target token, after the first and the last epoch.
pub struct Trained {
    /// The best epoch's network.
    pub checkpoint: Checkpoint,
    /// Dev pairs.
    pub dev: Vec<Pair>,
    /// After the first epoch.
    pub first: f64,
    /// Of the network above.
    pub last: f64,
}

/// Trains for a moment.
///
/// # Errors
/// What the trainer returns.
pub fn train(config: &Config) -> Result<Trained> {
    let [train, dev] = corpus(config)?;
    let out = tempfile::tempdir()?;
    let dir = out.path().join("run");
    let run = Run { config, train: &train, dev: &dev, out: &dir, start: Start::Overwrite, teachers: &[] };
    let mut first = None;
    trainer::train(&run, &AtomicBool::new(false), &mut |event| {
        if let Event::Epoch(record) = event {
            first.get_or_insert(record.dev_loss);
        }
    })?;
    let checkpoint = Checkpoint::load(&dir)?;
    let data = Dataset::whole(&dev, &checkpoint.source_vocab, &checkpoint.target_vocab);
    let last = mean_loss(&checkpoint.model, &data, 32, 1);
    Ok(Trained { checkpoint, dev, first: first.context("no epoch")?, last })
}

/// The blob of a trained network.
///
/// # Errors
/// What the compiler returns.
pub fn blob(trained: &Trained, name: &str, kind: Kind) -> Result<Vec<u8>> {
    let Checkpoint { model, source_vocab, target_vocab, config, .. } = &trained.checkpoint;
    let longest = |tokens: usize, marks: usize| (tokens + marks) as u16;
    let plan = Plan {
        kinds: Kinds::all(kind),
        ..Plan::new(
            name,
            longest(config.data.max_source_len, source_vocab.marks()),
            longest(config.data.max_target_len, 0),
        )
    };
    let options =
        Options { calibration_pairs: 100, evaluation_sources: 0, ..Options::new(plan, Metric::Wer) };
    Ok(compile(Source { model, source_vocab, target_vocab }, &trained.dev, &options)?.blob)
}

/// Loss of a blob on the dev pairs, nats a target token.
///
/// # Errors
/// What the runtime returns.
pub fn loss(trained: &Trained, model: &Model<'_>) -> Result<f64> {
    let Checkpoint { source_vocab, target_vocab, .. } = &trained.checkpoint;
    let example = |pair: &Pair| Example {
        source: source_vocab.sentence(&pair.source),
        target: target_vocab.sentence(&pair.target).ids,
    };
    let examples: Vec<Example> = trained.dev.iter().map(example).collect();
    Ok(cross_entropy(model, &examples, 1)?)
}
