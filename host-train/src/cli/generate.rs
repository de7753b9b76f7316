//! `kinglet-train generate`.

use std::path::PathBuf;

use anyhow::bail;

use crate::checkpoint::write_atomically;
use crate::data::corpus::to_text;
use crate::error::Error;
use crate::tasks::{self, Task};

/// Write a built-in corpus: train.tsv, dev.tsv, test.tsv and a configuration that learns it
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Which corpus
    #[arg(long, value_enum)]
    task: Task,
    /// Directory to write to
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Pairs in all; a tenth each goes to dev and test
    #[arg(long, value_name = "N")]
    size: Option<usize>,
    /// The same seed writes the same pairs
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Replace files that are there
    #[arg(long)]
    force: bool,
}

/// Generates as the arguments say.
///
/// # Errors
/// A file that exists, cannot be written, or a size that the task cannot fill.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let splits = tasks::generate(args.task, args.size.unwrap_or(args.task.default_size()), args.seed)?;
    let mut files: Vec<(String, String)> =
        splits.files().into_iter().map(|(name, pairs)| (name.to_owned(), to_text(pairs))).collect();
    let config = format!("{}.toml", args.task.name());
    files.push((config.clone(), tasks::config(args.task).to_toml()));
    for (name, _) in &files {
        let path = args.out.join(name);
        if !args.force && path.exists() {
            bail!("{} exists; replace it with --force or name another folder", path.display());
        }
    }
    std::fs::create_dir_all(&args.out).map_err(|source| Error::Io {
        action: "create",
        path: args.out.clone(),
        source,
    })?;
    for (name, text) in &files {
        write_atomically(&args.out.join(name), text.as_bytes())?;
    }
    let out = args.out.display();
    println!(
        "{out}: {} train, {} dev, {} test pairs",
        splits.train.len(),
        splits.dev.len(),
        splits.test.len()
    );
    eprintln!(
        "next: kinglet-train train --config {out}/{config} --train {out}/train.tsv --dev {out}/dev.tsv --out runs/{}",
        args.task.name()
    );
    Ok(())
}
