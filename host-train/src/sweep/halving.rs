//! How long trials run, and which of them run on.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// How trials share the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Every trial runs to its end.
    Random,
    /// Successive halving (Jamieson and Talwalkar 2016, "Non-stochastic best arm identification and hyperparameter
    /// optimization"): all trials run for a few epochs, the best of `eta` run on for `eta` times as many, and so on; the
    /// epochs of a rung as in Hyperband's inner loop (Li et al. 2018, algorithm 1).
    Halving {
        /// One of so many trials runs on.
        eta: usize,
    },
}

/// A stage of the sweep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rung {
    /// Trials that take part at most: the best of those before.
    pub trials: usize,
    /// Epochs that they have done at its end, at most.
    pub epochs: usize,
}

impl Method {
    /// The rungs for `trials` trials of at most `epochs` epochs.
    ///
    /// # Errors
    /// [`Error::Config`] when there is no trial, or `eta` is below 2.
    pub fn rungs(self, trials: usize, epochs: usize) -> Result<Vec<Rung>> {
        if trials == 0 {
            return Err(Error::Config("sweep: expected 1 trial or more, found 0".into()));
        }
        let eta = match self {
            Self::Random => return Ok(vec![Rung { trials, epochs }]),
            Self::Halving { eta } if eta < 2 => {
                return Err(Error::Config(format!("sweep: eta must be 2 or more, found {eta}")));
            }
            Self::Halving { eta } => eta,
        };
        // From the end: the last rung has all epochs, each before it `eta` times fewer, while trials and epochs last.
        let last = trials.ilog(eta).min(epochs.ilog(eta));
        let rung = |i: u32| Rung { trials: trials / eta.pow(i), epochs: epochs / eta.pow(last - i) };
        Ok((0..=last).map(rung).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rungs(eta: usize, trials: usize, epochs: usize) -> Vec<(usize, usize)> {
        let rungs = Method::Halving { eta }.rungs(trials, epochs).unwrap();
        rungs.iter().map(|rung| (rung.trials, rung.epochs)).collect()
    }

    #[test]
    fn rungs_are_those_of_the_paper() {
        // Li et al. 2018, table 1, bracket s = 4: R = 81, eta = 3.
        assert_eq!(rungs(3, 81, 81), [(81, 1), (27, 3), (9, 9), (3, 27), (1, 81)]);
        assert_eq!(rungs(2, 10, 12), [(10, 1), (5, 3), (2, 6), (1, 12)]);
        // Few epochs: no rung has none.
        assert_eq!(rungs(3, 30, 4), [(30, 1), (10, 4)]);
        assert_eq!(rungs(4, 3, 8), [(3, 8)]);
        assert_eq!(Method::Random.rungs(5, 7).unwrap(), [Rung { trials: 5, epochs: 7 }]);
    }

    #[test]
    fn what_cannot_be_halved_is_said() {
        assert!(
            Method::Halving { eta: 1 }.rungs(5, 5).unwrap_err().to_string().contains("2 or more, found 1")
        );
        assert!(Method::Random.rungs(0, 5).unwrap_err().to_string().contains("found 0"));
    }
}
