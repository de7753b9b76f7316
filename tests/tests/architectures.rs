//! Every example configuration trains, compiles and decodes.

use kinglet::{Limits, Model, Options, RunError, Session, Task};
use kinglet_compiler::desktop::{Buffer, Image, read_line};
use kinglet_compiler::kinds::Kind;
use kinglet_tests::architectures::{Trained, all, blob, loss, train};

/// Tokens and bits of scores of all answers to the dev pairs, in exactly the RAM that is stated.
fn answers(trained: &Trained, model: &Model<'_>) -> Vec<(Vec<u16>, u32)> {
    let limits = Limits { beam: 3, ..model.limits(3) };
    let (needed, mut buffer) = (model.ram(&limits), Buffer::default());
    let ram = &mut buffer.get(needed)[..needed];
    ram.fill(0xA5);
    let refused = Session::new(model, &mut ram[..needed - 1], limits).err();
    assert_eq!(refused, Some(RunError::BufferTooSmall { needed, found: needed - 1 }));
    let mut session = Session::new(model, ram, limits).unwrap();
    let mut all = Vec::new();
    for pair in &trained.dev {
        read_line(&mut session, model, &pair.source).unwrap().unwrap();
        if model.task() == Task::Label {
            let found = session.label().unwrap();
            all.push((found.tokens.to_vec(), found.log_prob.to_bits()));
            continue;
        }
        for beam_size in [1, 3] {
            let found = session
                .beam(&Options { beam_size, num_hypotheses: beam_size, ..Options::default() })
                .unwrap();
            all.extend(found.iter().map(|h| (h.tokens.to_vec(), h.score.to_bits())));
        }
    }
    all
}

#[test]
fn every_architecture_trains_compiles_and_decodes() {
    let architectures = all().unwrap();
    assert!(architectures.len() >= 20, "{}", architectures.len());
    for architecture in architectures {
        let name = &architecture.name;
        let trained = train(&architecture.config).unwrap();
        assert!(trained.last < trained.first, "{name}: {} to {}", trained.first, trained.last);
        // What rounding may cost, nats a token.
        for (kind, allowed) in [(Kind::Int8, 0.02), (Kind::Int4, 0.3)] {
            let blob = blob(&trained, name, kind).unwrap();
            let model = Model::from_bytes(&blob).unwrap();
            let lost = loss(&trained, &model).unwrap() - trained.last;
            assert!(lost < allowed, "{name}: {kind} loses {lost:.3} nats a token");
            let image = Image::new(&blob).unwrap();
            assert!(answers(&trained, &model) == answers(&trained, &image.model()), "{name}, {kind}");
        }
    }
}
