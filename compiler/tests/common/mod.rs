//! The command `kinglet` as a user runs it.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Runs it in a folder, with arguments separated by spaces and what it reads from its standard input.
pub fn kinglet(dir: &Path, args: &str, input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_kinglet"))
        .args(args.split_whitespace())
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that refuses its arguments does not read its input.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

/// Standard output of a run that succeeds.
pub fn done(dir: &Path, args: &str, input: &str) -> String {
    let Output { status, stdout, stderr } = kinglet(dir, args, input.as_bytes());
    assert_eq!(status.code(), Some(0), "{args}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}
