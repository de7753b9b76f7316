//! `golden DIR`: checks every golden file of a directory against Kinglet's layers; see `kinglet_tests::golden`. Exit code 1 when
//! a file of a layer that there is fails; files of other layers are counted.

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
    let count = |verdict| reports.iter().filter(|r| r.verdict == verdict).count();
    let [ok, failed, unsupported] = [Verdict::Ok, Verdict::Failed, Verdict::Unsupported].map(count);
    println!("{ok} ok, {failed} failed, {unsupported} not supported");
    if failed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
