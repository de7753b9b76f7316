//! The whole way from a trained network to a blob and its report.

use kinglet::{Limits, Model};
use kinglet_train::data::Pair;
use kinglet_train::data::corpus::group;
use kinglet_train::metrics::score;
use kinglet_train::search::SearchOptions;
use kinglet_train::trainer::decode_groups;
use kinglet_train::vocab::Vocab;

use crate::boards::{self, Board, longest_source};
use crate::calibrate::{Example, Observed, saturation};
use crate::describe::{self, Ram};
use crate::desktop::{self, Buffer};
use crate::error::{Error, Result};
use crate::kinds::Kinds;
use crate::lower::{Lowered, Plan, Source, lower};
use crate::mixed::{self, Bounds, Trade};
use crate::report::{Comparison, Picture, Report};

/// Most pairs on which saturations are counted.
const SATURATION_PAIRS: usize = 2048;
/// Most pairs on which the loss of smaller weights is measured.
const SENSITIVITY_PAIRS: usize = 1000;
/// Fewest sources on which the word error rate of smaller weights is measured.
const LEAST_SOURCES: usize = 1000;
/// Most alignments that are shown.
const PICTURES: usize = 4;
/// Beams compared on dev data: greedy and the field's usual small beam.
const BEAMS: [u8; 2] = [1, 4];

/// How to compile.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Name, lengths, beam, folding and kinds of weights.
    pub plan: Plan,
    /// Most bytes of RAM, at the planned lengths and beam.
    pub max_ram: Option<usize>,
    /// Most bytes of flash for the blob.
    pub max_flash: Option<usize>,
    /// The board that it has to fit, firmware included.
    pub board: Option<Board>,
    /// Dev pairs that ranges are calibrated on, at most.
    pub calibration_pairs: usize,
    /// Distinct dev sources on which float and integers are compared, at most; 0 compares nothing.
    pub evaluation_sources: usize,
    /// Threads for the comparison; any number gives the same report.
    pub threads: usize,
}

/// A compiled model.
#[derive(Debug, Clone)]
pub struct Compiled {
    /// The bytes for the device's flash.
    pub blob: Vec<u8>,
    /// What it cost.
    pub report: Report,
}

/// Calibrates, quantizes, packs, reloads and compares a trained network. One that was trained on the chip's grid brings its own
/// scheme: it is compiled as it was trained, and calibration, fold and kinds of weights do not matter.
///
/// The same network, pairs and options give the same bytes.
///
/// # Errors
/// [`Error::Calibration`] without dev pairs or with broken weights, [`Error::Model`] when the network does not fit the
/// format, [`Error::TooLarge`] when a bound cannot be met.
pub fn compile(source: Source<'_>, dev: &[Pair], options: &Options) -> Result<Compiled> {
    let examples: Vec<Example> = dev.iter().map(|pair| example(source, pair)).collect();
    let (calibrate, others) = split(&examples, options.calibration_pairs);
    let unseen = if others.is_empty() { &calibrate } else { &others };
    let (lowered, kinds, trade) = match &source.model.scheme {
        Some(scheme) => (lower(source, scheme, None, &options.plan)?, Kinds::of(scheme)?, Vec::new()),
        None => {
            let observed = Observed::observe(source.model, &calibrate)?;
            let with = |kinds: &Kinds| quantized(source, &observed, kinds, options);
            let (kinds, trade) = match options.plan.mixed {
                Some(bounds) => mixed(source, dev, unseen, bounds, options, with)?,
                None => (options.plan.kinds.clone(), Vec::new()),
            };
            (with(&kinds)?, kinds, trade)
        }
    };
    let model = Model::from_bytes(&lowered.blob).map_err(|e| Error::Reload(e.to_string()))?;
    let limits = model.limits(options.plan.beam);
    let planned_ram = fit(&model, lowered.blob.len(), options)?;
    // What saturates is counted among the values of the float network.
    let mut float = source.model.clone();
    float.scheme = None;
    let saturation = saturation(&float, unseen, &lowered.limits);
    let compared = first_sources(dev, options.evaluation_sources);
    let accuracy = if compared.is_empty() {
        Vec::new()
    } else {
        BEAMS
            .map(|beam| compare(source, &model, &compared, beam, options))
            .into_iter()
            .collect::<Result<_>>()?
    };
    let report = Report {
        name: options.plan.name.clone(),
        weights: kinds.to_string(),
        trained_on_grid: source.model.scheme.is_some(),
        blob_bytes: lowered.blob.len(),
        crc: model.crc(),
        tensors: lowered.tensors,
        ram: describe::ram(&model),
        planned_ram,
        map: describe::map(&model, &limits),
        fit: options
            .board
            .map(|board| boards::fit(board, &model, lowered.blob.len(), limits, mean_lengths(&examples))),
        errors: lowered.errors,
        saturation,
        accuracy,
        pictures: pictures(&model, dev)?,
        trade,
    };
    Ok(Compiled { blob: lowered.blob, report })
}

/// A calibrated network with given weights.
fn quantized(source: Source<'_>, observed: &Observed, kinds: &Kinds, options: &Options) -> Result<Lowered> {
    let products = kinds.products(&source.model.config)?;
    let scheme = observed.scheme(source.model, products, options.plan.fold.into(), options.plan.calibration);
    lower(source, &scheme, options.plan.bias_correction.then_some(observed), &options.plan)
}

/// Weights chosen by their loss on dev data.
fn mixed(
    source: Source<'_>,
    dev: &[Pair],
    examples: &[Example],
    bounds: Bounds,
    options: &Options,
    with: impl Fn(&Kinds) -> Result<Lowered>,
) -> Result<(Kinds, Vec<Trade>)> {
    let (examples, _) = split(examples, SENSITIVITY_PAIRS);
    let pairs = first_sources(dev, options.evaluation_sources.max(LEAST_SOURCES));
    let reload = |e: kinglet::LoadError| Error::Reload(e.to_string());
    let float = float_answers(source, &pairs, 1, options);
    let float = score(source.target_vocab.tokenization(), &pairs, &float).wer();
    let cost = |kinds: &Kinds| {
        let blob = with(kinds)?.blob;
        let model = Model::from_bytes(&blob).map_err(reload)?;
        Ok((blob.len(), mixed::cross_entropy(&model, &examples, options.threads)?))
    };
    let wer = |kinds: &Kinds| {
        let blob = with(kinds)?.blob;
        let model = Model::from_bytes(&blob).map_err(reload)?;
        let answers = blob_answers(&model, &pairs, 1, options)?;
        Ok(score(source.target_vocab.tokenization(), &pairs, &answers).wer())
    };
    mixed::choose(&source.model.config, bounds, float, cost, wer)
}

fn example(source: Source<'_>, pair: &Pair) -> Example {
    let ids = |vocab: &Vocab, text: &str| vocab.sentence(text).ids;
    Example { source: ids(source.source_vocab, &pair.source), target: ids(source.target_vocab, &pair.target) }
}

/// Mean source tokens and decoder steps, end marks included.
fn mean_lengths(examples: &[Example]) -> [f64; 2] {
    let mean = |length: fn(&Example) -> usize| {
        examples.iter().map(length).sum::<usize>() as f64 / examples.len().max(1) as f64
    };
    [mean(|e| e.source.len()), mean(|e| e.target.len())]
}

/// At most `wanted` examples spread evenly over all, and some of the others.
fn split(examples: &[Example], wanted: usize) -> (Vec<Example>, Vec<Example>) {
    let step = examples.len().div_ceil(wanted.max(1)).max(1);
    let (mut chosen, mut others) = (Vec::new(), Vec::new());
    for (i, example) in examples.iter().enumerate() {
        if i % step == 0 {
            chosen.push(example.clone());
        } else if others.len() < SATURATION_PAIRS {
            others.push(example.clone());
        }
    }
    (chosen, others)
}

/// The pairs of the first distinct sources.
fn first_sources(dev: &[Pair], sources: usize) -> Vec<Pair> {
    let kept: std::collections::HashSet<&str> = group(dev).iter().take(sources).map(|g| g.source).collect();
    dev.iter().filter(|pair| kept.contains(pair.source.as_str())).cloned().collect()
}

/// RAM at the planned limits, when it and the blob are within the bounds.
fn fit(model: &Model<'_>, blob: usize, options: &Options) -> Result<Ram> {
    let planned = describe::planned(model, options.plan.beam);
    let (limits, bytes) = (model.limits(options.plan.beam), planned.bytes);
    let bound = |own: Option<usize>, board: fn(&Board) -> usize| {
        own.into_iter().chain(options.board.as_ref().map(board)).min()
    };
    if let Some(allowed) = bound(options.max_flash, Board::flash_for_model).filter(|&allowed| blob > allowed)
    {
        let fewer = "train fewer or narrower layers, a smaller attention or embedding";
        let advice = match (options.plan.mixed, options.plan.kinds == Kinds::default()) {
            (None, true) => format!("give weights four bits with --weights int4 or auto, or {fewer}"),
            _ => fewer.into(),
        };
        return Err(Error::TooLarge { memory: "flash", needed: blob, allowed, advice });
    }
    if let Some(allowed) = bound(options.max_ram, Board::ram_for_model).filter(|&allowed| bytes > allowed) {
        return Err(Error::TooLarge {
            memory: "RAM",
            needed: bytes,
            allowed,
            advice: ram_advice(model, limits, allowed),
        });
    }
    Ok(planned)
}

/// What brings the RAM below the bound: the longest source that fits, at this beam or greedy.
fn ram_advice(model: &Model<'_>, limits: Limits, allowed: usize) -> String {
    let marks = model.source().marks() as u16;
    let longest = |beam: u8| longest_source(model, Limits { beam, ..limits }, allowed).filter(|&n| n > marks);
    if limits.beam > 1 && model.ram(&Limits { beam: 1, ..limits }) <= allowed {
        "it fits with --beam-size 1".into()
    } else if let Some(source) = longest(limits.beam) {
        format!("it fits with --max-source {}", source - marks)
    } else if let Some(source) = longest(1) {
        format!("it fits with --beam-size 1 --max-source {}", source - marks)
    } else {
        "lower --max-target, or train narrower layers and a smaller attention".into()
    }
}

/// Alignments of a few dev sources, evenly spread, as the blob answers them greedily.
fn pictures(model: &Model<'_>, dev: &[Pair]) -> Result<Vec<Picture>> {
    let mut buffer = Buffer::default();
    let mut pictures = Vec::new();
    let mark = || "\u{23ce}".to_owned();
    for pair in dev.iter().step_by(dev.len().div_ceil(PICTURES).max(1)) {
        let answer = desktop::decode(model, &mut buffer, &pair.source, &kinglet::Options::default())?;
        let Some(best) = answer.hypotheses.first() else { continue };
        let weights = desktop::align(model, &mut buffer, &pair.source, &best.tokens)?;
        if weights.iter().all(Vec::is_empty) {
            break;
        }
        let source = desktop::source_texts(model, &pair.source, &mark());
        let target = desktop::token_texts(model, &best.tokens).into_iter().chain([mark()]).collect();
        pictures.push(Picture { text: pair.source.clone(), source, target, weights });
    }
    Ok(pictures)
}

/// Decodes the same sources with the trained network and with the blob.
///
/// # Errors
/// [`Error::Run`] when a source is longer than the runtime takes.
pub fn compare(
    source: Source<'_>,
    model: &Model<'_>,
    pairs: &[Pair],
    beam: u8,
    options: &Options,
) -> Result<Comparison> {
    let float = float_answers(source, pairs, beam, options);
    let blob = blob_answers(model, pairs, beam, options)?;
    let same = float.iter().zip(&blob).filter(|(a, b)| a == b).count();
    let cut = source.target_vocab.tokenization();
    Ok(Comparison {
        beam_size: usize::from(beam),
        sources: float.len(),
        float: score(cut, pairs, &float).into(),
        blob: score(cut, pairs, &blob).into(),
        agreement: 100.0 * same as f64 / float.len().max(1) as f64,
    })
}

/// The trained network's best target of every distinct source.
fn float_answers(source: Source<'_>, pairs: &[Pair], beam: u8, options: &Options) -> Vec<Vec<String>> {
    let search = SearchOptions {
        beam_size: usize::from(beam),
        length_penalty: 1.0,
        max_len: usize::from(options.plan.max_target),
        ..SearchOptions::default()
    };
    let found = decode_groups(source.model, source.source_vocab, pairs, &search, options.threads);
    let texts = |found: &Vec<kinglet_train::search::Hypothesis>| {
        let ids = found.first().map_or(&[][..], |h| &h.ids);
        source.target_vocab.tokens_of(ids).into_iter().map(str::to_owned).collect()
    };
    found.iter().map(|(_, found)| texts(found)).collect()
}

/// The blob's best target of every distinct source.
fn blob_answers(model: &Model<'_>, pairs: &[Pair], beam: u8, options: &Options) -> Result<Vec<Vec<String>>> {
    let texts: Vec<&str> = group(pairs).iter().map(|case| case.source).collect();
    let device = kinglet::Options { beam_size: beam, length_penalty: 1.0, ..kinglet::Options::default() };
    let answers = desktop::decode_all(model, &texts, &device, options.threads)?;
    let tokens = |answer: &desktop::Answer| {
        desktop::token_texts(model, answer.hypotheses.first().map_or(&[], |h| &h.tokens))
    };
    Ok(answers.iter().map(tokens).collect())
}
