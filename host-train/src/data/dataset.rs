//! Pairs as ids, ready to be cut into batches.

use crate::checkpoint::checksum;
use crate::config::DataConfig;
use crate::data::Pair;
use crate::data::frames::to_counts;
use crate::model::Batch;
use crate::nn::random::Random;
use crate::vocab::{Encoded, Vocab};

/// Sequences end to end in one buffer, so that millions of short ones cost little more than what is in them.
#[derive(Debug, Clone)]
struct Sequences<T> {
    all: Vec<T>,
    ends: Vec<usize>,
}

impl<T> Default for Sequences<T> {
    fn default() -> Self {
        Self { all: Vec::new(), ends: Vec::new() }
    }
}

impl<T> Sequences<T> {
    fn push(&mut self, sequence: Vec<T>) {
        self.all.extend(sequence);
        self.ends.push(self.all.len());
    }

    fn get(&self, index: usize) -> &[T] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.all[start..self.ends[index]]
    }
}

/// Encoded pairs; every source and target stands between its marks.
#[derive(Debug, Clone, Default)]
pub struct Dataset {
    sources: Sequences<u32>,
    /// Of sources whose letters are read: the words that are [`Encoded::unknown`].
    words: Sequences<String>,
    targets: Sequences<u32>,
    dropped: usize,
    unknown: usize,
}

impl Dataset {
    /// Encodes the pairs that are no longer than the limits and counts the rest.
    pub fn training(pairs: &[Pair], source: &Vocab, target: &Vocab, limits: &DataConfig) -> Self {
        let lengths = [limits.max_source_len, limits.max_target_len];
        Self::encode(pairs, [source, target], lengths, |_, _, whole| whole)
    }

    /// The pairs of [`Dataset::training`], cut into subwords by chance: see [`Vocab::sentence_drawn`]. A text of which that would
    /// make more tokens than the limit is cut as always.
    pub fn drawn(
        pairs: &[Pair],
        source: &Vocab,
        target: &Vocab,
        limits: &DataConfig,
        mut random: Random,
    ) -> Self {
        let lengths = [limits.max_source_len, limits.max_target_len];
        Self::encode(pairs, [source, target], lengths, |side, text, whole| {
            let vocab = [source, target][side];
            let drawn = vocab.sentence_drawn(text, limits.subwords.dropout, &mut random);
            if vocab.length(&drawn.ids) > lengths[side] { whole } else { drawn }
        })
    }

    /// Encodes all pairs, however long.
    pub fn whole(pairs: &[Pair], source: &Vocab, target: &Vocab) -> Self {
        Self::encode(pairs, [source, target], [usize::MAX; 2], |_, _, whole| whole)
    }

    /// The pairs whose sides are no longer than the limits; `choose` may put another sentence in place of that of a side's text.
    fn encode(
        pairs: &[Pair],
        vocabs: [&Vocab; 2],
        limits: [usize; 2],
        mut choose: impl FnMut(usize, &str, Encoded) -> Encoded,
    ) -> Self {
        let mut data = Self::default();
        for pair in pairs {
            let texts = [&*pair.source, &*pair.target];
            let [s, t] = [0, 1].map(|side| vocabs[side].sentence(texts[side]));
            if [&s, &t].iter().zip(vocabs).zip(limits).any(|((s, vocab), max)| vocab.length(&s.ids) > max) {
                data.dropped += 1;
                continue;
            }
            let (s, t) = (choose(0, texts[0], s), choose(1, texts[1], t));
            data.unknown += s.unknown.len() + t.unknown.len();
            data.sources.push(s.ids);
            data.words.push(if vocabs[0].characters().is_some() { s.unknown } else { Vec::new() });
            data.targets.push(t.ids);
        }
        data
    }

    /// Number of pairs.
    pub fn len(&self) -> usize {
        self.sources.ends.len()
    }

    /// Whether there is no pair.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Pairs that were left out because a side is too long.
    pub fn dropped(&self) -> usize {
        self.dropped
    }

    /// Tokens that the vocabularies do not know.
    pub fn unknown(&self) -> usize {
        self.unknown
    }

    /// All target tokens, end marks included.
    pub fn target_tokens(&self) -> usize {
        self.targets.all.len()
    }

    /// (source, target) lengths in ids, end marks included.
    pub fn lengths(&self) -> Vec<(usize, usize)> {
        (0..self.len()).map(|i| (self.sources.get(i).len(), self.targets.get(i).len())).collect()
    }

    /// The pairs with the given numbers as one batch.
    ///
    /// # Panics
    /// When a number is not below [`Dataset::len`].
    pub fn batch(&self, pairs: &[usize]) -> Batch {
        Batch {
            sources: pairs.iter().map(|&i| self.source(i)).collect(),
            targets: pairs.iter().map(|&i| self.targets.get(i).to_vec()).collect(),
        }
    }

    fn source(&self, pair: usize) -> Encoded {
        Encoded { ids: self.sources.get(pair).to_vec(), unknown: self.words.get(pair).to_vec() }
    }

    /// Mean and standard deviation of every feature of all source frames of so many numbers, in counts. Of a feature that never
    /// changes the deviation is 1.
    pub fn frame_statistics(&self, width: usize) -> [Vec<f32>; 2] {
        let rows = (self.sources.all.len() / width).max(1) as f64;
        let of = |feature: usize| {
            let counts = || to_counts(&self.sources.all).skip(feature).step_by(width).map(f64::from);
            let mean = counts().sum::<f64>() / rows;
            let variance = counts().map(|count| (count - mean).powi(2)).sum::<f64>() / rows;
            (mean as f32, if variance > 0.0 { variance.sqrt() as f32 } else { 1.0 })
        };
        let (means, deviations) = (0..width).map(of).unzip();
        [means, deviations]
    }

    /// A number that differs, in all likelihood, when any id, any unknown word whose letters are read, or the order of pairs
    /// differs: FNV-1a over all of them.
    pub fn fingerprint(&self) -> u64 {
        let ids = self.sources.all.iter().chain(&self.targets.all).flat_map(|id| id.to_le_bytes());
        let words = self.words.all.iter().flat_map(|word| word.bytes().chain([b' ']));
        checksum(ids.chain(words))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Tokens;
    use crate::model::EOS;

    fn data(limits: &DataConfig) -> Dataset {
        let pairs: Vec<Pair> = [("ab", "X Y"), ("abcabc", "X"), ("c", "X Y Z X")]
            .map(|(s, t)| Pair { source: s.into(), target: t.into() })
            .into();
        let source = Vocab::build(Tokens::Chars, ["abc"], 1);
        let target = Vocab::build(Tokens::Words, ["X Y Z"], 1);
        Dataset::training(&pairs, &source, &target, limits)
    }

    #[test]
    fn batches_end_with_the_end_mark() {
        let data = data(&DataConfig::default());
        let batch = data.batch(&[2, 0]);
        assert_eq!(batch.sources, [vec![6, EOS].into(), vec![4, 5, EOS].into()]);
        assert_eq!(batch.targets, [vec![4, 5, 6, 4, EOS], vec![4, 5, EOS]]);
        assert_eq!(data.lengths(), [(3, 3), (7, 2), (2, 5)]);
        assert_eq!(data.target_tokens(), 10);
    }

    #[test]
    fn long_pairs_are_dropped_and_counted() {
        let data = data(&DataConfig { max_source_len: 5, max_target_len: 2, ..DataConfig::default() });
        assert_eq!((data.len(), data.dropped(), data.unknown()), (1, 2, 0));
    }

    #[test]
    fn drawn_subwords_are_the_same_texts_within_the_limits() {
        let pairs: Vec<Pair> =
            ["abab", "ababab ab"].map(|text| Pair { source: text.into(), target: text.into() }).into();
        let vocab = Vocab::learn(pairs.iter().map(|pair| &*pair.source), 12, 1).unwrap();
        let mut limits = DataConfig { max_source_len: 4, ..DataConfig::default() };
        limits.subwords.dropout = 0.5;
        let whole = Dataset::training(&pairs, &vocab, &vocab, &limits);
        let drawn = |seed| Dataset::drawn(&pairs, &vocab, &vocab, &limits, Random::new(seed));
        assert_eq!(drawn(1).fingerprint(), drawn(1).fingerprint());
        assert!((2..20).any(|seed| drawn(seed).fingerprint() != drawn(1).fingerprint()));
        assert_eq!(whole.len(), 2);
        for data in (0..20).map(drawn) {
            assert_eq!((data.len(), data.dropped()), (2, 0));
            assert!(data.lengths().iter().all(|(source, _)| *source <= 4 + 1));
            assert!(data.target_tokens() >= whole.target_tokens());
            for (i, pair) in pairs.iter().enumerate() {
                let batch = data.batch(&[i]);
                for ids in [&batch.sources[0].ids, &batch.targets[0]] {
                    assert_eq!(vocab.decode(&ids[..ids.len() - 1]), pair.source);
                }
            }
        }
    }

    #[test]
    fn the_fingerprint_tells_corpora_apart() {
        let all = data(&DataConfig::default());
        let fewer = data(&DataConfig { max_source_len: 5, ..DataConfig::default() });
        assert_eq!(all.fingerprint(), all.clone().fingerprint());
        assert_ne!(all.fingerprint(), fewer.fingerprint());
    }

    #[test]
    fn unknown_words_are_kept_where_their_letters_are_read() {
        let words = Vocab::build(Tokens::Words, ["a b"], 1);
        let letters = words.clone().with_characters(Vocab::build(Tokens::Chars, ["abc"], 1));
        let data = |vocab: &Vocab, texts: [&str; 2]| {
            let pairs = texts.map(|text| Pair { source: text.into(), target: "b".into() });
            Dataset::whole(&pairs, vocab, &words)
        };
        let (kept, dropped) = (data(&letters, ["ab a c", "b cc"]), data(&words, ["ab a c", "b cc"]));
        let unknown =
            |data: &Dataset| data.batch(&[1, 0]).sources.into_iter().map(|s| s.unknown).collect::<Vec<_>>();
        assert_eq!(unknown(&kept), [vec!["cc"], vec!["ab", "c"]]);
        assert_eq!(unknown(&dropped), [[""; 0]; 2]);
        assert_eq!([kept.unknown(), dropped.unknown()], [3, 3]);
        // Other letters are another corpus, but only to who reads them.
        let fingerprints =
            |vocab| [["ab a c", "b cc"], ["ab a cc", "b c"]].map(|texts| data(vocab, texts).fingerprint());
        let ([one, other], [same, too]) = (fingerprints(&letters), fingerprints(&words));
        assert!(one != other && same == too);
    }
}
