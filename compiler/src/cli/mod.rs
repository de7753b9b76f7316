//! The command line: one file a subcommand, each an `Args` and a `run`.
//!
//! Results go to standard output and everything else to standard error. Exit codes: 0 done, 1 failed on data or
//! files, 2 wrong usage, 130 interrupted; SIGPIPE when nobody reads the output any more.

pub mod attention;
pub mod bench;
pub mod compile;
pub mod demo;
pub mod evaluate;
pub mod inspect;
pub mod options;
pub mod run;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use kinglet_train::cli::{pipe, report};

/// Compiles sequence-to-sequence networks for microcontrollers and runs them on the desktop.
#[derive(Debug, Parser)]
#[command(name = "kinglet", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Compile(compile::Args),
    Inspect(inspect::Args),
    Run(run::Args),
    Evaluate(evaluate::Args),
    Bench(bench::Args),
    Demo(demo::Args),
}

/// Reads the arguments of the process, does what they ask, and tells how it ended.
pub fn main() -> ExitCode {
    pipe::end_quietly();
    let result = match Cli::parse().command {
        Command::Compile(args) => compile::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Inspect(args) => inspect::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Run(args) => run::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Evaluate(args) => evaluate::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Bench(args) => bench::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Demo(args) => demo::run(&args),
    };
    result.unwrap_or_else(|error| report("kinglet", &error))
}

/// Threads to use when no number is given: as many as there are cores.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
