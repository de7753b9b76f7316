//! The command line: one file a subcommand, each an `Args` and a `run`.
//!
//! Results go to standard output and everything else to standard error. Exit codes: 0 done, 1 failed on data or
//! files, 2 wrong usage, 130 interrupted; SIGPIPE when nobody reads the output any more.

pub mod decode;
pub mod distill;
pub mod evaluate;
pub mod export;
pub mod generate;
pub mod import;
pub mod options;
pub mod pipe;
pub mod progress;
pub mod report;
pub mod sample;
pub mod scoring;
pub mod sweep;
pub mod train;

use std::process::ExitCode;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::{Parser, Subcommand};

/// Trains small sequence-to-sequence models on the CPU.
#[derive(Debug, Parser)]
#[command(name = "kinglet-train", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Train(train::Args),
    Evaluate(evaluate::Args),
    Decode(decode::Args),
    Distill(distill::Args),
    Generate(generate::Args),
    Import(import::Args),
    Export(export::Args),
    Report(report::Args),
    Sample(sample::Args),
    Sweep(sweep::Args),
}

/// Options that contradict each other; exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// Exit code of a run that was interrupted: 128 and SIGINT's number, as shells count.
pub const INTERRUPTED: u8 = 130;

/// A flag that Ctrl-C sets; a second one ends the process.
fn stop_on_ctrl_c() -> &'static AtomicBool {
    static STOP: AtomicBool = AtomicBool::new(false);
    static HANDLER: Once = Once::new();
    HANDLER.call_once(|| {
        // Without a handler Ctrl-C ends the process at once, which checkpoints survive.
        let _ = ctrlc::set_handler(|| {
            if STOP.swap(true, Ordering::Relaxed) {
                std::process::exit(i32::from(INTERRUPTED));
            }
        });
    });
    &STOP
}

/// Reads the arguments of the process, does what they ask, and tells how it ended.
pub fn main() -> ExitCode {
    pipe::end_quietly();
    let result = match Cli::parse().command {
        Command::Train(args) => train::run(&args),
        Command::Evaluate(args) => evaluate::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Decode(args) => decode::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Distill(args) => distill::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Generate(args) => generate::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Import(args) => import::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Export(args) => export::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Report(args) => report::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Sample(args) => sample::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Sweep(args) => sweep::run(&args),
    };
    result.unwrap_or_else(|error| report("kinglet-train", &error))
}

/// Prints an error with its causes on one line of standard error and gives its exit code.
pub fn report(program: &str, error: &anyhow::Error) -> ExitCode {
    eprintln!("{program}: {}", one_line(error));
    if error.is::<Usage>() { ExitCode::from(2) } else { ExitCode::FAILURE }
}

/// An error and its causes, without those that the text before them already tells.
fn one_line(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !text.contains(&cause) {
            text += if text.is_empty() { "" } else { ": " };
            text += &cause;
        }
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[test]
    fn the_command_line_is_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn causes_are_told_once() {
        let source = std::io::Error::other("disk on fire");
        let io = Error::Io { action: "read", path: "a.tsv".into(), source };
        let error = anyhow::Error::new(io).context("loading");
        assert_eq!(one_line(&error), "loading: cannot read a.tsv: disk on fire");
    }
}
