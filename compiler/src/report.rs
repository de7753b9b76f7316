//! What compiling cost: bytes, RAM, rounding errors, saturations, and accuracy against the float model.

pub mod html;
pub mod treemap;

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

use kinglet_train::metrics::Scores;
use serde::Serialize;

use crate::boards::Fit;
use crate::calibrate::Saturation;
use crate::describe::{Ram, Stretch};
use crate::pack::Tensor;

/// Loss of word error rate, in points, above which the report says what to do.
const LARGE_LOSS: f64 = 0.3;
/// Share of saturated values above which the report says what to do.
const MANY_SATURATED: f64 = 1e-3;

/// Rates of one kind of search on the dev set, in percent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Rates {
    /// Word error rate.
    pub wer: f64,
    /// Token error rate.
    pub per: f64,
    /// Lines exactly right.
    pub exact: f64,
}

impl From<Scores> for Rates {
    fn from(scores: Scores) -> Self {
        Self { wer: scores.wer(), per: scores.per(), exact: scores.exact() }
    }
}

/// Float against integers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// Beam of the search; 1 is greedy.
    pub beam_size: usize,
    /// Distinct sources decoded.
    pub sources: usize,
    /// The trained model.
    pub float: Rates,
    /// The blob.
    pub int8: Rates,
    /// Percent of sources for which both give the same target.
    pub agreement: f64,
}

/// Attention of one source's best target.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    /// The source as text.
    pub text: String,
    /// Its tokens and the end mark.
    pub source: Vec<String>,
    /// Tokens of the target and the end mark.
    pub target: Vec<String>,
    /// Weights by target token, then source token.
    pub weights: Vec<Vec<f32>>,
}

/// All that there is to tell about a compilation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Name in the blob.
    pub name: String,
    /// Size of the blob: flash.
    pub blob_bytes: usize,
    /// CRC-32 of the blob.
    pub crc: u32,
    /// Bytes by tensor of the data section.
    pub tensors: Vec<Tensor>,
    /// RAM by source length and beam.
    pub ram: Vec<Ram>,
    /// RAM for the planned lengths and beam.
    pub planned_ram: Ram,
    /// That RAM as a map.
    pub map: Vec<Stretch>,
    /// What fits the board, when one was named.
    pub fit: Option<Fit>,
    /// Relative rounding error by float tensor.
    pub errors: BTreeMap<String, f64>,
    /// Values that saturate on data that was not calibrated on (all dev pairs when there are too few).
    pub saturation: Vec<Saturation>,
    /// Float against integers on dev data.
    pub accuracy: Vec<Comparison>,
    /// Alignments of a few dev sources; empty without attention.
    #[serde(skip)]
    pub pictures: Vec<Picture>,
}

impl Report {
    /// What to change when the integers lose much; empty when they do not.
    pub fn advice(&self) -> Vec<String> {
        let mut advice = Vec::new();
        for s in &self.saturation {
            if s.beyond as f64 > MANY_SATURATED * s.values as f64 {
                advice.push(format!(
                    "{} saturates in {:.2} % of its values: calibrate on more pairs (--calibration-pairs)",
                    s.name,
                    100.0 * s.beyond as f64 / s.values as f64
                ));
            }
        }
        let loss = self.accuracy.iter().map(|c| c.int8.wer - c.float.wer).fold(0.0, f64::max);
        if loss > LARGE_LOSS {
            let worst = self.errors.iter().max_by(|a, b| a.1.total_cmp(b.1));
            if let Some((name, error)) = worst {
                advice.push(format!(
                    "int8 loses {loss:.2} points of WER; {name} has the largest rounding error ({:.2} %): try --fold \
                     always if it is an embedding, else train with more dropout or a wider layer",
                    100.0 * error
                ));
            }
        }
        advice
    }
}

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
        writeln!(f, "\nrounding error of int8 weights")?;
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
            writeln!(f, "\nfloat against int8 on {} dev sources, percent", first.sources)?;
            let head = ["search", "", "WER", "PER", "exact", "same answer"].map(str::to_owned);
            let mut rows = vec![head.to_vec()];
            for c in &self.accuracy {
                let name = if c.beam_size == 1 { "greedy".into() } else { format!("beam {}", c.beam_size) };
                for (kind, rates, same) in [("float", c.float, None), ("int8", c.int8, Some(c.agreement))] {
                    let percent = |v: f64| format!("{v:.2}");
                    let same = same.map_or(String::new(), percent);
                    rows.push(vec![
                        if same.is_empty() { name.clone() } else { String::new() },
                        kind.into(),
                        percent(rates.wer),
                        percent(rates.per),
                        percent(rates.exact),
                        same,
                    ]);
                }
            }
            table(f, &rows)?;
        }
        for advice in self.advice() {
            writeln!(f, "\n{advice}")?;
        }
        Ok(())
    }
}
