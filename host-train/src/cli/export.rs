//! `kinglet-train export`.

use std::path::PathBuf;

use clap::ValueEnum;

use crate::checkpoint::Checkpoint;
use crate::config::Tokens;
use crate::pytorch::{self, Exported, Form};

/// Write a checkpoint's weights as a PyTorch state_dict, with its vocabularies (docs/pytorch.md)
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The checkpoint directory
    #[arg(long, value_name = "DIR")]
    checkpoint: PathBuf,
    /// The directory for state_dict.safetensors and the vocabularies
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Exports as the arguments say.
///
/// # Errors
/// Whatever reading the checkpoint or writing the files gives.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let checkpoint = Checkpoint::load(&args.checkpoint)?;
    if checkpoint.model.scheme.is_some() {
        eprintln!(
            "{} computes on the chip's integers; PyTorch will compute with its weights in floating point",
            args.checkpoint.display()
        );
    }
    let exported = pytorch::export(&checkpoint);
    exported.write(&args.out)?;
    let form = match exported.form {
        Form::Tutorial => "the attention tutorial's names",
        Form::Plain => "the names of nn.Embedding, nn.GRU, nn.LSTM and nn.Linear",
        Form::Own => "Kinglet's names, which import does not read back",
    };
    let [weights, source, target] = Exported::FILES.map(|name| args.out.join(name).display().to_string());
    println!("{weights}: {} tensors with {form}", exported.tensors.len());
    if exported.form == Form::Own {
        return Ok(());
    }
    let data = &checkpoint.config.data;
    let cut = |tokens: Tokens| tokens.to_possible_value().map_or(String::new(), |v| v.get_name().to_owned());
    eprintln!(
        "back: kinglet-train import --weights {weights} --source-vocab {source} --target-vocab {target} \
         --source-tokens {} --target-tokens {}{} --out DIR",
        cut(data.source),
        cut(data.target),
        if data.source_start { "" } else { " --no-source-start" }
    );
    Ok(())
}
