//! Points that lose against what they save: a chart of its own, in the page's units.

use std::fmt::{self, Write as _};

use super::html::{WIDTH, escape};

/// Height, and what labels take of it and of the width.
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 30.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 60.0;
/// Ticks of an axis, about.
const TICKS: f64 = 5.0;
/// Letters here are larger than elsewhere: the chart is as wide as a phone's screen, half its units.
const LETTERS: &str = "font-size:22px";

/// A point.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// What it costs, to the right.
    pub x: f64,
    /// What it loses, upwards.
    pub y: f64,
    /// Shown beside it.
    pub label: String,
    /// Shown when it is pointed at.
    pub title: String,
    /// Whether the line goes through it; it is hollow when not.
    pub kept: bool,
}

/// From values to a stretch of the picture, with round ticks.
#[derive(Debug, Clone, PartialEq)]
struct Axis {
    low: f64,
    high: f64,
    /// Of the picture, at `low` and `high`.
    ends: [f64; 2],
    step: f64,
}

impl Axis {
    /// An axis that holds the values with some room.
    fn new(values: impl Iterator<Item = f64> + Clone, ends: [f64; 2]) -> Self {
        let low = values.clone().fold(f64::INFINITY, f64::min);
        let high = values.fold(f64::NEG_INFINITY, f64::max);
        let room = if high > low { 0.08 * (high - low) } else { f64::max(0.05 * high.abs(), 0.5) };
        let (low, high) = (low - room, high + room);
        // 1, 2 or 5 times a power of ten.
        let rough = (high - low) / TICKS;
        let power = libm::pow(10.0, libm::floor(libm::log10(rough)));
        let step = [1.0, 2.0, 5.0, 10.0].map(|m| m * power).into_iter().find(|&s| s >= rough);
        Self { low, high, ends, step: step.unwrap_or(10.0 * power) }
    }

    fn at(&self, value: f64) -> f64 {
        let share = (value - self.low) / (self.high - self.low);
        self.ends[0] + share * (self.ends[1] - self.ends[0])
    }

    fn ticks(&self) -> impl Iterator<Item = f64> + '_ {
        let first = libm::ceil(self.low / self.step) as i64;
        (first..).map(|n| n as f64 * self.step).take_while(|&tick| tick <= self.high)
    }

    /// A tick as text, with the decimals that tell it from the next.
    fn text(&self, tick: f64) -> String {
        let decimals = (-libm::floor(libm::log10(self.step))).max(0.0) as usize;
        format!("{tick:.decimals$}")
    }
}

/// Draws points with a line through those that were kept, and a dashed line at a level to compare them with. `names` are those of
/// the axes.
pub fn draw(out: &mut String, points: &[Point], level: f64, names: [&str; 2]) -> fmt::Result {
    let x = Axis::new(points.iter().map(|p| p.x), [LEFT, WIDTH - RIGHT]);
    let y = Axis::new(points.iter().map(|p| p.y).chain([level]), [HEIGHT - BOTTOM, TOP]);
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    writeln!(
        out,
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{} against {}\">",
        escape(names[1]),
        escape(names[0])
    )?;
    let text = |out: &mut String, x: f64, y: f64, anchor: &str, text: &str| {
        let text = escape(text);
        writeln!(
            out,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" style=\"{LETTERS}\">{text}</text>"
        )
    };
    let line = |out: &mut String, [x1, y1, x2, y2]: [f64; 4], stroke: &str| {
        writeln!(out, "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" {stroke}/>")
    };
    for tick in x.ticks() {
        line(out, [x.at(tick), TOP, x.at(tick), bottom], "stroke=\"#eee\"")?;
        text(out, x.at(tick), bottom + 24.0, "middle", &x.text(tick))?;
    }
    for tick in y.ticks() {
        line(out, [LEFT, y.at(tick), right, y.at(tick)], "stroke=\"#eee\"")?;
        text(out, LEFT - 6.0, y.at(tick) + 7.0, "end", &y.text(tick))?;
    }
    text(out, right, HEIGHT - 8.0, "end", names[0])?;
    text(out, 4.0, TOP - 8.0, "start", names[1])?;
    line(
        out,
        [LEFT, y.at(level), right, y.at(level)],
        "stroke=\"#888\" stroke-width=\"2\" stroke-dasharray=\"8 6\"",
    )?;
    let path: Vec<String> = points
        .iter()
        .filter(|point| point.kept)
        .map(|point| format!("{:.1},{:.1}", x.at(point.x), y.at(point.y)))
        .collect();
    writeln!(
        out,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"#6a9fd0\" stroke-width=\"3\"/>",
        path.join(" ")
    )?;
    for point in points {
        let fill = if point.kept { "#08519c" } else { "#fff" };
        writeln!(
            out,
            "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"7\" fill=\"{fill}\" stroke=\"#08519c\" stroke-width=\"2\"><title>{}</title></circle>",
            x.at(point.x),
            y.at(point.y),
            escape(&point.title)
        )?;
        text(out, x.at(point.x), y.at(point.y) - 13.0, "middle", &point.label)?;
    }
    out.push_str("</svg>\n");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_within() {
        let axis = Axis::new([27.0, 27.4].into_iter(), [0.0, 100.0]);
        let ticks: Vec<String> = axis.ticks().map(|tick| axis.text(tick)).collect();
        assert_eq!(ticks, ["27.0", "27.1", "27.2", "27.3", "27.4"]);
        assert!(axis.at(27.0) > 5.0 && axis.at(27.4) < 95.0);
        let bytes = Axis::new([327_510.0, 575_286.0].into_iter(), [0.0, 100.0]);
        assert_eq!(bytes.ticks().map(|tick| bytes.text(tick)).collect::<Vec<_>>(), ["400000", "500000"]);
    }

    #[test]
    fn a_single_point_has_a_place() {
        let axis = Axis::new([5.0].into_iter(), [0.0, 10.0]);
        assert!((axis.at(5.0) - 5.0).abs() < 1e-9 && axis.ticks().count() > 1);
    }
}
