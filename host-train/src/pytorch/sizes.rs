//! The network that a `state_dict` is of, read off its names and shapes.

use super::Fault;
use super::attention::{PREFIX, Spelling};
use crate::config::{AttentionKind, Bridge, Cell, ModelConfig, Place};
use crate::nn::params::Tensor;

/// A network and its vocabularies' sizes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sizes {
    pub(super) config: ModelConfig,
    pub(super) spelling: Spelling,
    pub(super) source_vocab: usize,
    pub(super) target_vocab: usize,
}

/// A side's recurrent layers.
struct Recurrent {
    cell: Cell,
    hidden: usize,
    layers: usize,
}

/// Reads the sizes off a few matrices; whether all others fit is for the caller to check.
///
/// # Errors
/// Every one of those matrices that is missing or is none.
pub(super) fn sizes(tensors: &[Tensor]) -> Result<Sizes, Vec<Fault>> {
    let names = || tensors.iter().map(|t| t.name.as_str());
    let has = |name: &str| names().any(|n| n == name);
    let mut faults = Vec::new();
    let mut matrix = |name: &str| -> [usize; 2] {
        let fault = match tensors.iter().find(|t| t.name == name).map(|t| &t.shape[..]) {
            Some(&[rows, columns]) if rows > 0 && columns > 0 => return [rows, columns],
            Some(found) => Fault::NoMatrix { name: name.into(), found: found.to_vec() },
            None => Fault::Missing { name: name.into(), expected: None },
        };
        faults.push(fault);
        [1, 1]
    };
    let spelling = Spelling::of(names());
    let [source_vocab, source_width] = matrix("encoder.embedding.weight");
    let [target_vocab, target_width] = matrix("decoder.embedding.weight");
    let states = ["encoder", "decoder"].map(|side| matrix(&format!("{side}.rnn.weight_hh_l0")));
    let [_, read] = matrix("decoder.rnn.weight_ih_l0");
    let of_attention = |name: &str| has(&format!("{PREFIX}{name}"));
    let kind = match spelling {
        _ if !names().any(|name| name.starts_with(PREFIX)) => AttentionKind::None,
        _ if of_attention("v_a.weight") => AttentionKind::Concat,
        _ if of_attention("temperature") => AttentionKind::Cosine,
        _ if of_attention("w_a.weight") => AttentionKind::General,
        Spelling::Split if !of_attention("w_q.weight") && of_attention("w_c.weight") => AttentionKind::Dot,
        _ => AttentionKind::Additive,
    };
    let energies = match (kind, spelling) {
        (AttentionKind::Concat, _) => Some("w_a"),
        (AttentionKind::Additive, Spelling::Split) => Some("w_q"),
        (AttentionKind::Additive, Spelling::Joined(attention, _)) => Some(attention),
        _ => None,
    };
    let size = energies.map(|name| matrix(&format!("{PREFIX}{name}.weight"))[0]);
    if !faults.is_empty() {
        return Err(faults);
    }

    let mut recurrent = |side: &str, [rows, units]: [usize; 2]| {
        let name = |k: usize| format!("{side}.rnn.weight_hh_l{k}");
        let cell = match rows {
            _ if rows == units => Cell::Rnn,
            _ if rows == 3 * units => Cell::Gru,
            _ if rows == 4 * units && has(&format!("{side}.rnn.weight_ci_l0")) => Cell::Peephole,
            _ if rows == 4 * units => Cell::Lstm,
            _ => {
                faults.push(Fault::Cell { name: name(0), rows, units });
                Cell::Gru
            }
        };
        Recurrent { cell, hidden: units, layers: (0..).take_while(|&k| has(&name(k))).count() }
    };
    let (encoder, decoder) = (recurrent("encoder", states[0]), recurrent("decoder", states[1]));
    if !faults.is_empty() {
        return Err(faults);
    }

    let mut config = ModelConfig { dropout: 0.0, ..ModelConfig::default() };
    config.encoder.cell = encoder.cell;
    config.encoder.embedding = source_width;
    config.encoder.hidden = encoder.hidden;
    config.encoder.layers = encoder.layers;
    config.encoder.bidirectional = names().any(|n| n.starts_with("encoder.rnn.") && n.ends_with("_reverse"));
    config.decoder.cell = decoder.cell;
    config.decoder.embedding = target_width;
    config.decoder.hidden = decoder.hidden;
    config.decoder.layers = decoder.layers;
    config.encoder.norm = has("encoder.norm_l0.weight");
    config.decoder.norm = has("decoder.norm_l0.weight");
    config.attention.kind = kind;
    config.attention.size = size.unwrap_or(config.attention.size);
    if of_attention("w_c.weight") {
        config.attention.place = Place::After;
        config.attention.input_feeding = read == target_width + decoder.hidden;
    }
    config.decoder.context = kind == AttentionKind::None && read == target_width + config.memory();
    // States are handed over as they are where nothing is said and they fit.
    let fit =
        encoder.cell == decoder.cell && encoder.hidden == decoder.hidden && encoder.layers == decoder.layers;
    let copied = !has("encoder.fc.weight") && fit && !config.encoder.bidirectional;
    config.bridge = if copied { Bridge::Copy } else { Bridge::Linear };
    Ok(Sizes { config, spelling, source_vocab, target_vocab })
}
