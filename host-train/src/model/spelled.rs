//! What an encoder that reads letters makes of words: an embedding and features of their spelling beside it.

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::EncoderConfig;
use crate::model::UNK;
use crate::model::sentences::Sentences;
use crate::nn::buffer::Buffer;
use crate::nn::characters::{Characters, CharactersTrace, Letters};
use crate::nn::embedding::{Embedding, Tokens};
use crate::nn::matrix::add;
use crate::nn::params::{Gradients, Layout};
use crate::quant::Weights;
use crate::vocab::{Sentence, Spelling};

/// Embeddings of words, and features of their spelling.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Speller {
    spelling: Arc<Spelling>,
    /// Most letters of a word that are read.
    max_len: usize,
    embedding: Embedding,
    characters: Characters,
}

/// The different words of some sentences.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Spelled {
    /// Ids, and beyond the vocabulary's those of other words.
    pub(super) words: Tokens,
    /// Ids of their embeddings.
    known: Buffer<u32>,
    trace: CharactersTrace,
}

impl Speller {
    pub(super) fn declare(layout: &mut Layout, config: &EncoderConfig, spelling: Arc<Spelling>) -> Self {
        let c = &config.characters;
        let embedding = Embedding::declare(layout, "encoder.embedding", spelling.words(), config.embedding);
        let (name, filters) = ("encoder.characters", (c.size, c.width));
        let characters = Characters::declare(layout, name, spelling.characters(), c.embedding, filters);
        Self { spelling, max_len: c.max_len, embedding, characters }
    }

    /// Numbers of what a word is read as.
    pub(super) fn width(&self) -> usize {
        self.embedding.width() + self.characters.features()
    }

    /// Packs the sources of a batch that `names` counts up; words that the vocabulary does not know get ids beyond it.
    pub(super) fn read<S: Sentence>(&self, batch: &[S], names: &[usize]) -> Sentences {
        let known = self.spelling.words() as u32;
        let (mut words, mut ids) = (Vec::new(), HashMap::new());
        let mut beyond = |word| {
            *ids.entry(word).or_insert_with(|| {
                words.push(String::clone(word));
                known + words.len() as u32 - 1
            })
        };
        let mut read = |&name: &usize| -> Vec<u32> {
            let mut unknown = batch[name].unknown().iter();
            let read = |&id: &u32| match id {
                UNK => unknown.next().map_or(UNK, &mut beyond),
                id if id < known => id,
                _ => UNK,
            };
            batch[name].ids().iter().map(read).collect()
        };
        let sentences: Vec<Vec<u32>> = names.iter().map(&mut read).collect();
        Sentences { words, ..Sentences::with(names, 1, |i| &sentences[i], |id| id) }
    }

    /// Features of the words of sentences, each once.
    pub(super) fn forward(&self, weights: Weights<'_>, sources: &Sentences) -> Spelled {
        let known = self.spelling.words();
        let words = Tokens::distinct(&sources.ids, known + sources.words.len());
        let mut letters = Letters::default();
        for &id in words.ids.iter() {
            match (id as usize).checked_sub(known) {
                None => self.spelling.append(id, self.max_len, &mut letters.ids),
                Some(at) => self.spelling.append_word(&sources.words[at], self.max_len, &mut letters.ids),
            }
            letters.ends.push(letters.ids.len());
        }
        let embedded = |&id: &u32| if (id as usize) < known { id } else { UNK };
        let known = words.ids.iter().map(embedded).collect();
        Spelled { words, known, trace: self.characters.forward(weights, letters) }
    }

    /// What the words are read as, [words, embedding + features].
    pub(super) fn rows(&self, weights: Weights<'_>, spelled: &Spelled) -> Buffer {
        let (width, features) = (self.embedding.width(), self.characters.features());
        let embedded = self.embedding.forward(weights, &spelled.known);
        let mut rows = Buffer::unspecified(spelled.known.len() * (width + features));
        let parts = embedded.chunks_exact(width).zip(spelled.trace.features.chunks_exact(features));
        for (row, (embedding, features)) in rows.chunks_exact_mut(width + features).zip(parts) {
            row[..width].copy_from_slice(embedding);
            row[width..].copy_from_slice(features);
        }
        rows
    }

    /// Adds the gradients, given those of [`Speller::rows`].
    pub(super) fn backward(&self, weights: Weights<'_>, grads: &mut Gradients, spelled: &Spelled, d: &[f32]) {
        let (width, features) = (self.embedding.width(), self.characters.features());
        let (mut d_embedded, mut d_features) = (Buffer::default(), Buffer::default());
        for row in d.chunks_exact(width + features) {
            d_embedded.extend_from_slice(&row[..width]);
            d_features.extend_from_slice(&row[width..]);
        }
        self.embedding.backward(grads, &spelled.known, &d_embedded);
        self.characters.backward(weights, grads, &spelled.trace, &d_features);
    }
}

impl Spelled {
    /// The rows that sentences read, of the rows of their words.
    pub(super) fn spread(&self, words: &[f32], width: usize) -> Buffer {
        let slots = self.words.slots.as_ref().expect("each word once");
        let mut rows = Buffer::unspecified(slots.len() * width);
        for (row, &slot) in rows.chunks_exact_mut(width).zip(slots.iter()) {
            row.copy_from_slice(&words[slot as usize * width..][..width]);
        }
        rows
    }

    /// The reverse of [`Spelled::spread`], of gradients: their sums.
    pub(super) fn gather(&self, rows: &[f32], width: usize) -> Buffer {
        let slots = self.words.slots.as_ref().expect("each word once");
        let mut words = Buffer::zeros(self.known.len() * width);
        for (row, &slot) in rows.chunks_exact(width).zip(slots.iter()) {
            add(&mut words[slot as usize * width..][..width], row);
        }
        words
    }
}
