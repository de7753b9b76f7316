//! Built-in corpora: generated pairs from which a model can be trained in minutes, without any data at hand.

mod commands;
mod dates;
mod numbers;
mod pictures;
mod strokes;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::checkpoint::checksum;
use crate::config::{
    AttentionConfig, Config, DataConfig, DecoderConfig, EncoderConfig, Metric, ModelConfig, OptimizerConfig,
    PlateauConfig, ScheduleConfig, ScheduleKind, Tokens, TrainConfig,
};
use crate::data::Pair;
use crate::error::{Error, Result};
use crate::nn::random::Random;
use crate::rng::{Stream, below, derive};

/// A generated corpus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Task {
    /// Dates in many forms, to ISO 8601: "Tuesday, March 3rd 2026" -> "2026-03-03".
    Dates,
    /// Spoken commands of a home, to an action and its slots: "turn on the kitchen lights" -> "light.on kitchen".
    Commands,
    /// English number words, to digits: "two hundred and five" -> "205".
    Numbers,
    /// A string of letters, to the same letters from the end.
    Reverse,
    /// Hexadecimal digits written on a touch pad, to text: frames of numbers.
    Strokes,
    /// Small pictures of shapes and digits, without sources: for a language model that draws.
    Pictures,
}

/// A corpus in its three parts, which share no source (and no target, except for [`Task::Commands`] and [`Task::Strokes`], whose
/// targets are few).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Splits {
    /// To learn from: eight tenths.
    pub train: Vec<Pair>,
    /// To choose on: one tenth.
    pub dev: Vec<Pair>,
    /// To report on: one tenth.
    pub test: Vec<Pair>,
}

/// Draws in a row without a new source after which a corpus counts as exhausted.
const PATIENCE: usize = 20_000;

impl Task {
    /// All tasks.
    pub const ALL: [Self; 6] =
        [Self::Dates, Self::Commands, Self::Numbers, Self::Reverse, Self::Strokes, Self::Pictures];

    /// Its name on command lines.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dates => "dates",
            Self::Commands => "commands",
            Self::Numbers => "numbers",
            Self::Reverse => "reverse",
            Self::Strokes => "strokes",
            Self::Pictures => "pictures",
        }
    }

    /// Pairs generated when no number is given.
    pub fn default_size(self) -> usize {
        match self {
            Self::Dates => 25_000,
            Self::Commands => 10_000,
            Self::Numbers | Self::Reverse => 20_000,
            Self::Strokes => 6_000,
            Self::Pictures => 3_000,
        }
    }

    fn pair(self, random: &mut Random) -> Pair {
        match self {
            Self::Dates => dates::pair(random),
            Self::Commands => commands::pair(random),
            Self::Numbers => numbers::pair(random),
            Self::Reverse => reverse(random),
            Self::Strokes => strokes::pair(random),
            Self::Pictures => pictures::pair(random),
        }
    }

    /// What decides the part of the corpus that a pair belongs to.
    fn part_key(self, pair: &Pair) -> &str {
        if matches!(self, Self::Commands | Self::Strokes) { &pair.source } else { &pair.target }
    }
}

/// Four to ten letters and their reversal.
fn reverse(random: &mut Random) -> Pair {
    let length = 4 + below(random, 7);
    let source: String = (0..length).map(|_| char::from(b'a' + below(random, 26) as u8)).collect();
    Pair { target: source.chars().rev().collect(), source }
}

/// `size` pairs with distinct sources, or targets where there are no sources; the same arguments give the same pairs.
///
/// # Errors
/// [`Error::Config`] when `size` is below 10 or the task does not have that many sources.
pub fn generate(task: Task, size: usize, seed: u64) -> Result<Splits> {
    fill(task, size, seed, PATIENCE)
}

fn fill(task: Task, size: usize, seed: u64, patience: usize) -> Result<Splits> {
    if size < 10 {
        return Err(Error::Config(format!("a generated corpus needs at least 10 pairs, found {size}")));
    }
    let mut random = Random::new(derive(seed, Stream::Generate, task as u64));
    let mut splits = Splits::default();
    let tenth = size / 10;
    let mut seen = BTreeSet::new();
    let mut idle = 0;
    while splits.len() < size {
        let pair = task.pair(&mut random);
        let key = task.part_key(&pair).bytes().chain(seed.to_le_bytes());
        let (into, wanted) = match checksum(key) % 10 {
            8 => (&mut splits.dev, tenth),
            9 => (&mut splits.test, tenth),
            _ => (&mut splits.train, size - 2 * tenth),
        };
        idle += 1;
        // Pictures have no sources: they are told apart by what they are.
        let name = if pair.source.is_empty() { &pair.target } else { &pair.source };
        if into.len() < wanted && seen.insert(name.clone()) {
            into.push(pair);
            idle = 0;
        } else if idle > patience {
            return Err(Error::Config(format!(
                "the task {} has too few different sources for {size} pairs; {} were found",
                task.name(),
                splits.len()
            )));
        }
    }
    Ok(splits)
}

impl Splits {
    /// Pairs in all parts.
    pub fn len(&self) -> usize {
        self.train.len() + self.dev.len() + self.test.len()
    }

    /// Whether there is no pair.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// File name and pairs of each part.
    pub fn files(&self) -> BTreeMap<&'static str, &[Pair]> {
        BTreeMap::from([
            ("train.tsv", self.train.as_slice()),
            ("dev.tsv", self.dev.as_slice()),
            ("test.tsv", self.test.as_slice()),
        ])
    }
}

/// A small configuration that learns the task in minutes on two cores.
pub fn config(task: Task) -> Config {
    let words = |yes| if yes { Tokens::Words } else { Tokens::Chars };
    let file =
        |text| Config::from_toml(text).expect("configurations of the repository are read by its tests");
    let (embedding, encoder, decoder, attention) = match task {
        Task::Strokes => return file(include_str!("../../../configs/strokes.toml")),
        Task::Pictures => return file(include_str!("../../../configs/pictures.toml")),
        Task::Dates => (16, 32, 48, 32),
        Task::Commands => (24, 32, 48, 32),
        Task::Numbers => (24, 32, 64, 32),
        Task::Reverse => (24, 48, 64, 48),
    };
    Config {
        data: DataConfig {
            source: words(matches!(task, Task::Commands | Task::Numbers)),
            target: words(task == Task::Commands),
            max_source_len: 48,
            max_target_len: 16,
            ..DataConfig::default()
        },
        model: ModelConfig {
            encoder: EncoderConfig { embedding, hidden: encoder, ..EncoderConfig::default() },
            attention: AttentionConfig { size: attention, ..AttentionConfig::default() },
            decoder: DecoderConfig { embedding, hidden: decoder, ..DecoderConfig::default() },
            dropout: 0.0,
            ..ModelConfig::default()
        },
        train: TrainConfig {
            epochs: if task == Task::Dates { 8 } else { 12 },
            batch_size: 64,
            patience: 4,
            metric: Metric::Exact,
            ..TrainConfig::default()
        },
        optimizer: OptimizerConfig { learning_rate: 4e-3, ..OptimizerConfig::default() },
        schedule: ScheduleConfig {
            kind: ScheduleKind::Plateau(PlateauConfig { patience: 0, ..PlateauConfig::default() }),
            ..ScheduleConfig::default()
        },
        ..Config::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_share_no_source_and_dates_no_day() {
        for task in Task::ALL {
            let splits = generate(task, 2000, 1).unwrap();
            assert_eq!((splits.train.len(), splits.dev.len(), splits.test.len()), (1600, 200, 200));
            let name =
                |p: &Pair| format!("{}\t{}", p.source, if p.source.is_empty() { &p.target } else { "" });
            let sources: BTreeSet<String> = splits.files().into_values().flatten().map(name).collect();
            assert_eq!(sources.len(), 2000, "{task:?}");
            let key = |pairs: &[Pair]| -> BTreeSet<String> {
                pairs.iter().map(|pair| task.part_key(pair).to_owned()).collect()
            };
            assert!(key(&splits.train).is_disjoint(&key(&splits.test)), "{task:?}");
            assert!(key(&splits.dev).is_disjoint(&key(&splits.test)), "{task:?}");
        }
    }

    #[test]
    fn only_the_seed_decides() {
        for task in Task::ALL {
            assert_eq!(generate(task, 500, 7).unwrap(), generate(task, 500, 7).unwrap());
            assert_ne!(generate(task, 500, 7).unwrap(), generate(task, 500, 8).unwrap());
        }
    }

    #[test]
    fn impossible_sizes_are_refused() {
        assert!(generate(Task::Dates, 9, 1).unwrap_err().to_string().contains("at least 10"));
        let many = fill(Task::Commands, 1_000_000, 1, 3).unwrap_err().to_string();
        assert!(many.contains("too few different sources"), "{many}");
    }

    #[test]
    fn configurations_work_and_fit_their_data() {
        for task in Task::ALL {
            let config = config(task);
            config.check().unwrap();
            for pair in generate(task, 3000, 2).unwrap().train {
                let (source, target) = (
                    crate::vocab::cut(config.data.source, &pair.source).len(),
                    crate::vocab::cut(config.data.target, &pair.target).len(),
                );
                assert!(
                    source <= config.data.max_source_len && target <= config.data.max_target_len,
                    "{pair:?}"
                );
            }
        }
    }

    #[test]
    fn reversal_reverses() {
        let pair = reverse(&mut Random::new(1));
        assert_eq!(pair.source.chars().rev().collect::<String>(), pair.target);
    }
}
