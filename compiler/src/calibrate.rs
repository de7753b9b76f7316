//! Ranges of the float model's inner values, seen on real data.

use std::collections::BTreeMap;

use kinglet_train::model::Seq2Seq;

use crate::error::{Error, Result};

/// A sentence pair as ids, both sides ending with the end mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// Source ids.
    pub source: Vec<u32>,
    /// Target ids.
    pub target: Vec<u32>,
}

/// The largest magnitudes seen, by the names that [`Seq2Seq::observe`] gives.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Ranges(BTreeMap<String, f32>);

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

impl Ranges {
    /// Runs the float model over the examples, teacher forced, and keeps the largest magnitude of every quantity.
    ///
    /// # Errors
    /// [`Error::Calibration`] when there are no examples or a value is not finite.
    pub fn observe(model: &Seq2Seq, examples: &[Example]) -> Result<Self> {
        if examples.is_empty() {
            return Err(Error::Calibration("there are no pairs to calibrate on; give a dev set".into()));
        }
        let mut ranges: BTreeMap<String, f32> = BTreeMap::new();
        let mut broken = None;
        for example in examples {
            model.observe(&example.source, &example.target, &mut |name, values| {
                let largest = values.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
                if broken.is_none() && values.iter().any(|v| !v.is_finite()) {
                    broken = Some(name.to_owned());
                }
                match ranges.get_mut(name) {
                    Some(range) => *range = range.max(largest),
                    None => _ = ranges.insert(name.to_owned(), largest),
                }
            });
        }
        match broken {
            Some(name) => Err(Error::Calibration(format!(
                "{name} is not finite on the dev set: the trained weights are damaged, train again"
            ))),
            None => Ok(Self(ranges)),
        }
    }

    /// The largest magnitude of a quantity, 0 when it was never seen.
    pub fn largest(&self, name: &str) -> f32 {
        self.0.get(name).copied().unwrap_or(0.0)
    }
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

    #[test]
    fn nothing_seen_in_calibration_lies_beyond_its_own_range() {
        let model = Seq2Seq::new(&ModelConfig::default(), 9, 8, 1);
        let examples = [Example { source: vec![4, 8, EOS], target: vec![7, EOS] }];
        let ranges = Ranges::observe(&model, &examples).unwrap();
        let name = "decoder.attention.key".to_owned();
        let largest = f64::from(ranges.largest(&name));
        assert!(largest > 0.0 && ranges.largest("no such quantity") == 0.0);

        let count =
            |limit: f64| saturation(&model, &examples, &BTreeMap::from([(name.clone(), limit)]))[0].clone();
        let keys = 3 * ModelConfig::default().attention.size as u64;
        assert_eq!((count(largest).values, count(largest).beyond), (keys, 0));
        assert_eq!(count(largest * 0.999).beyond, 1);
        assert_eq!(count(-1.0).beyond, keys);
    }
}
