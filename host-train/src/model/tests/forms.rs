//! Small networks of every form.

use crate::config::{
    AttentionKind, Bridge, Cell, CharactersConfig, CharactersKind, ModelConfig, Place, Task, Tokens,
};
use crate::model::{Batch, EOS, Seq2Seq};
use crate::nn::check::away_from_zero;
use crate::nn::random::Random;
use crate::vocab::{Encoded, Vocab};

/// A small network for each way that the parts fit together.
pub(crate) fn configs() -> Vec<ModelConfig> {
    let mut configs = Vec::new();
    for attention in [AttentionKind::None, AttentionKind::Additive] {
        for (encoder, decoder) in [(Cell::Gru, Cell::Gru), (Cell::Lstm, Cell::Lstm), (Cell::Gru, Cell::Lstm)]
        {
            for (layers, bidirectional) in [(1, true), (2, true), (2, false)] {
                let mut config = ModelConfig { dropout: 0.3, ..ModelConfig::default() };
                config.encoder.cell = encoder;
                config.decoder.cell = decoder;
                (config.encoder.embedding, config.encoder.hidden) = (3, 4);
                (config.decoder.embedding, config.decoder.hidden) = (2, if bidirectional { 3 } else { 4 });
                (config.encoder.layers, config.decoder.layers) = (layers, layers);
                config.encoder.bidirectional = bidirectional;
                config.attention.kind = attention;
                config.attention.size = 3;
                let copies = !bidirectional && encoder == decoder;
                config.bridge = if copies { Bridge::Copy } else { Bridge::Linear };
                configs.push(config);
            }
        }
    }
    configs
}

/// A small network for each form beyond those.
pub(crate) fn forms() -> Vec<ModelConfig> {
    let mut base = configs()[9].clone();
    // As wide as what a decoder attends to, so that every kind fits.
    (base.encoder.hidden, base.decoder.hidden, base.decoder.embedding) = (2, 4, 3);
    let form = |change: &dyn Fn(&mut ModelConfig)| {
        let mut config = base.clone();
        change(&mut config);
        config
    };
    let mut forms = Vec::new();
    for cell in [Cell::Rnn, Cell::Relu, Cell::Peephole] {
        forms.push(form(&|c| (c.encoder.cell, c.decoder.cell) = (cell, cell)));
    }
    for kind in AttentionKind::ALL {
        forms.push(form(&|c| c.attention.kind = kind));
        let after = form(&|c| (c.attention.kind, c.attention.place) = (kind, Place::After));
        let mut fed = after.clone();
        fed.attention.input_feeding = true;
        forms.extend([after, fed]);
    }
    let plain = form(&|c| c.attention.kind = AttentionKind::None);
    let of_plain = |change: &dyn Fn(&mut ModelConfig)| {
        let mut config = plain.clone();
        change(&mut config);
        config
    };
    forms.extend([
        of_plain(&|c| c.decoder.context = true),
        of_plain(&|c| (c.decoder.context, c.decoder.layers, c.embedding_dropout) = (true, 2, Some(0.0))),
        of_plain(&|c| (c.encoder.bidirectional, c.encoder.reverse) = (false, true)),
        // Another width, depth and cell.
        of_plain(&|c| (c.encoder.cell, c.encoder.layers, c.decoder.cell) = (Cell::Relu, 2, Cell::Peephole)),
        of_plain(&|c| (c.decoder.embedding, c.decoder.residual, c.decoder.norm) = (4, true, true)),
        form(&|c| {
            (c.encoder.embedding, c.encoder.layers, c.decoder.layers) = (4, 2, 2);
            (c.encoder.residual, c.encoder.norm, c.decoder.residual, c.decoder.norm) =
                (true, true, true, true);
        }),
        form(&|c| c.tie_embeddings = true),
        form(&spelled),
        // As wide as what the layer puts out, and yet without a sum.
        of_plain(&|c| {
            spelled(c);
            (c.encoder.hidden, c.encoder.residual, c.embedding_dropout) = (3, true, Some(0.0));
        }),
        of_plain(&|c| (c.decoder.embedding, c.tie_embeddings) = (4, true)),
        form(&|c| c.attention.coverage_loss = 0.7),
        form(&|c| (c.attention.place, c.attention.coverage_loss) = (Place::After, 0.7)),
        of_plain(&|c| c.task = Task::Generate),
        of_plain(&|c| (c.task, c.decoder.layers, c.decoder.residual) = (Task::Generate, 2, true)),
    ]);
    forms
}

/// Reads letters, too.
pub(super) fn spelled(config: &mut ModelConfig) {
    let kind = CharactersKind::Conv;
    config.encoder.characters = CharactersConfig { kind, embedding: 2, size: 3, width: 3, max_len: 4 };
}

/// Networks that label.
pub(super) fn labelers() -> Vec<ModelConfig> {
    let label = |mut config: ModelConfig| {
        config.task = Task::Label;
        config
    };
    [0, 2, 5].map(|i| label(configs()[i].clone())).into()
}

/// All networks that go from token to token.
pub(crate) fn all() -> Vec<ModelConfig> {
    configs().into_iter().chain(forms()).collect()
}

/// A batch with a label for each source token but the end mark.
pub(super) fn labelled(pairs: usize, seed: u64) -> Batch {
    let mut batch = batch(pairs, seed);
    let label = |source: &Encoded| source.ids[..source.ids.len() - 1].iter().map(|id| id % 6).collect();
    batch.targets = batch.sources.iter().map(label).collect();
    batch
}

pub(crate) fn batch(pairs: usize, seed: u64) -> Batch {
    let mut random = Random::new(seed);
    let mut sentence = |vocab: u64| {
        let length = random.below(4);
        let mut ids: Vec<u32> = (0..length).map(|_| 4 + random.below(vocab - 4) as u32).collect();
        ids.push(EOS);
        ids
    };
    let sources = (0..pairs).map(|_| sentence(7).into()).collect();
    Batch { sources, targets: (0..pairs).map(|_| sentence(6)).collect() }
}

/// The source vocabulary of these networks: three words beside the marks, with their letters.
pub(crate) fn words() -> Vocab {
    let words = Vocab::build(Tokens::Words, ["ab abcabc c"], 1);
    words.with_characters(Vocab::build(Tokens::Chars, ["abc"], 1))
}

pub(crate) fn model(config: &ModelConfig) -> Seq2Seq {
    let mut model = Seq2Seq::new(config, &words(), 6, 3);
    // Larger than initial weights: gradients of every part should be far from zero.
    model.params.iter_mut().for_each(|t| t.data.iter_mut().for_each(|v| *v *= 2.0));
    for (side, cell) in [("encoder", config.encoder.cell), ("decoder", config.decoder.cell)] {
        if cell == Cell::Relu {
            away_from_zero(&mut model.params, &format!("{side}.rnn."));
        }
    }
    model
}
