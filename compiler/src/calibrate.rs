//! What the float model's inner values look like on real data, and the grids that follow.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use kinglet_train::config::Fold;
use kinglet_train::model::Seq2Seq;
use kinglet_train::quant::{self, Scheme, fraction_bits, power_of_two};
use kinglet_train::vocab::Encoded;

use crate::error::{Error, Result};

/// Bins of a histogram: the exponent of a magnitude and 7 bits of its mantissa, so that a bin is less than 0.8 % wide.
const BINS: usize = 1 << 15;
/// Bits of an `f32` that do not count for its bin.
const WITHIN_BIN: u32 = 16;
/// Key scales that are compared for the squared error: the largest magnitude less `k` of so many parts.
const KEY_STEPS: u32 = 64;

/// A sentence pair, both sides ending with the end mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// The source; of frames their counts, [`kinglet_train::data::frames::to_ids`].
    pub source: Encoded,
    /// Target ids.
    pub target: Vec<u32>,
}

/// How far the integer type of a calibrated quantity reaches.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Calibration {
    /// As far as the largest magnitude seen; quantities of 16 bits 1.25 times as far.
    #[default]
    Max,
    /// Likewise of the magnitude that this percentage of the values does not exceed.
    Percentile(f64),
    /// To where rounding and saturation together have the least squared error.
    Mse,
}

impl Display for Calibration {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Max => f.write_str("max"),
            Self::Percentile(percent) => write!(f, "percentile:{percent}"),
            Self::Mse => f.write_str("mse"),
        }
    }
}

impl FromStr for Calibration {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "max" => Ok(Self::Max),
            "mse" => Ok(Self::Mse),
            _ => {
                let percent = text.strip_prefix("percentile:").and_then(|percent| percent.parse().ok());
                percent
                    .filter(|p| (50.0..=100.0).contains(p))
                    .map(Self::Percentile)
                    .ok_or_else(|| format!("\"{text}\" is not max, mse or percentile:P (50 to 100)"))
            }
        }
    }
}

/// Magnitudes of one quantity.
#[derive(Debug, Clone, PartialEq)]
struct Histogram {
    bins: Vec<u64>,
    largest: f32,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { bins: vec![0; BINS], largest: 0.0 }
    }
}

impl Histogram {
    fn add(&mut self, value: f32) {
        let magnitude = value.abs();
        self.bins[(magnitude.to_bits() >> WITHIN_BIN) as usize] += 1;
        self.largest = self.largest.max(magnitude);
    }

    fn merge(&mut self, other: &Self) {
        self.bins.iter_mut().zip(&other.bins).for_each(|(a, b)| *a += b);
        self.largest = self.largest.max(other.largest);
    }

    /// Bins that hold something: first magnitude, first of the next bin, values.
    fn filled(&self) -> impl Iterator<Item = (f64, f64, u64)> + '_ {
        let edge = |bin: usize| f64::from(f32::from_bits((bin as u32) << WITHIN_BIN));
        let filled = self.bins.iter().enumerate().filter(|(_, count)| **count > 0);
        filled.map(move |(bin, &count)| (edge(bin), edge(bin + 1), count))
    }

    /// The magnitude that `percent` of the values do not exceed, up to the width of a bin.
    fn percentile(&self, percent: f64) -> f64 {
        let values: u64 = self.bins.iter().sum();
        let wanted = (values as f64 * percent / 100.0).ceil() as u64;
        let mut below = 0;
        let reached = self.filled().find(|(_, _, count)| {
            below += count;
            below >= wanted
        });
        reached.map_or(0.0, |(_, end, _)| end).min(self.largest.into())
    }

    /// Expected squared error of all values on a grid: rounding within its reach, saturation beyond.
    fn squared_error(&self, step: f64, reach: f64) -> f64 {
        let error = |(start, end, count): (f64, f64, u64)| {
            let beyond = ((start + end) / 2.0).min(self.largest.into()) - reach;
            count as f64 * if beyond > 0.0 { beyond * beyond } else { step * step / 12.0 }
        };
        self.filled().map(error).sum()
    }
}

/// What was seen on calibration data, by the names that [`Seq2Seq::observe`] gives.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Observed {
    histograms: BTreeMap<String, Histogram>,
    /// Sums of every element, and how many rows there were.
    sums: BTreeMap<String, (Vec<f64>, u64)>,
}

/// How many values of a quantity exceed what its integer type holds.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Saturation {
    /// The quantity, by the name that [`Seq2Seq::observe`] gives.
    pub name: String,
    /// Largest magnitude that fits.
    pub limit: f64,
    /// Values seen.
    pub values: u64,
    /// Values beyond the limit.
    pub beyond: u64,
}

impl Observed {
    /// Runs the float model over the examples, teacher forced.
    ///
    /// # Errors
    /// [`Error::Calibration`] when there are no examples or a value is not finite.
    pub fn observe(model: &Seq2Seq, examples: &[Example]) -> Result<Self> {
        if examples.is_empty() {
            return Err(Error::Calibration("there are no pairs to calibrate on; give a dev set".into()));
        }
        let mut observed = Self::default();
        let mut broken = None;
        for example in examples {
            model.observe(&example.source, &example.target, &mut |name, values| {
                if broken.is_none() && values.iter().any(|v| !v.is_finite()) {
                    broken = Some(name.to_owned());
                }
                observed.add(name, values);
            });
        }
        match broken {
            Some(name) => Err(Error::Calibration(format!(
                "{name} is not finite on the dev set: the trained weights are damaged, train again"
            ))),
            None => Ok(observed),
        }
    }

    fn add(&mut self, name: &str, values: &[f32]) {
        // What enters products has a fixed scale; its mean corrects biases. All else is calibrated.
        if name.ends_with(".input") || name.ends_with(".previous") {
            if !self.sums.contains_key(name) {
                self.sums.insert(name.to_owned(), (vec![0.0; values.len()], 0));
            }
            let (sums, rows) = self.sums.get_mut(name).expect("it was just added");
            sums.iter_mut().zip(values).for_each(|(sum, &value)| *sum += f64::from(value));
            *rows += 1;
        } else {
            if !self.histograms.contains_key(name) {
                self.histograms.insert(name.to_owned(), Histogram::default());
            }
            let histogram = self.histograms.get_mut(name).expect("it was just added");
            values.iter().for_each(|&value| histogram.add(value));
        }
    }

    /// The mean of every element of what enters a product; empty when it was never seen.
    pub fn mean(&self, name: &str) -> Vec<f64> {
        let mean = |(sums, rows): &(Vec<f64>, u64)| sums.iter().map(|sum| sum / *rows as f64).collect();
        self.sums.get(name).map_or(Vec::new(), mean)
    }

    /// The scheme of a network with the given weights.
    pub fn scheme(
        &self,
        model: &Seq2Seq,
        products: BTreeMap<String, quant::Kind>,
        fold: Fold,
        how: Calibration,
    ) -> Scheme {
        let bits = |names: &[String], scale, most| fraction(&self.together(names), scale, most, how);
        let unit = |name: &str| key_unit(&self.together(&[name.to_owned()]), how);
        Scheme::with(model, products, fold, bits, unit)
    }

    /// One histogram of some quantities.
    fn together(&self, names: &[String]) -> Histogram {
        let mut all = Histogram::default();
        names.iter().filter_map(|name| self.histograms.get(name)).for_each(|one| all.merge(one));
        all
    }
}

/// What a unit of an int8 key is worth.
fn key_unit(keys: &Histogram, how: Calibration) -> f64 {
    let largest = f64::from(keys.largest);
    let reach = match how {
        Calibration::Max => largest,
        Calibration::Percentile(percent) => keys.percentile(percent),
        Calibration::Mse => {
            let reaches = (0..KEY_STEPS).map(|k| largest * (1.0 - f64::from(k) / f64::from(KEY_STEPS)));
            least(reaches, |reach| keys.squared_error(reach / 127.0, reach)).unwrap_or(largest)
        }
    };
    reach / 127.0
}

/// Fraction bits, at most `most`, of 16-bit integers for values times `scale`.
fn fraction(values: &Histogram, scale: f64, most: u8, how: Calibration) -> u8 {
    match how {
        Calibration::Max => fraction_bits(f64::from(values.largest) * scale, most),
        Calibration::Percentile(percent) => fraction_bits(values.percentile(percent) * scale, most),
        Calibration::Mse => {
            let error = |bits: u8| {
                let step = power_of_two(-i32::from(bits)) / scale;
                values.squared_error(step, 32_767.0 * step)
            };
            // Of equals, as when nothing was seen, the finest.
            least((0..=most).rev(), error).unwrap_or(most)
        }
    }
}

/// The candidate with the least cost, the first of equals.
fn least<T: Copy>(candidates: impl Iterator<Item = T>, cost: impl Fn(T) -> f64) -> Option<T> {
    candidates.map(|c| (c, cost(c))).min_by(|a, b| a.1.total_cmp(&b.1)).map(|(c, _)| c)
}

/// Counts on other data what does not fit the limits that calibration chose.
pub fn saturation(model: &Seq2Seq, examples: &[Example], limits: &BTreeMap<String, f64>) -> Vec<Saturation> {
    let mut counts: BTreeMap<&str, (u64, u64)> = limits.keys().map(|name| (name.as_str(), (0, 0))).collect();
    for example in examples {
        model.observe(&example.source, &example.target, &mut |name, values| {
            if let (Some(&limit), Some((seen, beyond))) = (limits.get(name), counts.get_mut(name)) {
                *seen += values.len() as u64;
                *beyond += values.iter().filter(|v| f64::from(v.abs()) > limit).count() as u64;
            }
        });
    }
    let count = |(name, &limit): (&String, &f64)| {
        let (values, beyond) = counts[name.as_str()];
        Saturation { name: name.clone(), limit, values, beyond }
    };
    limits.iter().map(count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use kinglet_train::config::ModelConfig;
    use kinglet_train::model::EOS;

    fn examples() -> [Example; 1] {
        [Example { source: vec![4, 8, EOS].into(), target: vec![7, EOS] }]
    }

    fn model() -> Seq2Seq {
        Seq2Seq::new(&ModelConfig::default(), 9, 8, 1)
    }

    /// 9,999 values spread evenly over (0, 1) and one at 40.
    fn outlier() -> Histogram {
        let mut histogram = Histogram::default();
        (1..10_000).for_each(|i| histogram.add(i as f32 / 10_000.0));
        histogram.add(-40.0);
        histogram
    }

    #[test]
    fn nothing_seen_in_calibration_lies_beyond_its_own_range() {
        let (model, examples) = (model(), examples());
        let observed = Observed::observe(&model, &examples).unwrap();
        let name = "decoder.attention.key".to_owned();
        let largest = f64::from(observed.histograms[&name].largest);
        assert!(largest > 0.0);

        let count =
            |limit: f64| saturation(&model, &examples, &BTreeMap::from([(name.clone(), limit)]))[0].clone();
        let keys = 3 * ModelConfig::default().attention.size as u64;
        assert_eq!((count(largest).values, count(largest).beyond), (keys, 0));
        assert_eq!(count(largest * 0.999).beyond, 1);
        assert_eq!(count(-1.0).beyond, keys);
    }

    #[test]
    fn every_product_has_means_as_wide_as_its_columns() {
        let model = model();
        let observed = Observed::observe(&model, &examples()).unwrap();
        for name in quant::products(&model.config) {
            let (matrix, recurrent) = match name.rsplit_once(".l") {
                Some((side, layer)) => {
                    (format!("{side}.weight_ih_l{layer}"), Some(format!("{side}.weight_hh_l{layer}")))
                }
                None => (format!("{name}.weight"), None),
            };
            let columns = |matrix: &str| model.params.get(matrix).unwrap().shape[1];
            assert_eq!(observed.mean(&format!("{name}.input")).len(), columns(&matrix), "{name}");
            if let Some(recurrent) = recurrent {
                assert_eq!(observed.mean(&format!("{name}.previous")).len(), columns(&recurrent), "{name}");
            }
        }
        // The first token of two is the start mark.
        let embedding = &model.params.get("decoder.embedding.weight").unwrap().data;
        let width = model.config.decoder.embedding;
        let want = f64::from(embedding[width] + embedding[7 * width]) / 2.0;
        assert!((observed.mean("decoder.rnn.l0.input")[0] - want).abs() < 1e-7);
        assert!(observed.mean("no such product").is_empty());
    }

    #[test]
    fn percentiles_leave_outliers_out() {
        let values = outlier();
        assert!(
            (values.percentile(99.99) - 1.0).abs() < 0.01 && (values.percentile(50.0) - 0.5).abs() < 0.005
        );
        assert_eq!(values.percentile(100.0), 40.0);
        assert_eq!(fraction(&values, 1.0, 15, Calibration::Max), 9);
        assert_eq!(fraction(&values, 1.0, 15, Calibration::Percentile(99.0)), 14);
        assert_eq!(key_unit(&values, Calibration::Max), 40.0 / 127.0);
        assert!(key_unit(&values, Calibration::Percentile(99.9)) < 1.01 / 127.0);
    }

    #[test]
    fn the_squared_error_weighs_outliers_against_steps() {
        // In 16 bits steps cost next to nothing, and the outlier everything; among many values it is the other way.
        let mut values = outlier();
        assert_eq!(fraction(&values, 1.0, 15, Calibration::Mse), 9);
        values.bins.iter_mut().for_each(|count| *count *= 1_000_000);
        values.bins[(40.0_f32.to_bits() >> WITHIN_BIN) as usize] = 1;
        let reach = 127.0 * key_unit(&values, Calibration::Mse);
        assert!((0.9..2.0).contains(&reach), "{reach}");
        assert_eq!(fraction(&Histogram::default(), 1.0, 12, Calibration::Mse), 12);
    }

    #[test]
    fn no_choice_of_tables_takes_more_bytes_than_another() {
        let all = [4, 31, 32, 33, 70, 500]
            .into_iter()
            .flat_map(|v| [vec![96, 96], vec![300, 40], vec![300, v], vec![12]].map(|rows| (v, rows)));
        for (v, rows) in all {
            let consumers: Vec<(usize, quant::Kind)> =
                rows.iter().map(|&rows| (rows, quant::Kind::INT8)).collect();
            let bytes = |choice: &[bool]| {
                let embedding = if choice.iter().all(|&f| f) { 0 } else { v * 64 };
                let part = |(&fold, &rows): (&bool, &usize)| if fold { 2 * v * rows } else { 64 * rows };
                embedding + choice.iter().zip(&rows).map(part).sum::<usize>()
            };
            let auto = bytes(&quant::choose_tables(Fold::Auto, v, 64, &consumers));
            for bits in 0..1 << rows.len() {
                let choice: Vec<bool> = (0..rows.len()).map(|i| bits >> i & 1 == 1).collect();
                assert!(auto <= bytes(&choice), "{v} {rows:?} {choice:?}");
            }
        }
    }

    #[test]
    fn choices_are_read_as_they_are_written() {
        for how in [Calibration::Max, Calibration::Percentile(99.99), Calibration::Mse] {
            assert_eq!(how.to_string().parse(), Ok(how));
        }
        for wrong in ["min", "percentile", "percentile:101", "percentile:nan"] {
            assert!(wrong.parse::<Calibration>().is_err(), "{wrong}");
        }
    }
}
