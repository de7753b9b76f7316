//! Agreement with PyTorch: golden files hold parameters, inputs, outputs and gradients of its layers.
//!
//! A directory has `config.json` (dimensions), `*.safetensors` and `tut*_cases.json`; shapes are taken from
//! the files. `param.*` are parameters by their `state_dict` names, `input.*` and `output.*` what they say,
//! `r.<output>` fixed weights that make the loss `Σ output · r`, and `grad.*` its gradients.

mod compare;
mod file;
mod layers;
mod optim;
mod rnn;
mod tutorial;

use std::fmt;
use std::path::Path;

use anyhow::{Context, Result};

pub use compare::Compare;
pub use file::File;

/// What came out of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Everything compared agrees.
    Ok,
    /// Something disagrees, or the file cannot be read.
    Failed,
    /// Kinglet has no such layer.
    Unsupported,
}

/// One file's line.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// File name.
    pub name: String,
    /// What came out.
    pub verdict: Verdict,
    /// Greatest `|a - b| / (1 + |b|)` of all values compared.
    pub worst: f64,
    /// Tensors that disagree, parts that are not supported, or what is wrong with the file.
    pub notes: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.verdict {
            Verdict::Ok => write!(f, "{:<36} ok       worst {:.1e}", self.name, self.worst)?,
            Verdict::Failed => write!(f, "{:<36} FAILED   worst {:.1e}", self.name, self.worst)?,
            Verdict::Unsupported => write!(f, "{:<36} not supported yet", self.name)?,
        }
        if !self.notes.is_empty() {
            write!(f, "   {}", self.notes.join("; "))?;
        }
        Ok(())
    }
}

/// Checks every golden file of `dir`, in the order of names.
///
/// # Errors
/// When the directory or its `config.json` cannot be read.
pub fn run(dir: &Path) -> Result<Vec<Report>> {
    let read = |path: &Path| std::fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let config = serde_json::from_slice(&read(&dir.join("config.json"))?).context("config.json")?;
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".safetensors") || name.ends_with("_cases.json") {
            names.push(name);
        }
    }
    names.sort();
    Ok(names.into_iter().map(|name| check(dir, name, &config)).collect())
}

fn check(dir: &Path, name: String, config: &serde_json::Value) -> Report {
    let mut compare = Compare::default();
    match check_file(dir, &name, config, &mut compare) {
        Ok(true) => {}
        Ok(false) => {
            return Report { name, verdict: Verdict::Unsupported, worst: 0.0, notes: Vec::new() };
        }
        Err(error) => compare.fail(format!("{error:#}")),
    }
    let verdict = if compare.failed() { Verdict::Failed } else { Verdict::Ok };
    Report { name, verdict, worst: compare.worst(), notes: compare.into_notes() }
}

/// Runs the check that belongs to a file name; `false` when there is none.
fn check_file(dir: &Path, name: &str, config: &serde_json::Value, c: &mut Compare) -> Result<bool> {
    let path = dir.join(name);
    let stem = name.split('.').next().unwrap_or(name);
    let file = || File::open(&path);
    match stem {
        "embedding" => layers::embedding(&file()?, config, c)?,
        "linear" => layers::linear(&file()?, c)?,
        "cross_entropy" => layers::cross_entropy(&file()?, config, c)?,
        "attn_bahdanau" | "attn_bahdanau_split" => layers::attention(&file()?, c)?,
        "clip_grad_norm" => optim::clip_grad_norm(&file()?, c)?,
        "optim" => optim::optimizers(&file()?, config, c)?,
        "tut1_model" | "tut3_model" => tutorial::model(dir, &stem[..4], c)?,
        "tut1_cases" | "tut3_cases" if name.ends_with(".json") => tutorial::cases(dir, &stem[..4], c)?,
        "tut1_cases" | "tut3_cases" => tutorial::case_tensors(dir, &stem[..4], c)?,
        "tut1_train" | "tut3_train" => tutorial::train(dir, &stem[..4], &stem[..4], c)?,
        // Tutorial 4 trains the model of tutorial 3 with a packed encoder and masked attention.
        "tut4_train" => tutorial::train(dir, "tut4", "tut3", c)?,
        _ if stem.starts_with("gru_") => rnn::check(&file()?, kinglet_train::config::Cell::Gru, c)?,
        _ if stem.starts_with("lstm_") => rnn::check(&file()?, kinglet_train::config::Cell::Lstm, c)?,
        _ => return Ok(false),
    }
    Ok(true)
}
