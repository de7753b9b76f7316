//! `golden DIR`: checks every golden file of a directory against Kinglet's layers; see `kinglet_tests::golden`.

use std::path::PathBuf;
use std::process::ExitCode;

use kinglet_tests::golden::{self, Verdict};

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(dir), None) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: golden DIR");
        return ExitCode::from(2);
    };
    let reports = match golden::run(&PathBuf::from(dir)) {
        Ok(reports) => reports,
        Err(error) => {
            eprintln!("{error:#}");
            return ExitCode::FAILURE;
        }
    };
    reports.iter().for_each(|report| println!("{report}"));
    let failed = reports.iter().filter(|r| r.verdict == Verdict::Failed).count();
    if failed > 0 {
        eprintln!("{failed} of {} files failed", reports.len());
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
