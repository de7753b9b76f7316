//! Chooses the board, hands its memory map to the linker and puts the model where `model.rs` finds it.

#[path = "build/blobs.rs"]
mod blobs;

use std::path::{Path, PathBuf};
use std::{env, fs, process};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=boards");
    println!("cargo::rerun-if-env-changed=KINGLET_MODEL");
    println!("cargo::rerun-if-env-changed=KINGLET_BOARD");
    if variable("CARGO_CFG_TARGET_OS") != "none" {
        return; // Only the desktop's reference program is built for a host.
    }
    let out = PathBuf::from(variable("OUT_DIR"));
    let board = board(&variable("TARGET"), &out);
    model(&out);
    if env::var_os("CARGO_FEATURE_BENCH").is_some() {
        bench(board, &out);
    }
}

/// The board that `KINGLET_BOARD` names, or the one that a target has by itself.
fn board(target: &str, out: &Path) -> &'static str {
    let targets = |names: &[&str]| names.iter().any(|name| target.starts_with(name));
    let asked = env::var("KINGLET_BOARD").unwrap_or_default();
    let name = match asked.as_str() {
        "" if targets(&["thumbv6m"]) && env::var_os("CARGO_FEATURE_MICROBIT").is_some() => "microbit",
        "" if targets(&["thumbv6m", "thumbv7m"]) => "mps2-an385",
        "" if targets(&["thumbv7em"]) => "mps2-an386",
        "" if targets(&["thumbv8m.main"]) => "mps2-an505",
        "" if targets(&["riscv32"]) => "virt",
        "" => fail(&format!("no board for {target}; see README.md, \"Another board\"")),
        asked => asked,
    };
    // The module in src/board/ and the memory map in boards/, the name to show, the targets that run there.
    let (board, shown, runs): (_, _, &[&str]) = match name {
        "microbit" => ("microbit", "BBC micro:bit, nRF51822, Cortex-M0", &["thumbv6m"]),
        "mps2-an385" if targets(&["thumbv6m"]) => ("mps2", "MPS2 AN385, Cortex-M0 code", &["thumbv6m"]),
        "mps2-an385" => ("mps2", "MPS2 AN385, Cortex-M3", &["thumbv7m"]),
        "mps2-an386" => ("mps2", "MPS2 AN386, Cortex-M4F", &["thumbv7em", "thumbv7m"]),
        "mps2-an500" => ("mps2", "MPS2 AN500, Cortex-M7", &["thumbv7em"]),
        "mps2-an505" => ("an505", "MPS2 AN505, Cortex-M33", &["thumbv8m.main"]),
        "mps3-an547" => ("an547", "MPS3 AN547, Cortex-M55", &["thumbv8m.main"]),
        "virt" => ("virt", "QEMU virt, RV32IMAC", &["riscv32imac"]),
        other => fail(&format!("KINGLET_BOARD={other} is no board that this firmware knows; see README.md")),
    };
    if !targets(runs) {
        fail(&format!("{name} does not run {target}; it runs {}", runs.join(" and ")));
    }
    // Helium shows in no cfg that a build script sees, and RUSTFLAGS from elsewhere replaces a file's: without this, code
    // for the Cortex-M33 would run in its place unnoticed.
    if board == "an547" && !variable("CARGO_ENCODED_RUSTFLAGS").contains("target-cpu=cortex-m55") {
        fail("no `-C target-cpu=cortex-m55`: use --config boards/mps3-an547.toml, without RUSTFLAGS");
    }
    println!("cargo::rustc-cfg=board=\"{board}\"");
    println!("cargo::rustc-env=BOARD_NAME={shown}");
    // The AN500's PSRAM is elsewhere.
    let map = if name == "mps2-an500" { "an500" } else { board };
    copy(&PathBuf::from(format!("boards/{map}.x")), &out.join("memory.x"));
    println!("cargo::rustc-link-search={}", out.display());
    if board == "virt" {
        // The script of riscv-rt does not include it by itself.
        println!("cargo::rustc-link-arg-bins=-Tmemory.x");
    }
    println!("cargo::rustc-link-arg-bins=-Tlink.x");
    // Without it the linker pads the file to pages, which flashing tools write.
    println!("cargo::rustc-link-arg-bins=--nmagic");
    board
}

/// The blob and, where there is one, the table of expected results beside it.
fn model(out: &Path) {
    let default = || PathBuf::from(variable("CARGO_MANIFEST_DIR")).join("models/g2p.kgl");
    let blob = env::var_os("KINGLET_MODEL").map_or_else(default, PathBuf::from);
    if blob.as_os_str().is_empty() {
        // For the programs that need none.
        write(&out.join("model.kgl"), b"");
        write(&out.join("model.selftest"), b"");
        return;
    }
    let table = blob.with_extension("selftest");
    println!("cargo::rerun-if-changed={}", blob.display());
    println!("cargo::rerun-if-changed={}", table.display());
    copy(&blob, &out.join("model.kgl"));
    if table.exists() {
        copy(&table, &out.join("model.selftest"));
    } else {
        write(&out.join("model.selftest"), b"");
    }
}

/// One blob for each shape that `bench` measures, and the list of them as an expression of Rust.
fn bench(board: &str, out: &Path) {
    println!("cargo::rerun-if-changed=build");
    use blobs::Kernel::{Elman, Gru, LayerNorm, Lstm, Matvec, Peephole, UnitLength};
    use blobs::{INT4, INT4_GROUPS, INT8};
    use kinglet::kernels::Layout;
    let target = variable("TARGET");
    let dsp = target.starts_with("thumbv7em") || target.starts_with("thumbv8m.main");
    let layout = match board {
        "an547" => Layout::Blocks,
        _ if dsp => Layout::Pairs,
        _ => Layout::Tiles,
    };
    let shapes = [
        (Matvec(INT8), 64, 64),
        (Matvec(INT8), 128, 128),
        (Lstm, 32, 64),
        (Gru, 32, 64),
        (Lstm, 64, 128),
        // 256 KB of flash end here.
        (Gru, 64, 128),
        (Matvec(INT8), 128, 512),
        (Matvec(INT4), 128, 512),
        (Matvec(INT8), 256, 1024),
        (Lstm, 128, 256),
        (Gru, 128, 256),
        (Elman, 64, 128),
        (Peephole, 64, 128),
        (LayerNorm, 128, 128),
        (UnitLength, 128, 128),
    ];
    let shapes = if board == "microbit" { &shapes[..5] } else { &shapes[..] };
    let mut list = String::from("&[");
    for &(kernel, input, size) in shapes {
        let (name, unit) = match kernel {
            Matvec(INT8) => ("matvec_i8", "out"),
            Matvec(_) => ("matvec_i4", "out"),
            Lstm => ("lstm_step", "hidden"),
            Gru => ("gru_step", "hidden"),
            Elman => ("elman_step", "hidden"),
            Peephole => ("peephole_step", "hidden"),
            LayerNorm => ("layer_norm", "out"),
            UnitLength => ("unit_length", "out"),
        };
        let file = |label: &str, kernel: Option<blobs::Kernel>| {
            let path = out.join(format!("{name}-{input}-{size}{label}.kgl"));
            write(&path, &blobs::one_operation(layout, kernel, input, size));
            format!("include_bytes!({path:?})")
        };
        let (with, without) = (file("", Some(kernel)), file("-nothing", None));
        list += &format!(
            "Shape {{ kernel: {name:?}, input: {input}, unit: {unit:?}, size: {size}, measure: Measure::Encode, \
             with: &Aligned(*{with}), without: &Aligned(*{without}) }},"
        );
    }
    // Steps of a search: all logits of a large vocabulary, attention alone over ten positions, a decoder with one and with four
    // hypotheses over eight, and long rows likewise.
    let file = |name: &str, blob: Vec<u8>| {
        let path = out.join(name);
        write(&path, &blob);
        format!("&Aligned(*include_bytes!({path:?}))")
    };
    let few = file("few.kgl", blobs::logits(layout, 4));
    let many = file("many.kgl", blobs::logits(layout, 1000));
    let mut steps = vec![("log_softmax", 1000, "out", 1000, 1, many)];
    for (name, dot) in [("attend_additive", false), ("attend_dot", true)] {
        let attention = file(&format!("{name}.kgl"), blobs::attention(layout, dot, 128));
        steps.push((name, 10, "width", 128, 1, attention));
    }
    for (name, weights) in
        [("decoder_step", INT8), ("decoder_i4_step", INT4), ("decoder_i4_32_step", INT4_GROUPS)]
    {
        let decoder = file(&format!("{name}.kgl"), blobs::decoder(layout, weights));
        steps.extend([1, 4].map(|beam| (name, 8, "beam", beam, beam, decoder.clone())));
    }
    for (name, weights) in [("long_step", INT8), ("long_i4_step", INT4)] {
        let long = file(&format!("{name}.kgl"), blobs::long(layout, weights, 1024, 128));
        steps.extend([1, 4].map(|beam| (name, 1024, "beam", beam, beam, long.clone())));
    }
    for (name, input, unit, size, beam, with) in if board == "microbit" { &[] } else { &steps[..] } {
        list += &format!(
            "Shape {{ kernel: {name:?}, input: {input}, unit: {unit:?}, size: {size}, \
             measure: Measure::Search {{ beam: {beam}, source: {input} }}, with: {with}, without: {few} }},"
        );
    }
    write(&out.join("bench.rs"), (list + "]").as_bytes());
}

fn write(path: &Path, bytes: &[u8]) {
    if let Err(error) = fs::write(path, bytes) {
        fail(&format!("cannot write {}: {error}", path.display()));
    }
}

fn copy(from: &Path, to: &Path) {
    if let Err(error) = fs::copy(from, to) {
        fail(&format!("cannot copy {}: {error}; KINGLET_MODEL=FILE chooses another model", from.display()));
    }
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| fail(&format!("{name} is not set: run through cargo")))
}

fn fail(message: &str) -> ! {
    println!("cargo::error={message}");
    process::exit(1)
}
