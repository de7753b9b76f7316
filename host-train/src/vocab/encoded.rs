//! Texts as ids.

/// A text as ids, with what these do not tell of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Encoded {
    /// One id a token, and those of the marks if asked for; of frames the counts, see [`crate::data::frames::to_ids`].
    pub ids: Vec<u32>,
    /// The tokens that became `<unk>`, in their order. Networks that read letters read theirs.
    pub unknown: Vec<String>,
}

impl From<Vec<u32>> for Encoded {
    /// Ids alone: what their `<unk>`s were is not known.
    fn from(ids: Vec<u32>) -> Self {
        Self { ids, unknown: Vec::new() }
    }
}

/// What a network reads: an [`Encoded`] text, or ids alone.
pub trait Sentence: Sync {
    /// As [`Encoded::ids`].
    fn ids(&self) -> &[u32];

    /// As [`Encoded::unknown`]; none where only ids are known.
    fn unknown(&self) -> &[String] {
        &[]
    }
}

impl Sentence for Encoded {
    fn ids(&self) -> &[u32] {
        &self.ids
    }

    fn unknown(&self) -> &[String] {
        &self.unknown
    }
}

impl Sentence for [u32] {
    fn ids(&self) -> &[u32] {
        self
    }
}

impl Sentence for Vec<u32> {
    fn ids(&self) -> &[u32] {
        self
    }
}

impl<S: Sentence + ?Sized> Sentence for &S {
    fn ids(&self) -> &[u32] {
        (**self).ids()
    }

    fn unknown(&self) -> &[String] {
        (**self).unknown()
    }
}
