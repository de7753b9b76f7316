//! One number of RAM, and clear answers to what does not fit.

use kinglet::blob::schema::{Slot, Slots};
use kinglet::kernels::Layout;
use kinglet::{Arena, Limits, Model, Options, RunError, Sampling, Session, Task};
use kinglet_compiler::kinds::{Kind, Kinds};
use kinglet_compiler::lower::{Fold, Plan};
use kinglet_compiler::pack::{Section, pack};
use kinglet_tests::{family, tiny};
use kinglet_train::config::{AttentionKind, Bridge, Cell};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// The stated figure suffices for every search that the limits allow; one byte less is refused with the figure.
    #[test]
    fn ram_is_exact(
        lstm: bool, bidirectional: bool, layers in 1usize..3, attends: bool, fold: bool,
        source in 2u16..30, target in 1u16..20, beam in 1u8..=8, seed in 0u64..100,
        layout in prop::sample::select(vec![Layout::Tiles, Layout::Pairs, Layout::Blocks]),
        kind in prop::sample::select(vec![Kind::Int8, Kind::Int4, Kind::Int4Groups(16)]),
    ) {
        let cell = if lstm { Cell::Lstm } else { Cell::Gru };
        let attention = if attends { AttentionKind::Additive } else { AttentionKind::None };
        let fold = if fold { Fold::Always } else { Fold::Never };
        let plan = Plan { fold, layout, kinds: Kinds::all(kind), ..Plan::new("tiny", 12, 8) };
        let blob = tiny::planned(&tiny::config(cell, bidirectional, layers, attention), plan, seed).unwrap();
        let model = Model::from_bytes(&blob).unwrap();
        let limits = Limits { source, target, beam, coverage: false };
        let needed = model.ram(&limits);
        let mut ram = Arena::<100_000>::new();
        let refused = Session::new(&model, &mut ram[..needed - 1], limits).err();
        prop_assert_eq!(refused, Some(RunError::BufferTooSmall { needed, found: needed - 1 }));
        let mut session = Session::new(&model, &mut ram[..needed], limits).unwrap();
        let longest: Vec<u8> = b"abcde".iter().copied().cycle().take(source as usize - 1).collect();
        session.read_text(&longest).unwrap();
        let greedy = session.greedy(&Options::default()).unwrap();
        prop_assert!(greedy.tokens.len() <= target as usize);
        let bits = (greedy.tokens.to_vec(), greedy.score.to_bits());
        for beam_size in 1..=beam {
            let found = session.beam(&Options { beam_size, num_hypotheses: beam_size, ..Options::default() }).unwrap();
            let best = found.best();
            prop_assert!(found.iter().count() <= beam_size as usize && best.score.is_finite());
            if beam_size == 1 {
                prop_assert_eq!(&(best.tokens.to_vec(), best.score.to_bits()), &bits);
            }
        }
        // A search leaves nothing behind that changes the next one.
        let again = session.greedy(&Options::default()).unwrap();
        prop_assert_eq!(&(again.tokens.to_vec(), again.score.to_bits()), &bits);
        prop_assert!(ram[needed..].iter().all(|&b| b == 0));
    }
}

/// Tokens and bits of scores of all that a model's task has.
fn of_task(session: &mut Session<'_, '_>, model: &Model<'_>, limits: Limits) -> Vec<(Vec<u16>, u32)> {
    let mut answers = Vec::new();
    if model.task() == Task::Label {
        let labels = session.label().unwrap();
        answers.push((labels.tokens.to_vec(), labels.log_prob.to_bits()));
        return answers;
    }
    let how = Sampling { temperature: 2.0, ..Sampling::default() };
    for seed in 0..3 {
        let drawn = session.sample(&how, seed).unwrap();
        answers.push((drawn.tokens.to_vec(), drawn.score.to_bits()));
    }
    for beam_size in 1..=limits.beam {
        let options = Options { beam_size, num_hypotheses: beam_size, ..Options::default() };
        let found = session.beam(&options).unwrap();
        answers.extend(found.iter().map(|h| (h.tokens.to_vec(), h.score.to_bits())));
        match session.beam_covering(&options, 0.5) {
            Ok(found) => answers.extend(found.iter().map(|h| (h.tokens.to_vec(), h.score.to_bits()))),
            Err(error) => assert_eq!(error, RunError::Coverage),
        }
    }
    answers
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// So it is for every task, every kind of source and every operation, with coverage counted or not; and slots that share RAM
    /// change nothing there.
    #[test]
    fn ram_is_exact_for_every_task(
        network in prop::sample::select(family::ALL.to_vec()), coverage: bool,
        source in 2u16..30, target in 1u16..20, beam in 1u8..=8, units in 2u16..20, seed in 0u64..100,
        layout in prop::sample::select(vec![Layout::Tiles, Layout::Pairs, Layout::Blocks]),
        kind in prop::sample::select(vec![Kind::Int8, Kind::Int4, Kind::Int4Groups(16)]),
    ) {
        let blob = family::blob(network.1, layout, kind, units, seed).unwrap();
        let model = Model::from_bytes(&blob).unwrap();
        let limits = Limits { source, target, beam, coverage };
        let needed = model.ram(&limits);
        let parts: usize = model.ram_parts(&limits).iter().map(|(_, bytes)| bytes).sum();
        prop_assert_eq!(parts, needed);
        let (mut ram, mut other) = (Arena::<100_000>::new(), Arena::<100_000>::new());
        let refused = Session::new(&model, &mut ram[..needed - 1], limits).err();
        prop_assert_eq!(refused, Some(RunError::BufferTooSmall { needed, found: needed - 1 }));
        let apart = apart(&model);
        let apart = Model::from_bytes(&apart).unwrap();
        prop_assert!(apart.ram(&limits) >= needed);
        other.fill(0xA5);
        let mut session = Session::new(&model, &mut ram[..needed], limits).unwrap();
        let mut session_apart = Session::new(&apart, &mut other, limits).unwrap();
        let marks = match model.task() {
            Task::Generate => 0,
            _ => model.source().marks(),
        };
        let frames: Vec<i16> = (0..3 * source as i16).map(|i| (i * 77) % 250 - 125).collect();
        let text: Vec<u8> = b"abcde".iter().copied().cycle().take((source as usize).saturating_sub(marks).max(1)).collect();
        for session in [&mut session, &mut session_apart] {
            if model.features() > 0 {
                session.read_frames(&frames).unwrap();
            } else if session.read_text(&text).is_err() {
                session.read_ids(&vec![3; source.into()]).unwrap();
            }
        }
        let answers = of_task(&mut session, &model, limits);
        prop_assert_eq!(&of_task(&mut session_apart, &apart, limits), &answers);
        // Nothing is left behind that changes what comes next.
        prop_assert_eq!(of_task(&mut session, &model, limits), answers);
        prop_assert!(ram[needed..].iter().all(|&b| b == 0));
    }
}

/// Everything that the search can tell: greedy, every hypothesis of every beam, logits and alignments of given targets.
fn answers(model: &Model<'_>, limits: Limits, texts: &[&[u8]]) -> Vec<(Vec<u16>, u32)> {
    let mut ram = Arena::<100_000>::new();
    ram.fill(0xA5);
    let mut session = Session::new(model, &mut ram, limits).unwrap();
    let mut answers = Vec::new();
    for text in texts {
        session.read_text(text).unwrap();
        let best = session.greedy(&Options::default()).unwrap();
        let tokens = best.tokens.to_vec();
        answers.push((tokens.clone(), best.score.to_bits()));
        for beam_size in 1..=limits.beam {
            let found = session
                .beam(&Options { beam_size, num_hypotheses: beam_size, ..Options::default() })
                .unwrap();
            answers.extend(found.iter().map(|h| (h.tokens.to_vec(), h.score.to_bits())));
        }
        session
            .force(&tokens, |_, logits| answers.push((logits.iter().map(|l| l.get() as u16).collect(), 0)))
            .unwrap();
        session
            .align(&tokens, |_, weights| answers.push((weights.iter().map(|w| w.get()).collect(), 0)))
            .unwrap();
    }
    answers
}

/// The same model with a region for each slot.
fn apart(model: &Model<'_>) -> Vec<u8> {
    let mut description = model.description().clone();
    let slots: Vec<u8> = (0..)
        .zip(description.slots.iter())
        .flat_map(|(region, slot)| Slot { region, ..slot }.to_bytes())
        .collect();
    description.slots = Slots(&slots);
    let mut section = Section::default();
    section.push("all", model.data());
    pack(&description, model.layout(), &section).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// Slots that share RAM change no bit of any answer, and never take more than slots that do not.
    #[test]
    fn sharing_changes_nothing(
        lstm: bool, bidirectional: bool, layers in 1usize..4, attends: bool, copies: bool, fold: bool,
        planned in 2u16..30, planned_beam in 1u8..=8,
        source in 6u16..30, target in 1u16..12, beam in 1u8..=8, seed in 0u64..1000,
        layout in prop::sample::select(vec![Layout::Tiles, Layout::Pairs, Layout::Blocks]),
    ) {
        let cell = if lstm { Cell::Lstm } else { Cell::Gru };
        let attention = if attends { AttentionKind::Additive } else { AttentionKind::None };
        let mut config = tiny::config(cell, bidirectional && !copies, layers, attention);
        if copies {
            config.bridge = Bridge::Copy;
            config.encoder.hidden = config.decoder.hidden;
        }
        let fold = if fold { Fold::Always } else { Fold::Never };
        let plan = Plan { fold, layout, beam: planned_beam, ..Plan::new("tiny", planned, 8) };
        let blob = tiny::planned(&config, plan, seed).unwrap();
        let model = Model::from_bytes(&blob).unwrap();
        let blob = apart(&model);
        let apart = Model::from_bytes(&blob).unwrap();
        let limits = Limits { source, target, beam, coverage: false };
        let planned = model.limits(planned_beam);
        prop_assert!(model.ram(&limits) <= apart.ram(&limits));
        // The encoder's own states end where the logits begin; with the decoder's in their place there may be nothing to share.
        prop_assert!(copies || model.ram(&planned) < apart.ram(&planned));
        let texts: [&[u8]; 4] = [b"abcde", b"b", b"e dca", b"cab"];
        prop_assert_eq!(answers(&model, limits, &texts), answers(&apart, limits, &texts));
    }
}

#[test]
fn what_does_not_fit_is_named() {
    let config = tiny::config(Cell::Gru, true, 1, AttentionKind::Additive);
    let blob = tiny::blob(&config, Fold::Auto, 3).unwrap();
    let model = Model::from_bytes(&blob).unwrap();
    let mut ram = Arena::<20_000>::new();
    let limits = Limits { source: 6, target: 5, beam: 2, coverage: false };
    assert_eq!(Session::new(&model, &mut ram[1..], limits).err(), Some(RunError::BufferMisaligned));
    for wrong in
        [Limits { source: 0, ..limits }, Limits { target: 5000, ..limits }, Limits { beam: 9, ..limits }]
    {
        assert_eq!(Session::new(&model, &mut ram, wrong).err(), Some(RunError::Limits));
    }
    let mut session = Session::new(&model, &mut ram, limits).unwrap();
    assert_eq!(session.greedy(&Options::default()).err(), Some(RunError::SourceEmpty));
    assert_eq!(session.read_text(b"abcde").unwrap().tokens, 6);
    assert_eq!(session.read_text(b"abcdea"), Err(RunError::SourceTooLong { limit: 6 }));
    assert_eq!(session.read_text(b""), Err(RunError::SourceEmpty));
    assert_eq!(session.read_text(b"ab\xff"), Err(RunError::Utf8 { at: 2 }));
    // A refused source is not the one before it.
    assert_eq!(session.greedy(&Options::default()).err(), Some(RunError::SourceEmpty));
    let read = session.read_text("aß?".as_bytes()).unwrap();
    assert_eq!((read.tokens, read.unknown), (4, 2));
    assert_eq!(
        session.read_ids(&[1, 2, 99]),
        Err(RunError::Token { found: 99, size: model.source().size() })
    );
    session.read_ids(&[4, 5, 2]).unwrap();
    let too_wide = session.beam(&Options { beam_size: 3, ..Options::default() }).err();
    assert_eq!(too_wide, Some(RunError::Beam { limit: 2, found: 3 }));
    let penalty = Options { length_penalty: f32::NAN, ..Options::default() };
    assert_eq!(session.greedy(&penalty).err(), Some(RunError::LengthPenalty));
    assert_eq!(
        session.align(&[200], |_, _| {}),
        Err(RunError::Token { found: 200, size: model.target().size() })
    );
}

#[test]
fn alignments_are_distributions_over_the_source() {
    let config = tiny::config(Cell::Lstm, true, 1, AttentionKind::Additive);
    let blob = tiny::blob(&config, Fold::Never, 4).unwrap();
    let model = Model::from_bytes(&blob).unwrap();
    let mut ram = Arena::<20_000>::new();
    let mut session = Session::new(&model, &mut ram, model.limits(1)).unwrap();
    session.read_text(b"bad cab").unwrap();
    let tokens = session.greedy(&Options::default()).unwrap().tokens.to_vec();
    let mut steps = 0;
    session
        .align(&tokens, |step, weights| {
            assert_eq!((step, weights.len()), (steps, 8));
            let sum: u32 = weights.iter().map(|w| u32::from(w.get())).sum();
            assert!((32_760..=32_768).contains(&sum), "{sum}");
            steps += 1;
        })
        .unwrap();
    assert_eq!(steps, tokens.len() + 1);
}
