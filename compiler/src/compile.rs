//! The whole way from a trained network to a blob and its report.

use kinglet::blob::schema;
use kinglet::{Limits, Model};
use kinglet_train::config::{Metric, Task};
use kinglet_train::data::Pair;
use kinglet_train::data::corpus::group;

use crate::boards::{self, Board, longest_source};
use crate::calibrate::{Example, Observed, saturation};
use crate::compare::{Comparison, Reference};
use crate::describe::{self, Ram};
use crate::desktop::{self, Buffer, Image};
use crate::error::{Error, Result};
use crate::kinds::Kinds;
use crate::lower::{Lowered, Plan, Source, lower};
use crate::mixed::{self, Bounds, Choice};
use crate::report::{Alternative, Picture, Report};
use crate::time::Lengths;

/// Most pairs on which saturations are counted.
const SATURATION_PAIRS: usize = 2048;
/// Most sources whose lengths a board's times are told for.
const TIMED_SOURCES: usize = 500;
/// Most alignments that are shown.
const PICTURES: usize = 4;
/// The beam that is compared beside greedy search when none is planned: the field's usual small one.
const BEAM: u8 = 4;

/// How to compile.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Name, lengths, beam, folding and kinds of weights.
    pub plan: Plan,
    /// What counts when float and integers are compared: that for which the network was trained.
    pub metric: Metric,
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
    /// Whether the network is compared with all its weights of one kind, too, for each kind.
    pub alternatives: bool,
    /// Dev pairs, and distinct dev sources, on which mixed weights are measured, at most.
    pub selection_sources: usize,
    /// Threads for the comparison; any number gives the same report.
    pub threads: usize,
}

impl Options {
    /// What the command does unless it is told otherwise, on one thread: nothing is bounded.
    pub fn new(plan: Plan, metric: Metric) -> Self {
        Self {
            plan,
            metric,
            max_ram: None,
            max_flash: None,
            board: None,
            calibration_pairs: 512,
            evaluation_sources: 1000,
            alternatives: false,
            selection_sources: 1000,
            threads: 1,
        }
    }
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
    let examples: Vec<Example> = dev.iter().map(|pair| source.example(pair)).collect();
    let (calibrate, others) = split(&examples, options.calibration_pairs);
    let unseen = if others.is_empty() { &calibrate } else { &others };
    let compared = first_sources(source, dev, options.evaluation_sources);
    let mut alternatives = Vec::new();
    let beams = [1, if options.plan.beam > 1 { options.plan.beam } else { BEAM }];
    let (metric, longest, threads) = (options.metric, options.plan.max_target, options.threads);
    let reference =
        (!compared.is_empty()).then(|| Reference::new(source, &compared, metric, &beams, longest, threads));
    let (lowered, kinds, choice) = match &source.model.scheme {
        Some(scheme) => (lower(source, scheme, None, &options.plan)?, Kinds::of(scheme)?, None),
        None => {
            let observed = Observed::observe(source.model, &calibrate)?;
            let with = |kinds: &Kinds| quantized(source, &observed, kinds, options);
            let (kinds, choice) = match options.plan.mixed {
                Some(bounds) => {
                    let (kinds, choice) = mixed(source, dev, unseen, bounds, options, with)?;
                    (kinds, Some(choice))
                }
                None => (options.plan.kinds.clone(), None),
            };
            if let Some(reference) = reference.as_ref().filter(|_| options.alternatives) {
                alternatives = self::alternatives(&kinds, reference, with)?;
            }
            (with(&kinds)?, kinds, choice)
        }
    };
    let model = Model::from_bytes(&lowered.blob).map_err(reload)?;
    let image = Image::new(&lowered.blob).map_err(reload)?;
    let limits = model.limits(options.plan.beam);
    let planned_ram = fit(&model, lowered.blob.len(), options)?;
    // What saturates is counted among the values of the float network.
    let mut float = source.model.clone();
    float.scheme = None;
    let saturation = saturation(&float, &unseen[..unseen.len().min(SATURATION_PAIRS)], &lowered.limits);
    let on_board = |board| -> Result<boards::Fit> {
        let texts = spread(dev, TIMED_SOURCES).map(|pair| pair.source.as_str()).collect::<Vec<_>>();
        let lengths = Lengths::of(&image.model(), &texts, options.threads)?;
        Ok(boards::fit(board, &model, lowered.blob.len(), limits, lengths))
    };
    let accuracy = reference.map_or(Ok(Vec::new()), |reference| reference.compare(&image.model()))?;
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
        fit: options.board.map(on_board).transpose()?,
        errors: lowered.errors,
        saturation,
        accuracy,
        alternatives,
        pictures: pictures(&image.model(), dev)?,
        choice,
    };
    Ok(Compiled { blob: lowered.blob, report })
}

fn reload(refused: kinglet::LoadError) -> Error {
    Error::Reload(refused.to_string())
}

/// A calibrated network with given weights.
fn quantized(source: Source<'_>, observed: &Observed, kinds: &Kinds, options: &Options) -> Result<Lowered> {
    let products = kinds.products(&source.model.config)?;
    let scheme = observed.scheme(source.model, products, options.plan.fold.into(), options.plan.calibration);
    lower(source, &scheme, options.plan.bias_correction.then_some(observed), &options.plan)
}

/// The network with all weights of one kind, for each kind but that of the blob.
fn alternatives(
    blob: &Kinds,
    reference: &Reference<'_>,
    with: impl Fn(&Kinds) -> Result<Lowered>,
) -> Result<Vec<Alternative>> {
    let others = mixed::LADDER.map(Kinds::all).into_iter().filter(|kinds| kinds != blob);
    let alternative = |kinds: Kinds| {
        let blob = with(&kinds)?.blob;
        let accuracy = reference.compare(&Image::new(&blob).map_err(reload)?.model())?;
        Ok(Alternative { weights: kinds.to_string(), blob_bytes: blob.len(), accuracy })
    };
    others.map(alternative).collect()
}

/// Weights chosen by their loss on dev data, with the planned beam.
fn mixed(
    source: Source<'_>,
    dev: &[Pair],
    examples: &[Example],
    bounds: Bounds,
    options: &Options,
    with: impl Fn(&Kinds) -> Result<Lowered>,
) -> Result<(Kinds, Choice)> {
    let examples: Vec<Example> = spread(examples, options.selection_sources).cloned().collect();
    let pairs = first_sources(source, dev, options.selection_sources.max(1));
    let (beams, longest) = ([options.plan.beam], options.plan.max_target);
    let reference = Reference::new(source, &pairs, options.metric, &beams, longest, options.threads);
    let compared =
        |image: &Image| -> Result<Comparison> { Ok(reference.compare(&image.model())?.swap_remove(0)) };
    let image = |kinds: &Kinds| -> Result<(usize, Image)> {
        let blob = with(kinds)?.blob;
        Ok((blob.len(), Image::new(&blob).map_err(reload)?))
    };
    let cost = |kinds: &Kinds| {
        let (bytes, image) = image(kinds)?;
        Ok((bytes, mixed::cross_entropy(&image.model(), &examples, options.threads)?))
    };
    mixed::choose(&source.model.config, bounds, cost, |kinds| compared(&image(kinds)?.1))
}

/// At most so many of all, evenly spread.
fn spread<T>(all: &[T], wanted: usize) -> impl Iterator<Item = &T> {
    all.iter().step_by(all.len().div_ceil(wanted.max(1)).max(1))
}

/// At most `wanted` examples spread evenly over all, and the others.
fn split(examples: &[Example], wanted: usize) -> (Vec<Example>, Vec<Example>) {
    let step = examples.len().div_ceil(wanted.max(1)).max(1);
    let others = examples.iter().enumerate().filter(|(i, _)| i % step != 0).map(|(_, example)| example);
    (spread(examples, wanted).cloned().collect(), others.cloned().collect())
}

/// The pairs of the first distinct sources; of a model that generates, the first texts.
fn first_sources(source: Source<'_>, dev: &[Pair], sources: usize) -> Vec<Pair> {
    if source.model.config.task == Task::Generate {
        return dev.iter().take(sources).cloned().collect();
    }
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
    let marks = desktop::marks(model) as u16;
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
    if model.task() != schema::Task::Transduce {
        return Ok(pictures);
    }
    let mark = || "\u{23ce}".to_owned();
    for pair in spread(dev, PICTURES) {
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
