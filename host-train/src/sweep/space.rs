//! What a sweep varies: for each key of the configuration that is not fixed, where its values come from.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::config::{Config, merge};
use crate::error::{Error, Result};
use crate::nn::random::Random;
use crate::rng::{Stream, derive};

/// The values of one trial by dotted key, such as `train.learning_rate`.
pub type Values = BTreeMap<String, Value>;

/// Where the values of a key come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Domain {
    /// One of these, each as likely; tables are merged into the configuration.
    Choice(Vec<Value>),
    /// A real number between two, both included.
    Uniform(f64, f64),
    /// A real number between two above 0; its logarithm is uniform.
    LogUniform(f64, f64),
    /// A whole number between two, both included.
    Integer(i64, i64),
}

/// Names of the domains in TOML.
const DOMAINS: [&str; 4] = ["choice", "uniform", "log_uniform", "integer"];

/// Draws in a row that repeat earlier trials after which a space counts as exhausted.
const PATIENCE: usize = 1000;

impl Domain {
    /// Why nothing can be drawn, if so.
    fn fault(&self) -> Option<String> {
        let finite = |low: f64, high: f64| low.is_finite() && high.is_finite() && low <= high;
        match *self {
            Self::Choice(ref values) if values.is_empty() => {
                Some("choice: expected a value or more, found none".into())
            }
            Self::Uniform(low, high) if !finite(low, high) => {
                Some(format!("uniform: expected [low, high], found [{low}, {high}]"))
            }
            Self::LogUniform(low, high) if !finite(low, high) || low <= 0.0 => {
                Some(format!("log_uniform: expected [low, high] above 0, found [{low}, {high}]"))
            }
            Self::Integer(low, high) if low > high => {
                Some(format!("integer: expected [low, high], found [{low}, {high}]"))
            }
            _ => None,
        }
    }

    fn draw(&self, random: &mut Random) -> Value {
        // 53 bits: all that a number between 0 and 1 has.
        let unit = (random.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        match *self {
            Self::Choice(ref values) => {
                values[((unit * values.len() as f64) as usize).min(values.len() - 1)].clone()
            }
            Self::Uniform(low, high) => Value::Float(short(low + unit * (high - low), low, high)),
            Self::LogUniform(low, high) => {
                Value::Float(short((low.ln() + unit * (high.ln() - low.ln())).exp(), low, high))
            }
            Self::Integer(low, high) => {
                let count = high.abs_diff(low).saturating_add(1);
                Value::Integer(low.saturating_add_unsigned((unit * count as f64) as u64).min(high))
            }
        }
    }

    /// Values that tell whether the key takes this kind of value.
    fn samples(&self) -> Vec<Value> {
        match *self {
            Self::Choice(ref values) => values.clone(),
            Self::Uniform(low, _) | Self::LogUniform(low, _) => vec![Value::Float(low)],
            Self::Integer(low, _) => vec![Value::Integer(low)],
        }
    }
}

/// Four digits: more say nothing in a table, and hide that logarithms differ between machines in the last.
fn short(value: f64, low: f64, high: f64) -> f64 {
    format!("{value:.3e}").parse::<f64>().expect("a number was just written").clamp(low, high)
}

/// Keys and their domains.
#[derive(Debug, Clone, PartialEq)]
pub struct Space {
    domains: BTreeMap<String, Domain>,
}

impl Space {
    /// Reads a space from TOML: the tables of a configuration, with a domain for each key that varies, and checks that
    /// `base` with such values is a configuration.
    ///
    /// # Errors
    /// [`Error::Config`] names the key, what was expected and what was found.
    pub fn from_toml(text: &str, base: &Config) -> Result<Self> {
        let table: Table = toml::from_str(text).map_err(|e| Error::Config(format!("space: {e}")))?;
        let mut space = Self { domains: BTreeMap::new() };
        space.collect("", table)?;
        if space.domains.is_empty() {
            return Err(Error::Config("space: expected keys to vary, found none".into()));
        }
        for (key, domain) in &space.domains {
            for value in domain.samples() {
                // What the sizes and ranges of a configuration do not allow is for its trial to tell.
                base.with(table_of(&Values::from([(key.clone(), value)]))).map_err(|e| match e {
                    Error::Config(reason) => fault(key, &reason),
                    other => other,
                })?;
            }
        }
        Ok(space)
    }

    fn collect(&mut self, prefix: &str, table: Table) -> Result<()> {
        for (name, value) in table {
            let key = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
            match value {
                Value::Table(inner)
                    if inner.len() == 1 && DOMAINS.iter().any(|name| inner.contains_key(*name)) =>
                {
                    let domain: Domain = inner.try_into().map_err(|e| fault(&key, e.message()))?;
                    if let Some(reason) = domain.fault() {
                        return Err(fault(&key, &reason));
                    }
                    self.domains.insert(key, domain);
                }
                Value::Table(inner) => self.collect(&key, inner)?,
                other => {
                    let reason = format!(
                        "expected one of {}, as in {{ uniform = [0.0, 0.3] }}, found {other}",
                        DOMAINS.join(", ")
                    );
                    return Err(fault(&key, &reason));
                }
            }
        }
        Ok(())
    }

    /// The keys that vary, sorted.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.domains.keys().map(String::as_str)
    }

    /// The values of `trials` different trials; fewer trials of the same seed are their beginning.
    ///
    /// # Errors
    /// [`Error::Config`] when the space does not hold that many.
    pub fn draw(&self, trials: usize, seed: u64) -> Result<Vec<Values>> {
        let mut drawn: Vec<Values> = Vec::new();
        let mut random = Random::new(derive(seed, Stream::Sweep, 0));
        let mut idle = 0;
        while drawn.len() < trials {
            let values: Values =
                self.domains.iter().map(|(key, domain)| (key.clone(), domain.draw(&mut random))).collect();
            idle += 1;
            if !drawn.contains(&values) {
                drawn.push(values);
                idle = 0;
            } else if idle > PATIENCE {
                return Err(Error::Config(format!(
                    "space: expected {trials} different trials, found {}; ask for fewer, or widen the space",
                    drawn.len()
                )));
            }
        }
        Ok(drawn)
    }
}

/// `base` with other values.
///
/// # Errors
/// [`Error::Config`] when they do not make a configuration that can work.
pub fn apply(base: &Config, values: &Values) -> Result<Config> {
    let config = base.with(table_of(values))?;
    config.check()?;
    Ok(config)
}

/// Values by dotted key as tables in tables.
fn table_of(values: &Values) -> Table {
    let mut table = Table::new();
    for (key, value) in values {
        let nested = key
            .rsplit('.')
            .fold(value.clone(), |inner, name| Value::Table(Table::from_iter([(name.to_owned(), inner)])));
        let Value::Table(nested) = nested else { unreachable!("a key has a name") };
        merge(&mut table, nested);
    }
    table
}

fn fault(key: &str, reason: &str) -> Error {
    Error::Config(format!("space: {key}: {}", reason.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space(text: &str) -> Result<Space> {
        Space::from_toml(text, &Config::default())
    }

    #[test]
    fn values_stay_in_their_domains_and_reach_the_configuration() {
        let space = space(
            "train.learning_rate = { log_uniform = [1e-4, 1e-2] }\n\
             train.batch_size = { choice = [16, 32] }\n\
             model.encoder = { choice = [{ cell = \"lstm\", hidden = 24 }, { cell = \"gru\", hidden = 32 }] }\n\
             model.dropout = { uniform = [0, 0.3] }\n[model.decoder]\nhidden = { integer = [16, 19] }\n",
        )
        .unwrap();
        let drawn = space.draw(400, 1).unwrap();
        let configs: Vec<Config> = drawn.iter().map(|v| apply(&Config::default(), v).unwrap()).collect();
        for config in &configs {
            assert!((1e-4..=1e-2).contains(&config.optimizer.learning_rate));
            assert!((0.0..=0.3).contains(&config.model.dropout));
            assert!((16..=19).contains(&config.model.decoder.hidden));
            let encoder = &config.model.encoder;
            assert_eq!(encoder.hidden == 24, encoder.cell == crate::config::Cell::Lstm);
            assert_eq!(encoder.embedding, Config::default().model.encoder.embedding);
        }
        // Half of the logarithms are below their middle, and every whole number appears.
        let low = configs.iter().filter(|c| c.optimizer.learning_rate < 1e-3).count();
        assert!((160..240).contains(&low), "{low}");
        for hidden in 16..=19 {
            assert!(configs.iter().filter(|c| c.model.decoder.hidden == hidden).count() > 60);
        }
    }

    #[test]
    fn a_seed_gives_the_same_trials_and_more_of_them_begin_the_same() {
        let space = space("train.learning_rate = { log_uniform = [1e-4, 1e-2] }").unwrap();
        let ten = space.draw(10, 3).unwrap();
        assert_eq!(space.draw(20, 3).unwrap()[..10], ten[..]);
        assert_ne!(space.draw(10, 4).unwrap(), ten);
    }

    #[test]
    fn no_trial_comes_twice() {
        let space =
            space("train.batch_size = { choice = [16, 32] }\nmodel.decoder.layers = { integer = [1, 3] }")
                .unwrap();
        assert_eq!(space.draw(6, 1).unwrap().len(), 6);
        let message = space.draw(7, 1).unwrap_err().to_string();
        assert!(message.contains("expected 7 different trials, found 6"), "{message}");
    }

    #[test]
    fn what_is_no_space_is_named() {
        for (text, expected) in [
            ("", "expected keys to vary, found none"),
            ("train.sede = { integer = [1, 2] }", "train.sede: unknown key train.sede; did you mean seed?"),
            ("train.batch_size = { uniform = [1.0, 2.0] }", "train.batch_size: invalid type"),
            ("train.batch_size = { choice = [1, \"many\"] }", "train.batch_size: invalid type"),
            (
                "train.batch_size = 3",
                "train.batch_size: expected one of choice, uniform, log_uniform, integer",
            ),
            ("train.batch_size = { choice = [] }", "expected a value or more, found none"),
            ("train.batch_size = { integer = [2, 1] }", "expected [low, high], found [2, 1]"),
            ("train.batch_size = { integer = [2] }", "train.batch_size: "),
            ("model.dropout = { uniform = [0.3, nan] }", "found [0.3, NaN]"),
            ("train.learning_rate = { log_uniform = [0.0, 1.0] }", "above 0, found [0, 1]"),
            ("train = [", "space: TOML"),
        ] {
            let message = space(text).unwrap_err().to_string();
            assert!(message.contains(expected), "{text}: {message}");
        }
    }
}
