//! All that a caller can do with a model.

use core::cell::Cell;
use core::ops::ControlFlow;

use kinglet::{Limits, Model, Options, RunError, Sampling, Session};

use crate::CONTROL;

/// Most bytes of RAM that a model gets: more is refused, as on a chip.
const RAM: usize = 1 << 18;

/// Reads everything that a model says of itself.
pub fn look(model: &Model<'_>) {
    let mut text = String::new();
    for vocab in [model.source(), model.target()] {
        for id in [0, 1, vocab.eos(), vocab.unk(), vocab.size() / 2, vocab.size().wrapping_sub(1), u16::MAX] {
            let token = vocab.token(id);
            let _ = vocab.id(token);
            vocab.write(&[id, vocab.sos()], &mut text).expect("a string takes all");
        }
        let text = "ab  c\u{e9} abcab";
        assert!(vocab.cut(text).all(|piece| !piece.is_empty()));
        let ids = [const { Cell::new(0) }; 16];
        let (len, unknown) = vocab.encode(text, &ids).expect("a piece is a token at most");
        assert!(0 < len && unknown <= len && len <= vocab.cut(text).count());
        let _ = vocab.encode(text, &ids[..3]);
    }
    let small = Limits { source: 1, target: 1, beam: 1, coverage: false };
    let large = Limits { source: 4096, target: 4096, beam: 8, coverage: true };
    let planned = model.limits(8);
    let ram = |limits: Limits| model.ram(&limits);
    assert!(ram(small) <= ram(planned) && ram(planned) <= ram(large), "RAM grows with the limits");
    assert_eq!(ram(Limits { beam: 9, ..large }), 0);
    let _ = (model.name(), model.crc(), model.layout(), model.data().len());
}

/// Runs a model as the control bytes say. Every call must return; answers must be within the limits that were given.
pub fn exercise(model: &Model<'_>, control: &[u8; CONTROL]) {
    let [_, source, target, beam, what, width, penalty, min, max, text @ ..] = *control;
    let limits = Limits {
        source: 1 + u16::from(source % 7),
        target: 1 + u16::from(target % 5),
        beam: 1 + beam % 4 + 4 * (beam >> 7),
        coverage: beam & 64 != 0,
    };
    let needed = model.ram(&limits);
    assert!(needed > 0 && needed.is_multiple_of(2));
    if needed > RAM {
        let refused = Session::new(model, &mut [0; 64], limits).err();
        assert_eq!(refused, Some(RunError::BufferTooSmall { needed, found: 64 }));
        return;
    }
    let mut ram = vec![0xA5A5_A5A5u32; needed.div_ceil(4)];
    let (_, ram, _) = unsafe { ram.align_to_mut::<u8>() };
    let Ok(mut session) = Session::new(model, &mut ram[..needed], limits) else {
        panic!("the stated RAM does not suffice");
    };
    let ids = text.map(|byte| u16::from(byte) % model.source().size().max(1));
    if what & 128 != 0 || model.features() > 0 {
        let numbers = text.map(|byte| (u16::from(byte) * 257) as i16);
        let features = model.features().clamp(1, numbers.len());
        let _ = session.read_frames(
            &numbers[..features * (1 + usize::from(what >> 1 & 3)).min(numbers.len() / features)],
        );
    } else if what & 1 == 0 {
        let _ = session.read_text(&text[..1 + usize::from(what >> 1 & 3)]);
    } else {
        let _ = session.read_ids(&ids[..1 + usize::from(what >> 1 & 3)]);
    }
    let options = Options {
        beam_size: width % 10,
        num_hypotheses: width / 10,
        length_penalty: [1.0, 0.0, 0.5, 10.0, f32::NAN, -1.0, 0.999, 3.3][usize::from(penalty % 8)],
        min_len: u16::from(min % 4),
        max_len: if max & 1 == 0 { u16::MAX } else { u16::from(max >> 1 & 7) },
    };
    let mut greedy = None;
    if what & 8 == 0 {
        let mut seen = 0;
        let on_token = |_| {
            seen += 1;
            if what & 64 != 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        if let Ok(found) = session.greedy_with(&options, on_token) {
            assert!(found.tokens.len() <= usize::from(limits.target) && found.tokens.len() == seen);
            assert!(found.tokens.iter().all(|&id| id < model.target().size()) && found.score <= 0.0);
            greedy = Some((found.tokens.to_vec(), found.score.to_bits()));
        }
    }
    if what & 16 == 0
        && let Ok(found) = session.beam(&options)
    {
        assert!(found.iter().count() <= usize::from(options.beam_size.min(options.num_hypotheses.max(1))));
        for hypothesis in found.iter() {
            assert!(hypothesis.tokens.len() <= usize::from(limits.target) && hypothesis.score.is_finite());
            assert!(hypothesis.tokens.iter().all(|&id| id < model.target().size()));
        }
        if options.beam_size == 1
            && what & 64 == 0
            && let Some(greedy) = greedy
        {
            let best = found.best();
            assert_eq!(greedy, (best.tokens.to_vec(), best.score.to_bits()), "the same search, twice");
        }
    }
    if let Ok(found) = session.beam_covering(&options, f32::from(penalty % 12)) {
        assert!(found.iter().all(|hypothesis| hypothesis.score.is_finite() && hypothesis.score <= 0.0));
    }
    let how = Sampling {
        temperature: [1.0, 0.25, 16.0, 0.0][usize::from(penalty % 4)],
        top_k: u16::from(width % 5),
        top_p: [1.0, 0.5, 0.9, f32::NAN][usize::from(min % 4)],
        no_repeat: max % 4,
        min_len: options.min_len,
        max_len: options.max_len,
    };
    let drawn =
        session.sample(&how, u64::from(min)).map(|found| (found.tokens.to_vec(), found.score.to_bits()));
    if let Ok((tokens, _)) = &drawn {
        assert!(tokens.len() <= usize::from(limits.target));
        assert!(tokens.iter().all(|&id| id < model.target().size()));
        let again = session.sample(&how, u64::from(min)).unwrap();
        assert_eq!(
            (again.tokens.to_vec(), again.score.to_bits()),
            *drawn.as_ref().unwrap(),
            "the same seed, twice"
        );
    }
    let _ = session.generate(&how, u64::from(max), &ids[..usize::from(width % 3)]);
    let mut labels = 0;
    if let Ok(found) = session.label_with(|label| {
        assert_eq!(label.position, labels);
        assert_eq!(label.logits.len(), usize::from(model.target().size()));
        labels += 1;
    }) {
        assert!(found.tokens.len() == labels && labels <= usize::from(limits.source));
        assert!(found.tokens.iter().all(|&id| id < model.target().size()) && found.log_prob <= 0.0);
    }
    if what & 32 == 0 {
        let forced = ids.map(|id| id % model.target().size());
        let forced = &forced[..usize::from(width % 4)];
        let mut steps = 0;
        if session.force(forced, |_, logits| steps += usize::from(!logits.is_empty())).is_ok() {
            assert_eq!(steps, forced.len() + 1);
        }
        let _ = session.align(&ids[..usize::from(min % 3)], |_, weights| {
            assert!(weights.len() <= usize::from(limits.source));
        });
    }
}
