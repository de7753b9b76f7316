//! The learning rate over time.

use serde::{Deserialize, Serialize};

/// Lowers the learning rate when a metric stops falling.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plateau {
    /// The learning rate is multiplied by this.
    pub factor: f32,
    /// Observations without a new best value that are tolerated.
    pub patience: usize,
    /// The learning rate does not fall below this.
    pub min_lr: f32,
    /// Smallest metric seen; `None` before the first.
    pub best: Option<f64>,
    /// Observations since then.
    pub bad_epochs: usize,
}

impl Plateau {
    /// A schedule that has seen nothing yet.
    pub fn new(factor: f32, patience: usize, min_lr: f32) -> Self {
        Self { factor, patience, min_lr, best: None, bad_epochs: 0 }
    }

    /// The learning rate after a metric (smaller is better) was seen at rate `lr`.
    ///
    /// It falls after more than `patience` observations without a new best value, and then the count
    /// starts again. A metric that is not a number counts as no improvement.
    pub fn observe(&mut self, metric: f64, lr: f32) -> f32 {
        let better = !metric.is_nan() && self.best.is_none_or(|best| metric < best);
        if better {
            self.best = Some(metric);
            self.bad_epochs = 0;
            return lr;
        }
        self.bad_epochs += 1;
        if self.bad_epochs <= self.patience {
            return lr;
        }
        self.bad_epochs = 0;
        // A rate that is already below the floor stays where it is.
        (lr * self.factor).max(self.min_lr.min(lr))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn falls_after_patience_and_not_below_the_floor() {
        let mut plateau = Plateau::new(0.5, 1, 0.3);
        let mut lr = 1.0;
        let rates: Vec<f32> = [5.0, 4.0, 4.0, f64::NAN, 4.5, 3.0, 3.0, 3.0, 3.0, 3.0]
            .into_iter()
            .map(|metric| {
                lr = plateau.observe(metric, lr);
                lr
            })
            .collect();
        assert_eq!(rates, [1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.3, 0.3, 0.3]);
    }

    #[test]
    fn state_survives_serialization() {
        let mut plateau = Plateau::new(0.5, 2, 0.0);
        plateau.observe(1.5, 0.1);
        plateau.observe(2.0, 0.1);
        let text = serde_json::to_string(&plateau).unwrap();
        assert_eq!(serde_json::from_str::<Plateau>(&text).unwrap(), plateau);
    }
}
