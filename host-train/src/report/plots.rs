//! Pictures of a run, as SVG.

use std::ops::Range;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::Attention;
use super::page::clean;
use crate::config::Metric;
use crate::trainer::EpochRecord;

/// Size of curves: on a phone half as large, and still readable.
const SIZE: (u32, u32) = (640, 360);
const FONT: &str = "sans-serif";
const TEXT: i32 = 24;
const BLUE: RGBColor = RGBColor(31, 119, 180);
const ORANGE: RGBColor = RGBColor(230, 97, 1);
const GREY: RGBColor = RGBColor(120, 120, 120);

/// What drawing can fail with; into a `String` it does not.
type Drawn = Result<(), Box<dyn std::error::Error>>;

/// A named line.
struct Line {
    name: String,
    colour: RGBColor,
    points: Vec<(f64, f64)>,
}

/// Loss of training and dev set by epoch, as SVG; a grey line marks the best.
pub fn losses(epochs: &[EpochRecord]) -> String {
    let of = |name: &str, colour, value: &dyn Fn(&EpochRecord) -> f64| line(name, colour, epochs, value);
    let lines = [of("training", BLUE, &|e| e.train_loss), of("dev", ORANGE, &|e| e.dev_loss)];
    curves("loss, nats a token", epochs, &lines, false)
}

/// The watched metric on the dev set by epoch, as SVG.
pub fn metric(epochs: &[EpochRecord], metric: Metric) -> String {
    let unit = if metric == Metric::Loss { "nats a token" } else { "percent" };
    let lines = [line(metric.name(), ORANGE, epochs, &|e| e.get(metric))];
    curves(&format!("dev {}, {unit}", metric.name()), epochs, &lines, false)
}

/// The learning rate by epoch, on a logarithmic scale, as SVG.
pub fn learning_rate(epochs: &[EpochRecord]) -> String {
    let lines = [line("learning rate", BLUE, epochs, &|e| f64::from(e.learning_rate))];
    curves("learning rate", epochs, &lines, true)
}

fn line(name: &str, colour: RGBColor, epochs: &[EpochRecord], value: &dyn Fn(&EpochRecord) -> f64) -> Line {
    let points = epochs.iter().map(|epoch| (epoch.epoch as f64, value(epoch)));
    Line { name: name.into(), colour, points: points.filter(|point| point.1.is_finite()).collect() }
}

/// The range of some values with a little room around, also when there is one value or none.
fn range(values: impl Iterator<Item = f64>, room: f64) -> Range<f64> {
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
    if low > high {
        return 0.0..1.0;
    }
    let room = if high > low { room * (high - low) } else { low.abs().max(1.0) * 0.5 };
    low - room..high + room
}

fn curves(title: &str, epochs: &[EpochRecord], lines: &[Line], logarithmic: bool) -> String {
    let mut svg = String::new();
    let best = epochs.iter().rev().find(|epoch| epoch.best).map(|epoch| epoch.epoch as f64);
    let drawn = draw_curves(&mut svg, title, best, lines, logarithmic);
    drawn.expect("a String takes everything");
    svg
}

fn draw_curves(svg: &mut String, title: &str, best: Option<f64>, lines: &[Line], logarithmic: bool) -> Drawn {
    let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    // Ten to the power of what is drawn: a logarithmic axis whose labels are its own.
    let scale = |value: f64| if logarithmic { value.log10() } else { value };
    let label =
        |value: &f64| if logarithmic { format!("{:.1e}", 10f64.powf(*value)) } else { number(*value) };
    let all = || lines.iter().flat_map(|line| &line.points);
    let x = range(all().map(|point| point.0), 0.0);
    let y = range(all().map(|point| scale(point.1)).filter(|value| value.is_finite()), 0.08);
    let mut chart = ChartBuilder::on(&root)
        .caption(title, (FONT, TEXT))
        .margin(8)
        .margin_right(24)
        .x_label_area_size(56)
        .y_label_area_size(88)
        .build_cartesian_2d(x, y.clone())?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .x_desc("epoch")
        .x_labels(10)
        .y_labels(6)
        .x_label_formatter(&|value| number(*value))
        .y_label_formatter(&label)
        .label_style((FONT, TEXT - 3))
        .draw()?;
    if let Some(best) = best {
        chart.draw_series(LineSeries::new([(best, y.start), (best, y.end)], GREY))?;
    }
    for Line { name, colour, points } in lines {
        let colour = *colour;
        let points: Vec<(f64, f64)> =
            points.iter().map(|&(x, y)| (x, scale(y))).filter(|p| p.1.is_finite()).collect();
        chart
            .draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)).point_size(2))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], colour.stroke_width(2)));
    }
    // One line needs no name beside the title.
    if lines.len() > 1 {
        chart
            .configure_series_labels()
            .label_font((FONT, TEXT - 3))
            .background_style(WHITE.mix(0.8))
            .border_style(GREY.mix(0.4))
            .position(SeriesLabelPosition::UpperRight)
            .draw()?;
    }
    root.present()?;
    Ok(())
}

/// A number with as many digits as it needs, four after the point at most.
fn number(value: f64) -> String {
    let text = format!("{value:.4}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".into() } else { text.into() }
}

/// Attention as a heat map, a row for each target token and a column for each source token, as SVG.
pub fn attention(picture: &Attention) -> String {
    let mut svg = String::new();
    draw_attention(&mut svg, picture).expect("a String takes everything");
    svg
}

fn draw_attention(svg: &mut String, picture: &Attention) -> Drawn {
    const CELL: i32 = 24;
    const LETTER: i32 = 9;
    let source: Vec<String> = picture.source.iter().map(|token| shown(token)).collect();
    let target: Vec<String> = picture.target.iter().map(|token| shown(token)).collect();
    let longest = |tokens: &[String]| tokens.iter().map(|t| t.chars().count()).max().unwrap_or(0) as i32;
    let (left, top) = (longest(&target) * LETTER + 16, longest(&source) * LETTER + 16);
    let (width, height) = (left + CELL * source.len() as i32 + 1, top + CELL * target.len() as i32 + 1);
    let root =
        SVGBackend::with_string(svg, (width.unsigned_abs(), height.unsigned_abs())).into_drawing_area();
    root.fill(&WHITE)?;
    let font = (FONT, TEXT - 6).into_font();
    // Source tokens stand upright.
    let upright = font.clone().transform(FontTransform::Rotate270).color(&BLACK);
    let upright = upright.pos(Pos::new(HPos::Left, VPos::Center));
    let lying = font.color(&BLACK).pos(Pos::new(HPos::Right, VPos::Center));
    for (column, token) in source.iter().enumerate() {
        root.draw(&Text::new(
            token.as_str(),
            (left + CELL * column as i32 + CELL / 2, top - 6),
            upright.clone(),
        ))?;
    }
    for (row, (token, weights)) in target.iter().zip(&picture.weights).enumerate() {
        let y = top + CELL * row as i32;
        root.draw(&Text::new(token.as_str(), (left - 6, y + CELL / 2), lying.clone()))?;
        for (column, &weight) in weights.iter().enumerate() {
            let x = left + CELL * column as i32;
            let corners = [(x, y), (x + CELL, y + CELL)];
            root.draw(&Rectangle::new(corners, BLUE.mix(f64::from(weight.clamp(0.0, 1.0))).filled()))?;
            root.draw(&Rectangle::new(corners, GREY.mix(0.3)))?;
        }
    }
    root.present()?;
    Ok(())
}

/// A token that can be seen.
fn shown(token: &str) -> String {
    if token.trim().is_empty() { "\u{2423}".into() } else { clean(token) }
}
