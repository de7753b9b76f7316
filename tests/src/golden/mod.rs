//! Agreement with PyTorch: golden files hold parameters, inputs, outputs and gradients of its layers.
//!
//! A directory has `config.json` (dimensions), `*.safetensors` and `tut*_cases.json`; shapes are taken from
//! the files. `param.*` are parameters by their `state_dict` names, `input.*` and `output.*` what they say,
//! `r.<output>` fixed weights that make the loss `Σ output · r`, and `grad.*` its gradients. A tensor that is missing, and one that
//! no check asks for, is a failure.

mod compare;
mod file;
mod layers;
mod optim;
mod rnn;
mod tutorial;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use anyhow::{Context, Result};
use kinglet_train::config::{AttentionKind, Cell};

pub use compare::Compare;
pub use file::File;
use tutorial::Padding;

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
    // Shapes that contradict each other may run into a bound: one file's matter, not all's.
    let checked = catch_unwind(AssertUnwindSafe(|| check_file(dir, &name, config, &mut compare)));
    match checked {
        Ok(Ok(true)) => {}
        Ok(Ok(false)) => {
            return Report { name, verdict: Verdict::Unsupported, worst: 0.0, notes: Vec::new() };
        }
        Ok(Err(error)) => compare.fail(format!("{error:#}")),
        Err(_) => compare.fail("its tensors contradict each other".into()),
    }
    let verdict = if compare.failed() { Verdict::Failed } else { Verdict::Ok };
    Report { name, verdict, worst: compare.worst(), notes: compare.into_notes() }
}

/// Runs the check that belongs to a file name; `false` when there is none.
fn check_file(dir: &Path, name: &str, config: &serde_json::Value, c: &mut Compare) -> Result<bool> {
    let Some((stem, extension)) = name.split_once('.') else { return Ok(false) };
    if extension == "json" {
        return match stem.strip_suffix("_cases") {
            Some(model @ ("tut1" | "tut2" | "tut3")) => tutorial::cases(dir, model, c).map(|()| true),
            _ => Ok(false),
        };
    }
    let Some(check) = check_of(stem) else { return Ok(false) };
    let file = File::open(&dir.join(name))?;
    check(&Golden { dir, config, file: &file }, c)?;
    file.unused().into_iter().for_each(|name| c.fail(format!("tensor {name} is not expected")));
    Ok(true)
}

/// What a check sees.
struct Golden<'a> {
    dir: &'a Path,
    config: &'a serde_json::Value,
    file: &'a File,
}

type Check = fn(&Golden<'_>, &mut Compare) -> Result<()>;

/// The check of a safetensors file, by its name without extension.
fn check_of(stem: &str) -> Option<Check> {
    Some(match stem {
        "embedding" => |g, c| layers::embedding(g.file, g.config, c),
        "linear" => |g, c| layers::linear(g.file, c),
        "cross_entropy" => |g, c| layers::cross_entropy(g.file, g.config, c),
        "layernorm" => |g, c| layers::layer_norm(g.file, c),
        "attn_bahdanau" | "attn_bahdanau_split" => {
            |g, c| layers::attention(g.file, AttentionKind::Additive, c)
        }
        "attn_luong_dot" => |g, c| layers::attention(g.file, AttentionKind::Dot, c),
        "attn_luong_general" => |g, c| layers::attention(g.file, AttentionKind::General, c),
        "attn_luong_concat" => |g, c| layers::attention(g.file, AttentionKind::Concat, c),
        "clip_grad_norm" => |g, c| optim::clip_grad_norm(g.file, c),
        "optim" => |g, c| optim::optimizers(g.file, g.config, c),
        "tut1_model" | "tut2_model" | "tut3_model" => |g, c| tutorial::model(g.file, c),
        "tut1_cases" => |g, c| tutorial::case_tensors(g.dir, "tut1", g.file, c),
        "tut2_cases" => |g, c| tutorial::case_tensors(g.dir, "tut2", g.file, c),
        "tut3_cases" => |g, c| tutorial::case_tensors(g.dir, "tut3", g.file, c),
        "tut1_train" => |g, c| tutorial::train(g.dir, "tut1", g.file, Padding::Read, c),
        "tut2_train" => |g, c| tutorial::train(g.dir, "tut2", g.file, Padding::Read, c),
        "tut3_train" => |g, c| tutorial::train(g.dir, "tut3", g.file, Padding::Read, c),
        // Tutorial 4 trains the model of tutorial 3 with a packed encoder and masked attention.
        "tut4_train" => |g, c| tutorial::train(g.dir, "tut3", g.file, Padding::Masked, c),
        // nn.RNN with its default, the hyperbolic tangent.
        _ if stem.starts_with("rnn_") => |g, c| rnn::check(g.file, Cell::Rnn, c),
        _ if stem.starts_with("gru_") => |g, c| rnn::check(g.file, Cell::Gru, c),
        _ if stem.starts_with("lstm_") => |g, c| rnn::check(g.file, Cell::Lstm, c),
        _ => return None,
    })
}
