//! `kinglet evaluate`.

use std::path::PathBuf;

use kinglet::Model;
use kinglet::blob::schema::{self, Task};
use kinglet_train::checkpoint::write_atomically;
use kinglet_train::cli::{Usage, evaluate::print};
use kinglet_train::config::{self, Config, Metric, Resolution, Tokens};
use kinglet_train::data::{Pair, corpus};
use kinglet_train::metrics::{Scores, score};
use kinglet_train::vocab::Encoded;

use super::options::DecodingArgs;
use crate::calibrate::Example;
use crate::desktop::{self, Image};
use crate::mixed::cross_entropy;

/// Score a blob on a corpus
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The blob
    blob: PathBuf,
    /// Pairs to score on, a line each: `source<TAB>target`; lines with one source are alternatives. For a blob that generates,
    /// targets alone
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// What to report [default: wer,per,exact; of labels acc,slot,intent,line; of a blob that generates ppl]
    #[arg(long, value_delimiter = ',')]
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
    let image = Image::read(&args.blob)?;
    let model = image.model();
    let metrics = match (&args.metric[..], model.task()) {
        ([], Task::Transduce) => &[Metric::Wer, Metric::Per, Metric::Exact][..],
        ([], Task::Label) => &[Metric::Acc, Metric::Slot, Metric::Intent, Metric::Line],
        ([], Task::Generate) => &[Metric::Ppl],
        (metrics, _) => metrics,
    };
    let pairs = corpus::read_for(&args.data, &config_of(&model))?;
    let threads = args.threads.unwrap_or_else(super::cores);
    if model.task() == Task::Generate {
        return perplexity(args, &model, metrics, &pairs, threads);
    }
    if let Some(metric) = metrics.iter().find(|metric| metric.is_of_losses()) {
        let name = metric.name();
        return Err(
            Usage(format!("a blob is scored by its texts; kinglet-train evaluate gives {name}")).into()
        );
    }
    let how = args.decoding.how(model.limits(1).target)?;
    let sources: Vec<&str> = corpus::group(&pairs).iter().map(|case| case.source).collect();
    let answers = desktop::decode_all(&model, &sources, how, threads)?;

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
    let cut = config_of(&model).data.target;
    print(metrics, args.json, &score(cut, &pairs, &parts), &[]);
    Ok(())
}

/// What a blob tells of the configuration that its corpora are read by.
fn config_of(model: &Model<'_>) -> Config {
    let tokens = |tokens: schema::Tokens| match tokens {
        schema::Tokens::Chars => Tokens::Chars,
        schema::Tokens::Words => Tokens::Words,
        schema::Tokens::Hangul => Tokens::Hangul,
        schema::Tokens::Subwords => Tokens::Subwords,
    };
    let mut config = Config::default();
    config.model.task = match model.task() {
        Task::Transduce => config::Task::Transduce,
        Task::Label => config::Task::Label,
        Task::Generate => config::Task::Generate,
    };
    config.data.source = match desktop::frames(model) {
        Some(frames) => {
            config.data.frames.width = frames.width();
            config.data.frames.resolution = Resolution::Each(frames.resolution().to_vec());
            Tokens::Frames
        }
        None => tokens(model.source().tokens()),
    };
    config.data.target = tokens(model.target().tokens());
    config.data.source_start = desktop::marks(model) > 1;
    config
}

/// How well a model that generates foretells texts.
fn perplexity(
    args: &Args,
    model: &Model<'_>,
    metrics: &[Metric],
    pairs: &[Pair],
    threads: usize,
) -> anyhow::Result<()> {
    if args.hyp.is_some() {
        return Err(Usage("--hyp: this model answers no sources; see kinglet run --seed".into()).into());
    }
    let example = |pair: &Pair| {
        let ids = desktop::target_ids(model, &pair.target).into_iter().chain([model.target().eos()]);
        Example { source: Encoded::default(), target: ids.map(u32::from).collect() }
    };
    let examples: Vec<Example> = pairs.iter().map(example).collect();
    let loss = cross_entropy(model, &examples, threads)?;
    let mut losses = Vec::new();
    for &metric in metrics {
        match metric {
            Metric::Loss => losses.push((metric, loss)),
            Metric::Ppl => losses.push((metric, loss.exp())),
            _ => {
                let name = metric.name();
                return Err(Usage(format!("{name} is not of a blob that generates; use ppl")).into());
            }
        }
    }
    print(metrics, args.json, &Scores::default(), &losses);
    Ok(())
}
