//! The command `kinglet-train` as a user runs it.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Runs it in a folder, with what it reads from its standard input.
pub fn kinglet_train(dir: &Path, args: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_kinglet-train"))
        .args(args)
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that fails early does not read its input.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

/// Standard output of a run that succeeds, with arguments separated by spaces.
pub fn done(dir: &Path, args: &str, input: &str) -> String {
    let Output { status, stdout, stderr } = run(dir, args, input);
    assert_eq!(status.code(), Some(0), "{args}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

/// Standard error of a run that ends with `code`.
pub fn failed(dir: &Path, args: &str, input: &str, code: i32) -> String {
    let Output { status, stderr, .. } = run(dir, args, input);
    assert_eq!(status.code(), Some(code), "{args}");
    String::from_utf8(stderr).unwrap()
}

fn run(dir: &Path, args: &str, input: &str) -> Output {
    kinglet_train(dir, &args.split_whitespace().collect::<Vec<_>>(), input.as_bytes())
}
