//! Which products get four bits: measured, the least loss a byte first.
//!
//! Each product alone is given fewer bits, all others eight, and the loss of that is measured. Then the change with the least loss
//! for every byte that it saves is made, again and again, until the blob is small enough or loses too much. What a
//! product loses alone only orders the changes; every step is measured as a whole.

use core::f64::consts::LN_2;

use kinglet::blob::schema::Task;
use kinglet::{Limits, Model, Session};
use kinglet_train::config::{Metric, ModelConfig};
use kinglet_train::data::frames::to_counts;
use kinglet_train::model::UNK;
use kinglet_train::quant;
use kinglet_train::vocab::Encoded;
use serde::Serialize;

use crate::calibrate::Example;
use crate::compare::Comparison;
use crate::desktop::{Buffer, MAX_LENGTH};
use crate::error::{Error, Result};
use crate::kinds::{Kind, Kinds};

/// What a product can become, from the most bytes to the least.
pub const LADDER: [Kind; 3] = [Kind::Int8, Kind::Int4Groups(32), Kind::Int4];

/// When to stop.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Bounds {
    /// The blob is small enough with so many bytes.
    pub flash: Option<usize>,
    /// Points of what counts, as the trained network has it, that may be lost.
    pub loss: Option<f64>,
}

/// A measured blob.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Measured {
    /// Bytes of the blob.
    pub bytes: usize,
    /// Nats a target token, teacher forced, on dev pairs.
    pub cross_entropy: f64,
    /// What counts, on dev sources: such as the word error rate in percent.
    pub score: f64,
}

/// A step from int8 to smaller weights.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Trade {
    /// The product that changed; empty for the start, with int8 everywhere.
    pub product: String,
    /// What its weights became.
    pub kind: Kind,
    /// Whether it was kept: not when it lost more than the bound.
    pub kept: bool,
    /// The blob after the step.
    #[serde(flatten)]
    pub measured: Measured,
}

impl Trade {
    /// The product that changed, or that all began alike.
    pub fn name(&self) -> &str {
        if self.product.is_empty() { "all" } else { &self.product }
    }
}

/// How the weights were chosen.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Choice {
    /// Distinct dev sources on which it was measured what counts.
    pub sources: usize,
    /// Beam of those searches; 1 is greedy.
    pub beam_size: usize,
    /// What counts.
    pub metric: Metric,
    /// What the trained network has of it.
    pub float_score: f64,
    /// From int8 everywhere on.
    pub steps: Vec<Trade>,
}

/// The weights of every product, and the steps that led to them.
///
/// `cost` gives bytes and cross-entropy of a network with given kinds, `compare` its accuracy beside the trained network's.
///
/// # Errors
/// What the closures return.
pub fn choose(
    config: &ModelConfig,
    bounds: Bounds,
    cost: impl Fn(&Kinds) -> Result<(usize, f64)>,
    compare: impl Fn(&Kinds) -> Result<Comparison>,
) -> Result<(Kinds, Choice)> {
    let mut kinds = Kinds::all(Kind::Int8);
    let names = quant::products(config);
    let start = cost(&kinds)?;
    // Bytes saved and loss of every product alone, by its place on the ladder.
    let mut alone = Vec::new();
    for name in &names {
        let mut rungs = vec![(0.0, 0.0)];
        for kind in &LADDER[1..] {
            let mut kinds = kinds.clone();
            kinds.by_name.insert(name.clone(), *kind);
            let (bytes, loss) = cost(&kinds)?;
            rungs.push((start.0 as f64 - bytes as f64, loss - start.1));
        }
        alone.push(rungs);
    }

    let Comparison { sources, beam_size, float, blob, .. } = compare(&kinds)?;
    let measured = Measured { bytes: start.0, cross_entropy: start.1, score: blob.first().1 };
    let mut steps = vec![Trade { product: String::new(), kind: Kind::Int8, kept: true, measured }];
    let mut bytes = start.0;
    let mut places = vec![0; names.len()];
    // Products whose next change would lose too much.
    let mut done = vec![false; names.len()];
    while bounds.flash.is_none_or(|flash| bytes > flash) {
        let change = |product: usize, to: usize| {
            let ((saved, loss), (had, lost)) = (alone[product][to], alone[product][places[product]]);
            // What seems to win is luck: it counts as no loss.
            let (saves, loses) = (saved - had, (loss - lost).max(0.0));
            (saves > 0.0).then_some((loses / saves, -saves, product, to))
        };
        let open = (0..names.len()).filter(|&product| !done[product]);
        let changes = open.flat_map(|product| {
            (places[product] + 1..LADDER.len()).filter_map(move |to| change(product, to))
        });
        let Some((_, _, product, to)) = changes.min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)))
        else {
            break;
        };
        let mut next = kinds.clone();
        next.by_name.insert(names[product].clone(), LADDER[to]);
        let (next_bytes, cross_entropy) = cost(&next)?;
        let blob = compare(&next)?.blob;
        let measured = Measured { bytes: next_bytes, cross_entropy, score: blob.first().1 };
        let kept = bounds.loss.is_none_or(|loss| float.lost(&blob) <= loss);
        steps.push(Trade { product: names[product].clone(), kind: LADDER[to], kept, measured });
        if kept {
            (kinds, bytes, places[product]) = (next, next_bytes, to);
        } else {
            done[product] = true;
        }
    }
    let named = names.iter().map(|name| (name.clone(), kinds.get(name)));
    let (metric, float_score) = float.first();
    Ok((Kinds::named(named.collect()), Choice { sources, beam_size, metric, float_score, steps }))
}

/// Mean cross-entropy of a blob's next-token distributions, nats a target token, teacher forced. Any number of threads
/// gives the same bits.
///
/// # Errors
/// [`Error::Run`] when a pair is longer than the runtime takes.
pub fn cross_entropy(model: &Model<'_>, examples: &[Example], threads: usize) -> Result<f64> {
    let part = examples.len().div_ceil(threads.max(1)).max(1);
    let losses = |examples: &[Example]| {
        let mut buffer = Buffer::default();
        examples.iter().map(|example| example_loss(model, &mut buffer, example)).collect::<Result<Vec<f64>>>()
    };
    let parts: Vec<Result<Vec<f64>>> = std::thread::scope(|scope| {
        let losses = &losses;
        let running: Vec<_> =
            examples.chunks(part).map(|examples| scope.spawn(move || losses(examples))).collect();
        running.into_iter().map(|t| t.join().expect("decoding does not panic")).collect()
    });
    let (mut sum, mut tokens) = (0.0, 0);
    for part in parts {
        part?.into_iter().for_each(|loss| sum += loss);
    }
    examples.iter().for_each(|example| tokens += example.target.len());
    Ok(sum / tokens.max(1) as f64)
}

/// The text of a source whose letters are read.
fn words(model: &Model<'_>, source: &Encoded) -> String {
    let vocab = model.source();
    let marks = [vocab.sos(), vocab.eos()].map(u32::from);
    let mut unknown = source.unknown.iter();
    let word = |&id: &u32| match id {
        UNK => unknown.next().cloned().unwrap_or_default(),
        id => String::from_utf8_lossy(vocab.token(id as u16)).into_owned(),
    };
    source.ids.iter().filter(|id| !marks.contains(id)).map(word).collect::<Vec<_>>().join(" ")
}

fn example_loss(model: &Model<'_>, buffer: &mut Buffer, example: &Example) -> Result<f64> {
    let refused = |e: kinglet::RunError| Error::Run(e.to_string());
    let length = |ids: &[u32]| ids.len().clamp(1, MAX_LENGTH.into()) as u16;
    let source = &example.source.ids;
    let positions = &source[..source.len() / model.features().max(1)];
    let limits =
        Limits { source: length(positions), target: length(&example.target), beam: 1, coverage: false };
    let ids = |ids: &[u32]| -> Vec<u16> { ids.iter().map(|&id| id as u16).collect() };
    let target = ids(&example.target);
    let mut session = Session::new(model, buffer.get(model.ram(&limits)), limits).map_err(refused)?;
    let unit = LN_2 / f64::from(1u32 << model.description().logit_bits);
    let mut sum = 0.0;
    let mut add = |step: usize, logits: &[core::cell::Cell<i16>]| {
        let value = |logit: &core::cell::Cell<i16>| f64::from(logit.get()) * unit;
        let largest = logits.iter().map(value).fold(f64::NEG_INFINITY, f64::max);
        let all = logits.iter().map(|logit| libm::exp(value(logit) - largest)).sum::<f64>();
        let wanted = target.get(step).and_then(|&id| logits.get(usize::from(id))).map_or(largest, value);
        sum += largest + libm::log(all) - wanted;
    };
    let read = if model.task() == Task::Generate {
        // It begins with nothing.
        session.read_ids(&[])
    } else if model.features() > 0 {
        session.read_numbers(to_counts(source))
    } else if model.description().characters().is_some() {
        session.read_text(words(model, &example.source).as_bytes()).map(|_| ())
    } else {
        session.read_ids(&ids(source))
    };
    read.map_err(refused)?;
    match model.task() {
        Task::Label => _ = session.label_with(|label| add(label.position, label.logits)).map_err(refused)?,
        Task::Transduce | Task::Generate => {
            let forced = &target[..target.len().saturating_sub(1)];
            session.force(forced, add).map_err(refused)?;
        }
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::Rates;

    /// Bytes and losses add up; the output layer loses most, and int4 a row more than in groups.
    fn cost(kinds: &Kinds) -> (usize, f64) {
        let (mut bytes, mut loss) = (0, 1.0);
        for (name, weight) in [("encoder.fc", 0.001), ("decoder.rnn.l0", 0.002), ("decoder.fc_out", 0.1)] {
            let (size, share) = match kinds.get(name) {
                Kind::Int8 => (1000, 0.0),
                Kind::Int4Groups(_) => (531, 1.0),
                Kind::Int4 => (500, 3.0),
            };
            bytes += size;
            loss += weight * share;
        }
        (bytes, loss)
    }

    fn run(flash: Option<usize>, loss: Option<f64>) -> (Kinds, Vec<Trade>) {
        let bounds = Bounds { flash, loss };
        let rates = |wer| Rates::new([(Metric::Wer, wer)]);
        let compare = |kinds: &Kinds| {
            let (float, blob) = (rates(100.0), rates(100.0 * cost(kinds).1));
            Ok(Comparison { beam_size: 1, sources: 9, float, blob, agreement: None })
        };
        let (kinds, choice) =
            choose(&ModelConfig::default(), bounds, |kinds| Ok(cost(kinds)), compare).unwrap();
        assert_eq!((choice.sources, choice.beam_size, choice.float_score), (9, 1, 100.0));
        (kinds, choice.steps)
    }

    #[test]
    fn the_cheapest_change_comes_first_and_the_bound_ends_it() {
        let (kinds, steps) = run(Some(2100), None);
        assert_eq!(steps.len(), 3);
        assert_eq!((steps[0].product.as_str(), steps[0].measured.bytes), ("", 3000));
        assert_eq!((steps[1].product.as_str(), steps[1].kind), ("encoder.fc", Kind::Int4Groups(32)));
        assert_eq!((steps[2].product.as_str(), steps[2].measured.bytes), ("decoder.rnn.l0", 2062));
        assert_eq!(kinds.get("decoder.fc_out"), Kind::Int8);
        assert!(run(Some(3000), None).1.len() == 1);
        // Not to be met: everything is as small as it gets.
        assert_eq!(run(Some(10), None).1.last().unwrap().measured.bytes, 1500);
    }

    #[test]
    fn what_loses_too_much_is_left_out() {
        let (kinds, steps) = run(None, Some(1.0));
        assert_eq!(kinds.get("decoder.fc_out"), Kind::Int8);
        assert_eq!((kinds.get("encoder.fc"), kinds.get("decoder.rnn.l0")), (Kind::Int4, Kind::Int4));
        assert!(steps.iter().any(|step| step.product == "decoder.fc_out" && !step.kept));
    }
}
