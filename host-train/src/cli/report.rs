//! `kinglet-train report`.

use std::path::PathBuf;

use crate::checkpoint::write_atomically;
use crate::data::corpus;
use crate::error::Error;
use crate::report::{self, Report};

/// Write one page of HTML about a run: curves, epochs, answers, mistakes, attention
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The checkpoint directory
    #[arg(long, value_name = "DIR")]
    checkpoint: PathBuf,
    /// Pairs to show answers and mistakes of
    #[arg(long, value_name = "FILE")]
    dev: PathBuf,
    /// The page
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Show attention for this source; may be given several times [default: the first sources of the dev set]
    #[arg(long, value_name = "TEXT")]
    sentence: Vec<String>,
    /// Also write the pictures, a file each, SVG
    #[arg(long, value_name = "DIR")]
    pictures: Option<PathBuf>,
    /// Threads [default: the machine's cores]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
}

/// Writes what the arguments say.
///
/// # Errors
/// Whatever reading the run and the corpus, or writing the files, gives.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let dev = corpus::read(&args.dev)?;
    let threads = args.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let report = Report::collect(&args.checkpoint, &dev, &args.sentence, threads)?;
    let page = report::page(&report);
    write_atomically(&args.out, page.as_bytes())?;
    println!("{}: {} bytes, {} epochs", args.out.display(), page.len(), report.epochs.len());
    let Some(dir) = &args.pictures else { return Ok(()) };

    std::fs::create_dir_all(dir).map_err(|source| Error::Io {
        action: "create",
        path: dir.clone(),
        source,
    })?;
    let mut pictures: Vec<(String, String)> = Vec::new();
    if !report.epochs.is_empty() {
        pictures.push(("loss".into(), report::losses(&report.epochs)));
        pictures.push(("metric".into(), report::metric(&report.epochs, report.config.train.metric)));
        pictures.push(("learning-rate".into(), report::learning_rate(&report.epochs)));
    }
    let attention = report.attention.iter().enumerate();
    pictures
        .extend(attention.map(|(i, picture)| (format!("attention-{}", i + 1), report::attention(picture))));
    for (name, svg) in &pictures {
        write_atomically(&dir.join(format!("{name}.svg")), svg.as_bytes())?;
    }
    println!("{}: {} pictures", dir.display(), pictures.len());
    Ok(())
}
