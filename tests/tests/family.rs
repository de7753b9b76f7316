//! Models of the whole family: tasks, sources, searches, and the same answers from every layout.

use kinglet::blob::schema::Slot;
use kinglet::kernels::Layout;
use kinglet::{Arena, Limits, Model, Options, RunError, Sampling, Session, Task};
use kinglet_compiler::desktop::{Buffer, retile};
use kinglet_compiler::kinds::Kind;
use kinglet_tests::family::{ALL, Network, blob};

const LAYOUTS: [Layout; 3] = [Layout::Tiles, Layout::Pairs, Layout::Blocks];
const KINDS: [Kind; 3] = [Kind::Int8, Kind::Int4, Kind::Int4Groups(16)];

fn numbers(positions: usize) -> Vec<i16> {
    (0..3 * positions).map(|i| ((i * 7919) % 500) as i16 - 250).collect()
}

/// Gives a session one of several sources.
fn read(session: &mut Session<'_, '_>, model: &Model<'_>, number: usize) {
    if model.features() > 0 {
        return session.read_frames(&numbers(1 + 3 * number)).unwrap();
    }
    session.read_text(["abcde", "c", "e dca?"][number].as_bytes()).unwrap();
}

fn sampling() -> Sampling {
    Sampling { temperature: 1.7, top_k: 6, top_p: 0.95, no_repeat: 3, min_len: 2, ..Sampling::default() }
}

/// Everything that a model answers, with a beam of at most 3: tokens, and bits of scores.
fn answers(blob: &[u8]) -> Vec<(Vec<u16>, u32)> {
    let model = Model::from_bytes(blob).unwrap();
    let limits = Limits { coverage: true, ..model.limits(3) };
    let mut buffer = Buffer::default();
    let ram = buffer.get(model.ram(&limits));
    ram.fill(0xA5);
    let mut session = Session::new(&model, ram, limits).unwrap();
    let mut answers = Vec::new();
    for number in 0..3 {
        read(&mut session, &model, number);
        if model.task() == Task::Label {
            let mut rows = Vec::new();
            let found = session
                .label_with(|label| {
                    rows.push((
                        label.logits.iter().map(|l| l.get() as u16).collect(),
                        label.log_prob.to_bits(),
                    ));
                })
                .unwrap();
            answers.push((found.tokens.to_vec(), found.log_prob.to_bits()));
            answers.extend(rows);
            continue;
        }
        let greedy = session.greedy(&Options::default()).unwrap();
        answers.push((greedy.tokens.to_vec(), greedy.score.to_bits()));
        for beam_size in 1..=3 {
            let options = Options { beam_size, num_hypotheses: beam_size, ..Options::default() };
            let found = session.beam(&options).unwrap();
            answers.extend(found.iter().map(|h| (h.tokens.to_vec(), h.score.to_bits())));
            if let Ok(found) = session.beam_covering(&options, 0.3) {
                answers.extend(found.iter().map(|h| (h.tokens.to_vec(), h.score.to_bits())));
            }
        }
        for seed in 0..4 {
            let drawn = session.sample(&sampling(), seed).unwrap();
            answers.push((drawn.tokens.to_vec(), drawn.score.to_bits()));
        }
        session
            .force(&[3, 4], |_, row| answers.push((row.iter().map(|l| l.get() as u16).collect(), 0)))
            .unwrap();
    }
    answers
}

#[test]
fn every_layout_answers_alike() {
    for (name, network) in ALL {
        for kind in KINDS {
            for (units, seed) in [(5, 1), (16, 2), (33, 3)] {
                let blobs = LAYOUTS.map(|layout| blob(network, layout, kind, units, seed).unwrap());
                let wanted = answers(&blobs[0]);
                let different = wanted.iter().filter(|a| *a != &wanted[0]).count();
                assert!(different > 3, "{name}: answers differ from source to source");
                for blob in &blobs {
                    assert_eq!(answers(blob), wanted, "{name} {kind:?} {units}");
                    assert_eq!(answers(&retile(blob).unwrap()), wanted, "{name} {kind:?} {units}, panels");
                }
            }
        }
    }
}

#[test]
fn every_position_has_a_label_but_the_end() {
    let blob = blob(Network::Tagger, Layout::Tiles, Kind::Int8, 12, 3).unwrap();
    let model = Model::from_bytes(&blob).unwrap();
    let mut ram = Arena::<20_000>::new();
    let mut session = Session::new(&model, &mut ram, model.limits(1)).unwrap();
    assert_eq!(session.label().err(), Some(RunError::SourceEmpty));
    // Behind the start mark, which has the label of the whole.
    session.read_text(b"abc").unwrap();
    let mut sum = 0.0;
    let labels = session
        .label_with(|label| {
            let logits: Vec<i16> = label.logits.iter().map(|l| l.get()).collect();
            let best = logits.iter().position(|l| Some(l) == logits.iter().max()).unwrap();
            assert_eq!((label.token as usize, logits.len()), (best, model.target().size().into()));
            let total: f64 = logits.iter().map(|&l| (f64::from(l) / 512.0).exp2()).sum();
            let wanted = ((f64::from(logits[best]) / 512.0).exp2() / total).ln();
            assert!((f64::from(label.log_prob) - wanted).abs() < 3e-3);
            sum += label.log_prob;
        })
        .unwrap();
    assert_eq!(labels.tokens.len(), 4);
    assert!((labels.log_prob - sum).abs() < 1e-4);
    let labels = labels.tokens.to_vec();
    // The end mark may be missing among ids, and then nothing is left out.
    let ids = [0, 3, 4, 5].as_slice();
    session.read_ids(ids).unwrap();
    assert_eq!(session.label().unwrap().tokens.len(), 4);
    session.read_ids(&[ids, &[1]].concat()).unwrap();
    assert_eq!(session.label().unwrap().tokens, labels);
    let task = Some(RunError::Task { found: Task::Label });
    assert_eq!(session.greedy(&Options::default()).err(), task);
    assert_eq!(session.beam(&Options::default()).err(), task);
    assert_eq!(session.sample(&Sampling::default(), 1).err(), task);
    assert_eq!(session.force(&[3], |_, _| {}).err(), task);
    assert_eq!(session.read_frames(&[1]).err(), Some(RunError::Source));
}

#[test]
fn frames_are_kept_until_others_are_read() {
    let blob = blob(Network::Frames, Layout::Tiles, Kind::Int8, 12, 4).unwrap();
    let model = Model::from_bytes(&blob).unwrap();
    assert_eq!((model.features(), model.source().size()), (3, 0));
    let limits = Limits { source: 7, ..model.limits(1) };
    let mut ram = Arena::<20_000>::new();
    let mut session = Session::new(&model, &mut ram, limits).unwrap();
    let labels = |session: &mut Session<'_, '_>| session.label().unwrap().tokens.to_vec();
    session.read_frames(&numbers(7)).unwrap();
    let first = labels(&mut session);
    assert_eq!((first.len(), labels(&mut session)), (7, first.clone()), "asked again");
    session.read_frames(&numbers(2)).unwrap();
    assert_eq!(labels(&mut session), first[..2], "an Elman network does not look ahead");
    assert_eq!(session.read_frames(&[0; 4]), Err(RunError::Frames { features: 3, found: 4 }));
    assert_eq!(session.read_frames(&[0; 24]), Err(RunError::SourceTooLong { limit: 7 }));
    assert_eq!(session.read_frames(&[]), Err(RunError::SourceEmpty));
    assert_eq!(session.label().err(), Some(RunError::SourceEmpty), "a refused source is none");
    assert_eq!(session.read_text(b"a").err(), Some(RunError::Source));
    assert_eq!(session.read_ids(&[1]).err(), Some(RunError::Source));
}

/// Frames become int8 as their records say.
#[test]
fn frames_are_scaled() {
    use kinglet::blob::schema::{Add, Extent, Frames, Kind as Element, Op, Over};
    use kinglet_tests::handmade::{self, Builder, Source};
    let mut b = Builder::new(Layout::Tiles, Kind::Int8, 1);
    let numbers = b.slot(Extent::Source, Element::I8, 4);
    let logits = b.slot(Extent::Once, Element::I16, 4);
    let show = Add { a: b.whole(numbers), b: None, up: [0, 0], down: 0, to: b.whole(logits) };
    b.step.pass(Over::Once, &[Op::Add(show)]);
    // (256 x + bias) >> pre, times mantissa, by 2^16.
    let table = [(0i32, 256u16, 0u8), (-25_600, 2560, 0), (1 << 20, 16_384, 7), (12_345, 77, 3)];
    let records: Vec<u8> = table
        .iter()
        .flat_map(|(b, m, p)| [&b.to_le_bytes()[..], &m.to_le_bytes(), &[*p, 0]].concat())
        .collect();
    let source = Source::Frames(Frames {
        slot: numbers,
        post: 16,
        resolution: false,
        records: b.section.push("", &records),
    });
    let model = handmade::Model { task: Task::Label, source, letters: 1, logits, logit_bits: 9 };
    let blob = b.blob(&model).unwrap();
    let model = Model::from_bytes(&blob).unwrap();
    let mut ram = Arena::<4096>::new();
    let mut session = Session::new(&model, &mut ram, model.limits(1)).unwrap();
    for x in [0i16, 1, -1, 100, -100, 131, 20_000, -20_000, i16::MAX, i16::MIN] {
        session.read_frames(&[x; 4]).unwrap();
        session
            .label_with(|label| {
                for (found, (bias, mantissa, pre)) in label.logits.iter().zip(table) {
                    let sum = f64::from((i32::from(x) * 256 + bias) >> pre).clamp(-65_536.0, 65_535.0);
                    let exact = (sum * f64::from(mantissa) / 65_536.0 + 0.5).floor().clamp(-127.0, 127.0);
                    assert_eq!(f64::from(found.get()), exact, "{x}");
                }
            })
            .unwrap();
    }
}

#[test]
fn prompts_are_gone_on_with() {
    for layout in LAYOUTS {
        let blob = blob(Network::Writer, layout, Kind::Int8, 20, 5).unwrap();
        let model = Model::from_bytes(&blob).unwrap();
        assert_eq!(model.source().size(), model.target().size());
        let mut ram = Arena::<20_000>::new();
        let mut session = Session::new(&model, &mut ram, model.limits(3)).unwrap();
        let options = Options { min_len: 6, max_len: 6, ..Options::default() };
        // Without a prompt, whether nothing was read or an empty text.
        let whole = session.greedy(&options).unwrap().tokens.to_vec();
        assert_eq!(session.read_text(b"").unwrap().tokens, 0);
        assert_eq!(session.greedy(&options).unwrap().tokens, whole);
        assert_eq!(whole.len(), 6);
        for given in 1..6 {
            session.read_ids(&whole[..given]).unwrap();
            let options = Options { min_len: 0, max_len: 6 - given as u16, ..options };
            assert_eq!(session.greedy(&options).unwrap().tokens, &whole[given..], "{given} given");
            let found = session.beam(&Options { beam_size: 3, ..options }).unwrap();
            assert!(found.best().tokens.len() <= 6 - given);
        }
        // What text and ids say is the same.
        session.read_text(b"abc").unwrap();
        let drawn = session.sample(&Sampling::default(), 9).unwrap().tokens.to_vec();
        assert_eq!(session.generate(&Sampling::default(), 9, &[3, 4, 5]).unwrap().tokens, drawn);
        assert_eq!(session.label().err(), Some(RunError::Task { found: Task::Generate }));
    }
}

#[test]
fn sampling_is_greedy_at_its_coldest_and_free_at_its_warmest() {
    let blob = blob(Network::Luong, Layout::Tiles, Kind::Int8, 20, 6).unwrap();
    let model = Model::from_bytes(&blob).unwrap();
    let mut ram = Arena::<20_000>::new();
    let mut session = Session::new(&model, &mut ram, model.limits(1)).unwrap();
    session.read_text(b"abcde").unwrap();
    let greedy = session.greedy(&Options::default()).unwrap();
    let (tokens, log_prob) = (greedy.tokens.to_vec(), greedy.log_prob);
    let cold = session.sample(&Sampling { top_k: 1, ..Sampling::default() }, 77).unwrap();
    assert_eq!((cold.tokens, cold.log_prob), (&tokens[..], log_prob));
    let warm = Sampling { temperature: 16.0, ..Sampling::default() };
    let mut seen = std::collections::HashSet::new();
    for seed in 0..50 {
        let drawn = session.sample(&warm, seed).unwrap().tokens.to_vec();
        assert_eq!(session.sample(&warm, seed).unwrap().tokens, drawn, "the same seed");
        seen.insert(drawn);
    }
    assert!(seen.len() > 40, "{}", seen.len());
    for seed in 0..50 {
        let how = Sampling { no_repeat: 2, min_len: 7, ..warm };
        let drawn = session.sample(&how, seed).unwrap();
        let mut pairs: Vec<&[u16]> = drawn.tokens.windows(2).collect();
        pairs.sort();
        assert!(
            drawn.tokens.len() >= 7 && pairs.windows(2).all(|two| two[0] != two[1]),
            "{:?}",
            drawn.tokens
        );
    }
    let wrong = Sampling { temperature: 0.0, ..Sampling::default() };
    assert_eq!(session.sample(&wrong, 1).err(), Some(RunError::Sampling));
}

#[test]
fn coverage_is_what_attention_left_out() {
    let blob = blob(Network::Cosine, Layout::Pairs, Kind::Int8, 9, 8).unwrap();
    let model = Model::from_bytes(&blob).unwrap();
    let mut ram = Arena::<40_000>::new();
    let options = Options { beam_size: 3, num_hypotheses: 3, length_penalty: 0.0, ..Options::default() };
    let mut session = Session::new(&model, &mut ram, model.limits(3)).unwrap();
    session.read_text(b"abcde").unwrap();
    assert_eq!(session.beam_covering(&options, 0.2).err(), Some(RunError::Coverage), "not planned");
    let limits = Limits { coverage: true, ..model.limits(3) };
    assert_eq!(model.ram(&limits), model.ram(&model.limits(3)) + 2 * 3 * usize::from(limits.source));
    let mut session = Session::new(&model, &mut ram, limits).unwrap();
    session.read_text(b"abcde").unwrap();
    assert_eq!(session.beam_covering(&options, -0.1).err(), Some(RunError::CoveragePenalty));
    let plain: Vec<_> =
        session.beam(&options).unwrap().iter().map(|h| (h.tokens.to_vec(), h.score)).collect();
    let same: Vec<_> =
        session.beam_covering(&options, 0.0).unwrap().iter().map(|h| (h.tokens.to_vec(), h.score)).collect();
    assert_eq!(same, plain, "a penalty of 0 is none");
    let found: Vec<_> = session
        .beam_covering(&options, 0.7)
        .unwrap()
        .iter()
        .map(|h| (h.tokens.to_vec(), h.score, h.log_prob, h.complete))
        .collect();
    assert!(found.is_sorted_by(|a, b| a.1 >= b.1));
    for (tokens, score, log_prob, complete) in found {
        let mut covered = [0.0f64; 7];
        let steps = tokens.len() + usize::from(complete);
        session
            .align(&tokens, |step, weights| {
                if step < steps {
                    for (covered, w) in covered.iter_mut().zip(weights) {
                        *covered += f64::from(w.get()) / 32_768.0;
                    }
                }
            })
            .unwrap();
        let penalty: f64 = covered.iter().map(|c| c.clamp(2f64.powi(-15), 1.0).ln()).sum();
        let wanted = f64::from(log_prob) + 0.7 * penalty;
        assert!((f64::from(score) - wanted).abs() < 1e-3, "{tokens:?}: {score} {wanted}");
    }
}

/// The slot of a source of numbers shares its RAM with none.
#[test]
fn frames_lie_alone() {
    let blob = blob(Network::Frames, Layout::Tiles, Kind::Int8, 12, 4).unwrap();
    let model = Model::from_bytes(&blob).unwrap();
    let slots: Vec<Slot> = model.description().slots.iter().collect();
    assert_eq!(slots.iter().filter(|slot| slot.region == slots[0].region).count(), 1);
}
