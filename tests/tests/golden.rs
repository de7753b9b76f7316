//! Layers, losses, optimizers and whole models agree with PyTorch.

use std::path::{Path, PathBuf};

use kinglet_tests::golden::{self, Verdict};

fn dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/pytorch")
}

/// A directory that holds some golden files, to be damaged.
fn copy(names: &[&str]) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    for name in names {
        std::fs::copy(dir().join(name), to.path().join(name)).unwrap();
    }
    to
}

#[test]
fn every_committed_file_agrees() {
    let reports = golden::run(&dir()).unwrap();
    assert!(reports.len() >= 20, "{reports:?}");
    for report in reports {
        assert_eq!(report.verdict, Verdict::Ok, "{report}");
        assert!(report.worst < 1e-5, "{report}");
    }
}

#[test]
fn a_changed_value_is_found() {
    let to = copy(&["config.json", "gru_2l_bi.safetensors"]);
    let path = to.path().join("gru_2l_bi.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let json: serde_json::Value = serde_json::from_slice(&bytes[8..8 + header]).unwrap();
    let begin = json["full.grad.param.weight_hh_l0_reverse"]["data_offsets"][0].as_u64().unwrap() as usize;
    let at = 8 + header + begin;
    let value = f32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    bytes[at..at + 4].copy_from_slice(&(value * 1.001 + 1e-4).to_le_bytes());
    std::fs::write(&path, bytes).unwrap();
    let reports = golden::run(to.path()).unwrap();
    assert_eq!(reports.len(), 1);
    assert_eq!(reports[0].verdict, Verdict::Failed);
    assert!(reports[0].to_string().contains("full.grad.param.weight_hh_l0_reverse[0]"), "{}", reports[0]);
}

#[test]
fn unknown_layers_are_listed_and_unreadable_files_fail() {
    let to = copy(&["config.json", "linear.safetensors"]);
    std::fs::rename(to.path().join("linear.safetensors"), to.path().join("mha.safetensors")).unwrap();
    std::fs::write(to.path().join("linear.safetensors"), b"no tensors").unwrap();
    let verdicts: Vec<Verdict> = golden::run(to.path()).unwrap().iter().map(|r| r.verdict).collect();
    assert_eq!(verdicts, [Verdict::Failed, Verdict::Unsupported]);
    assert!(golden::run(&to.path().join("missing")).is_err());
}

#[test]
fn missing_and_superfluous_tensors_are_named() {
    let to = copy(&["config.json", "gru_1l.safetensors", "tut3_model.safetensors"]);
    // Names of the same length: the header keeps its size.
    for (file, from, by) in [
        ("gru_1l.safetensors", "full.grad.param.bias_hh_l0", "full.grad.param.bias_hh_lx"),
        ("tut3_model.safetensors", "decoder.rnn.bias_ih_l0", "decoder.rnn.bias_ih_lx"),
    ] {
        let path = to.path().join(file);
        let mut bytes = std::fs::read(&path).unwrap();
        let at = bytes.windows(from.len()).position(|w| w == from.as_bytes()).unwrap();
        bytes[at..at + by.len()].copy_from_slice(by.as_bytes());
        std::fs::write(&path, bytes).unwrap();
    }
    let reports: Vec<String> = golden::run(to.path()).unwrap().iter().map(ToString::to_string).collect();
    for expected in
        ["tensor full.grad.param.bias_hh_l0 is missing", "tensor full.grad.param.bias_hh_lx is not expected"]
    {
        assert!(reports[0].contains("FAILED") && reports[0].contains(expected), "{}", reports[0]);
    }
    for expected in [
        "tensor decoder.rnn.bias_ih_l0 [72] is missing",
        "tensor decoder.rnn.bias_ih_lx [72] does not belong",
    ] {
        assert!(reports[1].contains("FAILED") && reports[1].contains(expected), "{}", reports[1]);
    }
}
