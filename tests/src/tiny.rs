//! A small random model that compiles in a blink: what format and memory tests load.

use anyhow::Result;
use kinglet_compiler::lower::{Fold, Plan, Source};
use kinglet_compiler::{Options, compile};
use kinglet_train::config::{
    AttentionConfig, AttentionKind, Bridge, Cell, DecoderConfig, EncoderConfig, Metric, ModelConfig, Tokens,
};
use kinglet_train::data::Pair;
use kinglet_train::model::Seq2Seq;
use kinglet_train::vocab::Vocab;

const SOURCES: [&str; 4] = ["abcab", "bad cab", "eeedcba", "d"];
const TARGETS: [&str; 4] = ["X Y Z", "V V", "Z Y X W V", "W"];

/// Sizes of a tiny network; every dimension is different, so that a mix-up cannot hide.
pub fn config(cell: Cell, bidirectional: bool, layers: usize, attention: AttentionKind) -> ModelConfig {
    ModelConfig {
        encoder: EncoderConfig {
            cell,
            embedding: 3,
            hidden: 6,
            layers,
            bidirectional,
            ..EncoderConfig::default()
        },
        attention: AttentionConfig { kind: attention, size: 7, ..AttentionConfig::default() },
        bridge: Bridge::Linear,
        decoder: DecoderConfig { cell, embedding: 4, hidden: 9, layers, ..DecoderConfig::default() },
        dropout: 0.0,
        ..ModelConfig::default()
    }
}

/// Compiles a random network of these sizes, planned for 12 source and 8 target tokens.
///
/// # Errors
/// What the compiler returns.
pub fn blob(config: &ModelConfig, fold: Fold, seed: u64) -> Result<Vec<u8>> {
    planned(config, Plan { fold, ..Plan::new("tiny", 12, 8) }, seed)
}

/// Compiles a random network of these sizes as planned.
///
/// # Errors
/// What the compiler returns.
pub fn planned(config: &ModelConfig, plan: Plan, seed: u64) -> Result<Vec<u8>> {
    let vocabularies = (Vocab::build(Tokens::Chars, SOURCES, 1), Vocab::build(Tokens::Words, TARGETS, 1));
    of_vocabularies(config, plan, seed, vocabularies)
}

/// [`planned`] with subwords on both sides.
///
/// # Errors
/// What the compiler returns.
pub fn of_subwords(config: &ModelConfig, plan: Plan, seed: u64) -> Result<Vec<u8>> {
    let vocabularies = (Vocab::learn(SOURCES, 16, 1)?, Vocab::learn(TARGETS, 16, 1)?);
    of_vocabularies(config, plan, seed, vocabularies)
}

/// [`planned`] with given vocabularies.
///
/// # Errors
/// What the compiler returns.
pub fn of_vocabularies(
    config: &ModelConfig,
    plan: Plan,
    seed: u64,
    (source_vocab, target_vocab): (Vocab, Vocab),
) -> Result<Vec<u8>> {
    let mut model = Seq2Seq::new(config, source_vocab.len(), target_vocab.len(), seed);
    // Larger weights than training starts with: gates and logits move.
    for tensor in model.params.iter_mut() {
        tensor.data.iter_mut().for_each(|v| *v *= 3.0);
    }
    let dev: Vec<Pair> = SOURCES
        .iter()
        .zip(TARGETS)
        .map(|(source, target)| Pair { source: (*source).into(), target: target.into() })
        .collect();
    let options = Options { calibration_pairs: 4, evaluation_sources: 0, ..Options::new(plan, Metric::Wer) };
    let source = Source { model: &model, source_vocab: &source_vocab, target_vocab: &target_vocab };
    Ok(compile(source, &dev, &options)?.blob)
}
