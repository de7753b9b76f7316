//! Training speed on synthetic data: one JSON line for a model, a batch size and a number of threads.
//!
//! `cargo run --release -p kinglet-train --example bench -- --case a|b|c|d --threads N --steps N`
//!
//! Every step is forward, cross-entropy (mean over target tokens), backward, clipping to norm 1 and
//! Adam with a rate of 1e-3. Twenty batches are made up front and cycled. Source lengths of cases a and b are
//! 3 to 15 (mean 9), of c and d 5 to 21 (mean 13); target lengths follow the source's.

use std::time::Instant;

use kinglet_train::config::{AttentionKind, Bridge, Cell, ModelConfig};
use kinglet_train::model::{Batch, EOS, Seq2Seq, StepOptions};
use kinglet_train::nn::random::Random;
use kinglet_train::optim::{Adam, clip_grad_norm};

const BATCHES: usize = 20;
const USAGE: &str = "usage: bench --case a|b|c|d [--threads N] [--steps N] [--warmup N] [--seed N]";

struct Case {
    source_vocab: usize,
    target_vocab: usize,
    batch: usize,
    long: bool,
    model: ModelConfig,
}

/// a: bi-GRU 128, additive attention, GRU 128. b: LSTM 256 to LSTM 256. c: two layers of LSTM 512, large
/// vocabularies, dropout. d: a at the size of c.
fn case(name: &str) -> Option<Case> {
    let long = matches!(name, "c" | "d");
    let attends = match name {
        "a" | "d" => true,
        "b" | "c" => false,
        _ => return None,
    };
    let (embedding, hidden) = match name {
        "a" => (64, 128),
        "b" => (64, 256),
        _ => (256, 512),
    };
    let layers = if name == "c" { 2 } else { 1 };
    let mut model = ModelConfig { dropout: if long { 0.5 } else { 0.0 }, ..ModelConfig::default() };
    let cell = if attends { Cell::Gru } else { Cell::Lstm };
    (model.encoder.cell, model.decoder.cell) = (cell, cell);
    (model.encoder.embedding, model.decoder.embedding) = (embedding, embedding);
    (model.encoder.hidden, model.decoder.hidden, model.attention.size) = (hidden, hidden, hidden);
    (model.encoder.layers, model.decoder.layers) = (layers, layers);
    model.encoder.bidirectional = attends;
    model.attention.kind = if attends { AttentionKind::Additive } else { AttentionKind::None };
    model.bridge = if attends { Bridge::Linear } else { Bridge::Copy };
    let (source_vocab, target_vocab, batch) = if long { (7853, 5893, 128) } else { (30, 45, 64) };
    Some(Case { source_vocab, target_vocab, batch, long, model })
}

fn batches(case: &Case, seed: u64) -> Vec<Batch> {
    let mut random = Random::new(seed);
    let mut below = |n: u64| random.below(n) as usize;
    let mut batch = || {
        let mut batch = Batch::default();
        for _ in 0..case.batch {
            let (source, target) = if case.long {
                let source = 5 + below(5) + below(5) + below(5) + below(5);
                (source, (source + below(5)).saturating_sub(1).max(4))
            } else {
                let source = 3 + below(5) + below(5) + below(5);
                (source, (source + below(3)).saturating_sub(2).max(2))
            };
            let mut sentence = |length: usize, vocab: usize| {
                let mut ids: Vec<u32> = (1..length).map(|_| 4 + below(vocab as u64 - 4) as u32).collect();
                ids.push(EOS);
                ids
            };
            batch.sources.push(sentence(source, case.source_vocab));
            batch.targets.push(sentence(target, case.target_vocab));
        }
        batch
    };
    (0..BATCHES).map(|_| batch()).collect()
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (mut name, mut threads, mut steps, mut warmup, mut seed) = (String::new(), 1, 200, None, 1);
    while let Some(key) = arguments.next() {
        let Some(value) = arguments.next() else { usage() };
        let number = || value.parse::<usize>().unwrap_or_else(|_| usage());
        match key.as_str() {
            "--case" => name = value,
            "--threads" => threads = number(),
            "--steps" => steps = number().max(1),
            "--warmup" => warmup = Some(number()),
            "--seed" => seed = number(),
            _ => usage(),
        }
    }
    let Some(case) = case(&name) else { usage() };

    let data = batches(&case, seed as u64);
    let mut model = Seq2Seq::new(&case.model, case.source_vocab, case.target_vocab, 0);
    let (mut adam, mut grads) = (Adam::new(&model.params, 1e-3), model.params.zeros_like());
    let mut losses = Vec::new();
    let mut times: Vec<Vec<f64>> = vec![Vec::new(); BATCHES];
    let warmup = warmup.unwrap_or((steps / 5).clamp(5, 20));
    for step in 0..warmup + steps {
        let dropout_seed = (case.model.dropout > 0.0).then_some(step as u64);
        let options = StepOptions { dropout_seed, threads, ..StepOptions::default() };
        let index = if step < warmup { step } else { step - warmup } % BATCHES;
        let start = Instant::now();
        let loss = model.loss_and_gradients(&data[index], &mut grads, &options);
        clip_grad_norm(&mut grads, 1.0);
        adam.step(&mut model.params, &grads);
        if step >= warmup {
            times[index].push(start.elapsed().as_secs_f64());
        }
        losses.push(loss.loss / loss.tokens as f64);
    }

    let tokens = |b: &Batch| b.targets.iter().map(Vec::len).sum::<usize>();
    let used = || data.iter().zip(&times).filter(|(_, t)| !t.is_empty());
    let total: usize = used().map(|(b, _)| tokens(b)).sum();
    let seconds: f64 = used().map(|(_, t)| median(t)).sum();
    let all: Vec<f64> = times.concat();
    println!(
        "{}",
        serde_json::json!({
            "case": name, "threads": threads, "steps": steps, "batch": case.batch,
            "dropout": case.model.dropout, "params": model.params.values(),
            "trg_tokens_per_batch": total as f64 / used().count() as f64,
            "med_ms": 1e3 * median(&all), "tok_s": total as f64 / seconds,
            "loss_first": losses[0], "loss": losses[losses.len() - 1],
        })
    );
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

fn usage() -> ! {
    eprintln!("{USAGE}");
    std::process::exit(2)
}
