//! `seeds DIR`: writes tiny models, of every cell, depth, attention, task, operation, layout and kind of weights, as what the
//! fuzz targets start from (`DIR/load`, `DIR/decode`). `seeds --golden DIR`: a few of them as they are, for
//! `tests/golden/blobs`.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use kinglet::blob::VERSION;
use kinglet::kernels::Layout;
use kinglet::{Arena, Model, Options, Sampling, Session, Task};
use kinglet_compiler::kinds::{Kind, Kinds};
use kinglet_compiler::lower::{Fold, Plan};
use kinglet_tests::{family, tiny};
use kinglet_train::config::{AttentionKind, Cell, ModelConfig};

/// Bytes that the `decode` target reads before the blob.
const CONTROL: [u8; 16] = [0, 5, 3, 1, 2, 2, 0, 0, 0, b'a', b'b', b'c', b'd', b'e', b'a', b'b'];

const LAYOUTS: [(&str, Layout); 3] =
    [("tiles", Layout::Tiles), ("pairs", Layout::Pairs), ("blocks", Layout::Blocks)];
const KINDS: [(&str, Kind); 3] =
    [("int8", Kind::Int8), ("int4", Kind::Int4), ("int4-16", Kind::Int4Groups(16))];
const CELLS: [(&str, Cell); 2] = [("gru", Cell::Gru), ("lstm", Cell::Lstm)];
const ATTENTION: [(&str, AttentionKind); 2] =
    [("attends", AttentionKind::Additive), ("plain", AttentionKind::None)];

fn blob(config: &ModelConfig, layout: Layout, kind: Kind, fold: Fold) -> Result<Vec<u8>> {
    let plan = Plan { fold, layout, kinds: Kinds::all(kind), ..Plan::new("tiny", 12, 8) };
    tiny::planned(config, plan, 1)
}

/// Smaller than other tests' networks: a fuzzer's speed is the size of its inputs.
fn seeds(dir: &Path) -> Result<usize> {
    let (load, decode) = (dir.join("load"), dir.join("decode"));
    fs::create_dir_all(&load)?;
    fs::create_dir_all(&decode)?;
    let mut written = 0;
    let mut write = |name: &str, blob: &[u8]| -> Result<()> {
        // An odd first byte: to be sealed.
        fs::write(load.join(name), [&[1], blob].concat())?;
        fs::write(decode.join(name), [&CONTROL, blob].concat())?;
        written += 1;
        Ok(())
    };
    for (cell_name, cell) in CELLS {
        for (attention_name, attention) in ATTENTION {
            for layers in [1, 2] {
                for (layout_name, layout) in LAYOUTS {
                    for (kind_name, kind) in KINDS {
                        let mut config = tiny::config(cell, layers == 1, layers, attention);
                        (config.encoder.embedding, config.encoder.hidden) = (2, 3);
                        (config.decoder.embedding, config.decoder.hidden) = (3, 5);
                        config.attention.size = 4;
                        let fold = if kind == Kind::Int8 { Fold::Never } else { Fold::Auto };
                        let blob = blob(&config, layout, kind, fold)?;
                        let name = format!("{cell_name}-{attention_name}-{layers}-{layout_name}-{kind_name}");
                        write(&name, &blob)?;
                    }
                }
            }
        }
    }
    let mut config = tiny::config(Cell::Gru, true, 1, AttentionKind::Additive);
    (config.encoder.hidden, config.decoder.hidden) = (3, 5);
    let blob = tiny::of_subwords(&config, Plan::new("tiny", 12, 8), 1)?;
    write("subwords", &blob)?;
    for (name, network) in family::ALL {
        for (layout_name, layout) in LAYOUTS {
            for (kind_name, kind) in KINDS {
                let blob = family::blob(network, layout, kind, 4, 1)?;
                write(&format!("{name}-{layout_name}-{kind_name}"), &blob)?;
            }
        }
    }
    Ok(written)
}

/// Each layout and kind of weights, cell, depth and way to read tokens at least once, and each operation and task of the family,
/// and what each must answer: `vN.tsv` has blob, source, beam (0: labels, or what seed 1 draws), bits of the score (of labels: of
/// the log-probability) and target ids. A source of numbers is the bytes of its text, three a frame.
fn golden(dir: &Path) -> Result<usize> {
    fs::create_dir_all(dir)?;
    let additive = AttentionKind::Additive;
    let mut wide = tiny::config(Cell::Gru, false, 2, additive);
    wide.decoder.hidden = 18;
    let models = [
        ("gru-tiles-int8", tiny::config(Cell::Gru, true, 1, additive), 0, 0, Fold::Always),
        ("lstm-pairs-int8", tiny::config(Cell::Lstm, true, 1, additive), 1, 0, Fold::Never),
        ("gru2-blocks-int4", wide, 2, 1, Fold::Auto),
        ("lstm-tiles-int4", tiny::config(Cell::Lstm, false, 1, AttentionKind::None), 0, 1, Fold::Always),
        ("gru-pairs-int4-16", tiny::config(Cell::Gru, true, 1, AttentionKind::None), 1, 2, Fold::Never),
        ("lstm2-blocks-int4-16", tiny::config(Cell::Lstm, true, 2, additive), 2, 2, Fold::Auto),
    ];
    let mut blobs = Vec::new();
    for (name, config, layout, kind, fold) in &models {
        let blob = blob(config, LAYOUTS[*layout].1, KINDS[*kind].1, *fold)?;
        blobs.push((name.to_string(), blob));
    }
    for (at, (name, network)) in family::ALL.into_iter().enumerate() {
        let (layout, kind) = (LAYOUTS[at % 3], KINDS[(at + 1) % 3]);
        let blob = family::blob(network, layout.1, kind.1, 9, 1)?;
        blobs.push((format!("{name}-{}-{}", layout.0, kind.0), blob));
    }
    let mut expected = String::new();
    for (name, blob) in &blobs {
        let name = format!("v{VERSION}-{name}");
        let model = Model::from_bytes(blob)?;
        let mut ram = Arena::<16_384>::new();
        let mut session = Session::new(&model, &mut ram, model.limits(4))?;
        for (source, beam_size) in [("abcab", 1), ("bad cab", 4), ("d?", 3), ("abcabc", 0)] {
            match model.features() {
                0 => drop(session.read_text(source.as_bytes())?),
                features => {
                    let numbers: Vec<i16> = source.bytes().map(i16::from).collect();
                    let whole = numbers.len() / features * features;
                    if whole == 0 {
                        continue;
                    }
                    session.read_frames(&numbers[..whole])?;
                }
            }
            let (tokens, bits) = match (model.task(), beam_size) {
                (Task::Label, 0) => {
                    let labels = session.label()?;
                    (labels.tokens.to_vec(), labels.log_prob.to_bits())
                }
                (Task::Label, _) => continue,
                (_, 0) => {
                    let drawn = session.sample(&Sampling::default(), 1)?;
                    (drawn.tokens.to_vec(), drawn.score.to_bits())
                }
                _ => {
                    let found = session.beam(&Options {
                        beam_size,
                        num_hypotheses: beam_size,
                        ..Options::default()
                    })?;
                    (found.best().tokens.to_vec(), found.best().score.to_bits())
                }
            };
            let ids: Vec<String> = tokens.iter().map(u16::to_string).collect();
            expected += &format!("{name}\t{source}\t{beam_size}\t{bits:08x}\t{}\n", ids.join(" "));
        }
        fs::write(dir.join(format!("{name}.kgl")), blob)?;
    }
    fs::write(dir.join(format!("v{VERSION}.tsv")), expected)?;
    Ok(blobs.len())
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let written = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--golden", dir] => golden(Path::new(dir)),
        [dir] if !dir.starts_with('-') => seeds(Path::new(dir)),
        _ => {
            eprintln!("usage: seeds [--golden] DIR");
            return ExitCode::from(2);
        }
    };
    match written {
        Ok(written) => println!("{written} models written"),
        Err(error) => {
            eprintln!("{error:#}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
