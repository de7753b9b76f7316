//! `kinglet demo`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context;
use kinglet::{Model, Sampling};
use kinglet_train::checkpoint::{Checkpoint, write_atomically};
use kinglet_train::cli::INTERRUPTED;
use kinglet_train::cli::train::train_with_progress;
use kinglet_train::config::{self, Metric};
use kinglet_train::data::{Dataset, Pair, corpus};
use kinglet_train::tasks::{self, Task};
use kinglet_train::trainer::{End, Run, Start, mean_loss};

use super::{attention, compile};
use crate::calibrate::Example;
use crate::compare::{Comparison, Reference};
use crate::compile::{Compiled, compile as compile_model};
use crate::desktop::{self, Buffer, How, Image};
use crate::lower::Source;
use crate::mixed::cross_entropy;
use crate::report::search_name;

/// Unseen sources shown with their answers.
const SAMPLES: usize = 6;

/// Train a built-in task, compile it, run it and compare: minutes from nothing to a working blob
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to learn
    #[arg(long, value_enum, default_value = "dates")]
    task: Task,
    /// Folder for data, checkpoint and blob
    #[arg(long, value_name = "DIR", default_value = "target/demo")]
    out: PathBuf,
    /// Seed of the data and of training
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Print the result as a last line of JSON
    #[arg(long)]
    json: bool,
}

/// The last line with `--json`: greedy search on unseen pairs, fractions of 1; RAM for the planned lengths.
#[derive(Debug, serde::Serialize)]
struct Summary<'a> {
    task: &'a str,
    train_seconds: f64,
    float_exact_match: f64,
    int8_exact_match: f64,
    blob_bytes: usize,
    ram_bytes: usize,
}

/// The last line with `--json` of a task without sources: perplexities a token of unseen lines.
#[derive(Debug, serde::Serialize)]
struct Drawn<'a> {
    task: &'a str,
    train_seconds: f64,
    float_perplexity: f64,
    int8_perplexity: f64,
    blob_bytes: usize,
    ram_bytes: usize,
}

/// Runs the demonstration.
///
/// # Errors
/// Whatever training, compiling or writing files gives.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let name = args.task.name();
    std::fs::create_dir_all(&args.out).with_context(|| format!("cannot create {}", args.out.display()))?;
    let data = tasks::generate(args.task, args.task.default_size(), args.seed)?;
    for (file, pairs) in data.files() {
        write_atomically(&args.out.join(file), corpus::to_text(pairs).as_bytes())?;
    }
    eprintln!(
        "task {name}: {} pairs to learn from, {} unseen ones to test on",
        data.train.len(),
        data.test.len()
    );

    let mut config = tasks::config(args.task);
    config.train.seed = args.seed;
    let checkpoint = args.out.join("checkpoint");
    let run = Run {
        config: &config,
        train: &data.train,
        dev: &data.dev,
        out: &checkpoint,
        start: Start::Overwrite,
        teachers: &[],
    };
    let started = Instant::now();
    let outcome = train_with_progress(&run)?;
    let train_seconds = started.elapsed().as_secs_f64();
    if outcome.end == End::Interrupted {
        eprintln!("kinglet: interrupted; start the demonstration again");
        return Ok(ExitCode::from(INTERRUPTED));
    }
    eprintln!("trained in {train_seconds:.0} s; compiling");

    let checkpoint = Checkpoint::load(&checkpoint)?;
    let options = crate::Options { evaluation_sources: 0, ..compile::options(&checkpoint, name) };
    let compiled = compile_model(compile::source(&checkpoint), &data.dev, &options)?;
    let blob = args.out.join(format!("{name}.kgl"));
    write_atomically(&blob, &compiled.blob)?;
    let image = Image::read(&blob)?;
    let source = compile::source(&checkpoint);
    if checkpoint.config.model.task == config::Task::Generate {
        return draw(args, &image.model(), source, &data.test, &compiled, &blob, train_seconds);
    }
    let reference =
        Reference::new(source, &data.test, Metric::Exact, &[1, 4], options.plan.max_target, options.threads);
    let compared = reference.compare(&image.model())?;

    samples(&image.model(), &data.test)?;
    tell(&compiled, &blob, &args.out, &compared);
    if args.json {
        let summary = Summary {
            task: name,
            train_seconds,
            float_exact_match: compared[0].float.first().1 / 100.0,
            int8_exact_match: compared[0].blob.first().1 / 100.0,
            blob_bytes: compiled.report.blob_bytes,
            ram_bytes: compiled.report.planned_ram.bytes,
        };
        println!("{}", serde_json::to_string(&summary)?);
    }
    Ok(ExitCode::SUCCESS)
}

/// Tells how well the blob foretells unseen pictures, and shows some that it draws.
fn draw(
    args: &Args,
    model: &Model<'_>,
    source: Source<'_>,
    test: &[Pair],
    compiled: &Compiled,
    blob: &Path,
    train_seconds: f64,
) -> anyhow::Result<ExitCode> {
    let threads = super::cores();
    let data = Dataset::whole(test, source.source_vocab, source.target_vocab);
    let examples: Vec<Example> = test.iter().map(|pair| source.example(pair)).collect();
    let drawn = Drawn {
        task: args.task.name(),
        train_seconds,
        float_perplexity: mean_loss(source.model, &data, 256, threads).exp(),
        int8_perplexity: cross_entropy(model, &examples, threads)?.exp(),
        blob_bytes: compiled.report.blob_bytes,
        ram_bytes: compiled.report.planned_ram.bytes,
    };
    let sampling = Sampling { temperature: 0.8, top_p: 0.95, ..Sampling::default() };
    let mut buffer = Buffer::default();
    let mut pictures = Vec::new();
    for seed in args.seed..args.seed + SAMPLES as u64 {
        let answer = desktop::decode(model, &mut buffer, "", How::Draw(sampling, seed))?;
        let text = answer.hypotheses.first().map(|h| desktop::text(model, &h.tokens)).unwrap_or_default();
        pictures.push(text.split('/').map(str::to_owned).collect::<Vec<_>>());
    }
    println!("drawn with seeds from {}, temperature 0.8, top p 0.95", args.seed);
    for row in 0..pictures.iter().map(Vec::len).max().unwrap_or(0) {
        let rows =
            pictures.iter().map(|picture| format!("{:8}", picture.get(row).map_or("", String::as_str)));
        println!("  {}", rows.collect::<Vec<_>>().join("  ").trim_end());
    }
    println!("\nperplexity a pixel of {} unseen pictures", test.len());
    println!(
        "  float  {:.4}   {}  {:.4}",
        drawn.float_perplexity,
        compiled.report.sides().1,
        drawn.int8_perplexity
    );
    let blob = blob.display();
    println!("\n{blob}: {} bytes of flash, {} bytes of RAM", drawn.blob_bytes, drawn.ram_bytes);
    println!("next:");
    println!("  echo 7 | kinglet run {blob} --seed 1 --sampling-temperature 0.8 | tr / '\\n'");
    if args.json {
        println!("{}", serde_json::to_string(&drawn)?);
    }
    Ok(ExitCode::SUCCESS)
}

/// Shows some unseen sources with the blob's answers, and the attention of the first.
fn samples(model: &Model<'_>, test: &[Pair]) -> anyhow::Result<()> {
    let mut buffer = Buffer::default();
    let options = kinglet::Options { beam_size: 4, ..kinglet::Options::default() };
    println!("unseen sources and the blob's answers");
    for (number, pair) in test.iter().take(SAMPLES).enumerate() {
        let answer = desktop::decode(model, &mut buffer, &pair.source, &options)?;
        let Some(best) = answer.hypotheses.first() else { continue };
        let found = desktop::text(model, &best.tokens);
        let verdict = if found == pair.target { "" } else { "   (wrong)" };
        println!("  {} -> {found}   score {:.4}{verdict}", pair.source, best.score);
        if number == 0 {
            let weights = desktop::align(model, &mut buffer, &pair.source, &best.tokens)?;
            let end = || "⏎".to_owned();
            let source = desktop::source_texts(model, &pair.source, &end());
            let target: Vec<String> =
                desktop::token_texts(model, &best.tokens).into_iter().chain([end()]).collect();
            if weights.iter().all(|row| row.len() == source.len()) {
                for line in attention::picture(&source, &target, &weights).lines() {
                    println!("      {line}");
                }
            }
        }
    }
    Ok(())
}

fn tell(compiled: &Compiled, blob: &Path, out: &Path, compared: &[Comparison]) {
    let report = &compiled.report;
    let ram = report.planned_ram;
    println!("\nexact match on {} unseen sources, percent", compared[0].sources);
    println!("          float  {:>6}", report.sides().1);
    for c in compared {
        println!("  {}  {:5.2}   {:5.2}", search_name(c.beam_size), c.float.first().1, c.blob.first().1);
    }
    println!(
        "\n{}: {} bytes of flash, {} bytes of RAM (greedy, {} source and {} target tokens)",
        blob.display(),
        report.blob_bytes,
        ram.bytes,
        ram.source,
        ram.target
    );
    let (blob, out) = (blob.display(), out.display());
    println!("next:");
    println!(
        "  kinglet run {blob} < sources.txt       a line each; --return-attention, --n-best, --beam-size 8"
    );
    println!("  kinglet inspect {blob}                 layers, bytes, RAM by source length and beam");
    println!("  kinglet evaluate {blob} --data {out}/test.tsv");
    println!("  firmware-example/                      puts a blob on a board or an emulated one");
}
