//! The integers against the float network, teacher forced, for every architecture that compiles.

use kinglet::kernels::Layout;
use kinglet::{Arena, Model, Session};
use kinglet_compiler::calibrate::Calibration;
use kinglet_compiler::kinds::{Kind, Kinds};
use kinglet_compiler::lower::Fold;
use kinglet_compiler::mixed::Bounds;
use kinglet_compiler::{Compiled, Error, Options, compile, lower};
use kinglet_train::config::{
    self, AttentionConfig, AttentionKind, Bridge, Cell, DecoderConfig, EncoderConfig, Metric, ModelConfig,
    QatConfig, Tokens,
};
use kinglet_train::data::Pair;
use kinglet_train::model::{Batch, EOS, Seq2Seq, StepOptions};
use kinglet_train::quant::Scheme;
use kinglet_train::vocab::Vocab;

const SOURCES: [&str; 6] = ["abcab", "d", "eeedcba", "bad cab", "a b c d e a b c", "éa"];
const TARGETS: [&str; 6] = ["X Y", "Z", "Z Y X W V", "V V V", "W X", "Y"];

struct Network {
    model: Seq2Seq,
    source: Vocab,
    target: Vocab,
    dev: Vec<Pair>,
}

/// A random network, its weights enlarged so that its gates move.
fn network(config: &ModelConfig, seed: u64) -> Network {
    let source = Vocab::build(Tokens::Chars, SOURCES, 1);
    let target = Vocab::build(Tokens::Words, TARGETS, 1);
    let mut model = Seq2Seq::new(config, source.len(), target.len(), seed);
    for tensor in model.params.iter_mut() {
        let factor = if tensor.name.contains("embedding") { 6.0 } else { 1.8 };
        tensor.data.iter_mut().for_each(|v| *v *= factor);
    }
    let pair = |(s, t): (&&str, &&str)| Pair { source: (*s).into(), target: (*t).into() };
    let dev = SOURCES.iter().zip(&TARGETS).map(pair).collect();
    Network { model, source, target, dev }
}

fn options(fold: Fold) -> Options {
    let plan = lower::Plan { fold, beam: 2, ..lower::Plan::new("test", 20, 10) };
    Options { evaluation_sources: 0, ..Options::new(plan, Metric::Wer) }
}

fn build(network: &Network, options: &Options) -> Result<Compiled, Error> {
    let Network { model, source, target, dev } = network;
    compile(lower::Source { model, source_vocab: source, target_vocab: target }, dev, options)
}

/// All logits of the dev pairs, teacher forced, and the hypotheses of a beam search.
fn outputs(network: &Network, blob: &[u8]) -> (Vec<i16>, Vec<(Vec<u16>, u32)>) {
    let model = Model::from_bytes(blob).unwrap();
    let mut ram = Arena::<32_768>::new();
    let mut session = Session::new(&model, &mut ram, model.limits(3)).unwrap();
    let (mut all, mut found) = (Vec::new(), Vec::new());
    for pair in &network.dev {
        session.read_text(pair.source.as_bytes()).unwrap();
        let target = network.target.encode(&pair.target).ids;
        let forced: Vec<u16> = target.iter().map(|&id| id as u16).collect();
        session.force(&forced, |_, logits| all.extend(logits.iter().map(|l| l.get()))).unwrap();
        let beam = kinglet::Options { beam_size: 3, ..kinglet::Options::default() };
        let hypotheses = session.beam(&beam).unwrap();
        found.extend(hypotheses.iter().map(|h| (h.tokens.to_vec(), h.log_prob.to_bits())));
    }
    (all, found)
}

/// Root of the mean squared difference of the logits, over the root of their mean square.
fn logit_error(network: &Network, blob: &[u8]) -> f64 {
    let model = Model::from_bytes(blob).unwrap();
    let limits = model.limits(1);
    let mut ram = Arena::<16_384>::new();
    let mut session = Session::new(&model, &mut ram, limits).unwrap();
    let unit = core::f64::consts::LN_2 / f64::from(1u32 << model.description().logit_bits);
    let (mut error, mut total) = (0.0, 0.0);
    for pair in &network.dev {
        let mut source = network.source.encode(&pair.source).ids;
        source.push(EOS);
        let target = network.target.encode(&pair.target).ids;
        let forced: Vec<u16> = target.iter().map(|&id| id as u16).collect();
        let mut float: Vec<Vec<f32>> = Vec::new();
        let ended: Vec<u32> = target.iter().copied().chain([EOS]).collect();
        network.model.observe(&source, &ended, &mut |name, values| {
            if name == "decoder.logits" {
                float.push(values.to_vec());
            }
        });
        session.read_text(pair.source.as_bytes()).unwrap();
        session
            .force(&forced, |step, logits| {
                for (&want, got) in float[step].iter().zip(logits) {
                    error += (f64::from(got.get()) * unit - f64::from(want)).powi(2);
                    total += f64::from(want).powi(2);
                }
            })
            .unwrap();
    }
    (error / total).sqrt()
}

/// Every wiring of cell, directions, depth, attention and bridge that the trainer knows.
fn architectures() -> Vec<ModelConfig> {
    let mut all = Vec::new();
    for cell in [Cell::Gru, Cell::Lstm] {
        for bidirectional in [false, true] {
            for layers in [1, 2, 3] {
                for kind in [AttentionKind::None, AttentionKind::Additive] {
                    for bridge in [Bridge::Copy, Bridge::Linear] {
                        if bridge == Bridge::Copy && bidirectional {
                            continue;
                        }
                        // Widths that are no multiples of a tile, unequal where the bridge allows it.
                        let hidden = if bridge == Bridge::Copy { 13 } else { 10 };
                        all.push(ModelConfig {
                            encoder: EncoderConfig {
                                cell,
                                embedding: 7,
                                hidden,
                                layers,
                                bidirectional,
                                ..EncoderConfig::default()
                            },
                            attention: AttentionConfig { kind, size: 9, ..AttentionConfig::default() },
                            bridge,
                            decoder: DecoderConfig {
                                cell,
                                embedding: 6,
                                hidden: 13,
                                layers,
                                ..DecoderConfig::default()
                            },
                            dropout: 0.0,
                            ..ModelConfig::default()
                        });
                    }
                }
            }
        }
    }
    all
}

#[test]
fn integer_logits_follow_the_float_logits() {
    for (seed, config) in architectures().iter().enumerate() {
        let network = network(config, seed as u64);
        for fold in [Fold::Always, Fold::Never, Fold::Auto] {
            let compiled = build(&network, &options(fold)).unwrap();
            let error = logit_error(&network, &compiled.blob);
            eprintln!("{error:.4} {fold:?} {config:?}");
            assert!(error < 0.03, "relative error {error:.3} with {fold:?} of {config:?}");
        }
    }
}

#[test]
fn every_layout_gives_the_same_bits_and_int4_stays_near() {
    for (seed, config) in architectures().iter().enumerate().step_by(3) {
        let network = network(config, seed as u64);
        let mut mixed = Kinds::all(Kind::Int4);
        mixed.by_name.insert("decoder.fc_out".into(), Kind::Int8);
        let kinds = [Kinds::default(), Kinds::all(Kind::Int4), Kinds::all(Kind::Int4Groups(16)), mixed];
        for (kinds, allowed) in kinds.into_iter().zip([0.03, 0.5, 0.4, 0.4]) {
            let blobs = [Layout::Tiles, Layout::Pairs, Layout::Blocks].map(|layout| {
                let mut options = options(Fold::Never);
                (options.plan.kinds, options.plan.layout) = (kinds.clone(), layout);
                build(&network, &options).unwrap().blob
            });
            let [tiles, pairs, blocks] = blobs.each_ref().map(|blob| outputs(&network, blob));
            assert!(tiles == pairs && tiles == blocks, "{kinds:?} of {config:?}");
            let error = logit_error(&network, &blobs[0]);
            assert!(error < allowed, "relative error {error:.3} with {kinds:?} of {config:?}");
        }
    }
}

/// A network that has learned a little on the grid.
fn trained_on_grid(config: &ModelConfig, seed: u64, weights: &str, fold: config::Fold) -> Network {
    let mut network = network(config, seed);
    let ids = |vocab: &Vocab, text: &str| [vocab.encode(text).ids, vec![EOS]].concat();
    let sources: Vec<Vec<u32>> = network.dev.iter().map(|p| ids(&network.source, &p.source)).collect();
    let targets: Vec<Vec<u32>> = network.dev.iter().map(|p| ids(&network.target, &p.target)).collect();
    let pairs: Vec<(&[u32], &[u32])> = sources.iter().zip(&targets).map(|(s, t)| (&s[..], &t[..])).collect();
    let qat = QatConfig { weights: weights.parse().unwrap(), fold, ..QatConfig::default() };
    network.model.scheme = Some(Scheme::choose(&network.model, &qat, &pairs).unwrap());
    let batch = Batch { sources: sources.into_iter().map(Into::into).collect(), targets };
    for step in 0..8 {
        let mut grads = network.model.params.zeros_like();
        let options = StepOptions { dropout_seed: Some(step), ..StepOptions::default() };
        network.model.loss_and_gradients(&batch, &mut grads, &options);
        for (tensor, grads) in network.model.params.iter_mut().zip(grads.iter()) {
            tensor.data.iter_mut().zip(&grads.data).for_each(|(w, g)| *w -= 0.05 * g);
        }
    }
    network
}

/// All logits of the dev pairs, teacher forced, as training saw them.
fn trained_logits(network: &Network) -> Vec<i16> {
    let bits = network.model.scheme.as_ref().unwrap().bits["decoder.logits"];
    let units = f64::from(1u32 << bits) * core::f64::consts::LOG2_E;
    let mut all = Vec::new();
    for pair in &network.dev {
        let source = [network.source.encode(&pair.source).ids, vec![EOS]].concat();
        let target = [network.target.encode(&pair.target).ids, vec![EOS]].concat();
        network.model.observe(&source, &target, &mut |name, values| {
            if name == "decoder.logits" {
                all.extend(values.iter().map(|&v| (f64::from(v) * units).round() as i16));
            }
        });
    }
    all
}

#[test]
fn networks_trained_on_the_grid_compile_to_what_training_saw() {
    for (seed, config) in architectures().iter().enumerate() {
        for (i, weights) in ["int8", "int4", "int4:16", "int4:32"].into_iter().enumerate() {
            let fold = [config::Fold::Auto, config::Fold::Never, config::Fold::Always][(seed + i) % 3];
            let network = trained_on_grid(config, seed as u64, weights, fold);
            let trained = trained_logits(&network);
            for layout in [Layout::Tiles, Layout::Blocks] {
                let mut options = options(Fold::Auto);
                options.plan.layout = layout;
                let compiled = build(&network, &options).unwrap();
                assert!(compiled.report.trained_on_grid);
                let (logits, _) = outputs(&network, &compiled.blob);
                assert_eq!(trained.len(), logits.len());
                let changed = trained.iter().zip(&logits).filter(|(a, b)| a != b).count();
                assert_eq!(changed, 0, "{weights} {fold:?} {layout:?} of {config:?}");
            }
        }
    }
}

#[test]
fn kinds_that_are_not_packed_and_products_that_are_not_there_are_refused() {
    let config = ModelConfig::default();
    let trained = trained_on_grid(&config, 1, "int5", config::Fold::Auto);
    let message = build(&trained, &options(Fold::Auto)).unwrap_err().to_string();
    assert!(message.contains("int5"), "{message}");
    let mut options = options(Fold::Auto);
    options.plan.kinds.by_name.insert("encoder.rnn.l7".into(), Kind::Int4);
    let message = build(&network(&config, 1), &options).unwrap_err().to_string();
    assert!(message.contains("no product encoder.rnn.l7, but encoder.rnn.l0,"), "{message}");
}

#[test]
fn weights_are_chosen_by_their_loss_until_the_bound() {
    let network = network(&ModelConfig::default(), 3);
    let int8 = build(&network, &options(Fold::Auto)).unwrap().report.blob_bytes;
    let with = |flash: Option<usize>, threads| {
        let mixed = Some(Bounds { flash, loss: if flash.is_none() { Some(1000.0) } else { None } });
        let mut options = Options { max_flash: flash, threads, ..options(Fold::Auto) };
        options.plan.mixed = mixed;
        build(&network, &options)
    };
    let compiled = with(Some(int8 * 8 / 10), 1).unwrap();
    let report = &compiled.report;
    let choice = report.choice.as_ref().unwrap();
    // The planned beam, and as many sources as there are.
    assert_eq!((choice.beam_size, choice.sources), (2, SOURCES.len()));
    let bytes: Vec<usize> = choice.steps.iter().map(|step| step.measured.bytes).collect();
    assert!(report.blob_bytes <= int8 * 8 / 10 && bytes.len() > 1);
    assert_eq!((bytes[0], *bytes.last().unwrap()), (int8, report.blob_bytes));
    assert!(bytes.windows(2).all(|steps| steps[1] < steps[0]));
    assert!(
        compiled.blob == with(Some(int8 * 8 / 10), 2).unwrap().blob,
        "any number of threads, the same bytes"
    );
    // Without a bound that matters everything ends at four bits a row.
    assert_eq!(with(None, 2).unwrap().report.weights, "int4");
    assert!(matches!(with(Some(int8 / 10), 2), Err(Error::TooLarge { .. })));
}

#[test]
fn calibration_and_corrected_biases_change_the_blob_and_keep_it_near() {
    for config in architectures().iter().step_by(5) {
        let network = network(config, 4);
        let error = |calibration, bias_correction, kind| {
            let mut options = options(Fold::Never);
            (options.plan.calibration, options.plan.bias_correction) = (calibration, bias_correction);
            options.plan.kinds = Kinds::all(kind);
            logit_error(&network, &build(&network, &options).unwrap().blob)
        };
        for calibration in [Calibration::Max, Calibration::Percentile(99.9), Calibration::Mse] {
            let error = error(calibration, true, Kind::Int8);
            assert!(error < 0.04, "{error:.3} {calibration} {config:?}");
        }
        assert!(error(Calibration::Max, true, Kind::Int4) != error(Calibration::Max, false, Kind::Int4));
    }
}

#[test]
fn cells_of_both_kinds_may_meet() {
    for (encoder, decoder) in [(Cell::Gru, Cell::Lstm), (Cell::Lstm, Cell::Gru)] {
        let mut config = ModelConfig::default();
        config.encoder = EncoderConfig { cell: encoder, hidden: 12, layers: 2, ..config.encoder };
        config.decoder = DecoderConfig { cell: decoder, hidden: 18, layers: 1, ..config.decoder };
        let network = network(&config, 5);
        let error = logit_error(&network, &build(&network, &options(Fold::Auto)).unwrap().blob);
        assert!(error < 0.03, "relative error {error:.3}");
    }
}

#[test]
fn compiling_twice_gives_the_same_bytes() {
    let network = network(&ModelConfig::default(), 1);
    let once = build(&network, &options(Fold::Auto)).unwrap();
    let twice = build(&network, &options(Fold::Auto)).unwrap();
    assert!(once.blob == twice.blob);
    assert_eq!(once.report, twice.report);
}

#[test]
fn bounds_that_cannot_be_met_are_refused_with_advice() {
    let network = network(&ModelConfig::default(), 1);
    let fits = build(&network, &options(Fold::Auto)).unwrap().report;
    let (ram, flash) = (fits.planned_ram.bytes, fits.blob_bytes);
    let with = |max_ram, max_flash, beam| {
        let options = options(Fold::Auto);
        let plan = lower::Plan { beam, ..options.plan };
        build(&network, &Options { max_ram, max_flash, plan, ..options }).map(|_| ())
    };
    with(Some(ram), Some(flash), 2).unwrap();
    let message = with(Some(ram - 1), None, 2).unwrap_err().to_string();
    assert!(message.contains(&format!("needs {ram} bytes of RAM, {} are allowed", ram - 1)), "{message}");
    assert!(message.ends_with("--beam-size 1"), "{message}");
    let message = with(Some(ram - 1), None, 8).unwrap_err().to_string();
    assert!(message.contains("it fits with"), "{message}");
    let message = with(Some(10), None, 1).unwrap_err().to_string();
    assert!(message.contains("--max-target"), "{message}");
    let message = with(None, Some(flash - 1), 1).unwrap_err().to_string();
    assert!(message.contains(&format!("{flash} bytes of flash")), "{message}");
}

#[test]
fn the_deepest_network_compiles_and_agrees() {
    let mut config = ModelConfig::default();
    config.encoder = EncoderConfig { cell: Cell::Lstm, hidden: 4, layers: 8, ..config.encoder };
    config.decoder = DecoderConfig { cell: Cell::Lstm, hidden: 6, layers: 8, ..config.decoder };
    let network = network(&config, 1);
    let blob = build(&network, &options(Fold::Auto)).unwrap().blob;
    assert!(Model::from_bytes(&blob).unwrap().description().slots.iter().count() > 32);
    let error = logit_error(&network, &blob);
    assert!(error < 0.03, "{error}");
}

#[test]
fn damaged_weights_and_missing_pairs_are_refused() {
    let mut network = network(&ModelConfig::default(), 1);
    network.model.params.iter_mut().next().unwrap().data.fill(f32::NAN);
    let message = build(&network, &options(Fold::Auto)).unwrap_err().to_string();
    assert!(message.contains("not finite"), "{message}");
    network.dev.clear();
    let message = build(&network, &options(Fold::Auto)).unwrap_err().to_string();
    assert!(message.contains("no pairs"), "{message}");
}

#[test]
fn text_that_is_spelled_like_a_mark_is_unknown() {
    let texts = ["b a", "</t> <a>", "c"];
    let vocab = Vocab::build(Tokens::Words, texts, 1);
    let model = Seq2Seq::new(&ModelConfig::default(), vocab.len(), vocab.len(), 1);
    let dev = vec![Pair { source: "a".into(), target: "b".into() }];
    let network = Network { model, source: vocab.clone(), target: vocab.clone(), dev };
    let blob = build(&network, &options(Fold::Auto)).unwrap().blob;
    let device = Model::from_bytes(&blob).unwrap().source();
    for word in ["a", "b", "c", "</t>", "<a>", "<s>", "</s>", "<pad>", "<unk>", "", "d", "0"] {
        let encoded = vocab.encode(word);
        let want = encoded.ids.first().filter(|_| encoded.unknown.is_empty()).map(|&id| id as u16);
        assert_eq!(device.id(word.as_bytes()), want, "{word:?}");
    }
}
