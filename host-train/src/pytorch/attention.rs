//! Additive attention in two spellings: ours, and the tutorials', which multiply state and encoder output at once.
//!
//! `attn_fc [state; output] + b` is `w_q state + (w_k output + b)`: the columns of `attn_fc.weight` are those of `w_q.weight`
//! before those of `w_k.weight`, its bias is that of `w_k`; `v_fc` is `v`.

use crate::nn::params::Tensor;

/// What the names of attention begin with.
pub(super) const PREFIX: &str = "decoder.attention.";

/// How a `state_dict` names attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spelling {
    /// `w_q`, `w_k`, `v`.
    Split,
    /// One layer for state and output, and one for the score, with these names.
    Joined(&'static str, &'static str),
}

/// The tutorials' names today and in their older notebooks.
const JOINED: [(&str, &str); 2] = [("attn_fc", "v_fc"), ("attn", "v")];

impl Spelling {
    /// The tutorials' present one.
    pub(super) const TUTORIAL: Self = Self::Joined(JOINED[0].0, JOINED[0].1);

    /// The spelling that names belong to.
    pub(super) fn of<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Self {
        let used = |layer: &str| names.clone().any(|name| name.starts_with(&format!("{PREFIX}{layer}.")));
        let joined = JOINED.into_iter().find(|(attention, _)| used(attention));
        joined.map_or(Self::Split, |(attention, v)| Self::Joined(attention, v))
    }

    /// Names and shapes in this spelling, given those in ours.
    pub(super) fn spell(self, ours: &[(String, Vec<usize>)]) -> Vec<(String, Vec<usize>)> {
        let Self::Joined(attention, v) = self else { return ours.to_vec() };
        let columns =
            ours.iter().find(|(name, _)| name == &format!("{PREFIX}w_q.weight")).map_or(0, |(_, s)| s[1]);
        let spelled = ours.iter().filter_map(|(name, shape)| {
            let Some(rest) = name.strip_prefix(PREFIX) else { return Some((name.clone(), shape.clone())) };
            let (rest, shape) = match rest {
                "w_k.weight" => (format!("{attention}.weight"), vec![shape[0], columns + shape[1]]),
                "w_k.bias" => (format!("{attention}.bias"), shape.clone()),
                "v.weight" => (format!("{v}.weight"), shape.clone()),
                "w_q.weight" => return None,
                other => (other.to_owned(), shape.clone()),
            };
            Some((format!("{PREFIX}{rest}"), shape))
        });
        spelled.collect()
    }

    /// Turns the tensors of an attention over states of `query` values into ours; the rest stays.
    pub(super) fn split(self, tensors: Vec<Tensor>, query: usize) -> Vec<Tensor> {
        let Self::Joined(attention, v) = self else { return tensors };
        let mut out = Vec::with_capacity(tensors.len() + 1);
        for mut t in tensors {
            let Some(rest) = t.name.strip_prefix(PREFIX) else {
                out.push(t);
                continue;
            };
            if rest == format!("{attention}.weight") {
                let width = t.shape[1];
                out.extend([("w_q", 0..query), ("w_k", query..width)].map(|(name, columns)| Tensor {
                    name: format!("{PREFIX}{name}.weight"),
                    shape: vec![t.shape[0], columns.len()],
                    data: t.data.chunks_exact(width).flat_map(|row| &row[columns.clone()]).copied().collect(),
                }));
                continue;
            }
            if rest == format!("{attention}.bias") {
                t.name = format!("{PREFIX}w_k.bias");
            } else if rest == format!("{v}.weight") {
                t.name = format!("{PREFIX}v.weight");
            }
            out.push(t);
        }
        out
    }

    /// The reverse of [`Spelling::split`].
    pub(super) fn join(self, tensors: Vec<Tensor>) -> Vec<Tensor> {
        let Self::Joined(attention, v) = self else { return tensors };
        let (queries, mut out): (Vec<_>, Vec<_>) =
            tensors.into_iter().partition(|t| t.name == format!("{PREFIX}w_q.weight"));
        let Some(query) = queries.into_iter().next() else { return out };
        for t in &mut out {
            match t.name.strip_prefix(PREFIX) {
                Some("w_k.weight") => {
                    let rows = query.data.chunks_exact(query.shape[1]).zip(t.data.chunks_exact(t.shape[1]));
                    t.data = rows.flat_map(|(q, k)| q.iter().chain(k)).copied().collect();
                    t.shape[1] += query.shape[1];
                    t.name = format!("{PREFIX}{attention}.weight");
                }
                Some("w_k.bias") => t.name = format!("{PREFIX}{attention}.bias"),
                Some("v.weight") => t.name = format!("{PREFIX}{v}.weight"),
                _ => {}
            }
        }
        out
    }
}

/// The tensors of an additive attention over states of `query` values, each named `decoder.attention.*`, in our names: `attn_fc`
/// and `v_fc` become `w_q`, `w_k` and `v`.
pub fn split(tensors: Vec<Tensor>, query: usize) -> Vec<Tensor> {
    Spelling::of(tensors.iter().map(|t| t.name.as_str())).split(tensors, query)
}
