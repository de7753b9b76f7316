//! The report as one page of HTML: nothing to load, no script, readable on a phone. It is well-formed XML too.

use std::fmt::{self, Write as _};

use super::chart::{self, Point};
use super::treemap::{Rect, squarify};
use super::{Picture, Report, heads, search_name};
use crate::mixed::{Choice, Measured};

/// Size of the pictures in their own units; they are as wide as the screen.
pub(super) const WIDTH: f64 = 720.0;
const TREEMAP_HEIGHT: f64 = 480.0;
/// Widest and highest letters of a label, in those units.
pub(super) const LETTER: (f64, f64) = (6.2, 12.0);

const STYLE: &str = "\
body{font:16px/1.5 system-ui,sans-serif;margin:0 auto;padding:1rem;max-width:50rem;color:#222;background:#fff}\
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}\
svg{width:100%;height:auto;display:block}svg text{font:11px system-ui,sans-serif;fill:#222}\
.wide{overflow-x:auto;margin:.6rem 0}table{border-collapse:collapse;font-size:.9rem}\
td,th{padding:.15rem .6rem;text-align:right;border-bottom:1px solid #ddd;white-space:nowrap}td:first-child,th:first-child{text-align:left}\
.bar{background:#6a9fd0;height:.7rem;min-width:1px}.note{background:#fff3cd;padding:.5rem 1rem}\
figure{margin:1rem 0}figcaption{font-size:.9rem}";

/// A colour for each kind of contents.
const COLOURS: [(&str, &str); 5] = [
    ("encoder", "#a6cee3"),
    ("decoder.attention", "#fdd49e"),
    ("decoder", "#b2df8a"),
    ("vocabulary", "#dadaeb"),
    ("", "#e5e5e5"),
];

/// The whole page. The same report gives the same bytes.
pub fn page(report: &Report) -> String {
    let mut page = String::new();
    write(&mut page, report).expect("a String takes everything");
    page
}

fn write(out: &mut String, report: &Report) -> fmt::Result {
    let name = escape(&report.name);
    write!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
         <title>{name}: a Kinglet model</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{name}</h1>\n"
    )?;
    let ram = report.planned_ram;
    writeln!(
        out,
        "<p><b>{}</b> bytes of flash, CRC {:08x}. <b>{}</b> bytes of RAM for {} source tokens, {} target tokens, beam {}.</p>",
        report.blob_bytes, report.crc, ram.bytes, ram.source, ram.target, ram.beam
    )?;
    for advice in report.advice() {
        writeln!(out, "<p class=\"note\">{}</p>", escape(&advice))?;
    }
    accuracy(out, report)?;
    if let Some(choice) = &report.choice {
        self::choice(out, choice)?;
    }
    if let Some(fit) = &report.fit {
        writeln!(out, "<h2>The board</h2>\n<pre class=\"wide\">{}</pre>", escape(&fit.to_string()))?;
    }
    flash(out, report)?;
    memory(out, report)?;
    errors(out, report)?;
    saturation(out, report)?;
    if !report.pictures.is_empty() {
        writeln!(out, "<h2>What it attends to</h2>")?;
        report.pictures.iter().try_for_each(|picture| alignment(out, picture))?;
    }
    out.push_str("</body>\n</html>\n");
    Ok(())
}

/// Text as it stands in HTML. What XML has no characters for becomes the replacement character.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\t' => escaped.push(c),
            c if c.is_control() || matches!(c, '\u{FFFE}' | '\u{FFFF}') => escaped.push('\u{FFFD}'),
            c => escaped.push(c),
        }
    }
    escaped
}

/// A table; its cells are HTML.
fn table(out: &mut String, head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> fmt::Result {
    out.push_str("<div class=\"wide\"><table>\n<tr>");
    head.iter().try_for_each(|cell| write!(out, "<th>{cell}</th>"))?;
    out.push_str("</tr>\n");
    for row in rows {
        out.push_str("<tr>");
        row.iter().try_for_each(|cell| write!(out, "<td>{cell}</td>"))?;
        out.push_str("</tr>\n");
    }
    out.push_str("</table></div>\n");
    Ok(())
}

/// A bar of so much of the most.
fn bar(value: f64, most: f64) -> String {
    let share = if most > 0.0 { 100.0 * value / most } else { 0.0 };
    format!("<div style=\"width:8rem\"><div class=\"bar\" style=\"width:{share:.1}%\"></div></div>")
}

fn percent(value: f64) -> String {
    format!("{value:.2}")
}

fn accuracy(out: &mut String, report: &Report) -> fmt::Result {
    let Some(first) = report.accuracy.first() else { return Ok(()) };
    writeln!(out, "<h2>Accuracy on {} dev sources</h2>", first.sources)?;
    for (comparison, numbers) in report.numbers() {
        let rows = numbers
            .iter()
            .map(|numbers| std::iter::once(escape(numbers.name)).chain(numbers.cells()).collect::<Vec<_>>());
        let search = search_name(comparison.beam_size);
        let head: Vec<&str> = std::iter::once(&*search).chain(heads(comparison)).collect();
        table(out, &head, rows)?;
    }
    Ok(())
}

/// The steps to mixed weights: what each cost and saved.
fn choice(out: &mut String, choice: &Choice) -> fmt::Result {
    let (search, metric) = (search_name(choice.beam_size), choice.metric.name());
    writeln!(out, "<h2>Accuracy against bytes, as weights were chosen</h2>")?;
    writeln!(
        out,
        "<p>{metric}, {search}, on {} dev sources; one source is {} points. Dashed: the network as it was trained. Hollow: \
         undone, because it lost too much.</p>",
        choice.sources,
        percent(100.0 / choice.sources.max(1) as f64)
    )?;
    let points: Vec<Point> = choice
        .steps
        .iter()
        .enumerate()
        .map(|(number, step)| Point {
            x: step.measured.bytes as f64,
            y: step.measured.score,
            label: if number == 0 { step.kind.to_string() } else { number.to_string() },
            title: format!("{} {}: {} bytes", step.name(), step.kind, step.measured.bytes),
            kept: step.kept,
        })
        .collect();
    chart::draw(out, &points, choice.float_score, ["bytes", metric])?;
    let rows = choice.steps.iter().enumerate().map(|(number, step)| {
        let Measured { bytes, cross_entropy, score } = step.measured;
        let number = if number == 0 { String::new() } else { format!("{number} ") };
        vec![
            format!("{number}{}", escape(step.name())),
            step.kind.to_string(),
            bytes.to_string(),
            percent(score),
            format!("{cross_entropy:.4}"),
            if step.kept { String::new() } else { "undone".into() },
        ]
    });
    table(out, &["product", "becomes", "bytes", metric, "nats a token", ""], rows)
}

fn colour(name: &str) -> &'static str {
    COLOURS.iter().find(|(prefix, _)| name.starts_with(prefix)).map_or("#e5e5e5", |(_, colour)| colour)
}

fn flash(out: &mut String, report: &Report) -> fmt::Result {
    writeln!(out, "<h2>Flash by tensor</h2>")?;
    let mut tensors: Vec<_> = report.tensors.iter().collect();
    tensors.sort_by(|a, b| b.bytes.cmp(&a.bytes).then(a.offset.cmp(&b.offset)));
    let drawn: Vec<_> = tensors.iter().filter(|t| t.bytes > 0).collect();
    let weights: Vec<f64> = drawn.iter().map(|t| t.bytes as f64).collect();
    let within = Rect { x: 0.0, y: 0.0, width: WIDTH, height: TREEMAP_HEIGHT };
    writeln!(
        out,
        "<svg viewBox=\"0 0 {WIDTH} {TREEMAP_HEIGHT}\" role=\"img\" aria-label=\"Flash by tensor\">"
    )?;
    for (tensor, rect) in drawn.iter().zip(squarify(&weights, within)) {
        let name = escape(&tensor.name);
        let Rect { x, y, width, height } = rect;
        write!(
            out,
            "<g><title>{name}: {} bytes</title><rect x=\"{x:.2}\" y=\"{y:.2}\" width=\"{width:.2}\" height=\"{height:.2}\" \
             fill=\"{}\" stroke=\"#fff\"/>",
            tensor.bytes,
            colour(&tensor.name)
        )?;
        if tensor.name.chars().count() as f64 * LETTER.0 < width && height > 2.2 * LETTER.1 {
            let (x, y) = (x + 3.0, y + LETTER.1);
            write!(out, "<text x=\"{x:.2}\" y=\"{y:.2}\">{name}</text>")?;
            write!(out, "<text x=\"{x:.2}\" y=\"{:.2}\">{}</text>", y + LETTER.1, tensor.bytes)?;
        }
        out.push_str("</g>\n");
    }
    out.push_str("</svg>\n<details><summary>All tensors</summary>\n");
    let rows = tensors.iter().map(|t| vec![escape(&t.name), t.offset.to_string(), t.bytes.to_string()]);
    table(out, &["tensor", "offset", "bytes"], rows)?;
    out.push_str("</details>\n");
    Ok(())
}

fn memory(out: &mut String, report: &Report) -> fmt::Result {
    const HEIGHT: f64 = 56.0;
    writeln!(out, "<h2>RAM</h2>")?;
    let all = report.planned_ram.bytes.max(1) as f64;
    writeln!(out, "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"Map of the RAM\">")?;
    for stretch in &report.map {
        let (x, width) = (WIDTH * stretch.offset as f64 / all, WIDTH * stretch.bytes as f64 / all);
        let fill = if stretch.holds.is_empty() { "#dadaeb" } else { "#a6cee3" };
        let label = stretch.holds.first().map_or(&stretch.part, |held| &held.role);
        write!(
            out,
            "<g><title>{}: {} bytes</title><rect x=\"{x:.2}\" y=\"0\" width=\"{width:.2}\" height=\"{HEIGHT}\" fill=\"{fill}\" \
             stroke=\"#fff\"/>",
            escape(label),
            stretch.bytes
        )?;
        if label.chars().count() as f64 * LETTER.0 < width {
            write!(out, "<text x=\"{:.2}\" y=\"{:.2}\">{}</text>", x + 3.0, HEIGHT / 2.0, escape(label))?;
        }
        out.push_str("</g>\n");
    }
    out.push_str("</svg>\n");
    let rows = report.map.iter().map(|stretch| {
        let held: Vec<String> =
            stretch.holds.iter().map(|h| format!("{} {}", escape(&h.role), h.bytes)).collect();
        vec![escape(&stretch.part), stretch.offset.to_string(), stretch.bytes.to_string(), held.join(", ")]
    });
    table(out, &["part", "offset", "bytes", "holds, at different times"], rows)?;
    writeln!(out, "<h2>RAM in bytes by source tokens and beam</h2>")?;
    let mut beams: Vec<u8> = report.ram.iter().map(|r| r.beam).collect();
    beams.sort_unstable();
    beams.dedup();
    let head: Vec<String> =
        std::iter::once("source".into()).chain(beams.iter().map(|b| format!("beam {b}"))).collect();
    let rows = report.ram.chunk_by(|a, b| a.source == b.source).map(|line| {
        std::iter::once(line[0].source.to_string()).chain(line.iter().map(|r| r.bytes.to_string())).collect()
    });
    table(out, &head.iter().map(String::as_str).collect::<Vec<_>>(), rows)
}

fn errors(out: &mut String, report: &Report) -> fmt::Result {
    writeln!(out, "<h2>Rounding error of the weights</h2>")?;
    let most = report.errors.values().copied().fold(0.0, f64::max);
    let rows = report
        .errors
        .iter()
        .map(|(name, &error)| vec![escape(name), format!("{:.2} %", 100.0 * error), bar(error, most)]);
    table(out, &["tensor", "relative error", ""], rows)
}

fn saturation(out: &mut String, report: &Report) -> fmt::Result {
    writeln!(out, "<h2>Saturated values</h2>")?;
    let share = |beyond: u64, values: u64| beyond as f64 / values.max(1) as f64;
    let most = report.saturation.iter().map(|s| share(s.beyond, s.values)).fold(0.0, f64::max);
    let rows = report.saturation.iter().map(|s| {
        vec![
            escape(&s.name),
            format!("{} of {}", s.beyond, s.values),
            format!("{:.3}", s.limit),
            bar(share(s.beyond, s.values), most),
        ]
    });
    table(out, &["quantity", "beyond", "limit", ""], rows)
}

/// A heat map: a row for each target token, a column for each source token.
fn alignment(out: &mut String, picture: &Picture) -> fmt::Result {
    const CELL: f64 = 18.0;
    let longest = |tokens: &[String]| tokens.iter().map(|t| t.chars().count()).max().unwrap_or(0) as f64;
    let left = longest(&picture.target) * LETTER.0 + 10.0;
    // Source tokens stand upright when they are long.
    let upright = longest(&picture.source) > 2.0;
    let top = if upright { longest(&picture.source) * LETTER.0 + 10.0 } else { CELL };
    let width = left + CELL * picture.source.len() as f64;
    let height = top + CELL * picture.target.len() as f64;
    writeln!(
        out,
        "<figure><figcaption>{}</figcaption>\n<svg viewBox=\"0 0 {width:.1} {height:.1}\" \
         style=\"max-width:{:.0}px\" role=\"img\" aria-label=\"Attention\">",
        escape(&picture.text),
        1.5 * width
    )?;
    for (column, token) in picture.source.iter().enumerate() {
        let x = left + CELL * (column as f64 + 0.5);
        let turn = if upright {
            format!(" transform=\"rotate(-90 {x:.1} {:.1})\"", top - 5.0)
        } else {
            String::new()
        };
        let anchor = if upright { "start" } else { "middle" };
        writeln!(
            out,
            "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\"{turn}>{}</text>",
            top - 5.0,
            escape(token)
        )?;
    }
    for (row, (token, weights)) in picture.target.iter().zip(&picture.weights).enumerate() {
        let y = top + CELL * row as f64;
        writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            left - 5.0,
            y + 13.0,
            escape(token)
        )?;
        for (column, weight) in weights.iter().enumerate() {
            let x = left + CELL * column as f64;
            writeln!(
                out,
                "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{CELL}\" height=\"{CELL}\" fill=\"#08519c\" \
                 fill-opacity=\"{weight:.3}\" stroke=\"#eee\"/>"
            )?;
        }
    }
    out.push_str("</svg></figure>\n");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped() {
        assert_eq!(escape("<a href='x'>&\"\u{1}é"), "&lt;a href=&#39;x&#39;&gt;&amp;&quot;\u{FFFD}é");
    }
}
