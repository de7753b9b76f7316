//! The report as text, and the tables that other commands print.

use std::fmt::{self, Display, Formatter};

use super::{Report, heads, search_name};
use crate::describe::{Ram, Stretch};
use crate::mixed::{Choice, Measured};

/// Rows of a table, columns aligned: the first to the left, the others to the right.
pub fn table(f: &mut Formatter<'_>, rows: &[Vec<String>]) -> fmt::Result {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |c: usize| rows.iter().filter_map(|r| r.get(c)).map(|s| s.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for row in rows {
        let mut line = String::from(" ");
        for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
            line += &if column == 0 { format!(" {cell:<width$}") } else { format!("  {cell:>width$}") };
        }
        writeln!(f, "{}", line.trim_end())?;
    }
    Ok(())
}

/// RAM by source length (down) and beam (across).
pub fn ram_table(f: &mut Formatter<'_>, ram: &[Ram]) -> fmt::Result {
    let mut beams: Vec<u8> = ram.iter().map(|r| r.beam).collect();
    beams.sort_unstable();
    beams.dedup();
    let target = ram.first().map_or(0, |r| r.target);
    writeln!(f, "RAM in bytes, by source tokens and beam ({target} target tokens)")?;
    let head = std::iter::once("source".to_owned()).chain(beams.iter().map(|b| format!("beam {b}")));
    let mut rows: Vec<Vec<String>> = vec![head.collect()];
    for line in ram.chunk_by(|a, b| a.source == b.source) {
        let cells =
            std::iter::once(line[0].source.to_string()).chain(line.iter().map(|r| r.bytes.to_string()));
        rows.push(cells.collect());
    }
    table(f, &rows)
}

/// RAM as a map: offset, bytes, what lies there.
pub fn map_table(f: &mut Formatter<'_>, ram: &Ram, map: &[Stretch]) -> fmt::Result {
    let Ram { source, target, beam, bytes } = ram;
    writeln!(
        f,
        "map of the {bytes} bytes of RAM for {source} source tokens, {target} target tokens, beam {beam}"
    )?;
    let digits = bytes.to_string().len().max("offset".len());
    writeln!(f, "  {:>digits$}  {:>digits$}  part", "offset", "bytes")?;
    for stretch in map {
        write!(f, "  {:>digits$}  {:>digits$}  {}", stretch.offset, stretch.bytes, stretch.part)?;
        let held: Vec<String> = stretch.holds.iter().map(|h| format!("{} {}", h.role, h.bytes)).collect();
        writeln!(f, "{}{}", if held.is_empty() { "" } else { ": " }, held.join(", "))?;
    }
    Ok(())
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {} bytes, CRC {:08x}\n", self.name, self.blob_bytes, self.crc)?;
        writeln!(f, "tensors")?;
        let mut rows = vec![vec!["name".to_owned(), "bytes".to_owned()]];
        rows.extend(self.tensors.iter().map(|t| vec![t.name.clone(), t.bytes.to_string()]));
        table(f, &rows)?;
        writeln!(f)?;
        ram_table(f, &self.ram)?;
        writeln!(f)?;
        map_table(f, &self.planned_ram, &self.map)?;
        if let Some(fit) = &self.fit {
            write!(f, "\n{fit}")?;
        }
        writeln!(f, "\nrounding error of weights ({})", self.weights)?;
        let rows: Vec<Vec<String>> =
            self.errors.iter().map(|(n, e)| vec![n.clone(), format!("{:.2} %", 100.0 * e)]).collect();
        table(f, &rows)?;
        if self.saturation.iter().any(|s| s.values > 0) {
            writeln!(f, "\nsaturated values")?;
            let rows: Vec<Vec<String>> = self
                .saturation
                .iter()
                .map(|s| {
                    vec![
                        s.name.clone(),
                        format!("{} of {}", s.beyond, s.values),
                        format!("beyond {:.3}", s.limit),
                    ]
                })
                .collect();
            table(f, &rows)?;
        }
        if let Some(first) = self.accuracy.first() {
            writeln!(f, "\naccuracy on {} dev sources", first.sources)?;
            let head = ["search", "numbers"].into_iter().chain(heads(first));
            let mut rows = vec![head.map(str::to_owned).collect::<Vec<_>>()];
            for (comparison, numbers) in self.numbers() {
                rows.extend(numbers.iter().enumerate().map(|(line, numbers)| {
                    let search = if line == 0 { search_name(comparison.beam_size) } else { String::new() };
                    [search, numbers.name.into()].into_iter().chain(numbers.cells()).collect()
                }));
            }
            table(f, &rows)?;
        }
        if let Some(choice) = &self.choice {
            let Choice { sources, beam_size, metric, float_score, steps } = choice;
            let metric = metric.name();
            writeln!(
                f,
                "\nchoice of weights, {} on {sources} dev sources; the trained network's {metric} is {float_score:.2}",
                search_name(*beam_size)
            )?;
            let head = ["product", "becomes", "bytes", "nats a token", metric, ""].map(str::to_owned);
            let mut rows = vec![head.to_vec()];
            rows.extend(steps.iter().map(|step| {
                let Measured { bytes, cross_entropy, score } = step.measured;
                vec![
                    step.name().into(),
                    step.kind.to_string(),
                    bytes.to_string(),
                    format!("{cross_entropy:.5}"),
                    format!("{score:.2}"),
                    if step.kept { String::new() } else { "undone".into() },
                ]
            }));
            table(f, &rows)?;
        }
        for advice in self.advice() {
            writeln!(f, "\n{advice}")?;
        }
        Ok(())
    }
}
