//! Byte-pair encoding (Sennrich, Haddow and Birch 2016, "Neural machine translation of rare words with subword units"), in which
//! the vocabulary is all there is: the id of a piece is its rank.
//!
//! A word is a mark, which is a space, and its characters. Neighbours whose joined text is a piece of the vocabulary become that
//! piece: those with the lowest id first, of equals the leftmost, until no neighbours are left that join. Learning adds the joined
//! text that the words hold most often, joins it in all of them by this very rule, and begins anew. So a word is encoded into the
//! pieces that it had when learning ended, and there is no list of merges that could disagree with the vocabulary.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};
use std::rc::Rc;

use super::{MARKS, cut};
use crate::config::Tokens;
use crate::model::UNK;

/// What stands before each word: no word holds it.
pub(super) const MARK: &str = " ";

/// By two neighbours' ids, that of the piece that they become.
pub(super) type Joins = HashMap<(u32, u32), u32>;

/// Mark and characters of a word.
pub(super) fn atoms(word: &str) -> impl Iterator<Item = &str> {
    std::iter::once(MARK).chain(cut(Tokens::Chars, word))
}

/// All pairs of a vocabulary's pieces that make a third.
pub(super) fn joins(ids: &HashMap<String, u32>) -> Joins {
    let halves = |(piece, &id): (&String, &u32)| {
        let pair = |(at, _): (usize, char)| {
            let (left, right) = piece.split_at(at);
            Some(((*ids.get(left)?, *ids.get(right)?), id))
        };
        piece.char_indices().skip(1).filter_map(pair).collect::<Vec<_>>()
    };
    ids.iter().flat_map(halves).collect()
}

/// Joins the pieces of a word as `joined` has it. A joining is only done when `keep` says so; it is asked anew for each that
/// is possible, each time.
pub(super) fn merge(
    pieces: &mut Vec<u32>,
    mut joined: impl FnMut(u32, u32) -> Option<u32>,
    mut keep: impl FnMut() -> bool,
) {
    let mut ranks: Vec<Option<u32>> = pieces.windows(2).map(|pair| joined(pair[0], pair[1])).collect();
    loop {
        let possible = ranks.iter().enumerate().filter_map(|(at, rank)| Some((rank.filter(|_| keep())?, at)));
        let Some((piece, at)) = possible.min() else { return };
        pieces[at] = piece;
        pieces.remove(at + 1);
        ranks.remove(at);
        for at in at.saturating_sub(1)..=at {
            if at + 1 < pieces.len() {
                ranks[at] = joined(pieces[at], pieces[at + 1]);
            }
        }
    }
}

/// Adds pieces to an alphabet, which stands behind the [`MARKS`], until there are `size` tokens or no joined text is in the words
/// `least` times. Of texts that are there equally often, the first in the order of bytes comes first.
pub(super) fn learn(
    alphabet: Vec<String>,
    words: &BTreeMap<&str, usize>,
    size: usize,
    least: usize,
) -> Vec<String> {
    let ids: HashMap<&str, u32> = (0..).zip(&alphabet).map(|(id, token)| (token.as_str(), id)).collect();
    let id = |atom: &str| ids.get(atom).copied().unwrap_or(UNK);
    let spelled = words.iter().map(|(word, &count)| (atoms(word).map(id).collect(), count)).collect();
    let mut learner = Learner { words: spelled, tokens: alphabet, ..Learner::default() };
    for word in 0..learner.words.len() {
        learner.add(word);
    }
    learner.queue();
    while learner.tokens.len() < size
        && let Some(next) = learner.most_frequent(least)
    {
        learner.join(next);
    }
    learner.tokens
}

/// A text that neighbours somewhere make.
struct Joined {
    text: Rc<str>,
    /// How often they stand together.
    count: usize,
    /// Words that hold them, or have held them.
    words: Vec<usize>,
    /// Its id, once it is a piece.
    id: Option<u32>,
}

#[derive(Default)]
struct Learner {
    tokens: Vec<String>,
    /// Pieces of each word, and how often it is there.
    words: Vec<(Vec<u32>, usize)>,
    joined: Vec<Joined>,
    by_text: HashMap<Rc<str>, usize>,
    by_pair: HashMap<(u32, u32), usize>,
    /// Those whose count is another than the queue's.
    changed: BTreeSet<usize>,
    /// By count and text; an entry whose count is no longer true has a successor.
    queue: BinaryHeap<(usize, Reverse<Rc<str>>, usize)>,
}

impl Learner {
    /// Which text two neighbours make; nothing is known of one with an unknown character.
    fn find(&mut self, left: u32, right: u32) -> Option<usize> {
        if left == UNK || right == UNK {
            return None;
        }
        if let Some(&known) = self.by_pair.get(&(left, right)) {
            return Some(known);
        }
        let text: Rc<str> = [&*self.tokens[left as usize], &*self.tokens[right as usize]].concat().into();
        let next = self.joined.len();
        let found = *self.by_text.entry(text.clone()).or_insert(next);
        if found == next {
            self.joined.push(Joined { text, count: 0, words: Vec::new(), id: None });
        }
        self.by_pair.insert((left, right), found);
        Some(found)
    }

    fn neighbours(&mut self, word: usize) -> Vec<usize> {
        let pairs: Vec<(u32, u32)> = self.words[word].0.windows(2).map(|pair| (pair[0], pair[1])).collect();
        pairs.into_iter().filter_map(|(left, right)| self.find(left, right)).collect()
    }

    /// Counts the neighbours of a word.
    fn add(&mut self, word: usize) {
        for at in self.neighbours(word) {
            self.joined[at].count += self.words[word].1;
            self.joined[at].words.push(word);
            self.changed.insert(at);
        }
    }

    /// Forgets the neighbours of a word.
    fn subtract(&mut self, word: usize) {
        for at in self.neighbours(word) {
            self.joined[at].count -= self.words[word].1;
            self.changed.insert(at);
        }
    }

    fn queue(&mut self) {
        for at in std::mem::take(&mut self.changed) {
            let Joined { text, count, .. } = &self.joined[at];
            self.queue.push((*count, Reverse(text.clone()), at));
        }
    }

    /// The next text to become a piece, if it is there `least` times. Nothing becomes a piece that is spelled like a mark.
    fn most_frequent(&mut self, least: usize) -> Option<usize> {
        while let Some((count, Reverse(text), at)) = self.queue.pop() {
            if count < least {
                return None;
            }
            let joined = &self.joined[at];
            if joined.count == count && joined.id.is_none() && !MARKS.contains(&&*text) {
                return Some(at);
            }
        }
        None
    }

    /// Makes a text a piece, in all words.
    fn join(&mut self, at: usize) {
        let joined = &mut self.joined[at];
        joined.id = Some(self.tokens.len() as u32);
        self.tokens.push(joined.text.to_string());
        let mut words = std::mem::take(&mut joined.words);
        words.sort_unstable();
        words.dedup();
        for word in words {
            self.subtract(word);
            let mut pieces = std::mem::take(&mut self.words[word].0);
            let id = |left, right| self.find(left, right).and_then(|at| self.joined[at].id);
            merge(&mut pieces, id, || true);
            self.words[word].0 = pieces;
            self.add(word);
        }
        self.queue();
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Encoded, Vocab};
    use super::*;
    use crate::nn::random::Random;
    use proptest::prelude::*;

    fn pieces<'a>(vocab: &'a Vocab, text: &str) -> Vec<&'a str> {
        vocab.tokens_of(&vocab.encode(text).ids)
    }

    /// Counted by hand: "ab" is there 4 times; then " ab" 3 times; then " abc" and " c" twice; "cc" and " cab" once.
    #[test]
    fn the_most_frequent_neighbours_are_joined_first() {
        let vocab = Vocab::learn(["ab abc  abc", "cab cc"], 100, 1).unwrap();
        assert_eq!(vocab.tokens()[4..], [" ", "a", "b", "c", "ab", " ab", " abc", " c"]);
        assert_eq!(pieces(&vocab, "cab  abcab"), [" c", "ab", " abc", "ab"]);
        assert_eq!(vocab.decode(&vocab.encode("  cab abcab ").ids), "cab abcab");
        assert_eq!(Vocab::learn(["ab abc abc cab cc"], 10, 1).unwrap().tokens()[8..], ["ab", " ab"]);
    }

    #[test]
    fn of_equals_the_first_bytes_are_first() {
        let vocab = Vocab::learn(["zy zy ba ba"], 9 + 2, 1).unwrap();
        assert_eq!(vocab.tokens()[9..], [" b", " ba"]);
    }

    #[test]
    fn only_a_strange_character_is_unknown() {
        let vocab = Vocab::learn(["über über ü"], 100, 1).unwrap();
        assert_eq!(pieces(&vocab, "überß ßbü"), [" über", "<unk>", " ", "<unk>", "b", "ü"]);
        assert_eq!(vocab.encode("überß ßbü").unknown.len(), 2);
        assert_eq!(vocab.decode(&vocab.encode("ü ßb").ids), "ü <unk>b");
        assert_eq!(vocab.encode("  "), Encoded::default());
    }

    #[test]
    fn rare_characters_are_unknown_and_rare_neighbours_stay_apart() {
        let vocab = Vocab::learn(["ab ab ax ay"], 100, 2).unwrap();
        assert_eq!(vocab.tokens()[4..], [" ", "a", "b", " a", " ab"]);
        let vocab = Vocab::learn(["ab ab ax ay"], 100, 3).unwrap();
        assert_eq!(vocab.tokens()[4..], [" ", "a", " a"]);
    }

    #[test]
    fn no_piece_is_spelled_like_a_mark() {
        let vocab = Vocab::learn(["a<s> b<s> c<s> d<unk> e<unk>"], 100, 1).unwrap();
        assert_eq!(pieces(&vocab, "<s> b<unk>"), [" ", "<s", ">", " ", "b", "<unk", ">"]);
        assert_eq!(vocab.encode("<unk>").unknown.len(), 0);
        assert_eq!(vocab.decode(&vocab.encode("<s> b<unk>").ids), "<s> b<unk>");
    }

    #[test]
    fn an_alphabet_that_does_not_fit_is_told() {
        let message = Vocab::learn(["abc"], 7, 1).unwrap_err().to_string();
        assert!(message.contains("4 marks and 4 characters") && message.contains("found 7"), "{message}");
        assert_eq!(Vocab::learn(["abc"], 8, 1).unwrap().len(), 8);
    }

    #[test]
    fn dropout_leaves_the_text_and_needs_more_pieces() {
        let text = "abcabc abc abcabc cab";
        let vocab = Vocab::learn([text; 4], 40, 1).unwrap();
        let whole = vocab.sentence(text);
        let drawn = |dropout, seed| vocab.sentence_drawn(text, dropout, &mut Random::new(seed)).ids;
        assert_eq!(drawn(0.0, 1), whole.ids);
        assert_eq!(drawn(0.5, 1), drawn(0.5, 1));
        assert_ne!(drawn(0.5, 1), drawn(0.5, 2));
        for seed in 0..50 {
            let ids = drawn(0.5, seed);
            assert!(ids.len() >= whole.ids.len());
            assert_eq!(vocab.decode(&ids[..ids.len() - 1]), text);
        }
        assert_eq!(drawn(1.0, 1).len(), 1 + text.chars().count() + 1, "mark and characters of each word");
    }

    /// The definition, slowly: count all joined texts, add the most frequent one, encode all words anew.
    fn slow(words: &BTreeMap<&str, usize>, mut tokens: Vec<String>, size: usize) -> Vec<String> {
        while tokens.len() < size {
            let vocab = Vocab::from_tokens(Tokens::Subwords, tokens[MARKS.len()..].to_vec());
            let mut counts: BTreeMap<String, usize> = BTreeMap::new();
            for (word, n) in words {
                for pair in pieces(&vocab, word).windows(2) {
                    *counts.entry(pair.concat()).or_default() += n;
                }
            }
            let best = counts.into_iter().max_by_key(|(text, n)| (*n, Reverse(text.clone())));
            match best {
                Some((text, n)) if n >= 2 => tokens.push(text),
                _ => break,
            }
        }
        tokens
    }

    proptest! {
        #[test]
        fn fast_learning_learns_what_slow_learning_does(text in "[abcé]{1,6}( [abcé]{1,6}){0,12}", more in 0..20usize) {
            let alphabet = Vocab::build(Tokens::Subwords, [text.as_str()], 1);
            let mut words = BTreeMap::new();
            text.split(' ').for_each(|word| *words.entry(word).or_insert(0) += 1);
            let size = alphabet.len() + more;
            let learned = Vocab::learn([text.as_str()], size, 1).unwrap();
            prop_assert_eq!(learned.tokens(), slow(&words, alphabet.tokens().to_vec(), size));
            prop_assert_eq!(learned.decode(&learned.encode(&text).ids), text);
        }

        #[test]
        fn files_hold_all_that_encoding_needs(text in "[ab ]{1,40}", other in "[abc ]{0,20}") {
            let vocab = Vocab::learn([text.as_str()], 30, 1).unwrap();
            let file = vocab.to_file_text();
            let read = Vocab::from_file_text(Tokens::Subwords, &file, std::path::Path::new("v")).unwrap();
            prop_assert_eq!(read.encode(&other), vocab.encode(&other));
            prop_assert_eq!(read, vocab);
        }
    }
}
