//! Training speed on synthetic data: one JSON line for a model, a batch size and a number of threads.
//!
//! `cargo run --release -p kinglet-train --example bench -- --case a|b|c|d --threads N --steps N`
//!
//! `--init FILE` starts from the tensors of a safetensors file, named as a checkpoint's; `--dropout P` changes the case's.
//! Times are those of the thread that waits for a step; `tok_per_cpu_s` counts the processor time of all threads, which
//! tells more on a machine that does other things too.
//!
//! `gflop` are the operations of a step's products, counted over real tokens, and `peak_gflop_s` the fastest stretch of one
//! product that stays in the cache: `of_peak` is how much of a core's processor time that would have taken.
//!
//! Every step is forward, cross-entropy (mean over target tokens), backward, clipping to norm 1 and
//! Adam with a rate of 1e-3. Twenty batches are made up front and cycled. Source lengths of cases a and b are
//! 3 to 15 (mean 9), of c and d 5 to 21 (mean 13); target lengths follow the source's.

use std::path::PathBuf;
use std::time::Instant;

use kinglet_train::config::{AttentionKind, Bridge, Cell, ModelConfig};
use kinglet_train::model::{Batch, EOS, Params, Seq2Seq, StepOptions, Tensor};
use kinglet_train::nn::gemm::{Panels, Start, product_packed};
use kinglet_train::nn::matrix::{view, view_mut};
use kinglet_train::nn::random::Random;
use kinglet_train::optim::{Adam, clip_grad_norm};

const BATCHES: usize = 20;
const USAGE: &str = "usage: bench --case a|b|c|d [--threads N] [--steps N] [--warmup N] [--seed N] [--dropout P] [--init FILE]";

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

impl Case {
    /// Operations of the products of one step: forward, and twice as many backward.
    fn operations(&self, batch: &Batch) -> f64 {
        let (encoder, decoder, size) = (&self.model.encoder, &self.model.decoder, self.model.attention.size);
        let attends = self.model.attention.kind == AttentionKind::Additive;
        let sources: usize = batch.sources.iter().map(|source| source.ids.len()).sum();
        let targets: usize = batch.targets.iter().map(Vec::len).sum();
        let gates = |cell: Cell| if cell == Cell::Gru { 3 } else { 4 };
        let directions = if encoder.bidirectional { 2 } else { 1 };
        let memory = directions * encoder.hidden;
        let context = if attends { memory } else { 0 };
        // Values a row of each stack, by its lowest layer's inputs.
        let stack = |cell, inputs: usize, outputs: usize, hidden: usize, layers: usize| {
            gates(cell) * hidden * (inputs + hidden + (layers - 1) * (outputs + hidden))
        };
        let (e, d) = (encoder, decoder);
        let mut products = sources * directions * stack(e.cell, e.embedding, memory, e.hidden, e.layers)
            + targets * stack(d.cell, d.embedding + context, d.hidden, d.hidden, d.layers);
        if attends {
            let positions: usize =
                batch.sources.iter().zip(&batch.targets).map(|(s, t)| s.ids.len() * t.len()).sum();
            products += sources * memory * size + targets * d.hidden * size + positions * (size + memory);
            products += batch.sources.len() * memory * d.hidden;
        }
        let features = d.hidden + if attends { context + d.embedding } else { 0 };
        6.0 * (products + targets * features * self.target_vocab) as f64
    }
}

/// The fastest of many products of 240 rows with 512 by 256 packed values, in 10^9 operations a second.
fn peak() -> f64 {
    let (rows, depth, cols) = (240, 512, 256);
    let values = vec![0.5f32; depth * rows.max(cols)];
    let (mut room, mut c) = (vec![0.0; Panels::len_of(depth, cols)], vec![0.0; rows * cols]);
    let b = Panels::pack(view(&values[..depth * cols], depth, cols), &mut room);
    let a = view(&values[..rows * depth], rows, depth);
    let mut run = || {
        let start = Instant::now();
        product_packed(view_mut(&mut c, rows, cols), a, b, Start::Zero);
        start.elapsed().as_secs_f64()
    };
    let fastest = (0..500).map(|_| run()).fold(f64::INFINITY, f64::min);
    2e-9 * (rows * depth * cols) as f64 / fastest
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
            batch.sources.push(sentence(source, case.source_vocab).into());
            batch.targets.push(sentence(target, case.target_vocab));
        }
        batch
    };
    (0..BATCHES).map(|_| batch()).collect()
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (mut name, mut threads, mut steps, mut warmup, mut seed) = (String::new(), 1, 200, None, 1);
    let (mut dropout, mut init) = (None, None);
    while let Some(key) = arguments.next() {
        let Some(value) = arguments.next() else { usage() };
        let number = || value.parse::<usize>().unwrap_or_else(|_| usage());
        match key.as_str() {
            "--case" => name = value,
            "--threads" => threads = number(),
            "--steps" => steps = number().max(1),
            "--warmup" => warmup = Some(number()),
            "--seed" => seed = number(),
            "--dropout" => dropout = Some(value.parse::<f32>().unwrap_or_else(|_| usage())),
            "--init" => init = Some(PathBuf::from(value)),
            _ => usage(),
        }
    }
    let Some(mut case) = case(&name) else { usage() };
    case.model.dropout = dropout.unwrap_or(case.model.dropout);

    let data = batches(&case, seed as u64);
    let mut model = match init {
        None => Seq2Seq::new(&case.model, case.source_vocab, case.target_vocab, 0),
        Some(path) => {
            let model =
                Seq2Seq::from_params(&case.model, case.source_vocab, case.target_vocab, tensors(&path));
            model.unwrap_or_else(|e| panic!("{}: {e}", path.display()))
        }
    };
    let (mut adam, mut grads) = (Adam::new(&model.params, 1e-3), model.params.zeros_like());
    let mut losses = Vec::new();
    let mut times: Vec<Vec<f64>> = vec![Vec::new(); BATCHES];
    let warmup = warmup.unwrap_or((steps / 5).clamp(5, 20));
    let mut spent = 0.0;
    for step in 0..warmup + steps {
        let dropout_seed = (case.model.dropout > 0.0).then_some(step as u64);
        let options = StepOptions { dropout_seed, threads, ..StepOptions::default() };
        let index = if step < warmup { step } else { step - warmup } % BATCHES;
        if step == warmup {
            spent = processor_seconds();
        }
        let start = Instant::now();
        let loss = model.loss_and_gradients(&data[index], &mut grads, &options);
        clip_grad_norm(&mut grads, 1.0);
        adam.step(&mut model.params, &grads);
        if step >= warmup {
            times[index].push(start.elapsed().as_secs_f64());
        }
        losses.push(loss.loss / loss.tokens as f64);
    }
    let spent = processor_seconds() - spent;

    let tokens = |b: &Batch| b.targets.iter().map(Vec::len).sum::<usize>();
    let used = || data.iter().zip(&times).filter(|(_, t)| !t.is_empty());
    let total: usize = used().map(|(b, _)| tokens(b)).sum();
    let seconds: f64 = used().map(|(_, t)| median(t)).sum();
    let fastest: f64 = used().map(|(_, t)| t.iter().copied().fold(f64::INFINITY, f64::min)).sum();
    let learned: usize = used().map(|(b, t)| tokens(b) * t.len()).sum();
    let gflop = 1e-9 * used().map(|(b, t)| case.operations(b) * t.len() as f64).sum::<f64>() / steps as f64;
    let (peak, cpu) = (peak(), spent / steps as f64);
    let mut all: Vec<f64> = times.concat();
    all.sort_by(f64::total_cmp);
    println!(
        "{}",
        serde_json::json!({
            "case": name, "threads": threads, "steps": steps, "batch": case.batch,
            "dropout": case.model.dropout, "params": model.params.values(),
            "trg_tokens_per_batch": total as f64 / used().count() as f64,
            "med_ms": 1e3 * median(&all), "p10_ms": 1e3 * all[all.len() / 10], "p90_ms": 1e3 * all[all.len() * 9 / 10],
            "tok_s": total as f64 / seconds, "tok_s_best": total as f64 / fastest,
            "tok_per_cpu_s": learned as f64 / spent, "cpu_ms": 1e3 * cpu,
            "gflop": gflop, "peak_gflop_s": peak, "of_peak": gflop / peak / cpu,
            "loss_first": losses[0], "loss_last": losses[losses.len() - 1],
        })
    );
}

/// The tensors of a safetensors file of f32.
fn tensors(path: &std::path::Path) -> Params {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let file =
        safetensors::SafeTensors::deserialize(&bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let value = |bytes: &[u8; 4]| f32::from_le_bytes(*bytes);
    let tensor = |(name, view): (&str, safetensors::tensor::TensorView<'_>)| Tensor {
        name: name.into(),
        shape: view.shape().to_vec(),
        data: view.data().as_chunks().0.iter().map(value).collect(),
    };
    Params::new(file.iter().map(tensor).collect()).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Processor time of all threads so far; 0 where Linux does not tell.
fn processor_seconds() -> f64 {
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let nanoseconds = threads.filter_map(|thread| {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<f64>().ok()
    });
    nanoseconds.sum::<f64>() / 1e9
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
