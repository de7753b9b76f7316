//! Which pairs make up each batch of an epoch: length buckets in random order.

use crate::nn::random::Random;
use crate::rng::{Stream, derive, shuffle};

/// Batches that are sorted together: long enough for even lengths within a batch, short enough for batches that
/// differ from epoch to epoch.
const WINDOW_BATCHES: usize = 32;

/// The batches of an epoch as lists of pair numbers; every pair appears exactly once.
///
/// `lengths` holds (source, target) lengths. Pairs are shuffled, sorted by length within windows of
/// 32 batches, cut into batches of `batch_size`, and the batches are shuffled: lengths within a batch are
/// alike, the order is random. The result depends on the arguments alone.
pub fn plan(lengths: &[(usize, usize)], batch_size: usize, seed: u64, epoch: u64) -> Vec<Vec<usize>> {
    let batch_size = batch_size.max(1);
    let mut random = Random::new(derive(seed, Stream::Shuffle, epoch));
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    shuffle(&mut random, &mut order);
    for window in order.chunks_mut(batch_size.saturating_mul(WINDOW_BATCHES)) {
        window.sort_by_key(|&i| lengths[i]);
    }
    let mut batches: Vec<Vec<usize>> = order.chunks(batch_size).map(<[usize]>::to_vec).collect();
    shuffle(&mut random, &mut batches);
    batches
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::below;

    fn lengths(n: usize) -> Vec<(usize, usize)> {
        let mut random = Random::new(3);
        (0..n).map(|_| (1 + below(&mut random, 30), 1 + below(&mut random, 30))).collect()
    }

    #[test]
    fn every_pair_appears_once() {
        for (n, size) in [(0, 4), (1, 4), (7, 4), (1000, 16), (5, 100)] {
            let mut all = plan(&lengths(n), size, 1, 2).concat();
            all.sort_unstable();
            assert_eq!(all, (0..n).collect::<Vec<_>>());
        }
    }

    #[test]
    fn only_seed_and_epoch_decide() {
        let lengths = lengths(500);
        let first = plan(&lengths, 16, 1, 0);
        assert_eq!(first, plan(&lengths, 16, 1, 0));
        assert_ne!(first, plan(&lengths, 16, 1, 1));
        assert_ne!(first, plan(&lengths, 16, 2, 0));
    }

    #[test]
    fn lengths_within_a_batch_are_alike() {
        let lengths = lengths(4096);
        let spread = |batches: &[Vec<usize>]| -> usize {
            let of = |batch: &Vec<usize>| {
                let sources = batch.iter().map(|&i| lengths[i].0);
                sources.clone().max().unwrap() - sources.min().unwrap()
            };
            batches.iter().map(of).sum()
        };
        let unsorted: Vec<Vec<usize>> =
            (0..4096).collect::<Vec<_>>().chunks(32).map(<[usize]>::to_vec).collect();
        assert!(spread(&plan(&lengths, 32, 1, 0)) * 10 < spread(&unsorted));
    }
}
