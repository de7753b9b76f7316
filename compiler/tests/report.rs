//! The page of HTML: one file, well-formed, complete, the same every time.

use kinglet_compiler::boards::board;
use kinglet_compiler::lower::{Plan, Source};
use kinglet_compiler::mixed::Bounds;
use kinglet_compiler::report::{Report, html};
use kinglet_compiler::{Options, compile};
use kinglet_train::config::{Metric, ModelConfig, Tokens};
use kinglet_train::data::Pair;
use kinglet_train::model::Seq2Seq;
use kinglet_train::vocab::Vocab;
use quick_xml::Reader;
use quick_xml::events::Event;

/// Tokens and a name that would be markup if they were not escaped.
const NAME: &str = "a<b>&\"c\"</title>";
const SOURCES: [&str; 4] = ["ab<&", "b>a'", "<script>", "\"a\u{1}"];
const TARGETS: [&str; 4] = ["X Y", "<Y> &amp;", "]]> Z", "W"];

fn report() -> Report {
    let source_vocab = Vocab::build(Tokens::Chars, SOURCES, 1);
    let target_vocab = Vocab::build(Tokens::Words, TARGETS, 1);
    let mut config = ModelConfig::default();
    (config.encoder.hidden, config.decoder.hidden, config.attention.size) = (8, 12, 6);
    let model = Seq2Seq::new(&config, source_vocab.len(), target_vocab.len(), 5);
    let dev: Vec<Pair> = SOURCES
        .iter()
        .zip(TARGETS)
        .map(|(source, target)| Pair { source: (*source).into(), target: target.into() })
        .collect();
    let mut options = Options {
        board: Some(board("pico2").unwrap()),
        calibration_pairs: 4,
        evaluation_sources: 4,
        alternatives: true,
        selection_sources: 4,
        ..Options::new(Plan::new(NAME, 12, 8), Metric::Wer)
    };
    let source = Source { model: &model, source_vocab: &source_vocab, target_vocab: &target_vocab };
    let int8 = compile(source, &dev, &options).unwrap().report.blob_bytes;
    options.plan.mixed = Some(Bounds { flash: Some(int8 * 9 / 10), loss: None });
    compile(source, &dev, &options).unwrap().report
}

#[test]
fn the_page_is_well_formed_and_names_every_tensor() {
    let report = report();
    let page = html::page(&report);
    assert_eq!(page, html::page(&self::report()));
    assert!(!report.pictures.is_empty() && report.fit.is_some() && !report.map.is_empty());

    let mut reader = Reader::from_str(&page);
    let (mut open, mut text) = (Vec::new(), String::new());
    loop {
        match reader.read_event().unwrap() {
            Event::Start(tag) => {
                tag.attributes().for_each(|a| drop(a.unwrap()));
                open.push(String::from_utf8(tag.name().as_ref().to_vec()).unwrap());
            }
            Event::Empty(tag) => tag.attributes().for_each(|a| drop(a.unwrap())),
            Event::End(tag) => assert_eq!(open.pop().unwrap().as_bytes(), tag.name().as_ref()),
            Event::Text(part) => text += &part.decode().unwrap(),
            Event::GeneralRef(name) => {
                let name = name.decode().unwrap();
                text += match &*name {
                    "amp" => "&",
                    "lt" => "<",
                    "gt" => ">",
                    "quot" => "\"",
                    "#39" => "'",
                    other => panic!("&{other}; is not of XML"),
                };
            }
            Event::Eof => break,
            _ => {}
        }
    }
    assert!(open.is_empty(), "{open:?}");
    for tensor in &report.tensors {
        assert!(text.contains(&tensor.name), "{} is missing", tensor.name);
    }
    for stretch in &report.map {
        assert!(text.contains(&stretch.part), "{} is missing", stretch.part);
    }
    // Float, all weights alike and the blob's own, with their bytes; the steps that led to it.
    for name in ["float", "int8", "int4:32", "int4", "mixed"] {
        let numbers = report.numbers();
        assert!(numbers.iter().all(|(_, lines)| lines.iter().any(|n| n.name == name)), "{name}");
    }
    for alternative in &report.alternatives {
        assert!(text.contains(&alternative.blob_bytes.to_string()), "{alternative:?}");
    }
    let steps = &report.choice.as_ref().unwrap().steps;
    assert!(steps.len() > 1 && page.matches("<circle").count() == steps.len());
    for step in steps {
        assert!(text.contains(&format!("{} {}: {} bytes", step.name(), step.kind, step.measured.bytes)));
    }
    assert!(text.contains(NAME) && text.contains("ab<&") && text.contains("pico2"));
}

#[test]
fn the_page_loads_nothing() {
    let page = html::page(&report());
    for outside in
        ["http:", "https:", "//", "src=", "href=", "url(", "@import", "<script", "<link", "<iframe"]
    {
        assert!(!page.contains(outside), "{outside}");
    }
}
