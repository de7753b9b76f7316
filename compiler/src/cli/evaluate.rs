//! `kinglet evaluate`.

use std::path::PathBuf;

use kinglet::Model;
use kinglet::blob::schema::{self, Task};
use kinglet_train::cli::{Usage, scoring::ScoringArgs};
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
    #[command(flatten)]
    scoring: ScoringArgs,
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
    let config = config_of(&model);
    let metrics = args.scoring.metrics(config.model.task);
    let pairs = corpus::read_for(&args.scoring.data, &config)?;
    let threads = args.threads.unwrap_or_else(super::cores);
    if model.task() == Task::Generate {
        return perplexity(args, &model, &pairs, threads);
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
    let line = |(source, tokens): (&&str, &&[u16])| Pair {
        source: (*source).to_owned(),
        target: desktop::text(&model, tokens),
    };
    args.scoring.write(sources.iter().zip(&best).map(line))?;
    let unknown: usize = answers.iter().map(|answer| answer.unknown).sum();
    if unknown > 0 {
        eprintln!("{}: {unknown} source tokens that the model does not know", args.scoring.data.display());
    }
    let parts: Vec<Vec<String>> = best.iter().map(|ids| desktop::parts(&model, ids)).collect();
    args.scoring.print(config.model.task, &score(config.data.target, &pairs, &parts), &[]);
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
fn perplexity(args: &Args, model: &Model<'_>, pairs: &[Pair], threads: usize) -> anyhow::Result<()> {
    let task = config::Task::Generate;
    if args.scoring.hyp.is_some() {
        return Err(Usage("--hyp: this model answers no sources; see kinglet run --seed".into()).into());
    }
    let example = |pair: &Pair| {
        let ids = desktop::target_ids(model, &pair.target).into_iter().chain([model.target().eos()]);
        Example { source: Encoded::default(), target: ids.map(u32::from).collect() }
    };
    let examples: Vec<Example> = pairs.iter().map(example).collect();
    let loss = cross_entropy(model, &examples, threads)?;
    let mut losses = Vec::new();
    for &metric in args.scoring.metrics(task) {
        match metric {
            Metric::Loss => losses.push((metric, loss)),
            Metric::Ppl => losses.push((metric, loss.exp())),
            _ => {
                let name = metric.name();
                return Err(Usage(format!("{name} is not of a blob that generates; use ppl")).into());
            }
        }
    }
    args.scoring.print(task, &Scores::default(), &losses);
    Ok(())
}
