//! What reads what: the one description of how a network's parts are joined.

use super::{AttentionKind, Bridge, Cell, ModelConfig, Place, Task};
use crate::error::{Error, Result};

/// Something that a decoder's lowest cell or its output layer reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The embedding of the token that the step reads.
    Embedding,
    /// What the top layer puts out.
    State,
    /// What attention has gathered, or the encoder's final state.
    Context,
    /// `tanh(W_c [context; state])`: of this step for the output layer, of the step before for the cell.
    Attended,
}

impl ModelConfig {
    /// Width of what the encoder puts out for a source position, and of its final state.
    pub fn memory(&self) -> usize {
        if self.encoder.bidirectional { 2 * self.encoder.hidden } else { self.encoder.hidden }
    }

    /// Whether the decoder attends.
    pub fn attends(&self) -> bool {
        self.task == Task::Transduce && self.attention.kind != AttentionKind::None
    }

    /// The place of attention, if there is any.
    pub fn place(&self) -> Option<Place> {
        self.attends().then_some(self.attention.place)
    }

    /// What the lowest cell of the decoder reads in each step, in the order of its columns, with its widths.
    pub fn cell_reads(&self) -> Vec<(Part, usize)> {
        let beside = match self.place() {
            None if self.decoder.context => Some(Part::Context),
            None => None,
            Some(Place::Before) => Some(Part::Context),
            Some(Place::After) => self.attention.input_feeding.then_some(Part::Attended),
        };
        self.widths([Some(Part::Embedding), beside].into_iter().flatten())
    }

    /// What the output layer reads in each step, likewise.
    pub fn output_reads(&self) -> Vec<(Part, usize)> {
        use Part::{Attended, Context, Embedding, State};
        let parts = match self.place() {
            None if self.task == Task::Label => &[State][..],
            None if self.decoder.context => &[Embedding, State, Context],
            None => &[State],
            Some(Place::Before) => &[State, Context, Embedding],
            Some(Place::After) => &[Attended],
        };
        self.widths(parts.iter().copied())
    }

    fn widths(&self, parts: impl Iterator<Item = Part>) -> Vec<(Part, usize)> {
        let state = if self.task == Task::Label { self.memory() } else { self.decoder.hidden };
        let width = |part: Part| match part {
            Part::Embedding => self.decoder.embedding,
            Part::State => state,
            Part::Context => self.memory(),
            Part::Attended => self.decoder.hidden,
        };
        parts.map(|part| (part, width(part))).collect()
    }

    /// Width of a linear map between what the output layer reads and tied embeddings, where widths differ.
    pub fn projection(&self) -> Option<usize> {
        let features: usize = self.output_reads().iter().map(|(_, width)| width).sum();
        (self.tie_embeddings && features != self.decoder.embedding).then_some(self.decoder.embedding)
    }

    /// The first of the settings that are beyond gated encoder-decoders with additive attention, which integer grids were made for.
    pub fn beyond_grid(&self) -> Option<String> {
        let (e, a, d) = (&self.encoder, &self.attention, &self.decoder);
        let gated = |cell| matches!(cell, Cell::Gru | Cell::Lstm);
        let plain = matches!(a.kind, AttentionKind::None | AttentionKind::Additive);
        let forms = [
            (self.task != Task::Transduce, format!("model.task = {}", name(&self.task))),
            (!gated(e.cell), format!("model.encoder.cell = {}", name(&e.cell))),
            (e.reverse, "model.encoder.reverse = true".into()),
            (e.residual, "model.encoder.residual = true".into()),
            (e.norm, "model.encoder.norm = true".into()),
            (
                e.characters.features() > 0,
                format!("model.encoder.characters.kind = {}", name(&e.characters.kind)),
            ),
            (!plain, format!("model.attention.kind = {}", name(&a.kind))),
            (self.place() == Some(Place::After), "model.attention.place = \"after\"".into()),
            (!gated(d.cell), format!("model.decoder.cell = {}", name(&d.cell))),
            (d.residual, "model.decoder.residual = true".into()),
            (d.norm, "model.decoder.norm = true".into()),
            (d.context, "model.decoder.context = true".into()),
            (self.tie_embeddings, "model.tie_embeddings = true".into()),
        ];
        forms.into_iter().find_map(|(found, form)| found.then_some(form))
    }

    /// Settings that contradict each other.
    ///
    /// # Errors
    /// [`Error::Config`] names the first, what it needs, and what was found.
    pub(super) fn check_wiring(&self) -> Result<()> {
        let (e, a, d) = (&self.encoder, &self.attention, &self.decoder);
        let unlike = e.bidirectional || e.cell != d.cell || e.hidden != d.hidden || e.layers != d.layers;
        let (memory, transduces) = (self.memory(), self.task == Task::Transduce);
        let wrong = [
            (
                transduces && self.bridge == Bridge::Copy && unlike,
                "model.bridge = \"copy\" needs a one-directional encoder with the decoder's cell, hidden and layers; use \
                 bridge = \"linear\""
                    .into(),
            ),
            (
                e.reverse && e.bidirectional,
                "model.encoder.reverse = true needs model.encoder.bidirectional = false: both directions read from the end \
                 already"
                    .into(),
            ),
            (
                self.attends() && a.kind == AttentionKind::Dot && memory != d.hidden,
                format!(
                    "model.attention.kind = \"dot\" needs encoder outputs as wide as the decoder's state, found {memory} and {}; \
                     use kind = \"general\"",
                    d.hidden
                ),
            ),
            (
                a.input_feeding && self.place() != Some(Place::After),
                "model.attention.input_feeding = true needs attention with place = \"after\"".into(),
            ),
            (
                a.coverage_loss > 0.0 && !self.attends(),
                "model.attention.coverage_loss above 0 needs attention".into(),
            ),
            (
                d.context && self.attends(),
                "model.decoder.context = true needs model.attention.kind = \"none\": attention has a context of its own".into(),
            ),
            (
                d.context && self.task == Task::Generate,
                "model.decoder.context = true needs a source; model.task = \"generate\" has none".into(),
            ),
            (
                self.tie_embeddings && self.task == Task::Label,
                "model.tie_embeddings = true needs target embeddings; model.task = \"label\" has none".into(),
            ),
        ];
        match wrong.into_iter().find(|(found, _)| *found) {
            Some((_, message)) => Err(Error::Config(message)),
            None => Ok(()),
        }
    }
}

/// The spelling of a value in a configuration.
fn name(value: &impl serde::Serialize) -> String {
    toml::Value::try_from(value).map_or_else(|_| String::new(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn every_form_reads_its_parts() {
        use Part::{Attended, Context, Embedding, State};
        let mut config = ModelConfig::default();
        (config.encoder.hidden, config.decoder.embedding, config.decoder.hidden) = (5, 3, 7);
        let reads = |config: &ModelConfig| (config.cell_reads(), config.output_reads());
        let before = [(State, 7), (Context, 10), (Embedding, 3)];
        assert_eq!(reads(&config), (vec![(Embedding, 3), (Context, 10)], before.to_vec()));
        config.attention.place = Place::After;
        assert_eq!(reads(&config), (vec![(Embedding, 3)], vec![(Attended, 7)]));
        config.attention.input_feeding = true;
        assert_eq!(config.cell_reads(), [(Embedding, 3), (Attended, 7)]);
        config.attention.kind = AttentionKind::None;
        assert_eq!(reads(&config), (vec![(Embedding, 3)], vec![(State, 7)]));
        config.decoder.context = true;
        let context = [(Embedding, 3), (State, 7), (Context, 10)];
        assert_eq!(reads(&config), (vec![(Embedding, 3), (Context, 10)], context.to_vec()));
        config.task = Task::Label;
        assert_eq!(config.output_reads(), [(State, 10)]);
    }

    #[test]
    fn tied_embeddings_are_projected_to_where_widths_differ() {
        let mut config = ModelConfig { tie_embeddings: true, ..ModelConfig::default() };
        assert_eq!(config.projection(), Some(64));
        config.attention.kind = AttentionKind::None;
        config.decoder.hidden = 64;
        assert_eq!(config.projection(), None);
    }

    #[test]
    fn contradictions_are_named() {
        for (text, expected) in [
            ("[model]\nbridge = \"copy\"", "needs a one-directional encoder"),
            ("[model.encoder]\nreverse = true", "needs model.encoder.bidirectional = false"),
            ("[model.attention]\nkind = \"dot\"", "found 256 and 128; use kind = \"general\""),
            ("[model.attention]\ninput_feeding = true", "needs attention with place = \"after\""),
            ("[model.decoder]\ncontext = true", "needs model.attention.kind = \"none\""),
            ("[model.attention]\nkind = \"none\"\ncoverage_loss = 1.0", "above 0 needs attention"),
            ("[model]\ntask = \"label\"\ntie_embeddings = true", "needs target embeddings"),
            ("[model]\ntask = \"generate\"", "use \"ppl\""),
            ("[model]\ntask = \"label\"\n[train]\nmetric = \"free_ppl\"", "is for decoders"),
            ("[model]\ntask = \"label\"\n[risk]\n", "compares answers to sources"),
            ("[model]\ntask = \"label\"\n[data]\nsource = \"subwords\"", "labels are of whole tokens"),
            (
                "[model]\ntask = \"generate\"\n[train]\nmetric = \"ppl\"\n[model.encoder]\nvectors = \"v.txt\"",
                "model.encoder.vectors is of sources",
            ),
            ("[model]\ntask = \"generate\"\n[model.decoder]\ncontext = true", "needs a source"),
        ] {
            let message = Config::from_toml(text).unwrap_err().to_string();
            assert!(message.contains(expected), "{text}: {message}");
        }
    }

    #[test]
    fn what_grids_were_not_made_for_is_named() {
        assert_eq!(ModelConfig::default().beyond_grid(), None);
        for (text, expected) in [
            ("[model]\ntask = \"label\"", "model.task = \"label\""),
            ("[model.decoder]\ncell = \"relu\"", "model.decoder.cell = \"relu\""),
            ("[model.attention]\nkind = \"general\"", "model.attention.kind = \"general\""),
            ("[model.attention]\nplace = \"after\"", "model.attention.place = \"after\""),
        ] {
            let config = Config::from_toml(text).unwrap();
            assert_eq!(config.model.beyond_grid().as_deref(), Some(expected));
            let refused = Config::from_toml(&format!("{text}\n[qat]\n")).unwrap_err().to_string();
            assert!(refused.contains(expected) && refused.contains("[qat]"), "{refused}");
        }
    }
}
