//! The whole way from a trained network to a blob and its report.

use kinglet::{Limits, Model};
use kinglet_train::data::Pair;
use kinglet_train::data::corpus::group;
use kinglet_train::metrics::score;
use kinglet_train::model::EOS;
use kinglet_train::search::SearchOptions;
use kinglet_train::trainer::decode_groups;
use kinglet_train::vocab::Vocab;

use crate::boards::{self, Board, longest_source};
use crate::calibrate::{Example, Ranges, saturation};
use crate::describe::{self, Ram};
use crate::desktop::{self, Buffer};
use crate::error::{Error, Result};
use crate::kinds::Kind;
use crate::lower::{Plan, Source, lower};
use crate::report::{Comparison, Picture, Report};

/// Most pairs on which saturations are counted.
const SATURATION_PAIRS: usize = 2048;
/// Most alignments that are shown.
const PICTURES: usize = 4;
/// Beams compared on dev data: greedy and the field's usual small beam.
const BEAMS: [u8; 2] = [1, 4];

/// How to compile.
#[derive(Debug, Clone, PartialEq, Eq)]
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

/// Calibrates, quantizes, packs, reloads and compares a trained network.
///
/// The same network, pairs and options give the same bytes.
///
/// # Errors
/// [`Error::Calibration`] without dev pairs or with broken weights, [`Error::Model`] when the network does not fit the
/// format, [`Error::TooLarge`] when a bound cannot be met.
pub fn compile(source: Source<'_>, dev: &[Pair], options: &Options) -> Result<Compiled> {
    let examples: Vec<Example> = dev.iter().map(|pair| example(source, pair)).collect();
    let (calibrate, others) = split(&examples, options.calibration_pairs);
    let ranges = Ranges::observe(source.model, &calibrate)?;
    let lowered = lower(source, &ranges, &options.plan)?;
    let model = Model::from_bytes(&lowered.blob).map_err(|e| Error::Reload(e.to_string()))?;
    let limits = model.limits(options.plan.beam);
    let planned_ram = fit(&model, lowered.blob.len(), options)?;
    let unseen = if others.is_empty() { &calibrate } else { &others };
    let saturation = saturation(source.model, unseen, &lowered.limits);
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
        blob_bytes: lowered.blob.len(),
        crc: model.crc(),
        tensors: lowered.tensors,
        ram: describe::ram(&model),
        planned_ram,
        map: describe::map(&model, &limits),
        fit: options.board.map(|board| boards::fit(board, &model, lowered.blob.len(), limits)),
        errors: lowered.errors,
        saturation,
        accuracy,
        pictures: pictures(&model, dev)?,
    };
    Ok(Compiled { blob: lowered.blob, report })
}

fn example(source: Source<'_>, pair: &Pair) -> Example {
    let ids = |vocab: &Vocab, text: &str| {
        let mut ids = vocab.encode(text).ids;
        ids.push(EOS);
        ids
    };
    Example { source: ids(source.source_vocab, &pair.source), target: ids(source.target_vocab, &pair.target) }
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
        let smaller =
            if options.plan.kinds.default == Kind::Int8 { "compile with --weights int4, or " } else { "" };
        let advice = format!("{smaller}train fewer or narrower layers, a smaller attention or embedding");
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
    let longest = |beam: u8| longest_source(model, Limits { beam, ..limits }, allowed).filter(|&n| n > 1);
    if limits.beam > 1 && model.ram(&Limits { beam: 1, ..limits }) <= allowed {
        "it fits with --beam-size 1".into()
    } else if let Some(source) = longest(limits.beam) {
        format!("it fits with --max-source {}", source - 1)
    } else if let Some(source) = longest(1) {
        format!("it fits with --beam-size 1 --max-source {}", source - 1)
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
        let source = model.source().cut(&pair.source).map(str::to_owned).chain([mark()]).collect();
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
    let search = SearchOptions {
        beam_size: usize::from(beam),
        length_penalty: 1.0,
        max_len: usize::from(options.plan.max_target),
        min_len: 0,
        num_hypotheses: 1,
        return_attention: false,
    };
    let floats = decode_groups(source.model, source.source_vocab, pairs, &search, options.threads);
    let texts: Vec<&str> = floats.iter().map(|(group, _)| group.source).collect();
    let device = kinglet::Options { beam_size: beam, length_penalty: 1.0, ..kinglet::Options::default() };
    let integers = desktop::decode_all(model, &texts, &device, options.threads)?;
    let float: Vec<Vec<String>> = floats
        .iter()
        .map(|(_, found)| {
            let ids = found.first().map_or(&[][..], |h| &h.ids);
            source.target_vocab.tokens_of(ids).into_iter().map(str::to_owned).collect()
        })
        .collect();
    let int8: Vec<Vec<String>> = integers
        .iter()
        .map(|answer| desktop::token_texts(model, answer.hypotheses.first().map_or(&[], |h| &h.tokens)))
        .collect();
    let same = float.iter().zip(&int8).filter(|(a, b)| a == b).count();
    let cut = source.target_vocab.tokenization();
    Ok(Comparison {
        beam_size: usize::from(beam),
        sources: texts.len(),
        float: score(cut, pairs, &float).into(),
        int8: score(cut, pairs, &int8).into(),
        agreement: 100.0 * same as f64 / texts.len().max(1) as f64,
    })
}
