//! What the desktop computes: records of the words on standard input, one a line. The reference for `parity.sh` and,
//! for a handful of words, the self-test table that lies beside a model.
//!
//! `desktop MODEL.kgl < words > records`

use std::error::Error;
use std::io::{BufRead, Write as _, stdin, stdout};
use std::{env, fs, process};

use kinglet::Model;
use kinglet_firmware::record;

fn main() {
    if let Err(error) = run() {
        eprintln!("desktop: {error}");
        process::exit(1);
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let [path] = &env::args_os().skip(1).collect::<Vec<_>>()[..] else {
        return Err("usage: desktop MODEL.kgl < words > records".into());
    };
    let at = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let blob = fs::read(path).map_err(|e| at(&e))?;
    let model = Model::from_bytes(&blob).map_err(|e| at(&e))?;
    let mut ram = Box::new(kinglet::Arena::<{ 1 << 20 }>::new());
    let mut text = String::new();
    record::header(&model, &mut text)?;
    text.push('\n');
    for word in stdin().lock().lines() {
        let word = word?;
        let word = word.trim_end_matches('\r');
        text.push_str(word);
        if let Err(failure) = record::write(&model, &mut ram[..], word.as_bytes(), &mut text) {
            text.push_str(&format!("\t! {failure}"));
        }
        text.push('\n');
    }
    stdout().write_all(text.as_bytes())?;
    Ok(())
}
