//! Small models of the recurrent family, by hand: every operation, task and kind of source at least once.

use anyhow::Result;
use kinglet::blob::schema::Kind as Element;
use kinglet::blob::schema::*;
use kinglet::kernels::Layout;
use kinglet_compiler::kinds::Kind;

use crate::handmade::{Builder, Model, Source};

/// Letters of every vocabulary.
const LETTERS: u16 = 5;
/// Logits: letters and marks.
const LOGITS: u16 = LETTERS + crate::handmade::MARKS;
/// A gate's standard deviation, in 2^-12.
const GATE: f64 = 5000.0;

/// Which model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// Letters to letters: Elman encoder with ReLU, LSTM with peepholes, dot attention behind it (Luong et al. 2015).
    Luong,
    /// Letters to letters: bidirectional GRU, attention by cosines before the decoder's GRU (Graves et al. 2014).
    Cosine,
    /// A label for every letter and the start mark: two layers of GRU with a residual sum and layer normalization.
    Tagger,
    /// A label for every frame of numbers: an Elman network.
    Frames,
    /// A label for every word and the start mark, by the words and their letters: an LSTM.
    Speller,
    /// Letters after letters: an LSTM with layer normalization.
    Writer,
}

/// All of them, with their names.
pub const ALL: [(&str, Network); 6] = [
    ("luong", Network::Luong),
    ("cosine", Network::Cosine),
    ("tagger", Network::Tagger),
    ("frames", Network::Frames),
    ("writer", Network::Writer),
    ("speller", Network::Speller),
];

/// A model with so many units.
///
/// # Errors
/// What the packer returns.
pub fn blob(network: Network, layout: Layout, kind: Kind, units: u16, seed: u64) -> Result<Vec<u8>> {
    let b = Builder::new(layout, kind, seed);
    match network {
        Network::Luong => luong(b, units),
        Network::Cosine => cosine(b, units),
        Network::Tagger => tagger(b, units),
        Network::Frames => frames(b, units),
        Network::Writer => writer(b, units),
        Network::Speller => speller(b, units),
    }
}

/// Rounding copy between kinds.
fn copy(from: View, to: View, up: u8, down: u8) -> Op {
    Op::Add(Add { a: from, b: None, up: [up, 0], down, to })
}

fn letters(task: Task, start: bool, logits: u8) -> Model {
    let source = if task == Task::Generate { Source::None } else { Source::Letters(LETTERS, start) };
    Model { task, source, letters: LETTERS, logits, logit_bits: 9 }
}

const SCORE: Multiplier = Multiplier { mantissa: 20_000, pre: 0, post: 15 };

fn luong(mut b: Builder, units: u16) -> Result<Vec<u8>> {
    let x = b.slot(Extent::Once, Element::I8, 3);
    let read = b.slot(Extent::Once, Element::I16, units);
    let outputs = b.slot(Extent::Source, Element::I8, units);
    let state = b.slot(Extent::Hypothesis, Element::I16, units);
    let cell = b.slot(Extent::Hypothesis, Element::I16, units);
    let fed = b.slot(Extent::Hypothesis, Element::I16, units + 1);
    let y = b.slot(Extent::Once, Element::I8, 4);
    let context = b.slot(Extent::Once, Element::I8, units);
    let logits = b.slot(Extent::Once, Element::I16, LOGITS);
    let embed = b.embed(LETTERS, b.whole(x));
    let elman = b.linear(&[b.whole(x), b.whole(read)], b.whole(read), Activation::Relu, 9000.0);
    b.encode.pass(Over::Backward, &[embed, elman, copy(b.whole(read), b.whole(outputs), 0, 8)]);
    let bridge = b.linear(&[b.whole(read)], b.whole(state), Activation::Tanh { shift: 0 }, GATE);
    let bridge_cell = b.linear(&[b.whole(read)], b.whole(cell), Activation::Tanh { shift: 4 }, GATE);
    b.encode.pass(Over::Once, &[bridge, bridge_cell]);
    let embed = b.embed(LETTERS, b.whole(y));
    let lstm = b.lstm(&[b.whole(y), b.whole(fed)], state, cell, true, None);
    let attend = Op::Attend(Attend {
        query: state,
        keys: outputs,
        energy: Energy::Dot,
        score: SCORE,
        score_bits: 9,
        values: outputs,
        to: b.whole(context),
    });
    let join =
        b.linear(&[b.whole(context), b.whole(state)], b.whole(fed), Activation::Tanh { shift: 0 }, GATE);
    let out = b.linear(&[b.whole(fed)], b.whole(logits), Activation::None, 900.0);
    b.step.pass(Over::Once, &[embed, lstm, attend, join, out]);
    b.blob(&letters(Task::Transduce, false, logits))
}

fn cosine(mut b: Builder, units: u16) -> Result<Vec<u8>> {
    let x = b.slot(Extent::Once, Element::I8, 3);
    let [forward, backward] = [(); 2].map(|()| b.slot(Extent::Once, Element::I16, units));
    let values = b.slot(Extent::Source, Element::I8, 2 * units);
    let keys = b.slot(Extent::Source, Element::I8, 2 * units);
    let state = b.slot(Extent::Hypothesis, Element::I16, 2 * units);
    let query = b.slot(Extent::Once, Element::I16, 2 * units);
    let y = b.slot(Extent::Once, Element::I8, 4);
    let context = b.slot(Extent::Once, Element::I8, 2 * units);
    let logits = b.slot(Extent::Once, Element::I16, LOGITS);
    for (over, hidden, start) in [(Over::Forward, forward, 0), (Over::Backward, backward, units)] {
        let embed = b.embed(LETTERS, b.whole(x));
        let gru = b.gru(&[b.whole(x)], hidden, Some(View { slot: values, start, width: units }));
        b.encode.pass(over, &[embed, gru]);
    }
    let length = |from, to| Op::Norm(Norm { from, form: Form::Length, to });
    b.encode.pass(Over::Forward, &[length(b.whole(values), b.whole(keys))]);
    let bridge = b.linear(&[b.whole(forward), b.whole(backward)], b.whole(state), Activation::None, 9000.0);
    b.encode.pass(Over::Once, &[bridge]);
    let ask = length(b.whole(state), b.whole(query));
    let attend = Op::Attend(Attend {
        query,
        keys,
        energy: Energy::Dot,
        score: SCORE,
        score_bits: 10,
        values,
        to: b.whole(context),
    });
    let embed = b.embed(LETTERS, b.whole(y));
    let gru = b.gru(&[b.whole(y), b.whole(context)], state, None);
    let out = b.linear(&[b.whole(state), b.whole(context)], b.whole(logits), Activation::None, 900.0);
    b.step.pass(Over::Once, &[ask, attend, embed, gru, out]);
    b.blob(&letters(Task::Transduce, true, logits))
}

fn tagger(mut b: Builder, units: u16) -> Result<Vec<u8>> {
    let x = b.slot(Extent::Once, Element::I8, 3);
    let [first, second] = [(); 2].map(|()| b.slot(Extent::Once, Element::I16, units));
    let below = b.slot(Extent::Source, Element::I8, units);
    let stream = b.slot(Extent::Once, Element::I16, units);
    let outputs = b.slot(Extent::Source, Element::I8, units);
    let y = b.slot(Extent::Once, Element::I8, 2);
    let logits = b.slot(Extent::Once, Element::I16, LOGITS);
    let embed = b.embed(LETTERS, b.whole(x));
    let gru = b.gru(&[b.whole(x)], first, Some(b.whole(below)));
    b.encode.pass(Over::Forward, &[embed, gru]);
    // h + x in 2^-14, then normalized.
    let gru = b.gru(&[b.whole(below)], second, None);
    let sum = Op::Add(Add {
        a: b.whole(second),
        b: Some(b.whole(below)),
        up: [0, 8],
        down: 1,
        to: b.whole(stream),
    });
    let norm = b.layer_norm(b.whole(stream), b.whole(outputs));
    b.encode.pass(Over::Backward, &[gru, sum, norm]);
    // The label knows its own letter, too.
    let embed = b.embed(LETTERS, b.whole(y));
    let out = b.linear(&[b.whole(outputs), b.whole(y)], b.whole(logits), Activation::None, 900.0);
    b.step.pass(Over::Once, &[embed, out]);
    b.blob(&letters(Task::Label, true, logits))
}

fn frames(mut b: Builder, units: u16) -> Result<Vec<u8>> {
    let numbers = b.slot(Extent::Source, Element::I8, 3);
    let state = b.slot(Extent::Once, Element::I16, units);
    let outputs = b.slot(Extent::Source, Element::I8, units);
    let logits = b.slot(Extent::Once, Element::I16, LOGITS);
    let elman =
        b.linear(&[b.whole(numbers), b.whole(state)], b.whole(state), Activation::Tanh { shift: 0 }, GATE);
    b.encode.pass(Over::Forward, &[elman, copy(b.whole(state), b.whole(outputs), 0, 8)]);
    let out = b.linear(&[b.whole(outputs)], b.whole(logits), Activation::None, 900.0);
    b.step.pass(Over::Once, &[out]);
    let source = Source::Frames(b.frames(numbers));
    b.blob(&Model { task: Task::Label, source, letters: LETTERS, logits, logit_bits: 9 })
}

fn speller(mut b: Builder, units: u16) -> Result<Vec<u8>> {
    let features = b.slot(Extent::Source, Element::I8, 5);
    let x = b.slot(Extent::Once, Element::I8, 3);
    let state = b.slot(Extent::Once, Element::I16, units);
    let cell = b.slot(Extent::Once, Element::I16, units);
    let outputs = b.slot(Extent::Source, Element::I8, units);
    let logits = b.slot(Extent::Once, Element::I16, LOGITS);
    let spelled = b.spelled(LETTERS, features);
    let embed = b.embed(LETTERS, b.whole(x));
    let lstm = b.lstm(&[b.whole(x), b.whole(features)], state, cell, false, Some(b.whole(outputs)));
    b.encode.pass(Over::Forward, &[embed, lstm]);
    let out = b.linear(&[b.whole(outputs)], b.whole(logits), Activation::None, 900.0);
    b.step.pass(Over::Once, &[out]);
    let source = Source::Words(LETTERS, spelled);
    b.blob(&Model { task: Task::Label, source, letters: LETTERS, logits, logit_bits: 9 })
}

fn writer(mut b: Builder, units: u16) -> Result<Vec<u8>> {
    let y = b.slot(Extent::Once, Element::I8, 4);
    let state = b.slot(Extent::Hypothesis, Element::I16, units);
    let cell = b.slot(Extent::Hypothesis, Element::I16, units);
    let normal = b.slot(Extent::Once, Element::I8, units);
    let logits = b.slot(Extent::Once, Element::I16, LOGITS);
    let embed = b.embed(LETTERS, b.whole(y));
    let lstm = b.lstm(&[b.whole(y)], state, cell, false, None);
    let norm = b.layer_norm(b.whole(state), b.whole(normal));
    let out = b.linear(&[b.whole(normal)], b.whole(logits), Activation::None, 900.0);
    b.step.pass(Over::Once, &[embed, lstm, norm, out]);
    b.blob(&letters(Task::Generate, false, logits))
}
