//! The page about a run: one file, well-formed, complete, the same every time.

mod common;

use std::path::Path;
use std::process::Command;

use common::{run, small};
use kinglet_train::config::{AttentionKind, Config};
use kinglet_train::data::{Pair, corpus};
use kinglet_train::report::{self, Report};
use kinglet_train::trainer::Start;
use quick_xml::Reader;
use quick_xml::events::Event;

/// Sources and targets that would be markup if they were not escaped.
fn dev() -> Vec<Pair> {
    let pairs = [("ab<&\"", "\"&<ba"), ("c d", "d c"), ("]]>\u{1}", "\u{1}>]]"), ("c d", "dc")];
    pairs.map(|(source, target)| Pair { source: source.into(), target: target.into() }).into()
}

fn trained(out: &Path, config: &Config) -> Report {
    run(config, out, Start::Fresh).unwrap();
    Report::collect(out, &dev(), &[], 1).unwrap()
}

/// The text of a well-formed document, without its markup.
fn text(document: &str) -> String {
    let mut reader = Reader::from_str(document);
    let (mut open, mut text) = (Vec::new(), String::new());
    loop {
        match reader.read_event().unwrap() {
            Event::Start(tag) => {
                tag.attributes().for_each(|a| drop(a.unwrap()));
                open.push(tag.name().as_ref().to_vec());
            }
            Event::Empty(tag) => tag.attributes().for_each(|a| drop(a.unwrap())),
            Event::End(tag) => assert_eq!(open.pop().unwrap(), tag.name().as_ref()),
            Event::Text(part) => text += &part.decode().unwrap(),
            Event::GeneralRef(name) => {
                text += match &*name.decode().unwrap() {
                    "amp" => "&",
                    "lt" => "<",
                    "gt" => ">",
                    "quot" => "\"",
                    "apos" | "#39" => "'",
                    other => panic!("&{other}; is not of XML"),
                };
            }
            Event::Eof => break,
            _ => {}
        }
    }
    assert!(open.is_empty(), "{open:?}");
    text
}

#[test]
fn the_page_is_well_formed_and_complete() {
    let root = tempfile::tempdir().unwrap();
    let report = trained(&root.path().join("a<b>&"), &small(3));
    assert_eq!((report.epochs.len(), report.scores.sources, report.samples.len()), (3, 3, 3));
    assert_eq!(report.samples[1].references, ["d c", "dc"]);
    assert_eq!(report.attention.len(), 3);
    for picture in &report.attention {
        assert_eq!(picture.target.len(), picture.weights.len());
        assert!(picture.weights.iter().all(|row| row.len() == picture.source.len()));
    }
    let page = report::page(&report);
    assert_eq!(page, report::page(&report));
    let text = text(&page);
    let epoch = format!("{:.4}", report.epochs[2].dev_loss);
    for part in [
        "a<b>&: a Kinglet training",
        "Best epoch",
        "loss, nats a token",
        "learning rate",
        "Worst mistakes",
        "Most frequent confusions",
        "What it attends to",
        "batch_size = 16",
        "ab<&\"",
        "d c | dc",
        &epoch,
    ] {
        assert!(text.contains(part), "{part} is missing");
    }
    for outside in ["https:", "src=", "href=", "url(", "@import", "<script", "<link", "<iframe", "<image"] {
        assert!(!page.contains(outside), "{outside}");
    }
    // The name of SVG's vocabulary is an address that nobody opens.
    assert_eq!(page.matches("//").count(), page.matches("xmlns=\"http://www.w3.org/2000/svg\"").count());
}

#[test]
fn pictures_are_drawn_for_one_epoch_and_for_none() {
    let root = tempfile::tempdir().unwrap();
    let mut config = small(1);
    config.model.attention.kind = AttentionKind::None;
    let mut report = trained(root.path(), &config);
    assert!(report.attention.is_empty());
    for svg in [report::losses(&report.epochs), report::learning_rate(&report.epochs)] {
        assert!(svg.contains("<circle") && !svg.contains("NaN"), "{svg}");
        text(&svg);
    }
    report.epochs.clear();
    let page = text(&report::page(&report));
    assert!(!page.contains("Curves") && page.contains("Answers"), "{page}");
}

#[test]
fn the_command_writes_the_page_and_the_pictures() {
    let root = tempfile::tempdir().unwrap();
    let [out, dev, page, pictures] =
        ["run", "dev.tsv", "page.html", "pictures"].map(|name| root.path().join(name));
    run(&small(2), &out, Start::Fresh).unwrap();
    std::fs::write(&dev, corpus::to_text(&self::dev())).unwrap();
    let command = |page: &Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kinglet-train"));
        command.arg("report").args(["--sentence", "x y z", "--sentence", "q"]);
        for (name, path) in [("checkpoint", &*out), ("dev", &dev), ("out", page), ("pictures", &pictures)] {
            command.arg(format!("--{name}")).arg(path);
        }
        command.output().unwrap()
    };
    assert!(command(&page).status.success());
    assert!(text(&std::fs::read_to_string(&page).unwrap()).contains("Configuration"));
    let mut names: Vec<String> = std::fs::read_dir(&pictures)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert_eq!(names, ["attention-1.svg", "attention-2.svg", "learning-rate.svg", "loss.svg", "metric.svg"]);
    let attention = text(&std::fs::read_to_string(pictures.join("attention-1.svg")).unwrap());
    let tokens: Vec<&str> = attention.split_whitespace().collect();
    assert_eq!(tokens[..6], ["x", "\u{2423}", "y", "\u{2423}", "z", "</s>"]);

    std::fs::write(out.join("history.jsonl"), "{\"epoch\": 1}\n").unwrap();
    let output = command(&page);
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(
        !output.status.success() && message.contains("history.jsonl: line 1: expected an epoch"),
        "{message}"
    );
}
