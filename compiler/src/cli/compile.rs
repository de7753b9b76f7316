//! `kinglet compile`.

use std::path::{Path, PathBuf};

use kinglet::kernels::Layout;
use kinglet_train::checkpoint::{Checkpoint, write_atomically};
use kinglet_train::cli::Usage;
use kinglet_train::data::corpus;

use crate::boards::{Board, board};
use crate::calibrate::Calibration;
use crate::compile::{Compiled, Options, compile};
use crate::kinds::{Kind, Kinds};
use crate::lower::{Fold, Plan, Source};
use crate::mixed::Bounds;
use crate::report::html;

/// Longest source or target that can be planned for, marks not counted.
const MAX_PLANNED: i64 = 4095;

/// Cores that weights can be arranged for; all of them run any blob, this one runs it fast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Target {
    /// Cortex-M0, M3, RISC-V, desktops: plain tiles
    Generic,
    /// Cortex-M4, M7, M33: pairs of rows for SMLAD
    Dsp,
    /// Cortex-M55: blocks of columns for Helium
    Mve,
}

impl From<Target> for Layout {
    fn from(target: Target) -> Self {
        match target {
            Target::Generic => Self::Tiles,
            Target::Dsp => Self::Pairs,
            Target::Mve => Self::Blocks,
        }
    }
}

/// What `--weights` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weights {
    Auto,
    Kind(Kind),
}

fn weights(text: &str) -> Result<Weights, String> {
    if text == "auto" { Ok(Weights::Auto) } else { text.parse().map(Weights::Kind) }
}

/// `NAME=KIND`.
fn named_kind(text: &str) -> Result<(String, Kind), String> {
    let (name, kind) = text.split_once('=').ok_or("it takes NAME=KIND, such as decoder.fc_out=int8")?;
    Ok((name.to_owned(), kind.parse()?))
}

/// A number, or all.
fn at_most(text: &str) -> Result<usize, String> {
    if text == "all" {
        Ok(usize::MAX)
    } else {
        text.parse().map_err(|_| format!("\"{text}\" is neither a number nor all"))
    }
}

/// Quantize a checkpoint and pack it into one blob
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The checkpoint directory
    #[arg(long, value_name = "DIR")]
    checkpoint: PathBuf,
    /// Pairs to calibrate and compare on, a line each: `source<TAB>target`
    #[arg(long, value_name = "FILE")]
    dev: PathBuf,
    /// The blob
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Name inside the blob [default: the blob's file name]
    #[arg(long)]
    name: Option<String>,
    /// Integers of the weights: int8, int4 (a scale a row), int4:COLUMNS (and a multiplier for so many columns), or auto: for
    /// each product by its measured loss, until --max-flash or --max-loss is reached [default: int8, or as trained]
    #[arg(long, value_name = "KIND", value_parser = weights)]
    weights: Option<Weights>,
    /// Other integers for one product, such as decoder.fc_out=int8; may be repeated
    #[arg(long, value_name = "NAME=KIND", value_parser = named_kind)]
    weights_of: Vec<(String, Kind)>,
    /// The board that it has to fit beside a firmware; it also chooses how weights are arranged
    #[arg(long, value_name = "NAME", value_parser = board, conflicts_with = "target")]
    board: Option<Board>,
    /// The core that weights are arranged for, without a board
    #[arg(long, value_enum, default_value = "generic")]
    target: Target,
    /// Where a token's product with its embedding becomes a table [default: auto, or as trained]
    #[arg(long, value_enum)]
    fold: Option<Fold>,
    /// How far the integers of inner values reach: max, percentile:P or mse
    #[arg(long, value_name = "HOW", default_value_t = Calibration::default())]
    calibration: Calibration,
    /// Leave biases as they were trained, and not such that rounded weights err by nothing in the mean
    #[arg(long)]
    no_bias_correction: bool,
    /// Longest source in tokens to plan RAM for [default: the checkpoint's data.max_source_len]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=MAX_PLANNED))]
    max_source: Option<u16>,
    /// Longest target in tokens to plan RAM for [default: the checkpoint's data.max_target_len]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=MAX_PLANNED))]
    max_target: Option<u16>,
    /// Widest beam to plan RAM for; it is the one that is compared beside greedy search, and that --weights auto measures with
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=8))]
    beam_size: u8,
    /// Refuse a model that needs more RAM for the planned lengths and beam
    #[arg(long, value_name = "BYTES")]
    max_ram: Option<usize>,
    /// Refuse a larger blob; with --weights auto, stop at one that is not
    #[arg(long, value_name = "BYTES")]
    max_flash: Option<usize>,
    /// With --weights auto: points that may be lost of what the network was trained for (its metric), with the planned beam
    #[arg(long, value_name = "POINTS")]
    max_loss: Option<f64>,
    /// With --weights auto: dev pairs, and distinct sources, on which losses are measured, at most; or all
    #[arg(long, value_name = "N", default_value = "1000", value_parser = at_most)]
    selection_sources: usize,
    /// Pairs to calibrate on, at most
    #[arg(long, value_name = "N", default_value_t = 512)]
    calibration_pairs: usize,
    /// Distinct sources on which float and integers are compared, at most; or all; 0 skips it
    #[arg(long, value_name = "N", default_value = "1000", value_parser = at_most)]
    evaluation_sources: usize,
    /// Threads [default: all cores]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Also write the report as a page of HTML; it compares the network with all weights of one kind, too, for each kind
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Print the report as one JSON object
    #[arg(long)]
    json: bool,
}

/// Compiles as the arguments say.
///
/// # Errors
/// Whatever reading the checkpoint and the pairs, [`compile()`], or writing the blob gives.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let checkpoint = Checkpoint::load(&args.checkpoint)?;
    let dev = corpus::read_for(&args.dev, &checkpoint.config)?;
    let stem = args.output.file_stem().unwrap_or_default().to_string_lossy();
    let mut options = options(&checkpoint, args.name.as_deref().unwrap_or(&stem));
    let plan = &mut options.plan;
    plan.max_source = args.max_source.map_or(plan.max_source, |n| n + checkpoint.source_vocab.marks() as u16);
    plan.max_target = args.max_target.unwrap_or(plan.max_target);
    plan.beam = args.beam_size;
    plan.fold = args.fold.unwrap_or_default();
    let given = args.weights.is_some() || !args.weights_of.is_empty() || args.fold.is_some();
    if given && checkpoint.model.scheme.is_some() {
        return Err(Usage(format!(
            "{} was trained for its own integers: leave out --weights, --weights-of and --fold",
            args.checkpoint.display()
        ))
        .into());
    }
    let by_name = args.weights_of.iter().cloned().collect();
    match args.weights {
        Some(Weights::Auto) => plan.mixed = Some(bounds(args)?),
        Some(Weights::Kind(default)) => plan.kinds = Kinds { default, by_name },
        None => plan.kinds = Kinds { by_name, ..Kinds::default() },
    }
    plan.layout = args.board.map_or(args.target.into(), |board| board.core.layout());
    plan.calibration = args.calibration;
    plan.bias_correction = !args.no_bias_correction;
    options.board = args.board;
    options.max_ram = args.max_ram;
    options.max_flash = args.max_flash;
    options.calibration_pairs = args.calibration_pairs.max(1);
    options.evaluation_sources = args.evaluation_sources;
    options.selection_sources = args.selection_sources;
    options.alternatives = args.report.is_some();
    options.threads = args.threads.unwrap_or(options.threads);

    let compiled = compile(source(&checkpoint), &dev, &options)?;
    write_atomically(&args.output, &compiled.blob)?;
    if let Some(path) = &args.report {
        write_atomically(path, html::page(&compiled.report).as_bytes())?;
    }
    tell(&compiled, &args.output, args.json);
    Ok(())
}

/// When `--weights auto` stops.
fn bounds(args: &Args) -> Result<Bounds, Usage> {
    if !args.weights_of.is_empty() {
        return Err(Usage("--weights auto chooses for every product: leave out --weights-of".into()));
    }
    let board = args.board.as_ref().map(Board::flash_for_model);
    let flash = args.max_flash.into_iter().chain(board).min();
    if flash.is_none() && args.max_loss.is_none() {
        return Err(Usage(
            "--weights auto needs --max-flash BYTES, --max-loss POINTS or --board NAME".into(),
        ));
    }
    Ok(Bounds { flash, loss: args.max_loss })
}

/// What is compiled of a checkpoint.
pub fn source(checkpoint: &Checkpoint) -> Source<'_> {
    Source {
        model: &checkpoint.model,
        source_vocab: &checkpoint.source_vocab,
        target_vocab: &checkpoint.target_vocab,
    }
}

/// The options that a checkpoint gives by itself.
pub fn options(checkpoint: &Checkpoint, name: &str) -> Options {
    let planned = |length: usize| length.clamp(1, MAX_PLANNED as usize) as u16;
    let data = &checkpoint.config.data;
    let plan = Plan::new(
        name,
        planned(data.max_source_len) + checkpoint.source_vocab.marks() as u16,
        planned(data.max_target_len),
    );
    Options { threads: super::cores(), ..Options::new(plan, checkpoint.config.train.metric) }
}

fn tell(compiled: &Compiled, path: &Path, json: bool) {
    let report = &compiled.report;
    if json {
        let mut object = serde_json::to_value(report).expect("a report is plain data");
        object["blob"] = path.display().to_string().into();
        object["advice"] = report.advice().into();
        println!("{object}");
        return;
    }
    let ram = report.planned_ram;
    println!("{report}");
    println!(
        "{}: {} bytes of flash, {} bytes of RAM for {} source tokens, {} target tokens, beam {}",
        path.display(),
        report.blob_bytes,
        ram.bytes,
        ram.source,
        ram.target,
        ram.beam
    );
    eprintln!("next: kinglet run {}", path.display());
}
