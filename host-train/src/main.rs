//! Command line of the trainer.

use std::process::ExitCode;

fn main() -> ExitCode {
    kinglet_train::cli::main()
}
