//! `kinglet-train sweep`.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;

use crate::cli::{INTERRUPTED, Usage, stop_on_ctrl_c};
use crate::config::Config;
use crate::data::corpus;
use crate::error::Error;
use crate::sweep::{self, Method, Plan, State, Status, Trial, Work};

/// Search over hyper-parameters: train many configurations and write a table of them and the best
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Model and training that the trials vary, TOML
    #[arg(long, value_name = "FILE", required_unless_present = "resume", conflicts_with = "resume")]
    config: Option<PathBuf>,
    /// What they vary, TOML: the tables of a configuration with { choice = [..] }, { uniform = [low, high] },
    /// { log_uniform = [low, high] } or { integer = [low, high] } for values
    #[arg(long, value_name = "FILE", required_unless_present = "resume", conflicts_with = "resume")]
    space: Option<PathBuf>,
    /// Training pairs, a line each: `source<TAB>target`
    #[arg(long, value_name = "FILE")]
    train: PathBuf,
    /// Pairs that tell how good a trial is
    #[arg(long, value_name = "FILE")]
    dev: PathBuf,
    /// Folder of the sweep; each trial is a run in it
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Configurations to try
    #[arg(long, value_name = "N", default_value_t = 20, conflicts_with = "resume")]
    trials: usize,
    /// Every trial to its end, or successive halving: a few epochs for all, more for the best
    #[arg(long, value_enum, default_value = "random", conflicts_with = "resume")]
    method: Name,
    /// Halving: one of so many trials runs on, for so many times the epochs
    #[arg(long, value_name = "N", default_value_t = 3, conflicts_with = "resume")]
    eta: usize,
    /// The same seed gives the same trials
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "resume")]
    seed: u64,
    /// Continue the sweep in the folder
    #[arg(long)]
    resume: bool,
    /// Trials at the same time [default: the machine's cores]
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    /// Threads of a trial [default: the machine's cores shared out to the jobs]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// Print the trials as JSON
    #[arg(long)]
    json: bool,
}

/// A method on the command line.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Name {
    Random,
    Halving,
}

/// Sweeps as the arguments say.
///
/// # Errors
/// Whatever reading the files, or [`sweep::run`], gives; when no trial has come to a score.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let (train, dev) = (corpus::read(&args.train)?, corpus::read(&args.dev)?);
    let mut state = match (&args.config, &args.space) {
        (Some(config), Some(space)) => {
            let plan = Plan {
                config: Config::from_toml(&read(config)?).with_context(|| config.display().to_string())?,
                space: read(space)?,
                method: match args.method {
                    Name::Random => Method::Random,
                    Name::Halving => Method::Halving { eta: args.eta },
                },
                trials: args.trials,
                seed: args.seed,
            };
            State::create(&plan, &train, &dev, &args.out)?
        }
        _ if !args.out.join(sweep::FILE).exists() => {
            let out = args.out.display();
            return Err(Usage(format!(
                "{out} holds no sweep to resume; start one with --config and --space"
            ))
            .into());
        }
        _ => State::resume(&train, &dev, &args.out)?,
    };
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let jobs = args.jobs.map_or(cores, NonZeroUsize::get).min(state.trials.len());
    let threads = args.threads.map_or((cores / jobs).max(1), NonZeroUsize::get);
    let work = Work { train: &train, dev: &dev, out: &args.out, jobs, threads };
    let metric = state.base().train.metric.name();
    let finished =
        sweep::run(&mut state, &work, stop_on_ctrl_c(), &|trial| eprintln!("{}", line(trial, metric)))?;

    if args.json {
        println!("{}", serde_json::to_string(&state.ranked()).expect("trials are plain data"));
    } else {
        print!("{}", sweep::text(&state));
    }
    let out = args.out.display();
    if !finished {
        let (train, dev) = (args.train.display(), args.dev.display());
        eprintln!(
            "interrupted; all steps are kept. Continue with: kinglet-train sweep --resume --train {train} --dev {dev} --out {out}"
        );
        return Ok(ExitCode::from(INTERRUPTED));
    }
    let best = state.best().context("no trial has come to a score; the reasons are in the table")?;
    eprintln!("best: {out}/{}; wrote {out}/best.toml and {out}/sweep.csv", best.folder());
    eprintln!(
        "next: kinglet-train report --checkpoint {out}/{} --dev {} --out report.html",
        best.folder(),
        args.dev.display()
    );
    Ok(ExitCode::SUCCESS)
}

fn read(path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path).map_err(|source| Error::Io { action: "read", path: path.into(), source })
}

fn line(trial: &Trial, metric: &str) -> String {
    let Trial { number, epochs, .. } = trial;
    match (&trial.reason, &trial.best) {
        (Some(reason), _) => format!("trial {number}: failed: {reason}"),
        (None, Some(best)) => {
            let end = if trial.status == Status::Done { ", at its end" } else { "" };
            format!("trial {number}: {metric} {:.3} in epoch {} of {epochs}{end}", best.score, best.epoch)
        }
        (None, None) => format!("trial {number}: no epoch is done"),
    }
}
