//! The choices of quantization that a checkpoint records and the compiler repeats.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::kind::Kind;
use crate::checkpoint::write_atomically;
use crate::config::{AttentionKind, Bridge, Cell, ModelConfig, Part, Place, Task};
use crate::error::{Error, Result};

/// Name of the file in a checkpoint directory.
pub const FILE: &str = "quantization.toml";

/// The output layer's product.
pub const OUTPUT: &str = "decoder.fc_out";

/// What [`crate::model::Seq2Seq::observe`] calls normalised frames.
pub const FRAMES: &str = "encoder.frames";

/// The product between what the output layer reads and tied embeddings of another width.
pub const PROJECTION: &str = "decoder.projection";

/// What every product's weights become, which token products are tables, and the grids of inner values.
///
/// Scales that follow from the weights alone (of rows, embeddings and the attention's `v`) are not part of it: training and
/// compiler compute them from the weights with the same functions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scheme {
    /// Attention: a key is its int8 integer times `key_scale * 2^-18`; 0 without attention.
    pub key_scale: u16,
    /// Sources of numbers: a normalised number is its int8 integer times this; 0 for tokens.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub input_scale: f64,
    /// Weights of every product of [`products`].
    pub products: BTreeMap<String, Kind>,
    /// For every product that reads a token: whether its token part is a 16-bit table, and not an embedding that is
    /// looked up.
    pub fold: BTreeMap<String, bool>,
    /// Fraction bits of every 16-bit quantity of [`quantities`].
    pub bits: BTreeMap<String, u8>,
}

/// The names of a network's products: `encoder.rnn.l0`, `encoder.rnn.l0_reverse`, ..., `encoder.fc` with a linear bridge,
/// those of attention (additive: `decoder.attention.{w_q,w_k}`; concat: `decoder.attention.w_a.{query,key}`, the columns of states
/// and of encoder outputs; general, and cosine of unequal widths: `decoder.attention.w_a`; after the cell also
/// `decoder.attention.w_c`), `decoder.rnn.l0`, ..., [`PROJECTION`] where there is one, `decoder.fc_out`.
pub fn products(model: &ModelConfig) -> Vec<String> {
    let (e, d) = (cells(model, "encoder"), cells(model, "decoder"));
    let mut names: Vec<String> = if model.task == Task::Generate { Vec::new() } else { e };
    if model.task == Task::Transduce && model.bridge == Bridge::Linear {
        names.push("encoder.fc".into());
    }
    if model.attends() {
        let of_kind: &[&str] = match model.attention.kind {
            AttentionKind::Additive => &["w_q", "w_k"],
            AttentionKind::Concat => &["w_a.query", "w_a.key"],
            AttentionKind::General => &["w_a"],
            AttentionKind::Cosine if model.memory() != model.decoder.hidden => &["w_a"],
            AttentionKind::None | AttentionKind::Dot | AttentionKind::Cosine => &[],
        };
        let after = (model.attention.place == Place::After).then_some("w_c");
        names.extend(of_kind.iter().copied().chain(after).map(|name| format!("decoder.attention.{name}")));
    }
    if model.task != Task::Label {
        names.extend(d);
    }
    names.extend(model.projection().map(|_| PROJECTION.into()));
    names.push(OUTPUT.into());
    names
}

/// The products that read a token, by side: those of the encoder's first layer; the decoder's first layer, and the output layer
/// where it reads the embedding.
pub fn consumers(model: &ModelConfig) -> [Vec<String>; 2] {
    let directions = if model.encoder.bidirectional { 2 } else { 1 };
    let encoder = cells(model, "encoder").into_iter().take(directions);
    let reads = model.output_reads().iter().any(|(part, _)| *part == Part::Embedding);
    let output = if model.projection().is_some() { PROJECTION } else { OUTPUT };
    let decoder = ["decoder.rnn.l0".to_owned()].into_iter().chain(reads.then(|| output.to_owned()));
    [
        if model.task == Task::Generate { Vec::new() } else { encoder.collect() },
        if model.task == Task::Label { Vec::new() } else { decoder.collect() },
    ]
}

/// The 16-bit quantities with calibrated fraction bits, by the names of [`crate::model::Seq2Seq::observe`], and the most bits
/// that each may have: a GRU's `.candidate`, an LSTM's `.cell`, a rectified cell's `.hidden`; `{side}.residual_l{k}`,
/// `{side}.norm_l{k}`; `decoder.attention.{query,score}`, and where scores are products of vectors `decoder.attention.key`;
/// `decoder.projected`, `decoder.logits`.
///
/// Scores and logits are kept in log2 units: their magnitude is that of the observed values times log2(e).
pub fn quantities(model: &ModelConfig) -> Vec<(String, u8)> {
    let mut all = Vec::new();
    let (e, d) = (&model.encoder, &model.decoder);
    let sides = [
        ("encoder", Task::Generate, e.cell, e.layers, model.memory() == e.embedding, e.residual, e.norm),
        (
            "decoder",
            Task::Label,
            d.cell,
            d.layers,
            model.cell_reads() == [(Part::Embedding, d.hidden)],
            d.residual,
            d.norm,
        ),
    ];
    for (side, without, cell, layers, fits, residual, norm) in sides {
        if model.task == without {
            continue;
        }
        let what = match cell {
            Cell::Gru => Some(("candidate", 12)),
            Cell::Lstm | Cell::Peephole => Some(("cell", 15)),
            Cell::Relu => Some(("hidden", 15)),
            Cell::Rnn => None,
        };
        let names = cells(model, side).into_iter();
        all.extend(
            what.into_iter()
                .flat_map(|(what, most)| names.clone().map(move |name| (format!("{name}.{what}"), most))),
        );
        for k in 0..layers {
            let sum = residual && (k > 0 || fits);
            all.extend(sum.then(|| (format!("{side}.residual_l{k}"), 15)));
            all.extend(norm.then(|| (format!("{side}.norm_l{k}"), 15)));
        }
    }
    if model.attends() {
        let energies = model.attention.kind.has_energies();
        all.push(("decoder.attention.query".into(), if energies { 12 } else { 15 }));
        all.extend((!energies).then(|| ("decoder.attention.key".into(), 15)));
        all.push(("decoder.attention.score".into(), 15));
    }
    all.extend(model.projection().map(|_| ("decoder.projected".into(), 15)));
    all.push(("decoder.logits".into(), 15));
    all
}

/// Recurrent layers of a side, each forward, then reverse.
fn cells(model: &ModelConfig, side: &str) -> Vec<String> {
    let (layers, suffixes) = match side {
        "encoder" if model.encoder.bidirectional => (model.encoder.layers, &["", "_reverse"][..]),
        "encoder" => (model.encoder.layers, &[""][..]),
        _ => (model.decoder.layers, &[""][..]),
    };
    let name = |k: usize| suffixes.iter().map(move |suffix| format!("{side}.rnn.l{k}{suffix}"));
    (0..layers).flat_map(name).collect()
}

impl Scheme {
    /// Reads a scheme from TOML text and checks that it is complete for a network.
    ///
    /// # Errors
    /// [`Error::Config`] names what is missing, superfluous or out of range.
    pub fn from_toml(text: &str, model: &ModelConfig) -> Result<Self> {
        let scheme: Self = toml::from_str(text).map_err(|e| Error::Config(e.to_string()))?;
        let [encoder, decoder] = consumers(model);
        same_names("products", scheme.products.keys(), products(model))?;
        same_names("fold", scheme.fold.keys(), encoder.into_iter().chain(decoder).collect())?;
        let most: BTreeMap<String, u8> = quantities(model).into_iter().collect();
        same_names("bits", scheme.bits.keys(), most.keys().cloned().collect())?;
        for (name, &bits) in &scheme.bits {
            if bits > most[name] {
                return Err(Error::Config(format!("bits.{name} is at most {}, found {bits}", most[name])));
            }
        }
        if (scheme.key_scale == 0) == model.attends() {
            let found = scheme.key_scale;
            return Err(Error::Config(format!("key_scale is above 0 with attention alone, found {found}")));
        }
        Ok(scheme)
    }

    /// The scheme as TOML.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a scheme is plain data")
    }

    /// The scheme of a checkpoint directory; `None` when its network is a float network.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Checkpoint`] when the file does not fit the network.
    pub fn load(dir: &Path, model: &ModelConfig) -> Result<Option<Self>> {
        let path = dir.join(FILE);
        match std::fs::read_to_string(&path) {
            Ok(text) => Self::from_toml(&text, model)
                .map(Some)
                .map_err(|e| Error::Checkpoint { path, reason: e.to_string() }),
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::Io { action: "read", path, source }),
        }
    }

    /// Writes the scheme into a checkpoint directory.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save(&self, dir: &Path) -> Result<()> {
        write_atomically(&dir.join(FILE), self.to_toml().as_bytes())
    }
}

fn is_zero(value: &f64) -> bool {
    *value == 0.0
}

fn same_names<'a>(table: &str, found: impl Iterator<Item = &'a String>, expected: Vec<String>) -> Result<()> {
    let found: Vec<&String> = found.collect();
    if let Some(missing) = expected.iter().find(|name| !found.contains(name)) {
        return Err(Error::Config(format!("[{table}] lacks {missing:?}")));
    }
    match found.into_iter().find(|name| !expected.contains(name)) {
        Some(extra) => Err(Error::Config(format!("[{table}] has {extra:?}, which the network has not"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(model: &ModelConfig) -> Scheme {
        let [encoder, decoder] = consumers(model);
        Scheme {
            key_scale: if model.attention.kind == AttentionKind::None { 0 } else { 900 },
            input_scale: 0.0,
            products: products(model).into_iter().map(|name| (name, Kind::INT8)).collect(),
            fold: encoder.into_iter().chain(decoder).map(|name| (name, true)).collect(),
            bits: quantities(model).into_iter().map(|(name, _)| (name, 9)).collect(),
        }
    }

    #[test]
    fn files_round_trip() {
        for model in crate::model::tests::configs() {
            let dir = tempfile::tempdir().unwrap();
            assert_eq!(Scheme::load(dir.path(), &model).unwrap(), None);
            let scheme = sample(&model);
            scheme.save(dir.path()).unwrap();
            assert_eq!(Scheme::load(dir.path(), &model).unwrap(), Some(scheme));
        }
    }

    #[test]
    fn what_does_not_fit_the_network_is_named() {
        let model = ModelConfig::default();
        type Change = fn(&mut Scheme);
        let wrong: [(Change, &str); 6] = [
            (|s| _ = s.products.remove("encoder.fc"), "[products] lacks \"encoder.fc\""),
            (|s| _ = s.products.insert("decoder.rnn.l1".into(), Kind::INT8), "\"decoder.rnn.l1\", which"),
            (|s| _ = s.fold.remove(OUTPUT), "[fold] lacks \"decoder.fc_out\""),
            (|s| _ = s.bits.remove("decoder.logits"), "[bits] lacks \"decoder.logits\""),
            (|s| _ = s.bits.insert("decoder.attention.query".into(), 13), "at most 12, found 13"),
            (|s| s.key_scale = 0, "key_scale"),
        ];
        for (change, expected) in wrong {
            let mut scheme = sample(&model);
            change(&mut scheme);
            let message = Scheme::from_toml(&scheme.to_toml(), &model).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
        let text = sample(&model).to_toml().replacen("int8", "int9", 1);
        assert!(Scheme::from_toml(&text, &model).unwrap_err().to_string().contains("2 to 8 bits"));
    }
}
