//! Averages of weights over steps or epochs.

use crate::config::AverageConfig;
use crate::nn::params::Params;
use crate::optim::scale;

/// The average of a run's weights, as its configuration asks for it.
///
/// - Exponential moving average (Polyak & Juditsky 1992; the warm-up is TensorFlow's): after step `t`
///   `a += (1 - d) (p - a)` with `d = min(decay, (1 + t) / (10 + t))`.
/// - The mean of the weights at the ends of the last epochs (Vaswani et al. 2017, section 6.1).
#[derive(Debug, Clone, PartialEq)]
pub struct Average {
    config: AverageConfig,
    /// The moving average, or the weights of the last epochs, oldest first.
    kept: Vec<Params>,
}

impl Average {
    /// An average that starts at `params`.
    pub fn new(config: &AverageConfig, params: &Params) -> Self {
        let kept = match config {
            AverageConfig::Ema(_) => vec![params.clone()],
            AverageConfig::None | AverageConfig::Epochs(_) => Vec::new(),
        };
        Self { config: config.clone(), kept }
    }

    /// An average taken up again from what [`Average::kept`] said.
    pub fn resume(config: &AverageConfig, kept: Vec<Params>) -> Self {
        Self { config: config.clone(), kept }
    }

    /// All that it remembers.
    pub fn kept(&self) -> &[Params] {
        &self.kept
    }

    /// Takes in the weights after step number `step`.
    ///
    /// # Panics
    /// When the layouts differ.
    pub fn step(&mut self, params: &Params, step: u64) {
        if let (AverageConfig::Ema(ema), Some(average)) = (&self.config, self.kept.first_mut()) {
            assert_eq!(average.len(), params.len(), "layouts differ");
            let decay = f64::from(ema.decay).min((1.0 + step as f64) / (10.0 + step as f64));
            let new = (1.0 - decay) as f32;
            for (a, p) in average.iter_mut().zip(params) {
                a.data.iter_mut().zip(&p.data).for_each(|(a, p)| *a += new * (p - *a));
            }
        }
    }

    /// Takes in the weights at the end of an epoch.
    pub fn epoch(&mut self, params: &Params) {
        if let AverageConfig::Epochs(epochs) = &self.config {
            self.kept.push(params.clone());
            let old = self.kept.len().saturating_sub(epochs.last);
            self.kept.drain(..old);
        }
    }

    /// The average; `None` when the current weights are what counts.
    pub fn weights(&self) -> Option<Params> {
        let (first, others) = self.kept.split_first()?;
        let mut mean = first.clone();
        others.iter().for_each(|other| mean.add(other));
        scale(&mut mean, 1.0 / self.kept.len() as f32);
        Some(mean)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{EmaConfig, EpochsConfig};
    use crate::optim::tests::params;

    #[test]
    fn a_moving_average_warms_up_and_follows() {
        let mut average = Average::new(&AverageConfig::Ema(EmaConfig { decay: 0.5 }), &params(&[0.0]));
        // 2/11, 3/12 and 4/13 are below the decay.
        average.step(&params(&[11.0]), 1);
        assert_eq!(average.weights().unwrap(), params(&[9.0]));
        average.step(&params(&[5.0]), 2);
        assert_eq!(average.weights().unwrap(), params(&[6.0]));
        average.step(&params(&[4.0]), 1000);
        assert_eq!(average.weights().unwrap(), params(&[5.0]));
        average.epoch(&params(&[70.0]));
        assert_eq!(average.weights().unwrap(), params(&[5.0]));
    }

    #[test]
    fn the_last_epochs_count_alike() {
        let mut average = Average::new(&AverageConfig::Epochs(EpochsConfig { last: 2 }), &params(&[9.0]));
        assert_eq!(average.weights(), None);
        for (value, expected) in [(1.0, 1.0), (2.0, 1.5), (4.0, 3.0)] {
            average.step(&params(&[100.0]), 1);
            average.epoch(&params(&[value]));
            assert_eq!(average.weights().unwrap(), params(&[expected]));
        }
        assert_eq!(Average::resume(&average.config, average.kept().to_vec()), average);
    }

    #[test]
    fn without_an_average_the_weights_count() {
        let mut average = Average::new(&AverageConfig::None, &params(&[9.0]));
        average.step(&params(&[1.0]), 1);
        average.epoch(&params(&[1.0]));
        assert_eq!(average.weights(), None);
    }
}
