//! Command line of the compiler.

use std::process::ExitCode;

fn main() -> ExitCode {
    kinglet_compiler::cli::main()
}
