//! What sizes and rates may be.

use super::*;

impl Config {
    /// Checks sizes and ranges.
    ///
    /// # Errors
    /// [`Error::Config`] names the first field that cannot work, what it may be, and what it is.
    pub fn check(&self) -> Result<()> {
        let (m, t) = (&self.model, &self.train);
        let mut sizes = vec![
            ("data.min_count", self.data.min_count, 1, 1 << 20),
            ("data.max_source_len", self.data.max_source_len, 1, 4096),
            ("data.max_target_len", self.data.max_target_len, 1, 4096),
            ("data.frames.width", self.data.frames.width, 0, 4096),
            ("data.subwords.source_size", self.data.subwords.source_size, 6, 65_535),
            ("data.subwords.target_size", self.data.subwords.target_size, 6, 65_535),
            ("model.encoder.embedding", m.encoder.embedding, 1, 4096),
            ("model.encoder.hidden", m.encoder.hidden, 1, 4096),
            ("model.encoder.layers", m.encoder.layers, 1, 8),
            ("model.encoder.characters.embedding", m.encoder.characters.embedding, 1, 256),
            ("model.encoder.characters.size", m.encoder.characters.size, 1, 1024),
            ("model.encoder.characters.width", m.encoder.characters.width, 1, 9),
            ("model.encoder.characters.max_len", m.encoder.characters.max_len, 2, 62),
            ("model.decoder.embedding", m.decoder.embedding, 1, 4096),
            ("model.decoder.hidden", m.decoder.hidden, 1, 4096),
            ("model.decoder.layers", m.decoder.layers, 1, 8),
            ("model.attention.size", m.attention.size, 1, 512),
            ("train.batch_size", t.batch_size, 1, 65_536),
            ("train.accumulate", t.accumulate, 1, 65_536),
            ("train.epochs", t.epochs, 1, EPOCHS),
            ("train.patience", t.patience, 1, EPOCHS),
            ("train.threads", t.threads, 1, 256),
        ];
        let mut reals = vec![
            ("data.subwords.dropout", self.data.subwords.dropout, 0.0, 1.0),
            ("model.dropout", m.dropout, 0.0, 0.95),
            ("model.embedding_dropout", m.embedding_dropout.unwrap_or(0.0), 0.0, 0.95),
            ("model.attention.coverage_loss", m.attention.coverage_loss, 0.0, 1e3),
            ("train.clip_norm", t.clip_norm, 0.0, 1e6),
            ("train.label_smoothing", t.label_smoothing, 0.0, 0.9),
            ("optimizer.learning_rate", self.optimizer.learning_rate, 1e-9, 10.0),
            ("schedule.min_learning_rate", self.schedule.min_learning_rate, 0.0, 10.0),
        ];
        match &self.optimizer.kind {
            OptimizerKind::Sgd(sgd) => reals.extend([
                ("optimizer.momentum", sgd.momentum, 0.0, 0.9999),
                ("optimizer.weight_decay", sgd.weight_decay, 0.0, 1.0),
            ]),
            OptimizerKind::Adam(adam) | OptimizerKind::AdamW(adam) => reals.extend([
                ("optimizer.beta1", adam.beta1 as f32, 0.0, 0.9999),
                ("optimizer.beta2", adam.beta2 as f32, 0.0, 0.999_999),
                ("optimizer.eps", adam.eps as f32, 1e-16, 1.0),
                ("optimizer.weight_decay", adam.weight_decay, 0.0, 1.0),
            ]),
        }
        match &self.schedule.kind {
            ScheduleKind::Plateau(p) => {
                reals.push(("schedule.factor", p.factor, 0.01, 1.0));
                sizes.push(("schedule.patience", p.patience, 0, EPOCHS));
            }
            ScheduleKind::Step(s) => {
                reals.push(("schedule.factor", s.factor, 0.01, 1.0));
                sizes.push(("schedule.every", s.every, 1, EPOCHS));
            }
            ScheduleKind::Cosine(h) | ScheduleKind::Linear(h) => {
                sizes.push(("schedule.until_epoch", h.until_epoch, 0, EPOCHS));
            }
            ScheduleKind::Constant | ScheduleKind::InverseSqrt => {}
        }
        match &self.average {
            AverageConfig::None => {}
            AverageConfig::Ema(ema) => reals.push(("average.decay", ema.decay, 0.0, 0.999_999)),
            AverageConfig::Epochs(epochs) => sizes.push(("average.last", epochs.last, 1, 32)),
        }
        match &self.exposure.kind {
            ExposureKind::Teacher => {}
            ExposureKind::Constant(c) => reals.push(("exposure.ratio", c.ratio, 0.0, 1.0)),
            ExposureKind::Linear(l) => reals.extend([
                ("exposure.start", l.start, 0.0, 1.0),
                ("exposure.end", l.end, 0.0, 1.0),
                ("exposure.batches", l.batches as f32, 1.0, 1e12),
            ]),
            ExposureKind::Exponential(e) => {
                reals.extend([("exposure.k", e.k, 0.0, 1.0), ("exposure.end", e.end, 0.0, 1.0)]);
            }
            ExposureKind::InverseSigmoid(s) => {
                reals.extend([("exposure.k", s.k, 1.0, 1e9), ("exposure.end", s.end, 0.0, 1.0)]);
            }
        }
        if let Some(risk) = &self.risk {
            sizes.push(("risk.candidates", risk.candidates, 2, 64));
            reals.extend([
                ("risk.weight", risk.weight, 0.0, 1.0),
                ("risk.sharpness", risk.sharpness, 1e-4, 100.0),
            ]);
        }
        if let Some(distill) = &self.distill {
            reals.extend([
                ("distill.weight", distill.weight, 0.0, 1.0),
                ("distill.temperature", distill.temperature, 0.1, 100.0),
            ]);
        }
        if let Some(qat) = &self.qat {
            sizes.push(("qat.calibration_pairs", qat.calibration_pairs, 1, usize::MAX));
        }
        let ranges = sizes.into_iter().map(within).chain(reals.into_iter().map(within));
        ranges.collect::<Result<()>>()?;

        if i64::try_from(t.seed).is_err() {
            // TOML's integers have 64 bits with a sign.
            return Err(Error::Config(format!("train.seed must be at most {}, found {}", i64::MAX, t.seed)));
        }
        m.check_wiring()?;
        self.check_task()?;
        self.check_subwords()?;
        self.check_frames()?;
        self.check_characters()?;
        if m.encoder.freeze_vectors && m.encoder.vectors.as_os_str().is_empty() {
            return Err(Error::Config(
                "model.encoder.freeze_vectors needs model.encoder.vectors, a file".into(),
            ));
        }
        match (&self.qat, m.beyond_grid()) {
            (Some(_), Some(form)) => Err(Error::Config(format!(
                "[qat] has no integer grid yet for {form}: train it in floating point"
            ))),
            _ => Ok(()),
        }
    }
}

impl Config {
    /// Refuses what a task has no use for.
    fn check_task(&self) -> Result<()> {
        let (task, metric) = (self.model.task, self.train.metric);
        let feeds = self.exposure.kind == ExposureKind::Teacher;
        let wrong = match task {
            Task::Transduce => None,
            _ if self.risk.is_some() => Some("[risk] compares answers to sources".to_owned()),
            Task::Label if [self.data.source, self.data.target].contains(&Tokens::Subwords) => Some(
                "labels are of whole tokens; data.source and data.target must not be \"subwords\"".into(),
            ),
            Task::Generate if !self.model.encoder.vectors.as_os_str().is_empty() => {
                Some("model.encoder.vectors is of sources, which there are none".into())
            }
            Task::Label if !feeds => Some("[exposure] is for decoders, which read tokens".into()),
            Task::Label if metric == Metric::FreePpl => {
                Some("train.metric = \"free_ppl\" is for decoders, which read tokens".into())
            }
            Task::Generate if !metric.is_of_losses() => {
                Some(format!("train.metric = \"{}\" compares answers to sources; use \"ppl\"", metric.name()))
            }
            Task::Label | Task::Generate => None,
        };
        let name = if task == Task::Label { "label" } else { "generate" };
        wrong.map_or(Ok(()), |why| Err(Error::Config(format!("model.task = \"{name}\" does not fit: {why}"))))
    }

    /// Refuses what sources of numbers have no use for.
    fn check_frames(&self) -> Result<()> {
        let data = &self.data;
        let worthless = data.frames.resolution.values().iter().find(|one| !(one.is_finite() && **one > 0.0));
        let wrong = match worthless {
            _ if data.target == Tokens::Frames => "data.target must not be \"frames\": numbers are read, not written".into(),
            Some(found) => format!("data.frames.resolution must be above 0, found {found}"),
            _ if data.source != Tokens::Frames => return Ok(()),
            _ if data.source_start => "frames have no marks: data.source_start must be false".into(),
            _ if !self.model.encoder.vectors.as_os_str().is_empty() => {
                "frames have no embeddings: model.encoder.vectors must be empty".into()
            }
            _ if self.model.task == Task::Generate => {
                "data.source = \"frames\" is for models with sources; model.task = \"generate\" reads no sources".into()
            }
            _ if self.qat.is_some() => {
                "[qat] has no integer grid yet for data.source = \"frames\": train it in floating point".into()
            }
            _ => return Ok(()),
        };
        Err(Error::Config(wrong))
    }

    fn check_characters(&self) -> Result<()> {
        let (characters, source) = (&self.model.encoder.characters, self.data.source);
        if characters.kind == CharactersKind::None {
            return Ok(());
        }
        if self.model.task == Task::Generate || source != Tokens::Words {
            return Err(Error::Config(format!(
                "model.encoder.characters reads the letters of words: it needs sources, of data.source = \"words\"; found {source:?}"
            )));
        }
        if characters.width.is_multiple_of(2) {
            return Err(Error::Config(format!(
                "model.encoder.characters.width must be odd, found {}",
                characters.width
            )));
        }
        Ok(())
    }

    fn check_subwords(&self) -> Result<()> {
        let DataConfig { source, target, subwords, .. } = &self.data;
        let sizes = [subwords.source_size, subwords.target_size];
        if subwords.shared && [*source, *target] != [Tokens::Subwords; 2] {
            return Err(Error::Config(format!(
                "data.subwords.shared needs data.source and data.target of \"subwords\", found {source:?} and {target:?}"
            )));
        }
        if subwords.shared && sizes[0] != sizes[1] {
            return Err(Error::Config(format!(
                "data.subwords.shared needs source_size and target_size to be the same, found {} and {}",
                sizes[0], sizes[1]
            )));
        }
        if subwords.dropout > 0.0 && self.risk.is_some() {
            return Err(Error::Config(format!(
                "[risk] compares with references that stay as they are: data.subwords.dropout must be 0, found {}",
                subwords.dropout
            )));
        }
        Ok(())
    }
}

/// More than anyone waits for.
const EPOCHS: usize = 1_000_000;

fn within<T: PartialOrd + std::fmt::Display + Copy>((name, value, low, high): (&str, T, T, T)) -> Result<()> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    Err(Error::Config(format!("{name} must be {low} to {high}, found {value}")))
}
