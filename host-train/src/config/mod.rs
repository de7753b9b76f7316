//! Configuration of a model and its training, as read from TOML and stored whole in the checkpoint.
//!
//! `docs/training.md` tells what each key is good for.

mod check;
mod keys;
mod model;
mod sequence;
mod train;
mod wiring;

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

pub(crate) use keys::merge;
pub use model::*;
pub use sequence::*;
pub use train::*;
pub use wiring::Part;

use crate::data::frames::Frames;
use crate::error::{Error, Result};

/// Everything that a training run is told, apart from file names.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// How text becomes ids.
    pub data: DataConfig,
    /// The network.
    pub model: ModelConfig,
    /// The loop over the training pairs.
    pub train: TrainConfig,
    /// What turns gradients into steps.
    pub optimizer: OptimizerConfig,
    /// The learning rate over time.
    pub schedule: ScheduleConfig,
    /// Which weights are evaluated and kept as the model.
    pub average: AverageConfig,
    /// Which tokens the decoder reads while it learns.
    pub exposure: ExposureConfig,
    /// Risk training; without it likelihood alone is learned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub risk: Option<RiskConfig>,
    /// Distillation from teachers' distributions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distill: Option<DistillConfig>,
    /// Quantization-aware training; without it the network computes in floating point.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qat: Option<QatConfig>,
}

/// Sections that are absent unless they are asked for.
const OPTIONAL: [&str; 3] = ["qat", "risk", "distill"];

impl Config {
    /// Reads a configuration from TOML text and checks it.
    ///
    /// # Errors
    /// [`Error::Config`] names an unknown key and the one that was probably meant, a wrong type, or a size that cannot
    /// work.
    pub fn from_toml(text: &str) -> Result<Self> {
        let given: Table = toml::from_str(text).map_err(|e| Error::Config(e.to_string()))?;
        let config = Self::default().with(given)?;
        config.check().map(|()| config)
    }

    /// This configuration with the values of a table of tables in place of its own; sizes and ranges are not checked.
    ///
    /// # Errors
    /// [`Error::Config`] names an unknown key and the one that was probably meant, or a wrong type.
    pub fn with(&self, mut given: Table) -> Result<Self> {
        keys::move_old(&mut given);
        let mut table = self.to_table();
        merge(&mut table, given.clone());
        let config: Self = table.try_into().map_err(|e: toml::de::Error| Error::Config(e.to_string()))?;
        let mut known = config.to_table();
        for section in OPTIONAL {
            known.entry(section).or_insert_with(|| Value::Table(Table::new()));
        }
        match keys::unknown(&given, &known) {
            Some(message) => Err(Error::Config(message)),
            None => Ok(config),
        }
    }

    /// This configuration with what it leaves to the data: of frames how many numbers they are, by the first source.
    ///
    /// # Errors
    /// [`Error::Config`] when a resolution is not one a feature.
    pub fn completed(&self, source: &str) -> Result<Self> {
        let mut config = self.clone();
        if config.data.source == Tokens::Frames {
            let width = Frames::of(&config.data.frames, source).map_err(Error::Config)?.width();
            (config.data.frames.width, config.model.encoder.embedding) = (width, width);
        }
        Ok(config)
    }

    fn to_table(&self) -> Table {
        Table::try_from(self).expect("a configuration is plain data")
    }

    /// The configuration as TOML, complete with defaults.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a configuration is plain data")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn toml_round_trips() {
        let mut config = Config::default();
        config.optimizer.learning_rate = 0.002_3;
        config.train.seed = i64::MAX as u64;
        config.model.dropout = 0.1;
        assert_eq!(Config::from_toml(&config.to_toml()).unwrap(), config);
        assert_eq!(Config::from_toml("").unwrap(), Config::default());
    }

    #[test]
    fn sections_are_what_their_kind_says() {
        let text = "[optimizer]\nkind = \"sgd\"\nlearning_rate = 1\nnesterov = true\n\
                    [schedule]\nkind = \"inverse_sqrt\"\nwarmup_steps = 100\n[average]\nkind = \"ema\"\n";
        let config = Config::from_toml(text).unwrap();
        let sgd = SgdConfig { nesterov: true, ..SgdConfig::default() };
        assert_eq!(config.optimizer, OptimizerConfig { learning_rate: 1.0, kind: OptimizerKind::Sgd(sgd) });
        assert_eq!((config.schedule.warmup_steps, &config.schedule.kind), (100, &ScheduleKind::InverseSqrt));
        assert_eq!(config.average, AverageConfig::Ema(EmaConfig::default()));
        assert_eq!(Config::from_toml(&config.to_toml()).unwrap(), config);
        let default_kind = Config::from_toml("[optimizer]\nbeta2 = 0.98").unwrap();
        let adam = AdamConfig { beta2: 0.98, ..AdamConfig::default() };
        assert_eq!(default_kind.optimizer.kind, OptimizerKind::Adam(adam));
    }

    #[test]
    fn keys_of_earlier_versions_find_their_place() {
        let old =
            "[train]\nlearning_rate = 0.002\nlr_factor = 0.25\nlr_patience = 3\nmin_learning_rate = 0.0001";
        let new = "[optimizer]\nlearning_rate = 0.002\n\
                   [schedule]\nkind = \"plateau\"\nfactor = 0.25\npatience = 3\nmin_learning_rate = 0.0001";
        assert_eq!(Config::from_toml(old).unwrap(), Config::from_toml(new).unwrap());
    }

    #[test]
    fn values_take_the_place_of_others() {
        let base = Config::from_toml("[optimizer]\nbeta2 = 0.98\n[train]\nepochs = 3").unwrap();
        let with = |text: &str| base.with(toml::from_str(text).unwrap());
        let adamw = with("[optimizer]\nkind = \"adamw\"").unwrap();
        let adam = AdamConfig { beta2: 0.98, ..AdamConfig::default() };
        assert_eq!((&adamw.optimizer.kind, adamw.train.epochs), (&OptimizerKind::AdamW(adam), 3));
        let sgd = with("[optimizer]\nkind = \"sgd\"\nmomentum = 0.5").unwrap();
        let expected = SgdConfig { momentum: 0.5, ..SgdConfig::default() };
        assert_eq!(sgd.optimizer.kind, OptimizerKind::Sgd(expected));
        assert_eq!(with("[train]\nlearning_rate = 0.5").unwrap().optimizer.learning_rate, 0.5);
    }

    #[test]
    fn what_cannot_work_is_named() {
        for (text, expected) in [
            ("[train]\nsede = 1", "unknown key train.sede; did you mean seed?"),
            ("[trian]\nseed = 1", "unknown key trian; did you mean train?"),
            ("[qt]\noutput = \"int8\"", "unknown key qt; did you mean qat?"),
            ("[train]\nmomentum = 0.9\n[optimizer]\nkind = \"sgd\"", "did you mean optimizer.momentum?"),
            ("[optimizer]\nmomentum = 0.9", "unknown key optimizer.momentum; expected one of beta1, beta2"),
            (
                "[optimizer]\nkind = \"adamax\"",
                "unknown variant `adamax`, expected one of `sgd`, `adam`, `adamw`",
            ),
            ("[average]\ndecay = 0.9", "unknown key average.decay; expected one of kind"),
            (
                "[train]\nlr_factor = 0.1\n[schedule]\nfactor = 0.2",
                "unknown key train.lr_factor; expected one of accumulate, batch_size",
            ),
            ("[model]\ndropout = 1.5", "model.dropout must be 0 to 0.95, found 1.5"),
            ("[model.encoder]\nhidden = 0", "model.encoder.hidden must be 1 to 4096, found 0"),
            ("[train]\nbatch_size = -1", "expected usize"),
            ("[optimizer]\nlearning_rate = nan", "optimizer.learning_rate must be"),
            (
                "[optimizer]\nkind = \"sgd\"\nmomentum = 1.0",
                "optimizer.momentum must be 0 to 0.9999, found 1",
            ),
            ("[schedule]\nkind = \"step\"\nevery = 0", "schedule.every must be 1 to 1000000, found 0"),
            ("[average]\nkind = \"epochs\"\nlast = 99", "average.last must be 1 to 32, found 99"),
            ("[exposure]\nkind = \"linear\"\nstrat = 3", "unknown key exposure.strat; did you mean start?"),
            ("[exposure]\nkind = \"exponential\"\nk = 1.5", "exposure.k must be 0 to 1, found 1.5"),
            ("[risk]\ncandidates = 1", "risk.candidates must be 2 to 64, found 1"),
            ("[risk]\nweight = 2.0", "risk.weight must be 0 to 1, found 2"),
            ("[distill]\ntemperature = 0.0", "distill.temperature must be 0.1 to 100, found 0"),
            ("[data]\ntarget = \"frames\"", "data.target must not be \"frames\""),
            ("[data]\nsource = \"frames\"\nsource_start = true", "no marks: data.source_start must be false"),
            (
                "[data]\nsource = \"frames\"\n[data.frames]\nresolution = 0.0",
                "resolution must be above 0, found 0",
            ),
            (
                "[data]\nsource = \"frames\"\n[data.frames]\nresolution = [1, nan]",
                "resolution must be above 0, found NaN",
            ),
            (
                "[data]\nsource = \"frames\"\n[data.frames]\nwidth = 5000",
                "data.frames.width must be 0 to 4096",
            ),
            (
                "[data]\nsource = \"frames\"\n[model.encoder]\nvectors = \"v.txt\"",
                "no embeddings: model.encoder.vectors",
            ),
            ("[data]\nsource = \"frames\"\n[qat]\n", "no integer grid yet for data.source = \"frames\""),
            (
                "[data]\nsource = \"frames\"\n[model]\ntask = \"generate\"\n[train]\nmetric = \"ppl\"",
                "reads no sources",
            ),
            ("[data]\nsource = \"letters\"", "unknown variant `letters`"),
            ("[model.encoder]\nfreeze_vectors = true", "needs model.encoder.vectors"),
            (
                "[model.encoder.characters]\nkind = \"conv\"",
                "needs sources, of data.source = \"words\"; found Chars",
            ),
            (
                "[data]\nsource = \"words\"\n[model.encoder.characters]\nkind = \"conv\"\nwidth = 4",
                "characters.width must be odd, found 4",
            ),
            (
                "[data]\nsource = \"words\"\n[model.encoder.characters]\nkind = \"conv\"\n[qat]",
                "no integer grid yet for model.encoder.characters.kind = \"conv\"",
            ),
            ("[data.subwords]\nsize = 9", "unknown key data.subwords.size; expected one of dropout, shared"),
            (
                "[data.subwords]\nsource_size = 70000",
                "data.subwords.source_size must be 6 to 65535, found 70000",
            ),
            ("[data]\nsource = \"subwords\"\n[data.subwords]\nshared = true", "found Subwords and Words"),
            (
                "[data]\nsource = \"subwords\"\ntarget = \"subwords\"\n[data.subwords]\nshared = true\ntarget_size = 9",
                "to be the same, found 4000 and 9",
            ),
            ("[data.subwords]\ndropout = 0.1\n[risk]\ncandidates = 4", "dropout must be 0, found 0.1"),
        ] {
            let message = Config::from_toml(text).unwrap_err().to_string();
            assert!(message.contains(expected), "{text}: {message}");
        }
        let mut config = Config::default();
        config.train.seed = u64::MAX;
        assert!(config.check().unwrap_err().to_string().contains("train.seed"));
    }
}
