//! `kinglet evaluate`.

use std::path::PathBuf;

use kinglet_train::checkpoint::write_atomically;
use kinglet_train::cli::{Usage, evaluate::print};
use kinglet_train::config::{Metric, Tokens};
use kinglet_train::data::{Pair, corpus};
use kinglet_train::metrics::score;

use super::options::DecodingArgs;
use crate::desktop::{self, Image};

/// Score a blob on a corpus
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The blob
    blob: PathBuf,
    /// Pairs to score on, a line each: `source<TAB>target`; lines with one source are alternatives
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// What to report: wer, per, exact
    #[arg(long, value_delimiter = ',', default_value = "wer,per,exact")]
    metric: Vec<Metric>,
    /// Also write the hypotheses, a line for each distinct source: `source<TAB>target`
    #[arg(long, value_name = "FILE")]
    hyp: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Threads [default: all cores]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    #[command(flatten)]
    decoding: DecodingArgs,
}

/// Scores as the arguments say.
///
/// # Errors
/// Whatever reading the blob and the corpus, or writing the hypotheses, gives.
pub fn run(args: &Args) -> anyhow::Result<()> {
    if let Some(metric) = args.metric.iter().find(|metric| metric.is_of_losses()) {
        let name = metric.name();
        return Err(
            Usage(format!("a blob is scored by its texts; kinglet-train evaluate gives {name}")).into()
        );
    }
    let image = Image::read(&args.blob)?;
    let model = image.model();
    let options = args.decoding.search(model.limits(1).target)?;
    let pairs = corpus::read(&args.data)?;
    let sources: Vec<&str> = corpus::group(&pairs).iter().map(|case| case.source).collect();
    let threads = args.threads.unwrap_or_else(super::cores);
    let answers = desktop::decode_all(&model, &sources, &options, threads)?;

    let best: Vec<&[u16]> = answers
        .iter()
        .map(|answer| answer.hypotheses.first().map_or(&[][..], |h| h.tokens.as_slice()))
        .collect();
    if let Some(path) = &args.hyp {
        let line = |(source, tokens): (&&str, &&[u16])| Pair {
            source: (*source).to_owned(),
            target: desktop::text(&model, tokens),
        };
        let lines: Vec<Pair> = sources.iter().zip(&best).map(line).collect();
        write_atomically(path, corpus::to_text(&lines).as_bytes())?;
    }
    let unknown: usize = answers.iter().map(|answer| answer.unknown).sum();
    if unknown > 0 {
        eprintln!("{}: {unknown} source tokens that the model does not know", args.data.display());
    }
    let parts: Vec<Vec<String>> = best.iter().map(|ids| desktop::parts(&model, ids)).collect();
    let cut = match model.target().tokens() {
        kinglet::blob::schema::Tokens::Chars => Tokens::Chars,
        kinglet::blob::schema::Tokens::Words => Tokens::Words,
        kinglet::blob::schema::Tokens::Hangul => Tokens::Hangul,
        kinglet::blob::schema::Tokens::Subwords => Tokens::Subwords,
    };
    print(&args.metric, args.json, &score(cut, &pairs, &parts), &[]);
    Ok(())
}
