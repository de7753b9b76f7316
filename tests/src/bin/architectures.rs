//! Trains, compiles and measures every example configuration, a row each of the table in `docs/architectures.md`, and writes their
//! blobs for the emulated boards: `architectures [DIR]`. `tests/family.sh` runs it.

use std::path::PathBuf;

use anyhow::Result;
use kinglet::Model;
use kinglet_compiler::boards::{BOARDS, Board};
use kinglet_compiler::kinds::Kind;
use kinglet_tests::architectures::{all, blob, loss, train};

fn main() -> Result<()> {
    let dir = std::env::args_os().nth(1).map(PathBuf::from);
    println!(
        "| architecture | trains: nats a token, first epoch, sixth | int8 | bytes | int4 | bytes | boards |"
    );
    println!("|---|---|---|---|---|---|---|");
    for architecture in all()? {
        let name = &architecture.name;
        let trained = train(&architecture.config)?;
        print!("| {name} | {:.3}, {:.3} |", trained.first, trained.last);
        let mut boards = String::new();
        for kind in [Kind::Int8, Kind::Int4] {
            let blob = blob(&trained, name, kind)?;
            if kind == Kind::Int8 {
                boards = fitting(&Model::from_bytes(&blob)?, blob.len());
            }
            print!(" {:.3} | {} |", loss(&trained, &Model::from_bytes(&blob)?)?, blob.len());
            if let Some(dir) = &dir {
                std::fs::create_dir_all(dir)?;
                std::fs::write(dir.join(format!("{name}-{kind}.kgl")), blob)?;
            }
        }
        println!(" {boards} |");
    }
    Ok(())
}

/// The boards that hold a blob beside a firmware, and the RAM for its longest source and target, greedy.
fn fitting(model: &Model<'_>, bytes: usize) -> String {
    let fits = |board: &&Board| {
        bytes <= board.flash_for_model() && model.ram(&model.limits(1)) <= board.ram_for_model()
    };
    let names: Vec<&str> = BOARDS.iter().filter(fits).map(|board| board.name).collect();
    if names.len() == BOARDS.len() { format!("all {}", names.len()) } else { names.join(", ") }
}
