//! Sources of numbers: frames of features as text, and the counts that networks and devices take.
//!
//! A line is frames separated by single spaces, a frame its features separated by commas, decimal numbers: `0.5,-1 0.25,0`. A
//! number becomes the nearest multiple of its feature's resolution; how many of these it is, the count, has 16 bits.

use std::fmt::Write as _;

use crate::config::{FramesConfig, Resolution};

/// How lines of numbers are read.
#[derive(Debug, Clone, PartialEq)]
pub struct Frames {
    /// What a count is worth, feature by feature.
    resolution: Vec<f64>,
}

impl Frames {
    /// Frames of features whose counts are worth so much.
    ///
    /// # Panics
    /// Without a feature.
    pub fn new(resolution: Vec<f64>) -> Self {
        assert!(!resolution.is_empty(), "a frame has features");
        Self { resolution }
    }

    /// What a configuration says; as wide as the first frame of `line` where it names no width.
    ///
    /// # Errors
    /// What is wrong with the widths.
    pub fn of(config: &FramesConfig, line: &str) -> Result<Self, String> {
        let width = match config.width {
            0 => line.split(' ').next().unwrap_or_default().split(',').count(),
            width => width,
        };
        let resolution = match &config.resolution {
            Resolution::All(one) => vec![*one; width],
            Resolution::Each(each) if each.len() == width => each.clone(),
            Resolution::Each(each) => {
                let found = each.len();
                return Err(format!(
                    "data.frames.resolution has {found} numbers, expected {width}, one a feature"
                ));
            }
        };
        Ok(Self { resolution })
    }

    /// Numbers a frame.
    pub fn width(&self) -> usize {
        self.resolution.len()
    }

    /// What a count is worth, feature by feature.
    pub fn resolution(&self) -> &[f64] {
        &self.resolution
    }

    /// The counts of a line, frame after frame.
    ///
    /// # Errors
    /// Which frame is not as wide as the others, or which number is none, not finite or out of range; what was expected and found.
    pub fn counts(&self, line: &str) -> Result<Vec<i16>, String> {
        let mut counts = Vec::new();
        for (frame, text) in (1..).zip(line.split(' ')) {
            let (expected, found) = (self.width(), text.split(',').count());
            if text.is_empty() {
                return Err(format!("frame {frame} is empty; expected single spaces between frames"));
            }
            if found != expected {
                return Err(format!(
                    "frame {frame}: expected {expected} numbers with commas between them, found {found}"
                ));
            }
            for ((feature, text), resolution) in (1..).zip(text.split(',')).zip(&self.resolution) {
                let place = format!("frame {frame}, number {feature}");
                let value = text.parse::<f64>().ok().filter(|value| value.is_finite());
                let value =
                    value.ok_or_else(|| format!("{place}: expected a decimal number, found {text:?}"))?;
                let count = (value / resolution).round();
                if !(f64::from(i16::MIN)..=f64::from(i16::MAX)).contains(&count) {
                    let [low, high] = [i16::MIN, i16::MAX].map(|limit| f64::from(limit) * resolution);
                    return Err(format!("{place}: expected {low} to {high}, found {text}"));
                }
                counts.push(count as i16);
            }
        }
        Ok(counts)
    }

    /// The text of some counts, whole frames: the inverse of [`Frames::counts`], up to rounding to counts.
    pub fn text(&self, counts: impl IntoIterator<Item = i16>) -> String {
        let mut text = String::new();
        for (i, count) in counts.into_iter().enumerate() {
            let feature = i % self.width();
            let separator = match (i, feature) {
                (0, _) => "",
                (_, 0) => " ",
                _ => ",",
            };
            let value = f64::from(count) * self.resolution[feature];
            write!(text, "{separator}{value}").expect("a String takes everything");
        }
        text
    }
}

/// Counts as the ids that batches are made of.
pub fn to_ids(counts: impl IntoIterator<Item = i16>) -> Vec<u32> {
    counts.into_iter().map(|count| i32::from(count) as u32).collect()
}

/// The inverse of [`to_ids`].
pub fn to_counts(ids: &[u32]) -> impl Iterator<Item = i16> + '_ {
    ids.iter().map(|&id| id as i16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_become_counts_and_text_again() {
        let frames = Frames::new(vec![0.5, 1.0]);
        let counts = frames.counts("0.4,-3 -1.3,7e2").unwrap();
        assert_eq!(counts, [1, -3, -3, 700]);
        assert_eq!(frames.text(counts.iter().copied()), "0.5,-3 -1.5,700");
        assert_eq!(frames.counts("16383.5,32767 -16384,-32768").unwrap(), [32_767, 32_767, -32_768, -32_768]);
        assert_eq!(to_counts(&to_ids(counts.clone())).collect::<Vec<_>>(), counts);
    }

    #[test]
    fn what_is_no_frame_is_named() {
        let frames = Frames::new(vec![0.5, 1.0]);
        for (line, expected) in [
            ("1,2 3", "frame 2: expected 2 numbers with commas between them, found 1"),
            ("1,2,3", "frame 1: expected 2 numbers with commas between them, found 3"),
            ("1,2  3,4", "frame 2 is empty; expected single spaces between frames"),
            ("", "frame 1 is empty; expected single spaces between frames"),
            ("1,2 3,x", "frame 2, number 2: expected a decimal number, found \"x\""),
            ("nan,2", "frame 1, number 1: expected a decimal number, found \"nan\""),
            ("1,inf", "frame 1, number 2: expected a decimal number, found \"inf\""),
            ("1,", "frame 1, number 2: expected a decimal number, found \"\""),
            ("16384,0", "frame 1, number 1: expected -16384 to 16383.5, found 16384"),
            ("0,1e9", "frame 1, number 2: expected -32768 to 32767, found 1e9"),
        ] {
            assert_eq!(frames.counts(line).unwrap_err(), expected, "{line:?}");
        }
    }

    #[test]
    fn widths_are_told_or_read_off_a_line() {
        let width = |config: &FramesConfig| Frames::of(config, "1,2,3 4,5,6").map(|frames| frames.width());
        let mut config = FramesConfig::default();
        assert_eq!(width(&config), Ok(3));
        config.width = 2;
        assert_eq!(width(&config), Ok(2));
        config.resolution = Resolution::Each(vec![1.0; 3]);
        assert!(width(&config).unwrap_err().contains("has 3 numbers, expected 2"));
    }
}
