//! `kinglet-train train`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

use crate::checkpoint::{Checkpoint, RunDir};
use crate::cli::progress::Progress;
use crate::cli::{INTERRUPTED, Usage, stop_on_ctrl_c};
use crate::config::{Config, QatConfig};
use crate::data::corpus;
use crate::error::{Error, Result};
use crate::quant::Kind;
use crate::trainer::{self, End, Outcome, Run, Start};

/// Train a model and keep its checkpoint
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Model and training, TOML [default with --resume: the run's own; with --init: the other run's, at a tenth of its
    /// learning rate and for 8 epochs]
    #[arg(long, value_name = "FILE", required_unless_present_any = ["resume", "init"])]
    config: Option<PathBuf>,
    /// Training pairs, a line each: `source<TAB>target`; for a model that generates, targets alone
    #[arg(long, value_name = "FILE")]
    train: PathBuf,
    /// Pairs that tell which epoch is the best
    #[arg(long, value_name = "FILE")]
    dev: PathBuf,
    /// The checkpoint directory
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Begin with the weights and tokens of another run's best epoch
    #[arg(long, value_name = "DIR", conflicts_with = "resume")]
    init: Option<PathBuf>,
    /// A trained run to learn from, as `distill` of the configuration says; several are one by the mean of their distributions
    #[arg(long, value_name = "DIR")]
    teacher: Vec<PathBuf>,
    /// Quantization-aware training: compute on the chip's integers, with weights of 8 bits or, but for the output layer, of 4
    /// (2 to 7: for experiments)
    #[arg(long, value_name = "int8|int4", requires = "init")]
    qat: Option<Kind>,
    /// Columns that share a scale of int4 weights, 16 to 256; 0 for whole rows
    #[arg(long, value_name = "N", default_value_t = 32)]
    qat_group: u16,
    /// Continue the run in the directory from its last checkpoint
    #[arg(long, conflicts_with = "force")]
    resume: bool,
    /// Replace the run in the directory
    #[arg(long)]
    force: bool,
    /// Seed of initial weights, order and dropout, instead of the configuration's
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Threads, instead of the configuration's; any number gives the same bits
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// The optimizer's step size, instead of the configuration's
    #[arg(long, value_name = "X")]
    learning_rate: Option<f32>,
    /// Dropout, instead of the configuration's
    #[arg(long, value_name = "P")]
    dropout: Option<f32>,
    /// Passes over the training pairs at most, instead of the configuration's
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Trains as the arguments say.
///
/// # Errors
/// Whatever reading the files or [`trainer::train`] gives.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut config = read_config(args)?;
    config.train.seed = args.seed.unwrap_or(config.train.seed);
    config.train.threads = args.threads.unwrap_or(config.train.threads);
    config.train.epochs = args.epochs.unwrap_or(config.train.epochs);
    config.optimizer.learning_rate = args.learning_rate.unwrap_or(config.optimizer.learning_rate);
    config.model.dropout = args.dropout.unwrap_or(config.model.dropout);
    if let Some(kind) = args.qat {
        let grouped = |bits, group| Kind::new(bits, group).map_err(Usage);
        let weights = if kind.bits() == 4 && kind.group() == 0 { grouped(4, args.qat_group)? } else { kind };
        config.qat = Some(QatConfig { weights, ..config.qat.unwrap_or_default() });
    }
    let init = args.init.as_deref().map(Checkpoint::load).transpose()?;
    let teachers = Checkpoint::load_all(&args.teacher)?;
    let train = corpus::read_for(&args.train, &config)?;
    let dev = corpus::read_for(&args.dev, &config)?;
    let start = match (args.resume, args.force) {
        (true, _) => Start::Resume,
        (_, true) => Start::Overwrite,
        _ => Start::Fresh,
    };
    let run = Run { config: &config, train: &train, dev: &dev, out: &args.out, start, teachers: &teachers };
    let outcome = train_from_with_progress(&run, init)?;
    tell(args, &config, &outcome);
    Ok(if outcome.end == End::Interrupted { ExitCode::from(INTERRUPTED) } else { ExitCode::SUCCESS })
}

/// Trains with the progress on standard error; Ctrl-C ends the run after the current step, a second one ends the
/// process.
///
/// # Errors
/// As [`trainer::train`].
pub fn train_with_progress(run: &Run<'_>) -> Result<Outcome> {
    train_from_with_progress(run, None)
}

fn train_from_with_progress(run: &Run<'_>, init: Option<Checkpoint>) -> Result<Outcome> {
    let mut progress = Progress::new(run.config.train.metric);
    let outcome = trainer::train_from(run, init, stop_on_ctrl_c(), &mut |event| progress.observe(event));
    progress.finish();
    outcome
}

fn read_config(args: &Args) -> anyhow::Result<Config> {
    let path = match (&args.config, &args.init) {
        (Some(path), _) => path.clone(),
        (None, Some(init)) => init.join("config.toml"),
        (None, None) => {
            let path = args.out.join("config.toml");
            if !RunDir::new(&args.out).committed() {
                let out = args.out.display();
                return Err(Usage(format!("{out} holds no run to resume; start one with --config")).into());
            }
            path
        }
    };
    let text = std::fs::read_to_string(&path).map_err(|source| Error::Io {
        action: "read",
        path: path.clone(),
        source,
    })?;
    let mut config = Config::from_toml(&text).with_context(|| path.display().to_string())?;
    if args.config.is_none() && args.init.is_some() {
        config.optimizer.learning_rate *= 0.1;
        config.train.epochs = 8;
    }
    Ok(config)
}

fn tell(args: &Args, config: &Config, outcome: &Outcome) {
    let out = args.out.display();
    let metric = config.train.metric.name();
    if outcome.end == End::Interrupted {
        let (train, dev) = (args.train.display(), args.dev.display());
        eprintln!(
            "interrupted after {} epochs; the steps since are kept too. Continue with: kinglet-train train --resume --train {train} --dev {dev} \
             --out {out}",
            outcome.epochs
        );
    }
    if args.json {
        let best = outcome.best.as_ref();
        let end = match outcome.end {
            End::Finished => "finished",
            End::Stopped => "stopped early",
            End::Interrupted => "interrupted",
        };
        let result = serde_json::json!({
            "out": args.out,
            "end": end,
            "epochs": outcome.epochs,
            "best_epoch": best.map(|b| b.epoch),
            "metric": metric,
            "score": best.map(|b| b.score),
        });
        println!("{result}");
    } else if let (Some(best), true) = (&outcome.best, outcome.end != End::Interrupted) {
        println!("{out}: best epoch {} of {}, dev {metric} {:.3}", best.epoch, outcome.epochs, best.score);
        let dev = args.dev.display();
        eprintln!("next: kinglet compile --checkpoint {out} --dev {dev} -o {out}.kgl");
    }
}
