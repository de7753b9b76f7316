//! Edits between sequences.

/// Levenshtein distance: the fewest insertions, deletions and substitutions of tokens that turn `a` into `b`
/// (Wagner and Fischer 1974, one row kept).
pub fn edit_distance<T: PartialEq>(a: &[T], b: &[T]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// Edits between `hypothesis` and the closest of `references`, and that one's length: fewest edits, of equals the longest
/// reference; (0, 0) without any.
pub fn closest<T: PartialEq>(hypothesis: &[T], references: &[Vec<T>]) -> (usize, usize) {
    let each = references.iter().map(|reference| (edit_distance(reference, hypothesis), reference.len()));
    each.min_by_key(|&(edits, length)| (edits, std::cmp::Reverse(length))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, exponential and obviously right.
    fn by_definition(a: &[u8], b: &[u8]) -> usize {
        match (a.split_last(), b.split_last()) {
            (None, _) => b.len(),
            (_, None) => a.len(),
            (Some((x, a1)), Some((y, b1))) => (by_definition(a1, b1) + usize::from(x != y))
                .min(by_definition(a1, b) + 1)
                .min(by_definition(a, b1) + 1),
        }
    }

    proptest! {
        #[test]
        fn edit_distance_is_its_definition(
            a in prop::collection::vec(0u8..3, 0..7),
            b in prop::collection::vec(0u8..3, 0..7),
        ) {
            prop_assert_eq!(edit_distance(&a, &b), by_definition(&a, &b));
        }
    }
}
