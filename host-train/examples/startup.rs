//! How long a training run takes to begin on a large corpus, and the memory it holds by then: one JSON line.
//!
//! `cargo run --release -p kinglet-train --example startup -- [--pairs N] [--steps N]`
//!
//! Writes a corpus of `N` pairs (5 million unless told otherwise) of letters, as long as those of a pronunciation
//! dictionary, to a temporary file; then does what `kinglet-train train` does before its first epoch and takes the
//! first steps of it. `start_s` is from opening the file to the first step; `rss_mb` the most memory held so far.

use std::io::Write;
use std::path::Path;
use std::time::Instant;

use kinglet_train::config::{Config, Tokens};
use kinglet_train::data::{Dataset, batch, corpus};
use kinglet_train::model::{Seq2Seq, StepOptions};
use kinglet_train::nn::random::Random;
use kinglet_train::optim::{Adam, clip_grad_norm};
use kinglet_train::vocab::Vocab;

fn main() -> std::io::Result<()> {
    let (mut pairs, mut steps) = (5_000_000, 20);
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    for pair in arguments.chunks(2) {
        match pair {
            [key, value] if key == "--pairs" => pairs = value.parse().unwrap_or_else(|_| usage()),
            [key, value] if key == "--steps" => steps = value.parse().unwrap_or_else(|_| usage()),
            _ => usage(),
        }
    }
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("corpus.tsv");
    let bytes = write(&path, pairs)?;

    let begun = Instant::now();
    let config = Config::default();
    let text = corpus::read(&path).unwrap_or_else(|e| panic!("{e}"));
    let side = |source: bool| text.iter().map(move |p| if source { &p.source[..] } else { &p.target[..] });
    let (source, target) =
        (Vocab::build(Tokens::Chars, side(true), 1), Vocab::build(Tokens::Words, side(false), 1));
    let data = Dataset::training(&text, &source, &target, &config.data);
    let fingerprint = data.fingerprint();
    let lengths = data.lengths();
    let plan = batch::plan(&lengths, 64, 1, 1);
    let start = begun.elapsed().as_secs_f64();

    let mut model = Seq2Seq::new(&config.model, source.len(), target.len(), 1);
    let (mut adam, mut grads) = (Adam::new(&model.params, 1e-3), model.params.zeros_like());
    let mut loss = 0.0;
    for pairs in plan.iter().take(steps) {
        let sum = model.loss_and_gradients(&data.batch(pairs), &mut grads, &StepOptions::default());
        clip_grad_norm(&mut grads, 1.0);
        adam.step(&mut model.params, &grads);
        loss = sum.loss / sum.tokens as f64;
    }
    println!(
        "{}",
        serde_json::json!({
            "pairs": data.len(), "corpus_mb": bytes >> 20, "target_tokens": data.target_tokens(),
            "fingerprint": format!("{fingerprint:016x}"), "start_s": start, "steps": steps, "loss_last": loss,
            "rss_mb": peak_kilobytes() >> 10,
        })
    );
    Ok(())
}

/// Writes a corpus and returns its size in bytes.
fn write(path: &Path, pairs: usize) -> std::io::Result<u64> {
    let mut random = Random::new(1);
    let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
    for _ in 0..pairs {
        let letters = 2 + (0..3).map(|_| random.below(5)).sum::<u64>();
        let mut line: Vec<u8> = (0..letters).map(|_| b'a' + random.below(26) as u8).collect();
        for i in 0..letters.saturating_sub(random.below(2)) {
            line.push(if i == 0 { b'\t' } else { b' ' });
            line.extend([b'A' + random.below(8) as u8, b'A' + random.below(5) as u8]);
        }
        line.push(b'\n');
        file.write_all(&line)?;
    }
    file.into_inner()?.metadata().map(|meta| meta.len())
}

/// The most memory that the process has held; 0 where Linux does not tell.
fn peak_kilobytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|rest| rest.trim().split(' ').next()?.parse().ok()).unwrap_or(0)
}

fn usage() -> ! {
    eprintln!("usage: startup [--pairs N] [--steps N]");
    std::process::exit(2)
}
