//! `kinglet-train import`.

use std::path::PathBuf;

use crate::checkpoint::RunDir;
use crate::config::Tokens;
use crate::pytorch::{self, Files};

/// Make a checkpoint of a PyTorch state_dict: the attention tutorial's, or modules of nn.GRU or nn.LSTM (docs/pytorch.md)
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The state_dict, safetensors
    #[arg(long, value_name = "FILE")]
    weights: PathBuf,
    /// Source tokens, a line each in the order of ids, `<unk>`, `<pad>`, `<sos>` and `<eos>` among them
    #[arg(long, value_name = "FILE")]
    source_vocab: PathBuf,
    /// Target tokens likewise
    #[arg(long, value_name = "FILE")]
    target_vocab: PathBuf,
    /// How a source is cut
    #[arg(long, value_name = "CUT", default_value = "words")]
    source_tokens: Tokens,
    /// How a target is cut
    #[arg(long, value_name = "CUT", default_value = "words")]
    target_tokens: Tokens,
    /// Sources end with the end mark but do not begin with the start mark, as those of Kinglet's own models
    #[arg(long)]
    no_source_start: bool,
    /// The checkpoint directory
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Replace the run in the directory
    #[arg(long)]
    force: bool,
}

/// Imports as the arguments say.
///
/// # Errors
/// What [`pytorch::import`] gives; a directory that holds a run.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let out = args.out.display();
    if RunDir::new(&args.out).holds_run() && !args.force {
        anyhow::bail!("{out} already holds a run; replace it with --force, or name another folder");
    }
    let checkpoint = pytorch::import(&Files {
        weights: args.weights.clone(),
        source_vocab: args.source_vocab.clone(),
        target_vocab: args.target_vocab.clone(),
        source_tokens: args.source_tokens,
        target_tokens: args.target_tokens,
        source_start: !args.no_source_start,
    })?;
    checkpoint.save(&args.out)?;
    let model = &checkpoint.model;
    println!(
        "{out}: {} tensors, {} parameters, {} source and {} target tokens",
        model.params.len(),
        model.params.values(),
        checkpoint.source_vocab.len(),
        model.target_vocab()
    );
    eprintln!("next: kinglet-train decode --checkpoint {out} < sources.txt");
    eprintln!("      kinglet compile --checkpoint {out} --dev dev.tsv -o {out}.kgl");
    Ok(())
}
