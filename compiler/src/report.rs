//! What compiling cost: bytes, RAM, rounding errors, saturations, and accuracy against the float model.

mod chart;
pub mod html;
pub mod text;
pub mod treemap;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::boards::Fit;
use crate::calibrate::Saturation;
use crate::compare::{Comparison, Rates};
use crate::describe::{Ram, Stretch};
use crate::mixed::Choice;
use crate::pack::Tensor;

/// Loss of what counts, in points, above which the report says what to do.
const LARGE_LOSS: f64 = 0.3;
/// Share of saturated values above which the report says what to do.
const MANY_SATURATED: f64 = 1e-3;

/// The same network with other weights.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Alternative {
    /// What all weights are.
    pub weights: String,
    /// Size of its blob.
    pub blob_bytes: usize,
    /// Float against it, on the same sources and with the same beams as [`Report::accuracy`].
    pub accuracy: Vec<Comparison>,
}

/// Attention of one source's best target.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    /// The source as text.
    pub text: String,
    /// Its tokens and the end mark.
    pub source: Vec<String>,
    /// Tokens of the target and the end mark.
    pub target: Vec<String>,
    /// Weights by target token, then source token.
    pub weights: Vec<Vec<f32>>,
}

/// All that there is to tell about a compilation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Name in the blob.
    pub name: String,
    /// What weights became: `int8`, or such as `int4:32, decoder.fc_out int8`.
    pub weights: String,
    /// Whether the network was trained on the chip's grid; `float` in comparisons is then on it too.
    pub trained_on_grid: bool,
    /// Size of the blob: flash.
    pub blob_bytes: usize,
    /// CRC-32 of the blob.
    pub crc: u32,
    /// Bytes by tensor of the data section.
    pub tensors: Vec<Tensor>,
    /// RAM by source length and beam.
    pub ram: Vec<Ram>,
    /// RAM for the planned lengths and beam.
    pub planned_ram: Ram,
    /// That RAM as a map.
    pub map: Vec<Stretch>,
    /// What fits the board, when one was named.
    pub fit: Option<Fit>,
    /// Relative rounding error by float tensor.
    pub errors: BTreeMap<String, f64>,
    /// Values that saturate on data that was not calibrated on (all dev pairs when there are too few).
    pub saturation: Vec<Saturation>,
    /// Float against integers on dev data, by beam.
    pub accuracy: Vec<Comparison>,
    /// The same network with all weights of one kind, when that was asked for and the blob is another.
    pub alternatives: Vec<Alternative>,
    /// Alignments of a few dev sources; empty without attention.
    #[serde(skip)]
    pub pictures: Vec<Picture>,
    /// How the weights were chosen, if they were.
    pub choice: Option<Choice>,
}

/// A line of the table of accuracies.
#[derive(Debug, Clone, PartialEq)]
pub struct Numbers<'a> {
    /// What computes: `float` or `trained`, or what weights are.
    pub name: &'a str,
    /// Size of its blob; none of the trained network.
    pub bytes: Option<usize>,
    /// Its rates.
    pub rates: &'a Rates,
    /// Percent of sources with the trained network's target; none of itself.
    pub agreement: Option<f64>,
}

/// Heads of the columns of [`Report::numbers`] behind the first: bytes, what is measured, same answer.
pub fn heads(comparison: &Comparison) -> Vec<&'static str> {
    let same = comparison.agreement.map(|_| "same answer");
    std::iter::once("bytes")
        .chain(comparison.float.iter().map(|(metric, _)| metric.name()))
        .chain(same)
        .collect()
}

impl Numbers<'_> {
    /// A row under [`heads`], without the name.
    pub fn cells(&self) -> Vec<String> {
        let percent = |value: f64| format!("{value:.2}");
        let bytes = self.bytes.map_or(String::new(), |bytes| bytes.to_string());
        let same = self.agreement.map(percent);
        std::iter::once(bytes).chain(self.rates.iter().map(|(_, value)| percent(value))).chain(same).collect()
    }
}

/// What a search is called: `greedy` or `beam 4`.
pub fn search_name(beam_size: usize) -> String {
    if beam_size == 1 { "greedy".into() } else { format!("beam {beam_size}") }
}

impl Report {
    /// What the two sides of a comparison are called.
    pub fn sides(&self) -> (&'static str, &str) {
        let trained = if self.trained_on_grid { "trained" } else { "float" };
        // Kinds that differ by product would fill the table.
        (trained, if self.weights.contains(',') { "mixed" } else { &self.weights })
    }

    /// Every search that was compared, with the trained network first, then blobs from the largest to the smallest.
    pub fn numbers<'a>(&'a self) -> Vec<(&'a Comparison, Vec<Numbers<'a>>)> {
        let (trained, integers) = self.sides();
        let search = |(at, own): (usize, &'a Comparison)| {
            fn blob<'a>(name: &'a str, bytes: usize, c: &'a Comparison) -> Numbers<'a> {
                Numbers { name, bytes: Some(bytes), rates: &c.blob, agreement: c.agreement }
            }
            let others = self.alternatives.iter().filter_map(|a| {
                a.accuracy.get(at).map(|comparison| blob(a.weights.as_str(), a.blob_bytes, comparison))
            });
            let first = Numbers { name: trained, bytes: None, rates: &own.float, agreement: None };
            let mut all: Vec<Numbers<'_>> = others.chain([blob(integers, self.blob_bytes, own)]).collect();
            all.sort_by_key(|numbers| std::cmp::Reverse(numbers.bytes));
            all.insert(0, first);
            all
        };
        self.accuracy.iter().enumerate().map(|(at, own)| (own, search((at, own)))).collect()
    }

    /// What to change when the integers lose much; empty when they do not.
    pub fn advice(&self) -> Vec<String> {
        let mut advice = Vec::new();
        for s in &self.saturation {
            if s.beyond as f64 > MANY_SATURATED * s.values as f64 {
                advice.push(format!(
                    "{} saturates in {:.2} % of its values: calibrate on more pairs (--calibration-pairs)",
                    s.name,
                    100.0 * s.beyond as f64 / s.values as f64
                ));
            }
        }
        let loss = self.accuracy.iter().map(|c| c.float.lost(&c.blob)).fold(0.0, f64::max);
        let metric = self.accuracy.first().map_or("", |c| c.float.first().0.name());
        if loss > LARGE_LOSS {
            let worst = self.errors.iter().max_by(|a, b| a.1.total_cmp(b.1));
            if let Some((name, error)) = worst {
                advice.push(format!(
                    "{} loses {loss:.2} points of {metric}; {name} has the largest rounding error ({:.2} %): {}",
                    self.weights,
                    100.0 * error,
                    if self.weights.contains("int4") {
                        "give its product more bits (--weights-of), or train on with --qat"
                    } else {
                        "try --fold always if it is an embedding, else train with more dropout or a wider layer"
                    }
                ));
            }
        }
        advice
    }
}
