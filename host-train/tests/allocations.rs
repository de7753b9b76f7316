//! A training step takes no memory from the system once the shapes of its batches have been seen.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use kinglet_train::config::{AttentionKind, Bridge, Cell as CellKind, CharactersKind, ModelConfig, Tokens};
use kinglet_train::model::{Batch, EOS, Seq2Seq, StepOptions, UNK};
use kinglet_train::nn::random::Random;
use kinglet_train::optim::{Adam, clip_grad_norm};
use kinglet_train::vocab::{Encoded, Vocab};

/// The system's allocator, which counts what each thread asks for.
struct Counting;

thread_local!(static ASKED: Cell<usize> = const { Cell::new(0) });

// SAFETY: everything is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ASKED.set(ASKED.get() + 1);
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn batches(random: &mut Random) -> Vec<Batch> {
    let mut sentence = || {
        let mut ids: Vec<u32> = (0..random.below(9)).map(|_| 4 + random.below(20) as u32).collect();
        ids.push(EOS);
        ids
    };
    // Every source begins with a word that the vocabulary does not know.
    let source =
        |ids: Vec<u32>| Encoded { unknown: vec![format!("x{}", ids.len())], ids: [vec![UNK], ids].concat() };
    let mut side = || -> Vec<Vec<u32>> { (0..24).map(|_| sentence()).collect() };
    let mut batch = || Batch { sources: side().into_iter().map(source).collect(), targets: side() };
    (0..6).map(|_| batch()).collect()
}

#[test]
fn steps_allocate_nothing_once_shapes_are_known() {
    let batches = batches(&mut Random::new(1));
    let words: Vec<String> = (0..20).map(|i| format!("w{i}")).collect();
    let words = Vocab::build(Tokens::Words, [words.join(" ").as_str()], 1);
    let words = words.with_characters(Vocab::build(Tokens::Chars, ["w0123456789"], 1));
    for (attention, cell, letters) in [
        (AttentionKind::Additive, CellKind::Gru, CharactersKind::None),
        (AttentionKind::None, CellKind::Lstm, CharactersKind::Conv),
    ] {
        for dropout in [0.0, 0.3] {
            let mut config = ModelConfig { dropout, bridge: Bridge::Linear, ..ModelConfig::default() };
            (config.encoder.cell, config.decoder.cell) = (cell, cell);
            (config.encoder.layers, config.decoder.layers) = (2, 2);
            config.encoder.bidirectional = true;
            (config.attention.kind, config.encoder.characters.kind) = (attention, letters);
            let mut model = Seq2Seq::new(&config, &words, 24, 1);
            let (mut adam, mut grads) = (Adam::new(&model.params, 1e-3), model.params.zeros_like());
            let mut epoch = || {
                let before = ASKED.get();
                for (step, batch) in batches.iter().enumerate() {
                    let options = StepOptions { dropout_seed: Some(step as u64), ..StepOptions::default() };
                    model.loss_and_gradients(batch, &mut grads, &options);
                    clip_grad_norm(&mut grads, 1.0);
                    adam.step(&mut model.params, &grads);
                }
                ASKED.get() - before
            };
            assert!(epoch() > 0, "the first steps build up what later ones use again");
            assert_eq!(epoch(), 0, "{attention:?} {cell:?} dropout {dropout}");
        }
    }
}
