//! `kinglet inspect`.

use std::fmt::{self, Display, Formatter};
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use kinglet::Model;
use kinglet::blob::{VERSION, schema::Tokens};
use serde::Serialize;

use crate::boards::{Board, Fit, board, fit};
use crate::describe::{self, Feature, Layer, Ram, SlotInfo, Stretch};
use crate::desktop::{self, Image};
use crate::report::text::{map_table, ram_table, table};
use crate::time::Lengths;

/// Show what is inside a blob: layers, shapes, bytes, RAM by source length and beam
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The blob
    blob: PathBuf,
    /// The board to tell what fits for
    #[arg(long, value_name = "NAME", value_parser = board)]
    board: Option<Board>,
    /// Sources, a line each, whose mean lengths the board's times are told for; what follows a tab is not read [default: half of
    /// the planned lengths]
    #[arg(long, value_name = "FILE", requires = "board")]
    data: Option<PathBuf>,
    /// Beam of the map of RAM
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=8))]
    beam_size: u8,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Shows as the arguments say.
///
/// # Errors
/// Whatever reading the blob and the data gives.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let bytes = desktop::read(&args.blob)?;
    let model = desktop::load(&bytes, &args.blob)?;
    let lengths = match &args.data {
        Some(path) => {
            let sources = desktop::sources(path)?;
            let texts: Vec<&str> = sources.iter().map(String::as_str).collect();
            Lengths::of(&Image::new(&bytes)?.model(), &texts, super::cores())?
        }
        None => Lengths::planned(&model),
    };
    let contents = Contents::new(&model, bytes.len(), lengths, args);
    let text = if args.json { serde_json::to_string(&contents)? + "\n" } else { contents.to_string() };
    std::io::stdout().write_all(text.as_bytes()).context("cannot write standard output")
}

#[derive(Debug, Serialize)]
struct Vocabulary {
    size: u16,
    tokens: &'static str,
}

#[derive(Debug, Serialize)]
struct Contents {
    name: String,
    format: u16,
    bytes: usize,
    data_bytes: usize,
    crc: u32,
    task: String,
    source: Vocabulary,
    features: Vec<Feature>,
    target: Vocabulary,
    max_source: u16,
    max_target: u16,
    layers: Vec<Layer>,
    slots: Vec<SlotInfo>,
    ram: Vec<Ram>,
    planned_ram: Ram,
    map: Vec<Stretch>,
    fit: Option<Fit>,
}

impl Contents {
    fn new(model: &Model<'_>, bytes: usize, lengths: Lengths, args: &Args) -> Self {
        let vocabulary = |vocab: kinglet::Vocab<'_>| Vocabulary {
            size: vocab.size(),
            tokens: match vocab.tokens() {
                Tokens::Chars => "chars",
                Tokens::Words => "words",
                Tokens::Hangul => "hangul",
                Tokens::Subwords => "subwords",
            },
        };
        let planned = model.limits(args.beam_size);
        Self {
            name: model.name().to_owned(),
            format: VERSION,
            bytes,
            data_bytes: model.data().len(),
            crc: model.crc(),
            task: model.task().to_string(),
            source: match model.features() {
                0 => vocabulary(model.source()),
                _ => Vocabulary { size: 0, tokens: "frames" },
            },
            features: describe::features(model),
            target: vocabulary(model.target()),
            max_source: planned.source,
            max_target: planned.target,
            layers: describe::layers(model),
            slots: describe::slots(model),
            ram: describe::ram(model),
            planned_ram: describe::planned(model, args.beam_size),
            map: describe::map(model, &planned),
            fit: args.board.map(|board| fit(board, model, bytes, planned, lengths)),
        }
    }
}

impl Display for Contents {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}: format {}, {} bytes ({} of tensors), CRC {:08x}",
            self.name, self.format, self.bytes, self.data_bytes, self.crc
        )?;
        writeln!(f, "task: {}", self.task)?;
        match self.features.len() {
            0 => {
                let Vocabulary { size, tokens } = self.source;
                write!(f, "source: {size} tokens ({tokens}), at most {} with marks", self.max_source)?;
            }
            numbers => write!(f, "source: frames of {numbers} numbers, at most {}", self.max_source)?,
        }
        let Vocabulary { size, tokens } = self.target;
        writeln!(f, "; target: {size} tokens ({tokens}), at most {}\n", self.max_target)?;
        if !self.features.is_empty() {
            let mut rows = vec![["number", "a count is", "0 is", "int8 a count"].map(str::to_owned).to_vec()];
            rows.extend(self.features.iter().zip(1..).map(|(feature, number)| {
                let Feature { resolution, offset, scale } = feature;
                vec![
                    number.to_string(),
                    resolution.to_string(),
                    format!("{offset:.4}"),
                    format!("{scale:.5}"),
                ]
            }));
            table(f, &rows)?;
            writeln!(f)?;
        }
        let head = ["layer", "over", "operation", "rows", "columns", "weights", "table", "slots"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        rows.extend(self.layers.iter().map(|l| {
            vec![
                l.program.into(),
                l.over.into(),
                l.operation.into(),
                l.rows.to_string(),
                l.columns.to_string(),
                l.weight_bytes.to_string(),
                l.table_bytes.to_string(),
                l.slots.clone(),
            ]
        }));
        table(f, &rows)?;
        writeln!(f)?;
        let mut rows = vec![["slot", "rows", "type", "width"].map(str::to_owned).to_vec()];
        rows.extend(
            self.slots
                .iter()
                .map(|s| vec![s.slot.to_string(), s.rows.into(), s.kind.into(), s.width.to_string()]),
        );
        table(f, &rows)?;
        writeln!(f)?;
        ram_table(f, &self.ram)?;
        writeln!(f)?;
        map_table(f, &self.planned_ram, &self.map)?;
        if let Some(fit) = &self.fit {
            write!(f, "\n{fit}")?;
        }
        Ok(())
    }
}
