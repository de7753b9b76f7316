//! The learning rate over time.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

use crate::config::{Horizon, PlateauConfig, ScheduleConfig, ScheduleKind};

/// Where in a run a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Number of the step, from 1.
    pub step: u64,
    /// Epochs finished before it.
    pub epoch: usize,
    /// Steps an epoch.
    pub steps_per_epoch: u64,
    /// Epochs of the run.
    pub epochs: usize,
}

impl ScheduleConfig {
    /// The learning rate of a step, given the rate `base` that the schedule goes up to. It depends on the arguments
    /// alone; what a plateau takes off has been taken off `base`.
    pub fn rate(&self, base: f32, at: &Moment) -> f32 {
        let (warmup, step) = (self.warmup_steps as f64, at.step as f64);
        let full = f64::from(base);
        if at.step < self.warmup_steps {
            return (full * step / warmup) as f32;
        }
        // A rate that is below the floor from the start stays where it is.
        let floor = f64::from(self.min_learning_rate).min(full);
        // From 0 at the end of the warm-up to 1.
        let way = |horizon: &Horizon| {
            let epochs = if horizon.until_epoch == 0 { at.epochs } else { horizon.until_epoch };
            let steps = (epochs as f64 * at.steps_per_epoch as f64 - warmup).max(1.0);
            ((step - warmup) / steps).min(1.0)
        };
        let rate = match &self.kind {
            ScheduleKind::Constant | ScheduleKind::Plateau(_) => full,
            ScheduleKind::InverseSqrt => full * (warmup.max(1.0) / step).sqrt(),
            ScheduleKind::Cosine(horizon) => floor + (full - floor) * (1.0 + (PI * way(horizon)).cos()) / 2.0,
            ScheduleKind::Linear(horizon) => full + (floor - full) * way(horizon),
            ScheduleKind::Step(s) => {
                let falls = i32::try_from(at.epoch / s.every).unwrap_or(i32::MAX);
                full * f64::from(s.factor).powi(falls)
            }
        };
        rate.max(floor) as f32
    }
}

/// What a plateau has seen of the dev metric.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Plateau {
    /// Smallest metric seen; `None` before the first.
    pub best: Option<f64>,
    /// Observations since then.
    pub bad_epochs: usize,
}

impl Plateau {
    /// The learning rate after a metric (smaller is better) was seen at rate `lr`.
    ///
    /// It falls, not below `floor`, after more than `patience` observations without a new best value, and then the
    /// count starts again. A metric that is not a number counts as no improvement.
    pub fn observe(&mut self, config: &PlateauConfig, floor: f32, metric: f64, lr: f32) -> f32 {
        let better = !metric.is_nan() && self.best.is_none_or(|best| metric < best);
        if better {
            self.best = Some(metric);
            self.bad_epochs = 0;
            return lr;
        }
        self.bad_epochs += 1;
        if self.bad_epochs <= config.patience {
            return lr;
        }
        self.bad_epochs = 0;
        // A rate that is already below the floor stays where it is.
        (lr * config.factor).max(floor.min(lr))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::StepConfig;

    /// Rates of ten epochs of ten steps at the given steps.
    fn rates(schedule: &ScheduleConfig, steps: &[u64]) -> Vec<f32> {
        let at =
            |&step: &u64| Moment { step, epoch: (step as usize - 1) / 10, steps_per_epoch: 10, epochs: 10 };
        steps.iter().map(|step| schedule.rate(0.8, &at(step))).collect()
    }

    fn near(found: &[f32], expected: &[f32]) {
        let all = found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6);
        assert!(all && found.len() == expected.len(), "{found:?} {expected:?}");
    }

    #[test]
    fn every_kind_by_hand() {
        let schedule = |kind, warmup_steps| ScheduleConfig { warmup_steps, min_learning_rate: 0.1, kind };
        let constant = schedule(ScheduleKind::Constant, 4);
        near(&rates(&constant, &[1, 2, 4, 5, 100]), &[0.2, 0.4, 0.8, 0.8, 0.8]);
        let inverse = schedule(ScheduleKind::InverseSqrt, 4);
        near(&rates(&inverse, &[2, 4, 16, 64, 100_000]), &[0.4, 0.8, 0.4, 0.2, 0.1]);
        let cosine = schedule(ScheduleKind::Cosine(Horizon::default()), 20);
        near(&rates(&cosine, &[10, 20, 60, 100, 101]), &[0.4, 0.8, 0.45, 0.1, 0.1]);
        let linear = schedule(ScheduleKind::Linear(Horizon { until_epoch: 5 }), 0);
        near(&rates(&linear, &[25, 50, 99]), &[0.45, 0.1, 0.1]);
        let step = schedule(ScheduleKind::Step(StepConfig { factor: 0.5, every: 2 }), 0);
        near(&rates(&step, &[1, 20, 21, 41, 61, 99]), &[0.8, 0.8, 0.4, 0.2, 0.1, 0.1]);
        let plateau = ScheduleConfig { min_learning_rate: 1.0, ..ScheduleConfig::default() };
        near(&rates(&plateau, &[1, 100]), &[0.8, 0.8]);
    }

    #[test]
    fn a_plateau_falls_after_patience_and_not_below_the_floor() {
        let mut plateau = Plateau::default();
        let config = PlateauConfig { factor: 0.5, patience: 1 };
        let mut lr = 1.0;
        let rates: Vec<f32> = [5.0, 4.0, 4.0, f64::NAN, 4.5, 3.0, 3.0, 3.0, 3.0, 3.0]
            .into_iter()
            .map(|metric| {
                lr = plateau.observe(&config, 0.3, metric, lr);
                lr
            })
            .collect();
        assert_eq!(rates, [1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.3, 0.3, 0.3]);
    }

    #[test]
    fn state_survives_serialization() {
        let mut plateau = Plateau::default();
        plateau.observe(&PlateauConfig::default(), 0.0, 1.5, 0.1);
        plateau.observe(&PlateauConfig::default(), 0.0, 2.0, 0.1);
        let text = serde_json::to_string(&plateau).unwrap();
        assert_eq!(serde_json::from_str::<Plateau>(&text).unwrap(), plateau);
    }
}
