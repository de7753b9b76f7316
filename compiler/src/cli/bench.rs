//! `kinglet bench`.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use kinglet::kernels::Isa;
use kinglet::{Limits, Model, Options, Session};
use kinglet_train::cli::Usage;
use serde::Serialize;

use crate::desktop::{self, Buffer, Image};

/// What is decoded when no data is given: eight letters and the end mark, on average.
const WORDS: [&str; 16] = [
    "kingfish",
    "goldcrest",
    "warbler",
    "nightjar",
    "firewood",
    "sparrow",
    "plumage",
    "woodlark",
    "feather",
    "crossing",
    "migrate",
    "twilight",
    "branches",
    "evergreen",
    "feeding",
    "songbird",
];

/// Passes over the words at least, of which the median is reported.
const FEWEST_PASSES: usize = 5;

/// Measure how fast a blob decodes on this machine: one thread, one source at a time
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The blob
    blob: PathBuf,
    /// Sources, a line each; what follows a tab is not read [default: a few English words]
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// Time to measure each search for
    #[arg(long, value_name = "S", default_value_t = 2.0)]
    seconds: f64,
    /// Decode exactly so many tokens, whether the end mark comes or not, so that the work is fixed
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    tokens: Option<u16>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Figures of one search.
#[derive(Debug, Clone, Copy, Serialize)]
struct Speed {
    beam_size: u8,
    words_per_second: f64,
    /// Median of the passes.
    microseconds: f64,
    /// The fastest pass: nearest to an idle machine.
    microseconds_fastest: f64,
}

#[derive(Debug, Serialize)]
struct Report {
    kernels: &'static str,
    words: usize,
    source_tokens: f64,
    results: Vec<Speed>,
}

/// Measures as the arguments say.
///
/// # Errors
/// Whatever reading the blob and the data gives; a source that is too long.
pub fn run(args: &Args) -> anyhow::Result<()> {
    if !(0.01..=3600.0).contains(&args.seconds) {
        return Err(Usage(format!("--seconds must be 0.01 to 3600, found {}", args.seconds)).into());
    }
    let image = Image::read(&args.blob)?;
    let model = image.model();
    let sources = args.data.as_deref().map(desktop::sources).transpose()?;
    let words: Vec<&str> = match &sources {
        Some(sources) => sources.iter().map(String::as_str).collect(),
        None => WORDS.to_vec(),
    };
    if words.is_empty() {
        bail!("there is no source to decode");
    }
    let tokens: usize = words.iter().map(|word| desktop::source_len(&model, word)).sum();
    let results = [1, 4].map(|beam_size| measure(&model, &words, args, beam_size));
    let report = Report {
        kernels: name(Isa::detected()),
        words: words.len(),
        source_tokens: tokens as f64 / words.len() as f64,
        results: results.into_iter().collect::<anyhow::Result<_>>()?,
    };
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
        return Ok(());
    }
    println!(
        "{} kernels, one thread, {} sources of {:.1} tokens",
        report.kernels, report.words, report.source_tokens
    );
    println!("          words/s   us a word   fastest");
    for speed in &report.results {
        let name = if speed.beam_size == 1 { "greedy".into() } else { format!("beam {}", speed.beam_size) };
        let Speed { words_per_second, microseconds, microseconds_fastest, .. } = speed;
        println!("{name:8} {words_per_second:8.0} {microseconds:11.1} {microseconds_fastest:9.1}");
    }
    Ok(())
}

fn name(isa: Isa) -> &'static str {
    match isa {
        Isa::Avx512Vnni => "AVX-512 VNNI",
        Isa::Avx2 => "AVX2",
        Isa::Sse2 => "SSE2",
        Isa::Plain => "portable",
    }
}

/// Decodes all words again and again: a warm-up, then passes of equal work.
fn measure(model: &Model<'_>, words: &[&str], args: &Args, beam_size: u8) -> anyhow::Result<Speed> {
    let planned = model.limits(beam_size);
    let longest = words.iter().map(|word| desktop::room(model, word)).max().unwrap_or(1);
    let longest = u16::try_from(longest).unwrap_or(u16::MAX).min(desktop::MAX_LENGTH);
    let target = args.tokens.unwrap_or(planned.target);
    let limits = Limits { source: planned.source.max(longest), target, ..planned };
    let min_len = args.tokens.unwrap_or(0);
    let options = Options { beam_size, min_len, max_len: target, ..Options::default() };
    let mut buffer = Buffer::default();
    let mut session =
        Session::new(model, buffer.get(model.ram(&limits)), limits).map_err(|e| anyhow::anyhow!("{e}"))?;
    let mut decode_all = || -> anyhow::Result<()> {
        for word in words {
            desktop::read_line(&mut session, model, word).with_context(|| format!("source {word:?}"))?;
            let found = session.beam(&options).map_err(|e| anyhow::anyhow!("{e}"))?;
            std::hint::black_box(found.best().score);
        }
        Ok(())
    };
    let (warm_up, started) = (Duration::from_secs_f64(args.seconds / 5.0), Instant::now());
    let mut warm = false;
    while !warm || started.elapsed() < warm_up {
        decode_all()?;
        warm = true;
    }
    let (all, started) = (Duration::from_secs_f64(args.seconds), Instant::now());
    let mut passes = Vec::new();
    while passes.len() < FEWEST_PASSES || started.elapsed() < all {
        let started = Instant::now();
        decode_all()?;
        passes.push(started.elapsed().as_secs_f64() / words.len() as f64);
    }
    passes.sort_by(f64::total_cmp);
    let median = passes[passes.len() / 2];
    Ok(Speed {
        beam_size,
        words_per_second: 1.0 / median,
        microseconds: median * 1e6,
        microseconds_fastest: passes[0] * 1e6,
    })
}
