//! Comparison of values with their tolerance, and what it has seen.

use kinglet_train::nn::params::Params;

use super::File;

/// Collects the comparisons of one file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Compare {
    worst: f64,
    failures: Vec<String>,
    unsupported: Vec<String>,
}

/// `|a - b| <= 1e-5 + 1e-4 |b|` is safe for f32 in any order of summation.
const ABSOLUTE: f64 = 1e-5;
/// Ill-conditioned inputs.
const ABSOLUTE_STRESS: f64 = 1e-4;
const RELATIVE: f64 = 1e-4;

impl Compare {
    /// Compares `found` with `expected`, value by value. Names that contain `stress.` or `big.` get the
    /// wider tolerance.
    pub fn values(&mut self, name: &str, found: &[f32], expected: &[f32]) {
        if found.len() != expected.len() {
            self.fail(format!("{name}: {} values, expected {}", found.len(), expected.len()));
            return;
        }
        let stress = name.contains("stress.") || name.contains("big.");
        let absolute = if stress { ABSOLUTE_STRESS } else { ABSOLUTE };
        let mut worst_here: Option<(f64, usize)> = None;
        for (i, (&a, &b)) in found.iter().zip(expected).enumerate() {
            let (a, b) = (f64::from(a), f64::from(b));
            let error = (a - b).abs();
            self.worst = self.worst.max(error / (1.0 + b.abs()));
            let inside = error <= absolute + RELATIVE * b.abs();
            if !inside && worst_here.is_none_or(|(worst, _)| error > worst) {
                worst_here = Some((error, i));
            }
        }
        if let Some((_, i)) = worst_here {
            self.fail(format!("{name}[{i}]: {} expected {}", found[i], expected[i]));
        }
    }

    /// Compares with a tensor of the file; one that is missing is a failure.
    pub fn tensor(&mut self, file: &File, name: &str, found: &[f32]) {
        match file.get(name) {
            Ok(expected) => self.values(name, found, expected),
            Err(error) => self.fail(error.to_string()),
        }
    }

    /// Compares each tensor of `found` whose name begins with `prefix` with the file's of that name, behind `expected` in place
    /// of the prefix.
    pub fn tensors(&mut self, file: &File, expected: &str, prefix: &str, found: &Params) {
        for t in found {
            if let Some(name) = t.name.strip_prefix(prefix) {
                self.tensor(file, &format!("{expected}{name}"), &t.data);
            }
        }
    }

    /// Compares the loss `Σ output · r` of some outputs, given the names of their `r`.
    pub fn loss(&mut self, file: &File, name: &str, outputs: &[(&str, &[f32])]) {
        let mut loss = 0.0;
        for (r, output) in outputs {
            match file.get(r) {
                Ok(r) => loss += r.iter().zip(*output).map(|(r, y)| f64::from(r * y)).sum::<f64>(),
                Err(error) => self.fail(error.to_string()),
            }
        }
        self.tensor(file, name, &[loss as f32]);
    }

    /// Compares one number.
    pub fn number(&mut self, name: &str, found: f64, expected: f64) {
        self.values(name, &[found as f32], &[expected as f32]);
    }

    /// Asks for equality.
    pub fn equal<T: PartialEq + std::fmt::Debug>(&mut self, name: &str, found: &T, expected: &T) {
        if found != expected {
            self.fail(format!("{name}: {found:?} expected {expected:?}"));
        }
    }

    /// Records a failure.
    pub fn fail(&mut self, what: String) {
        self.failures.push(what);
    }

    /// Records a part that is not supported.
    pub fn unsupported(&mut self, what: &str) {
        self.unsupported.push(what.to_owned());
    }

    /// Whether anything disagreed.
    pub fn failed(&self) -> bool {
        !self.failures.is_empty()
    }

    /// Greatest `|a - b| / (1 + |b|)`.
    pub fn worst(&self) -> f64 {
        self.worst
    }

    /// Failures, then notes.
    pub fn into_notes(self) -> Vec<String> {
        let mut notes = self.failures;
        if !self.unsupported.is_empty() {
            notes.push(format!("not supported yet: {}", self.unsupported.join(", ")));
        }
        notes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tolerance() {
        let mut c = Compare::default();
        c.values("a", &[1.00005, 5e-6], &[1.0, 0.0]);
        c.values("stress.a", &[9e-5], &[0.0]);
        assert!(!c.failed());
        for (found, expected) in [(1.0002, 1.0), (2e-5, 0.0), (f32::NAN, 0.0), (0.0, f32::NAN)] {
            let mut c = Compare::default();
            c.values("a", &[found], &[expected]);
            assert!(c.failed(), "{found} {expected}");
        }
        let mut c = Compare::default();
        c.values("a", &[], &[1.0]);
        assert!(c.failed());
    }
}
