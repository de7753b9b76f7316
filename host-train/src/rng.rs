//! Named streams of randomness.
//!
//! Every consumer draws from a stream named by `(seed, purpose, counter)`: what step `k` sees does not depend on
//! what was drawn before it, and a resumed run needs no stored generator state.

use crate::nn::random::{Random, key};

/// What numbers are drawn for; two purposes never share a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// The order of the training pairs; the counter is the epoch.
    Shuffle = 1,
    /// The masks of a training step; the counter is the batch.
    Dropout = 2,
    /// The pairs of a generated corpus.
    Generate = 3,
    /// The values of a sweep's trials.
    Sweep = 4,
    /// Which of its own tokens a decoder reads; the counter is the batch.
    Exposure = 5,
    /// Candidates of risk training; the counter is the batch.
    Candidates = 6,
    /// Which joinings of subwords are passed over; the counter is the epoch.
    Subwords = 7,
}

/// A seed that depends on nothing but its three arguments.
pub fn derive(seed: u64, stream: Stream, counter: u64) -> u64 {
    key(key(seed, u64::MAX - stream as u64), counter)
}

/// A number in `0..bound`; 0 when `bound` is 0.
pub fn below(random: &mut Random, bound: usize) -> usize {
    random.below(bound as u64) as usize
}

/// One of `items`.
///
/// # Panics
/// When `items` is empty.
pub fn pick<'a, T: ?Sized>(random: &mut Random, items: &[&'a T]) -> &'a T {
    items[below(random, items.len())]
}

/// Puts `items` in a random order (Fisher and Yates).
pub fn shuffle<T>(random: &mut Random, items: &mut [T]) {
    for i in (1..items.len()).rev() {
        items.swap(i, below(random, i + 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shuffle_keeps_every_item() {
        let mut items: Vec<u32> = (0..100).collect();
        shuffle(&mut Random::new(9), &mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn streams_differ() {
        let a = derive(1, Stream::Shuffle, 0);
        assert_eq!(a, derive(1, Stream::Shuffle, 0));
        for b in [derive(2, Stream::Shuffle, 0), derive(1, Stream::Dropout, 0), derive(1, Stream::Shuffle, 1)]
        {
            assert_ne!(a, b);
        }
    }
}
