//! A float with three decimals, without the kilobytes of code that exact formatting takes.

use core::fmt;

/// Shown rounded to thousandths; magnitudes above two million are shown as that.
#[derive(Debug, Clone, Copy)]
pub struct Milli(pub f32);

impl fmt::Display for Milli {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let thousandths = self.0 * 1000.0;
        // The cast saturates.
        let rounded = (if thousandths < 0.0 { thousandths - 0.5 } else { thousandths + 0.5 }) as i32;
        let (whole, part) = (rounded.unsigned_abs() / 1000, rounded.unsigned_abs() % 1000);
        let sign = if rounded < 0 { "-" } else { "" };
        write!(f, "{sign}{whole}.{part:03}")
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::format;

    use super::Milli;

    #[test]
    fn rounds_to_thousandths() {
        for (x, want) in [(0.0, "0.000"), (-0.1534, "-0.153"), (-0.0004, "0.000"), (12.9996, "13.000")] {
            assert_eq!(format!("{}", Milli(x)), want);
        }
    }
}
