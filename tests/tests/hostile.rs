//! Blobs that somebody made on purpose: what fuzzing and reading the checks found, each as the smallest change of a
//! compiled model.

use kinglet::blob::schema::{
    Activation, Add, Attend, Description, Embed, Form, Lstm, Norm, Op, Over, Slot, Slots, Task, View,
};
use kinglet::blob::{OP_BYTES, PREAMBLE, checksum};
use kinglet::kernels::Layout;
use kinglet::{Fault, LoadError, Model};
use kinglet_compiler::kinds::Kind;
use kinglet_compiler::lower::Fold;
use kinglet_compiler::pack::{Program, Section, pack};
use kinglet_compiler::plan::passes;
use kinglet_tests::family::{self, Network};
use kinglet_tests::tiny;
use kinglet_train::config::{AttentionKind, Cell};

fn small() -> Vec<u8> {
    tiny::blob(&tiny::config(Cell::Lstm, true, 1, AttentionKind::Additive), Fold::Auto, 1).unwrap()
}

fn refusal(mut blob: Vec<u8>) -> Option<LoadError> {
    let crc = checksum(&blob[..16], &blob[PREAMBLE..]);
    blob[16..PREAMBLE].copy_from_slice(&crc.to_le_bytes());
    Model::from_bytes(&blob).err()
}

/// Where a part of the description lies in the blob.
fn place<'a>(blob: &'a [u8], part: impl FnOnce(&Model<'a>) -> &'a [u8]) -> core::ops::Range<usize> {
    let part = part(&Model::from_bytes(blob).unwrap());
    let start = part.as_ptr() as usize - blob.as_ptr() as usize;
    start..start + part.len()
}

/// Their words passed 2^32: with 32-bit addresses a session took less RAM than it needed.
#[test]
fn slots_larger_than_an_address_space_are_refused() {
    let mut blob = small();
    let slots = place(&blob, |model| model.description().slots.0);
    for (region, slot) in blob[slots].chunks_exact_mut(4).enumerate() {
        // A row of 65535 words a source position, in a region of its own.
        slot.copy_from_slice(&[0x11, region as u8, 0xFF, 0xFF]);
    }
    assert_eq!(refusal(blob), Some(LoadError::Invalid { op: 255, fault: Fault::Range }));
}

/// A product of all the columns that views can name would make the size of its weights overflow.
#[test]
fn products_over_too_many_columns_are_refused() {
    let config = tiny::config(Cell::Lstm, true, 1, AttentionKind::Additive);
    let blob = tiny::blob(&config, Fold::Never, 1).unwrap();
    let slots = place(&blob, |model| model.description().slots.0);
    let program = place(&blob, |model| model.description().encode);
    // Behind the pass' head and the embedding stands the cell; its first input: slot, start, width.
    let cell = program.start + 2 + OP_BYTES;
    assert_eq!(
        (blob[cell - OP_BYTES], blob[cell], blob[cell + 1]),
        (0, 3, 1),
        "embedding, then a cell over it"
    );
    let input = slots.start + 4 * blob[cell + 12] as usize;
    // So many columns are possible but have no weights here; so many are not.
    for (columns, fault) in [(16_000u16, Fault::Tensor), (16_384, Fault::Width), (65_535, Fault::Width)] {
        let mut blob = blob.clone();
        blob[input + 2..][..2].copy_from_slice(&columns.to_le_bytes());
        blob[cell + 15..][..2].copy_from_slice(&columns.to_le_bytes());
        assert_eq!(refusal(blob), Some(LoadError::Invalid { op: 1, fault }), "{columns}");
    }
}

/// A vocabulary of 65535 tokens, whose tensors are not there.
#[test]
fn vocabularies_beyond_the_data_are_refused() {
    let blob = small();
    let source = place(&blob, |model| model.description().source);
    let target = place(&blob, |model| model.description().target);
    for vocabulary in [source, target] {
        let mut blob = blob.clone();
        blob[vocabulary][..2].copy_from_slice(&[0xFF, 0xFF]);
        let refused = refusal(blob);
        assert_eq!(refused, Some(LoadError::Invalid { op: 255, fault: Fault::Tensor }));
    }
}

/// Token bytes are shown to users: all of them are UTF-8 in one piece.
#[test]
fn vocabulary_text_that_is_not_utf8_is_refused() {
    let mut blob = small();
    let start = u32::from_le_bytes(*blob[12..].first_chunk().unwrap()) as usize;
    let target = place(&blob, |model| model.description().target);
    let text = u32::from_le_bytes(*blob[target][12..].first_chunk().unwrap()) as usize;
    blob[start + text] = 0xFF;
    assert_eq!(refusal(blob), Some(LoadError::Invalid { op: 255, fault: Fault::Vocabulary }));
}

/// A model of the family with one of its operations, its slots or its task changed.
fn changed(network: Network, change: impl FnOnce(&mut Parts)) -> Option<LoadError> {
    let blob = family::blob(network, Layout::Tiles, Kind::Int8, 8, 1).unwrap();
    let model = Model::from_bytes(&blob).unwrap();
    let d = model.description();
    let mut parts = Parts {
        slots: d.slots.iter().collect(),
        programs: [d.encode, d.step].map(passes),
        source: d.source.to_vec(),
        task: d.task,
    };
    change(&mut parts);
    let slots: Vec<u8> = parts.slots.iter().flat_map(Slot::to_bytes).collect();
    let programs = parts.programs.map(|passes| {
        let mut program = Program::default();
        passes.iter().for_each(|(over, ops)| program.pass(*over, ops));
        program
    });
    let description = Description {
        source: &parts.source,
        slots: Slots(&slots),
        encode: programs[0].bytes(),
        step: programs[1].bytes(),
        task: parts.task,
        ..d.clone()
    };
    let mut section = Section::default();
    section.push("all", model.data());
    match pack(&description, model.layout(), &section) {
        Ok(_) => None,
        Err(error) => {
            // The packer's error has the runtime's words.
            let said = error.to_string();
            let faults = [
                Fault::Tensor,
                Fault::Slot,
                Fault::View,
                Fault::Kind,
                Fault::Width,
                Fault::Range,
                Fault::Vocabulary,
                Fault::Program,
            ];
            let fault = faults.into_iter().find(|fault| said.contains(&fault.to_string()));
            Some(LoadError::Invalid { op: 0, fault: fault.expect(&said) })
        }
    }
}

struct Parts {
    slots: Vec<Slot>,
    programs: [Vec<(Over, Vec<Op>)>; 2],
    source: Vec<u8>,
    task: Task,
}

impl Parts {
    /// The operations that a function knows, and what it does to them.
    fn each(&mut self, change: impl Fn(&mut Op)) {
        self.programs.iter_mut().flatten().flat_map(|(_, ops)| ops).for_each(change);
    }
}

/// Every number of the family's operations that has a range or a shape.
#[test]
fn operations_out_of_range_or_shape_are_refused() {
    let refused = |network, fault, change: &dyn Fn(&mut Parts)| {
        let found = changed(network, |parts| change(parts));
        assert_eq!(found, Some(LoadError::Invalid { op: 0, fault }), "{network:?}");
    };
    for network in family::ALL {
        assert_eq!(changed(network.1, |_| {}), None, "{network:?} as it is");
    }
    // What a model of the family has of each operation.
    let add = |f: fn(&mut Add)| {
        move |op: &mut Op| {
            if let Op::Add(op) = op {
                f(op)
            }
        }
    };
    let norm = |f: fn(&mut Norm)| {
        move |op: &mut Op| {
            if let Op::Norm(op) = op {
                f(op)
            }
        }
    };
    let lstm = |f: fn(&mut Lstm)| {
        move |op: &mut Op| {
            if let Op::Lstm(op) = op {
                f(op)
            }
        }
    };
    let attend = |f: fn(&mut Attend)| {
        move |op: &mut Op| {
            if let Op::Attend(op) = op {
                f(op)
            }
        }
    };
    let (tagger, luong, cosine) = (Network::Tagger, Network::Luong, Network::Cosine);
    refused(tagger, Fault::Range, &|p| p.each(add(|op| op.up[1] = 14)));
    refused(tagger, Fault::Range, &|p| p.each(add(|op| op.down = 31)));
    refused(tagger, Fault::Width, &|p| p.each(add(|op| op.a.width -= 1)));
    refused(tagger, Fault::View, &|p| p.each(add(|op| op.to.start = 1)));
    refused(tagger, Fault::Slot, &|p| p.each(add(|op| op.a.slot = 99)));
    let layer = |f: fn(&mut u32, &mut u8, &mut u32)| {
        move |op: &mut Op| {
            if let Op::Norm(Norm { form: Form::Layer { gains, shift, epsilon }, .. }) = op {
                f(gains, shift, epsilon)
            }
        }
    };
    refused(tagger, Fault::Range, &|p| p.each(layer(|_, shift, _| *shift = 31)));
    refused(tagger, Fault::Range, &|p| p.each(layer(|_, _, epsilon| *epsilon = 1 << 30)));
    refused(tagger, Fault::Tensor, &|p| p.each(layer(|gains, _, _| *gains = !15)));
    refused(tagger, Fault::Width, &|p| p.each(norm(|op| op.from.width -= 1)));
    refused(cosine, Fault::Width, &|p| p.each(norm(|op| op.to.width -= 1)));
    // Rows that are too wide for sums of squares.
    refused(cosine, Fault::Width, &|p| {
        p.slots.iter_mut().for_each(|slot| slot.width = 2049);
        p.programs = Default::default();
        let view = |slot| View { slot, start: 0, width: 2049 };
        let norm = Norm { from: view(0), form: Form::Length, to: view(1) };
        p.programs[1] = vec![(Over::Once, vec![Op::Norm(norm)])];
    });
    refused(luong, Fault::Range, &|p| p.each(lstm(|op| op.peepholes = Some(31))));
    refused(luong, Fault::Range, &|p| p.each(attend(|op| op.score.post = 24)));
    refused(luong, Fault::Range, &|p| p.each(attend(|op| op.score_bits = 16)));
    refused(luong, Fault::Kind, &|p| p.each(attend(|op| op.query = op.keys)));
    // The query of a step may be any state, but no wider than the keys.
    refused(cosine, Fault::Width, &|p| p.each(attend(|op| op.query = 1)));
    let linear = |op: &mut Op| {
        if let Op::Linear(op) = op
            && op.activation == Activation::Relu
        {
            op.to.slot = 2;
        }
    };
    refused(luong, Fault::Kind, &|p| p.each(linear));
}

/// Tasks that their programs are not made for.
#[test]
fn tasks_need_their_programs_and_sources() {
    let refused = |network, change: &dyn Fn(&mut Parts)| {
        changed(network, |parts| change(parts)).map(|error| match error {
            LoadError::Invalid { fault, .. } => fault,
            other => panic!("{other}"),
        })
    };
    // A step at no position does not see one's outputs; one at a position sees its token.
    assert_eq!(refused(Network::Tagger, &|p| p.task = Task::Transduce), Some(Fault::Kind));
    assert_eq!(refused(Network::Writer, &|p| p.task = Task::Transduce), Some(Fault::Vocabulary));
    // What generates has no source, no encoder and nothing to attend to.
    assert_eq!(refused(Network::Luong, &|p| p.task = Task::Generate), Some(Fault::Program));
    let bare = |p: &mut Parts| {
        p.task = Task::Generate;
        p.source.clear();
        p.programs[0].clear();
    };
    assert_eq!(refused(Network::Luong, &bare), Some(Fault::Program));
    // Numbers have no tokens, and lie alone in whole int8 rows.
    let frames = |at: usize, byte: u8| move |p: &mut Parts| p.source[at] = byte;
    assert_eq!(refused(Network::Frames, &frames(0, 1)), Some(Fault::Kind));
    assert_eq!(refused(Network::Frames, &frames(1, 24)), Some(Fault::Range));
    assert_eq!(refused(Network::Frames, &frames(5, 0x7F)), Some(Fault::Tensor));
    let shared = |p: &mut Parts| p.slots.iter_mut().for_each(|slot| slot.region = 0);
    assert_eq!(refused(Network::Frames, &shared), Some(Fault::Slot));
    let token = |p: &mut Parts| {
        let to = View { slot: 0, start: 0, width: 3 };
        p.programs[0][0].1.insert(0, Op::Embed(Embed { table: 0, to }));
    };
    assert_eq!(refused(Network::Frames, &token), Some(Fault::Program));
}

/// Features of letters: every number of their record, behind the 21 bytes of each vocabulary.
#[test]
fn features_of_letters_out_of_range_or_shape_are_refused() {
    let refused = |fault, change: &dyn Fn(&mut Parts)| {
        let found = changed(Network::Speller, |parts| change(parts));
        assert_eq!(found, Some(LoadError::Invalid { op: 0, fault }));
    };
    let byte = |at: usize, byte: u8| move |p: &mut Parts| p.source[at] = byte;
    // Letters of words: no words of letters, nor of words.
    refused(Fault::Vocabulary, &byte(20, 0));
    refused(Fault::Vocabulary, &byte(41, 1));
    refused(Fault::Range, &byte(21, 0));
    refused(Fault::Vocabulary, &|p| p.source.truncate(49));
    refused(Fault::Vocabulary, &|p| p.source.push(0));
    // In whole int8 rows of their own; as wide as no table is there for.
    refused(Fault::Kind, &byte(42, 1));
    refused(Fault::Slot, &byte(42, 99));
    refused(Fault::Slot, &|p| p.slots.iter_mut().for_each(|slot| slot.region = 0));
    refused(Fault::Tensor, &|p| p.slots[0].width = 60_000);
    for width in [0, 2, 11] {
        refused(Fault::Range, &byte(43, width));
    }
    refused(Fault::Range, &byte(44, 13));
    for most in [0, 1, 63] {
        refused(Fault::Range, &byte(45, most));
    }
    refused(Fault::Tensor, &byte(49, 0x7F));
    // Nothing writes them while a program runs.
    refused(Fault::Program, &|p| {
        p.each(|op| {
            if let Op::Embed(op) = op {
                op.to.slot = 0;
            }
        });
    });
}

/// A program that wrote where the source's numbers lie would answer the same source otherwise when asked again.
#[test]
fn numbers_of_a_source_are_not_written() {
    let mut blob = family::blob(Network::Frames, Layout::Tiles, Kind::Int8, 3, 1).unwrap();
    let source = place(&blob, |model| model.description().source);
    // The encoder's outputs, as wide as a frame, in the place of the frames.
    assert_eq!(blob[source.start], 0);
    blob[source.start] = 2;
    assert_eq!(refusal(blob), Some(LoadError::Invalid { op: 1, fault: Fault::Program }));
}
