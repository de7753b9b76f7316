//! The integers against the float network for the whole recurrent family: cells, attentions, decoders, tasks.

use kinglet::kernels::Layout;
use kinglet::{Model, Options as Search, Sampling, Session};
use kinglet_compiler::calibrate::Example;
use kinglet_compiler::desktop::{Buffer, Image, read_line};
use kinglet_compiler::kinds::{Kind, Kinds};
use kinglet_compiler::lower::{self, Fold, Plan};
use kinglet_compiler::mixed::cross_entropy;
use kinglet_compiler::{Compiled, Error, Options, compile};
use kinglet_train::config::{
    AttentionKind, Bridge, Cell, CharactersConfig, CharactersKind, Metric, ModelConfig, Place, Task, Tokens,
};
use kinglet_train::data::Pair;
use kinglet_train::data::frames::Frames;
use kinglet_train::model::Seq2Seq;
use kinglet_train::vocab::{Vocab, cut};

const SOURCES: [&str; 6] = ["abcab", "d", "eeedcba", "bad cab", "a b c d e a b c", "\u{e9}a"];
const TARGETS: [&str; 6] = ["X Y", "Z", "Z Y X W V", "V V V", "W X", "Y"];

struct Network {
    model: Seq2Seq,
    source: Vocab,
    target: Vocab,
    dev: Vec<Pair>,
}

/// Another form of network.
struct Form {
    name: String,
    config: ModelConfig,
    /// Whether it reads frames, as wide as the embeddings are elsewhere.
    frames: bool,
}

/// A frame of `width` numbers, multiples of a half, for every letter.
fn frames(letters: &str, width: usize) -> String {
    let number = |letter: char, i: usize| f64::from((letter as i32 * (7 + i as i32) * 37) % 201 - 100) / 2.0;
    let frame =
        |letter: char| (0..width).map(|i| number(letter, i).to_string()).collect::<Vec<_>>().join(",");
    letters.chars().map(frame).collect::<Vec<_>>().join(" ")
}

/// A random network, its weights enlarged so that its gates move.
fn network(form: &Form, seed: u64) -> Network {
    let Form { config, frames, .. } = form;
    let names = ["V", "W", "X", "Y", "Z"];
    let spelled = config.encoder.characters.features() > 0;
    let labels = |source: &str| {
        let tokens = cut(if spelled { Tokens::Words } else { Tokens::Chars }, source);
        tokens.iter().map(|t| names[t.as_bytes()[0] as usize % 5]).collect::<Vec<_>>().join(" ")
    };
    let pair = |(source, target): (&&str, &&str)| match config.task {
        Task::Transduce => Pair { source: (*source).into(), target: (*target).into() },
        Task::Label => Pair { source: (*source).into(), target: labels(source) },
        Task::Generate => Pair { source: String::new(), target: (*target).into() },
    };
    let mut dev: Vec<Pair> = SOURCES.iter().zip(&TARGETS).map(pair).collect();
    let width = config.encoder.embedding;
    let source = if *frames {
        dev.iter_mut().for_each(|pair| pair.source = self::frames(&pair.source, width));
        Vocab::of_frames(Frames::new(vec![0.5; width]))
    } else if spelled {
        // Of some words, and of some letters, only some are known.
        let words = Vocab::build(Tokens::Words, SOURCES[..3].iter().copied(), 1);
        words.with_characters(Vocab::build(Tokens::Chars, SOURCES[..3].iter().copied(), 1))
    } else {
        Vocab::build(Tokens::Chars, SOURCES, 1)
    };
    let target = Vocab::build(Tokens::Words, TARGETS, 1).with_end(config.task != Task::Label);
    let mut model = Seq2Seq::new(config, &source, target.len(), seed);
    for tensor in
        model.params.iter_mut().filter(|t| !t.name.contains("norm") && !t.name.contains("temperature"))
    {
        let factor = if tensor.name.contains("embedding") { 6.0 } else { 1.8 };
        tensor.data.iter_mut().for_each(|v| *v *= factor);
    }
    // Gains and biases as training leaves them: not all alike.
    for tensor in model.params.iter_mut().filter(|t| t.name.contains("norm")) {
        tensor.data.iter_mut().enumerate().for_each(|(i, v)| *v += 0.2 * ((i * 7 % 5) as f32 - 2.0));
    }
    for (name, about) in [("encoder.frames.mean", -9.0), ("encoder.frames.std", 40.0)] {
        let values = model.params.get_mut(name).map(|t| t.data.iter_mut()).into_iter().flatten();
        values.enumerate().for_each(|(i, v)| *v = about + (i * 5 % 7) as f32);
    }
    Network { model, source, target, dev }
}

fn build(network: &Network, kind: Kind, fold: Fold, layout: Layout) -> Result<Compiled, Error> {
    let Network { model, source, target, dev } = network;
    let plan = Plan { fold, layout, kinds: Kinds::all(kind), beam: 2, ..Plan::new("family", 20, 10) };
    let options = Options { evaluation_sources: 10, ..Options::new(plan, Metric::Wer) };
    compile(lower::Source { model, source_vocab: source, target_vocab: target }, dev, &options)
}

/// All logits of the dev pairs, teacher forced.
fn logits(network: &Network, model: &Model<'_>) -> Vec<i16> {
    let mut all = Vec::new();
    each_pair(network, model, |session, pair| match network.model.config.task {
        Task::Label => {
            session.label_with(|label| all.extend(label.logits.iter().map(|l| l.get()))).unwrap();
        }
        Task::Transduce | Task::Generate => {
            let forced: Vec<u16> =
                network.target.encode(&pair.target).ids.iter().map(|&id| id as u16).collect();
            session.force(&forced, |_, logits| all.extend(logits.iter().map(|l| l.get()))).unwrap();
        }
    });
    all
}

/// Tokens and bits of scores of all that the model answers.
fn answers(network: &Network, model: &Model<'_>) -> Vec<(Vec<u16>, u32)> {
    let mut all = Vec::new();
    each_pair(network, model, |session, _| {
        if network.model.config.task == Task::Label {
            let found = session.label().unwrap();
            return all.push((found.tokens.to_vec(), found.log_prob.to_bits()));
        }
        let found = session.beam(&Search { beam_size: 3, ..Search::default() }).unwrap();
        all.extend(found.iter().map(|h| (h.tokens.to_vec(), h.log_prob.to_bits())));
        let drawn = session.sample(&Sampling { temperature: 1.5, ..Sampling::default() }, 7).unwrap();
        all.push((drawn.tokens.to_vec(), drawn.log_prob.to_bits()));
    });
    all
}

/// Shows every dev pair to a session that has read its source, in RAM that held something else before.
fn each_pair(network: &Network, model: &Model<'_>, mut show: impl FnMut(&mut Session<'_, '_>, &Pair)) {
    let (limits, mut buffer) = (model.limits(3), Buffer::default());
    let ram = buffer.get(model.ram(&limits));
    ram.fill(0xA5);
    let mut session = Session::new(model, ram, limits).unwrap();
    for pair in &network.dev {
        read_line(&mut session, model, &pair.source).unwrap().unwrap();
        show(&mut session, pair);
    }
}

/// Root of the mean squared difference of the logits, over the root of their mean square.
fn logit_error(network: &Network, model: &Model<'_>) -> f64 {
    let unit = core::f64::consts::LN_2 / f64::from(1u32 << model.description().logit_bits);
    let mut float = Vec::new();
    for pair in &network.dev {
        let (source, target) =
            (network.source.sentence(&pair.source), network.target.sentence(&pair.target).ids);
        network.model.observe(&source, &target, &mut |name, values| {
            if name == "decoder.logits" {
                float.extend_from_slice(values);
            }
        });
    }
    let found = logits(network, model);
    assert_eq!(found.len(), float.len());
    let (mut error, mut total) = (0.0, 0.0);
    for (&want, got) in float.iter().zip(found) {
        error += (f64::from(got) * unit - f64::from(want)).powi(2);
        total += f64::from(want).powi(2);
    }
    (error / total).sqrt()
}

/// A network for each form beyond gated cells with additive attention before them.
fn forms() -> Vec<Form> {
    let mut base = ModelConfig { dropout: 0.0, ..ModelConfig::default() };
    // Widths that are no multiples of a tile, so wide that every kind of attention fits.
    (base.encoder.embedding, base.encoder.hidden, base.encoder.layers) = (7, 9, 2);
    (base.decoder.embedding, base.decoder.hidden, base.decoder.layers) = (6, 18, 2);
    (base.encoder.cell, base.decoder.cell, base.attention.size) = (Cell::Gru, Cell::Gru, 11);
    let mut all = Vec::new();
    for (name, change) in of_frames() {
        let mut config = base.clone();
        change(&mut config);
        all.push(Form { name: format!("frames: {name}"), config, frames: true });
    }
    let mut form = |name: &str, change: &dyn Fn(&mut ModelConfig)| {
        let mut config = base.clone();
        change(&mut config);
        all.push(Form { name: name.to_owned(), config, frames: false });
    };
    for (name, cell) in [("rnn", Cell::Rnn), ("relu", Cell::Relu), ("peephole", Cell::Peephole)] {
        form(name, &|c| (c.encoder.cell, c.decoder.cell) = (cell, cell));
        let copies = |c: &mut ModelConfig| {
            (c.encoder.cell, c.decoder.cell, c.bridge) = (cell, cell, Bridge::Copy);
            (c.encoder.bidirectional, c.encoder.hidden) = (false, 18);
            c.attention.kind = AttentionKind::None;
        };
        form(&format!("{name} copied"), &copies);
        form(&format!("{name} labels"), &|c| (c.encoder.cell, c.task) = (cell, Task::Label));
    }
    for (residual, norm) in [(true, false), (false, true), (true, true)] {
        let both = |c: &mut ModelConfig| {
            (c.encoder.residual, c.encoder.norm) = (residual, norm);
            (c.decoder.residual, c.decoder.norm) = (residual, norm);
        };
        let name = format!("residual {residual} norm {norm}");
        form(&name, &both);
        // As wide as the embeddings: the lowest layers have sums, too.
        let wide = |c: &mut ModelConfig| {
            both(c);
            (c.encoder.embedding, c.decoder.embedding, c.attention.place) = (18, 18, Place::After);
        };
        form(&format!("{name} from embeddings"), &wide);
        form(&format!("{name} one way"), &|c| {
            wide(c);
            (c.encoder.bidirectional, c.encoder.hidden) = (false, 18);
            (c.encoder.cell, c.decoder.cell) = (Cell::Lstm, Cell::Rnn);
        });
        form(&format!("{name} labels"), &|c| {
            wide(c);
            c.task = Task::Label;
        });
        form(&format!("{name} generates"), &|c| {
            both(c);
            (c.decoder.embedding, c.task) = (18, Task::Generate);
        });
    }
    for kind in AttentionKind::ALL {
        form(&format!("{kind:?} before"), &|c| c.attention.kind = kind);
        form(&format!("{kind:?} after"), &|c| (c.attention.kind, c.attention.place) = (kind, Place::After));
        form(&format!("{kind:?} fed"), &|c| {
            (c.attention.kind, c.attention.place, c.attention.input_feeding) = (kind, Place::After, true);
        });
    }
    for kind in [AttentionKind::General, AttentionKind::Cosine] {
        form(&format!("{kind:?} unequal"), &|c| (c.attention.kind, c.encoder.hidden) = (kind, 5));
    }
    form("dot of rectified cells", &|c| {
        (c.encoder.cell, c.decoder.cell, c.attention.kind) = (Cell::Relu, Cell::Relu, AttentionKind::Dot);
    });
    form("context", &|c| (c.decoder.context, c.attention.kind) = (true, AttentionKind::None));
    form("context copied", &|c| {
        (c.decoder.context, c.attention.kind, c.bridge) = (true, AttentionKind::None, Bridge::Copy);
        (c.encoder.bidirectional, c.encoder.hidden) = (false, 18);
        (c.encoder.cell, c.decoder.cell) = (Cell::Relu, Cell::Relu);
    });
    form("reverse", &|c| {
        (c.encoder.reverse, c.encoder.bidirectional, c.encoder.hidden) = (true, false, 18);
        (c.encoder.cell, c.decoder.cell) = (Cell::Lstm, Cell::Lstm);
        (c.attention.kind, c.bridge) = (AttentionKind::None, Bridge::Copy);
    });
    form("unequal bridge", &|c| (c.encoder.layers, c.decoder.layers, c.decoder.cell) = (1, 3, Cell::Relu));
    form("tied by a projection", &|c| c.tie_embeddings = true);
    form("tied by a projection, with context", &|c| {
        (c.tie_embeddings, c.decoder.context, c.attention.kind) = (true, true, AttentionKind::None);
    });
    form("tied", &|c| {
        (c.tie_embeddings, c.decoder.embedding, c.attention.place) = (true, 18, Place::After);
    });
    form("labels", &|c| c.task = Task::Label);
    form("labels backward", &|c| {
        (c.task, c.encoder.bidirectional, c.encoder.reverse) = (Task::Label, false, true);
    });
    let letters = |c: &mut ModelConfig| {
        let kind = CharactersKind::Conv;
        c.encoder.characters = CharactersConfig { kind, embedding: 5, size: 11, width: 3, max_len: 4 };
    };
    form("letters", &letters);
    form("letters, labels", &|c| {
        letters(c);
        // As wide as the layer, and yet without a sum.
        (c.task, c.encoder.residual, c.encoder.characters.width) = (Task::Label, true, 5);
    });
    form("generates", &|c| c.task = Task::Generate);
    form("generates, tied", &|c| {
        (c.task, c.tie_embeddings, c.decoder.embedding, c.decoder.cell) =
            (Task::Generate, true, 18, Cell::Lstm);
    });
    all
}

/// What makes a form of another.
type Change = fn(&mut ModelConfig);

/// What is tried of sources of numbers.
fn of_frames() -> [(&'static str, Change); 6] {
    [
        ("both ways", |_| ()),
        ("labels", |c| c.task = Task::Label),
        ("backward to a copied state", |c| {
            (c.encoder.reverse, c.encoder.bidirectional, c.encoder.hidden) = (true, false, 18);
            (c.encoder.cell, c.decoder.cell) = (Cell::Lstm, Cell::Lstm);
            (c.attention.kind, c.bridge) = (AttentionKind::None, Bridge::Copy);
        }),
        ("Elman, with a context", |c| {
            (c.encoder.cell, c.attention.kind, c.decoder.context) = (Cell::Rnn, AttentionKind::None, true);
        }),
        ("added to the lowest states", |c| {
            (c.encoder.embedding, c.encoder.residual, c.attention.kind) = (18, true, AttentionKind::General);
        }),
        ("added and normalised, one way", |c| {
            (c.encoder.embedding, c.encoder.residual, c.encoder.norm) = (18, true, true);
            (c.encoder.bidirectional, c.encoder.hidden, c.task) = (false, 18, Task::Label);
        }),
    ]
}

/// Relative errors of the logits that are allowed, of random networks whose weights are enlarged. States of rectified cells have no
/// bound, and a grid as coarse as their largest asks for.
fn allowed(config: &ModelConfig) -> [(Kind, f64); 2] {
    let rectified = [config.encoder.cell, config.decoder.cell].contains(&Cell::Relu);
    [(Kind::Int8, if rectified { 0.1 } else { 0.05 }), (Kind::Int4, 0.4)]
}

#[test]
fn integer_logits_of_every_form_follow_the_float_logits() {
    let mut wrong = Vec::new();
    for (seed, form) in forms().iter().enumerate() {
        let Form { name, config, .. } = form;
        let network = network(form, seed as u64);
        for (kind, allowed) in allowed(config) {
            for fold in [Fold::Always, Fold::Never] {
                let blob =
                    build(&network, kind, fold, Layout::Tiles).unwrap_or_else(|e| panic!("{name}: {e}")).blob;
                let error = logit_error(&network, &Model::from_bytes(&blob).unwrap());
                eprintln!("{error:.4} {kind:?} {fold:?} {name}");
                if error > allowed {
                    wrong.push(format!("{error:.4} {kind:?} {fold:?} {name}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_layout_and_this_processor_give_the_same_bits() {
    for (seed, form) in forms().iter().enumerate() {
        let (name, network) = (&form.name, network(form, seed as u64));
        for kind in [Kind::Int8, Kind::Int4] {
            let blobs = [Layout::Tiles, Layout::Pairs, Layout::Blocks]
                .map(|layout| build(&network, kind, Fold::Auto, layout).unwrap().blob);
            let all = |model: &Model<'_>| (logits(&network, model), answers(&network, model));
            let [tiles, pairs, blocks] = blobs.each_ref().map(|blob| all(&Model::from_bytes(blob).unwrap()));
            assert!(tiles == pairs && tiles == blocks, "{name}, {kind:?}");
            assert!(
                tiles == all(&Image::new(&blobs[0]).unwrap().model()),
                "{name}, {kind:?} on this processor"
            );
        }
    }
}

#[test]
fn what_no_chip_computes_is_refused_by_name() {
    let mut config = ModelConfig::default();
    config.attention.kind = AttentionKind::Cosine;
    let form = Form { name: String::new(), config, frames: false };
    let mut network = network(&form, 1);
    network.model.params.get_mut("decoder.attention.temperature").unwrap().data[0] = -1.0;
    let refused = build(&network, Kind::Int8, Fold::Auto, Layout::Tiles).unwrap_err();
    assert!(matches!(&refused, Error::Model(reason) if reason.contains("temperature")), "{refused}");
}

#[test]
fn the_loss_of_every_form_is_that_of_its_logits() {
    for (seed, form) in forms().iter().enumerate() {
        let network = network(form, seed as u64);
        let blob = build(&network, Kind::Int8, Fold::Auto, Layout::Tiles).unwrap().blob;
        let model = Model::from_bytes(&blob).unwrap();
        let unit = core::f64::consts::LN_2 / f64::from(1u32 << model.description().logit_bits);
        let logits = logits(&network, &model);
        let mut rows = logits.chunks_exact(network.target.len());
        let (mut sum, mut tokens, mut examples) = (0.0, 0, Vec::new());
        for pair in &network.dev {
            let target = network.target.sentence(&pair.target).ids;
            for &id in &target {
                let row: Vec<f64> = rows.next().unwrap().iter().map(|&x| f64::from(x) * unit).collect();
                sum += row.iter().map(|x| x.exp()).sum::<f64>().ln() - row[id as usize];
            }
            tokens += target.len();
            examples.push(Example { source: network.source.sentence(&pair.source), target });
        }
        let found = cross_entropy(&model, &examples, 1).unwrap();
        assert!((found - sum / f64::from(tokens as u32)).abs() < 1e-9, "{}: {found}", form.name);
    }
}
