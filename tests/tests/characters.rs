//! Words that are read by their letters: what a user of a blob relies on.

use kinglet::kernels::Layout;
use kinglet::{Arena, Model, RunError, Session};
use kinglet_compiler::kinds::Kind;
use kinglet_tests::family::{Network, blob};

/// The words `a` to `e`, by their letters `a` to `e`, of which four are read.
fn speller() -> Vec<u8> {
    blob(Network::Speller, Layout::Tiles, Kind::Int8, 9, 1).unwrap()
}

/// Logits of the source that a session has read, all positions.
fn logits(session: &mut Session<'_, '_>) -> Vec<i16> {
    let mut all = Vec::new();
    session.label_with(|label| all.extend(label.logits.iter().map(|l| l.get()))).unwrap();
    all
}

#[test]
fn unknown_words_are_told_apart_by_their_letters() {
    let blob = speller();
    let model = Model::from_bytes(&blob).unwrap();
    let mut ram = Arena::<20_000>::new();
    let mut session = Session::new(&model, &mut ram, model.limits(1)).unwrap();
    let mut of = |text: &str| {
        let read = session.read_text(text.as_bytes()).unwrap();
        (read.unknown, logits(&mut session))
    };
    let cab = of("cab");
    assert_eq!((cab.0, of("e cab").0), (1, 1));
    assert_ne!(cab, of("bac"));
    // Letters that the vocabulary lacks are one, and none is left out.
    assert_eq!(of("c\u{e9}b"), of("c?b"));
    assert_ne!(of("c?b"), of("cb"));
    // The first and the last two of a long word count, however long it is.
    let long = of(&format!("ab{}de", "c".repeat(3000)));
    assert_eq!(long, of("abccde"));
    assert_eq!(long, of("abde"));
    for other in ["abdc", "aede", "abbe"] {
        assert_ne!(long, of(other), "{other}");
    }
}

#[test]
fn ids_are_read_as_the_words_that_they_are() {
    let blob = speller();
    let model = Model::from_bytes(&blob).unwrap();
    let vocab = model.source();
    let mut ram = Arena::<20_000>::new();
    let mut session = Session::new(&model, &mut ram, model.limits(1)).unwrap();
    session.read_text(b"d a").unwrap();
    let wanted = logits(&mut session);
    // Features stay for the next run, and go with the source.
    assert_eq!(logits(&mut session), wanted);
    session.read_text(b"e e").unwrap();
    let [d, a] = [b"d", b"a"].map(|word| vocab.id(word).unwrap());
    session.read_ids(&[vocab.sos(), d, a, vocab.eos()]).unwrap();
    assert_eq!(logits(&mut session), wanted);
    // The id of unknown words has no letters, not even those of its mark.
    session.read_ids(&[vocab.sos(), vocab.unk(), a, vocab.eos()]).unwrap();
    let unknown = logits(&mut session);
    let mark = std::str::from_utf8(vocab.token(vocab.unk())).unwrap();
    for text in ["cab a".to_owned(), format!("{mark} a")] {
        session.read_text(text.as_bytes()).unwrap();
        assert_ne!(logits(&mut session), unknown, "{text}");
    }
}

#[test]
fn a_source_as_long_as_planned_takes_the_stated_ram() {
    let blob = speller();
    let model = Model::from_bytes(&blob).unwrap();
    let limits = model.limits(1);
    let needed = model.ram(&limits);
    let mut ram = Arena::<20_000>::new();
    ram.fill(0xA5);
    let mut session = Session::new(&model, &mut ram[..needed], limits).unwrap();
    let words = |count: u16| vec!["eab"; count.into()].join(" ");
    let most = limits.source - model.source().marks() as u16;
    assert_eq!(session.read_text(words(most).as_bytes()).unwrap().tokens, usize::from(limits.source));
    assert_eq!(session.label().unwrap().tokens.len(), usize::from(limits.source) - 1);
    let refused = session.read_text(words(most + 1).as_bytes());
    assert_eq!(refused, Err(RunError::SourceTooLong { limit: limits.source.into() }));
    assert!(ram[needed..].iter().all(|&byte| byte == 0xA5));
}
