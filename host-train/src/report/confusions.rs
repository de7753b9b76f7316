//! Which tokens are taken for which others.

use std::collections::BTreeMap;

/// A column of an alignment: the token of the reference and that of the hypothesis; one is missing where the hypothesis leaves
/// out a token or adds one.
pub type Edit<'a> = (Option<&'a str>, Option<&'a str>);

/// How often one token stands for another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confusion {
    /// What is right; `None` for a token too many.
    pub reference: Option<String>,
    /// What was answered; `None` for a token left out.
    pub hypothesis: Option<String>,
    /// How often.
    pub count: usize,
    /// How often the reference's token is in all references; 0 for a token too many.
    pub of: usize,
}

/// An alignment with the fewest edits (Wagner and Fischer 1974, the whole table kept to find the way back). Of equals, a
/// substitution is taken before a token left out, and that before one too many.
pub fn align<'a>(reference: &[&'a str], hypothesis: &[&'a str]) -> Vec<Edit<'a>> {
    let (rows, cols) = (reference.len(), hypothesis.len());
    let at = |i: usize, j: usize| i * (cols + 1) + j;
    let mut cost = vec![0; (rows + 1) * (cols + 1)];
    for i in 0..=rows {
        for j in 0..=cols {
            cost[at(i, j)] = match (i, j) {
                (0, _) | (_, 0) => i + j,
                _ => {
                    let differ = usize::from(reference[i - 1] != hypothesis[j - 1]);
                    let left_out = cost[at(i - 1, j)].min(cost[at(i, j - 1)]) + 1;
                    left_out.min(cost[at(i - 1, j - 1)] + differ)
                }
            };
        }
    }
    let (mut i, mut j) = (rows, cols);
    let mut edits = Vec::with_capacity(rows.max(cols));
    while i > 0 || j > 0 {
        let here = cost[at(i, j)];
        let both = i > 0 && j > 0;
        if both && here == cost[at(i - 1, j - 1)] + usize::from(reference[i - 1] != hypothesis[j - 1]) {
            (i, j) = (i - 1, j - 1);
            edits.push((Some(reference[i]), Some(hypothesis[j])));
        } else if i > 0 && here == cost[at(i - 1, j)] + 1 {
            i -= 1;
            edits.push((Some(reference[i]), None));
        } else {
            j -= 1;
            edits.push((None, Some(hypothesis[j])));
        }
    }
    edits.reverse();
    edits
}

/// All confusions of some alignments, most frequent first.
pub fn confusions(alignments: &[Vec<Edit<'_>>]) -> Vec<Confusion> {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let mut confused: BTreeMap<Edit<'_>, usize> = BTreeMap::new();
    for &(reference, hypothesis) in alignments.iter().flatten() {
        if let Some(reference) = reference {
            *seen.entry(reference).or_default() += 1;
        }
        if reference != hypothesis {
            *confused.entry((reference, hypothesis)).or_default() += 1;
        }
    }
    let confusion = |((reference, hypothesis), count): (Edit<'_>, usize)| Confusion {
        reference: reference.map(str::to_owned),
        hypothesis: hypothesis.map(str::to_owned),
        count,
        of: reference.map_or(0, |token| seen[token]),
    };
    let mut all: Vec<Confusion> = confused.into_iter().map(confusion).collect();
    // Stable: equals stay in the order of their tokens.
    all.sort_by_key(|confusion| std::cmp::Reverse(confusion.count));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::edit_distance;
    use proptest::prelude::*;

    fn tokens(text: &str) -> Vec<&str> {
        text.split(' ').filter(|token| !token.is_empty()).collect()
    }

    #[test]
    fn confusions_are_counted_with_what_they_are_out_of() {
        let alignments = [("A B C", "A X C"), ("B B", "X B"), ("A C", "C"), ("C", "C D"), ("B", "B")]
            .map(|(reference, hypothesis)| align(&tokens(reference), &tokens(hypothesis)));
        let found: Vec<_> = confusions(&alignments)
            .into_iter()
            .map(|c| (c.reference.unwrap_or_default(), c.hypothesis.unwrap_or_default(), c.count, c.of))
            .collect();
        let expected = [("B", "X", 2, 4), ("", "D", 1, 0), ("A", "", 1, 2)];
        assert_eq!(found, expected.map(|(r, h, count, of)| (r.to_owned(), h.to_owned(), count, of)));
    }

    proptest! {
        #[test]
        fn alignments_hold_both_sides_and_no_more_edits_than_needed(
            a in prop::collection::vec("[a-c]", 0..8),
            b in prop::collection::vec("[a-c]", 0..8),
        ) {
            let a: Vec<&str> = a.iter().map(String::as_str).collect();
            let b: Vec<&str> = b.iter().map(String::as_str).collect();
            let edits = align(&a, &b);
            prop_assert_eq!(edits.iter().filter_map(|edit| edit.0).collect::<Vec<_>>(), a.clone());
            prop_assert_eq!(edits.iter().filter_map(|edit| edit.1).collect::<Vec<_>>(), b.clone());
            prop_assert_eq!(edits.iter().filter(|(x, y)| x != y).count(), edit_distance(&a, &b));
        }
    }
}
