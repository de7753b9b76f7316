//! One epoch: steps over batches, evaluation of the weights that count, commitment.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::{EpochRecord, Event, Run, SOURCE_TABLE, STANDARD, Work, evaluate, tensor};
use crate::checkpoint::{Best, Partial, Snapshot, checksum};
use crate::config::{Metric, ScheduleKind};
use crate::data::{Dataset, batch};
use crate::error::{Error, Result};
use crate::model::{Choice, Feed, Gradients, LossSum, Objective, Seq2Seq, StepOptions, Teachers};
use crate::nn::random::Random;
use crate::optim::{add_scaled, clip_grad_norm, scale};
use crate::rng::{Stream, derive};
use crate::schedule::Moment;

/// A token that costs this many times as much as one guessed blindly tells that training has gone astray.
const EXPLODED: f64 = 20.0;

impl Work {
    /// Trains, evaluates and commits one epoch, or what is left of it; `false` when the caller asked to stop.
    pub(super) fn epoch(
        &mut self,
        run: &Run<'_>,
        stop: &AtomicBool,
        observe: &mut dyn FnMut(&Event<'_>),
    ) -> Result<bool> {
        let t = &run.config.train;
        let begun = Instant::now();
        let epoch = self.state.epoch + 1;
        self.draw_subwords(run, epoch);
        let batches = batch::plan(&self.train.lengths(), t.batch_size, t.seed, epoch as u64);
        let mut done = self.take_partial(&batches)?;
        let seconds_before = done.seconds;
        let seconds = || seconds_before + begun.elapsed().as_secs_f64();
        if !self.steps(run, &batches, &mut done, &seconds, stop, observe)? {
            return Ok(false);
        }
        let tokens_per_second = done.tokens as f64 / seconds().max(1e-9);
        self.average.epoch(&self.model.params);

        observe(&Event::Evaluate);
        let averaged = self.average.weights().map(|params| {
            let mut model = self.model.clone();
            model.params = params;
            model
        });
        let model = averaged.as_ref().unwrap_or(&self.model);
        let dev = evaluate(model, &self.source_vocab, &self.target_vocab, run, &self.dev);
        if !dev.loss.is_finite() {
            return Err(self.astray(run, &format!("after epoch {epoch}: dev loss {}", dev.loss)));
        }
        let mut record = EpochRecord {
            epoch,
            step: self.state.step,
            train_loss: done.loss / done.tokens as f64,
            dev_loss: dev.loss,
            free_loss: dev.free_loss,
            wer: dev.scores.wer(),
            per: dev.scores.per(),
            cer: dev.scores.cer(),
            exact: dev.scores.exact(),
            bleu: dev.scores.bleu.score(),
            acc: dev.scores.get(Metric::Acc).unwrap_or_default(),
            slot: dev.scores.get(Metric::Slot).unwrap_or_default(),
            intent: dev.scores.get(Metric::Intent).unwrap_or_default(),
            best: false,
            learning_rate: self.rate(run, &batches),
            gradient_norm: done.gradient_norm,
            seconds: seconds(),
            tokens_per_second,
            vectors: self.state.vectors,
        };
        self.judge(run, &mut record);
        self.history.push(serde_json::to_string(&record).expect("a record is plain data"));
        self.commit()?;
        observe(&Event::Epoch(&record));
        Ok(true)
    }

    /// Cuts the training pairs anew for an epoch, where that is left to chance.
    fn draw_subwords(&mut self, run: &Run<'_>, epoch: usize) {
        let data = &run.config.data;
        if data.subwords.dropout > 0.0 {
            let random = Random::new(derive(run.config.train.seed, Stream::Subwords, epoch as u64));
            self.train = Dataset::drawn(run.train, &self.source_vocab, &self.target_vocab, data, random);
        }
    }

    /// The steps of an epoch that are not `done`; `false` when the caller asked to stop, and then those done are kept.
    fn steps(
        &mut self,
        run: &Run<'_>,
        batches: &[Vec<usize>],
        done: &mut Partial,
        seconds: &dyn Fn() -> f64,
        stop: &AtomicBool,
        observe: &mut dyn FnMut(&Event<'_>),
    ) -> Result<bool> {
        let t = &run.config.train;
        let (epoch, steps) = (self.state.epoch + 1, batches.len().div_ceil(t.accumulate));
        let mut kept = done.batches;
        let mut grads = self.model.params.zeros_like();
        for group in batches[done.batches..].chunks(t.accumulate) {
            if stop.load(Ordering::Relaxed) {
                if done.batches > kept {
                    self.commit_partial(done, seconds())?;
                }
                return Ok(false);
            }
            self.state.step += 1;
            done.batches += group.len();
            let at = done.batches.div_ceil(t.accumulate);
            let sum = self.gradients(run, group, &mut grads);
            let frozen = self.frozen(run);
            for (name, _) in &frozen {
                tensor(&mut grads, name).fill(0.0);
            }
            let norm = clip_grad_norm(&mut grads, t.clip_norm);
            let (loss, blind) = (sum.nll / sum.tokens as f64, (self.target_vocab.len() as f64).ln());
            if !loss.is_finite() || !norm.is_finite() || loss > EXPLODED * blind {
                let (step, pairs) = (self.state.step, group.concat());
                let (count, longest) = (pairs.len(), self.longest(&pairs));
                return Err(self.astray(
                    run,
                    &format!(
                        "step {step} (epoch {epoch}, {at} of {steps}; {count} pairs, the longest {longest:?}): loss {loss}, \
                         gradient norm {norm}"
                    ),
                ));
            }
            let rate = self.rate(run, batches);
            self.optimizer.step(&mut self.model.params, &grads, rate);
            for (name, values) in frozen {
                tensor(&mut self.model.params, name).copy_from_slice(&values);
            }
            self.average.step(&self.model.params, self.state.step);
            done.loss += sum.loss;
            done.tokens += sum.tokens;
            done.gradient_norm = done.gradient_norm.max(norm);
            // No step is a multiple of 0.
            if self.state.step.is_multiple_of(t.checkpoint_every) {
                self.commit_partial(done, seconds())?;
                kept = done.batches;
            }
            observe(&Event::Step {
                epoch,
                step: at,
                steps,
                loss: done.loss / done.tokens as f64,
                tokens_per_second: done.tokens as f64 / seconds().max(1e-9),
            });
        }
        Ok(true)
    }

    /// Parameters that are to stay, which decay would change without a gradient: word vectors, and what normalises frames.
    fn frozen(&self, run: &Run<'_>) -> Vec<(&'static str, Vec<f32>)> {
        let vectors = run.config.model.encoder.freeze_vectors.then_some(SOURCE_TABLE);
        let names = vectors.into_iter().chain(STANDARD);
        names.filter_map(|name| Some((name, self.model.params.get(name)?.data.clone()))).collect()
    }

    /// The learning rate of the present step, which is one of an epoch of the given batches.
    fn rate(&self, run: &Run<'_>, batches: &[Vec<usize>]) -> f32 {
        let t = &run.config.train;
        let at = Moment {
            step: self.state.step,
            epoch: self.state.epoch,
            steps_per_epoch: batches.len().div_ceil(t.accumulate) as u64,
            epochs: t.epochs,
        };
        run.config.schedule.rate(self.state.learning_rate, &at)
    }

    /// What is done of the epoch with these batches.
    fn take_partial(&mut self, batches: &[Vec<usize>]) -> Result<Partial> {
        let numbers =
            batches.iter().flat_map(|batch| std::iter::once(batch.len()).chain(batch.iter().copied()));
        let plan = format!("{:016x}", checksum(numbers.flat_map(usize::to_le_bytes)));
        match self.state.partial.take() {
            Some(done) if done.plan != plan => Err(Error::Config(format!(
                "a run resumed within an epoch keeps its train.batch_size to the end of the epoch: {} batches of epoch {} are \
                 done, and the epoch's batches are no longer the same",
                done.batches,
                self.state.epoch + 1
            ))),
            Some(done) => Ok(done),
            None => Ok(Partial { plan, ..Partial::default() }),
        }
    }

    /// Keeps the run in the middle of an epoch.
    fn commit_partial(&mut self, done: &Partial, seconds: f64) -> Result<()> {
        self.state.partial = Some(Partial { seconds, ..done.clone() });
        self.commit()
    }

    fn commit(&self) -> Result<()> {
        self.dir.commit(&Snapshot {
            state: &self.state,
            weights: &self.model.params,
            optimizer: &self.optimizer,
            average: &self.average,
            history: &self.history,
        })
    }

    /// Loss of the batches of one step; `grads` becomes the gradient of the mean over all their target tokens.
    fn gradients(&mut self, run: &Run<'_>, group: &[Vec<usize>], grads: &mut Gradients) -> LossSum {
        if let [pairs] = group {
            return self.batch_gradients(run, pairs, grads);
        }
        let mut total = LossSum::default();
        grads.fill_zero();
        let mut part = grads.clone();
        for pairs in group {
            let sum = self.batch_gradients(run, pairs, &mut part);
            add_scaled(grads, &part, sum.tokens as f32);
            total = total.plus(sum);
        }
        scale(grads, 1.0 / total.tokens as f32);
        total
    }

    /// Loss and gradients of one batch, as the configuration's objective has them.
    fn batch_gradients(&mut self, run: &Run<'_>, pairs: &[usize], grads: &mut Gradients) -> LossSum {
        let (config, t) = (run.config, &run.config.train);
        self.state.batches += 1;
        let draw = |stream| derive(t.seed, stream, self.state.batches);
        let options = StepOptions {
            label_smoothing: t.label_smoothing,
            dropout_seed: Some(draw(Stream::Dropout)),
            threads: t.threads,
        };
        let members: Vec<&Seq2Seq> = run.teachers.iter().map(|teacher| &teacher.model).collect();
        let teachers = config.distill.map(|d| Teachers {
            members: &members,
            weight: d.weight,
            temperature: d.temperature,
        });
        let (share, seed) = (config.exposure.teacher_share(self.state.batches), draw(Stream::Exposure));
        let choose = |choice: &Choice<'_>| config.exposure.choose(share, seed, choice);
        let feed = if share < 1.0 { Feed::Chosen(&choose) } else { Feed::Teacher };
        let batch = self.train.batch(pairs);
        let objective = Objective { feed, teachers, weights: None };
        let mut sum = self.model.loss_and_gradients_of(&batch, grads, &options, &objective);

        if let (Some(risk), Some(references)) = (&config.risk, &self.references) {
            let (seed, max_len) = (draw(Stream::Candidates), config.data.max_target_len);
            let weighted = references.weigh(risk, &self.model, &batch.sources, max_len, seed);
            let mut part = grads.zeros_like();
            let options = StepOptions { label_smoothing: 0.0, ..options };
            let objective = Objective { weights: Some(&weighted.weights), ..Objective::default() };
            self.model.loss_and_gradients_of(&weighted.batch, &mut part, &options, &objective);
            scale(grads, 1.0 - risk.weight);
            add_scaled(grads, &part, risk.weight);
            let weight = f64::from(risk.weight);
            sum.loss = (1.0 - weight) * sum.loss + weight * weighted.risk * sum.tokens as f64;
        }
        sum
    }

    /// Decides whether the epoch is the best so far, and what follows for the learning rate.
    fn judge(&mut self, run: &Run<'_>, record: &mut EpochRecord) {
        let (state, metric) = (&mut self.state, run.config.train.metric);
        let score = record.get(metric);
        let best = state.best.as_ref();
        let improved = best.is_none_or(|best| metric.improves(score, best.score));
        // A metric that counts whole lines stands still long before the model stops getting surer.
        record.best =
            improved || best.is_some_and(|best| score == best.score && record.dev_loss < best.dev_loss);
        state.epoch = record.epoch;
        state.partial = None;
        state.bad_epochs = if improved { 0 } else { state.bad_epochs + 1 };
        if record.best {
            state.best = Some(Best { epoch: record.epoch, score, dev_loss: record.dev_loss });
        }
        let schedule = &run.config.schedule;
        if let ScheduleKind::Plateau(plateau) = &schedule.kind {
            // The schedule takes smaller for better.
            let falling = if metric.rises() { -score } else { score };
            let floor = schedule.min_learning_rate;
            state.learning_rate = state.plateau.observe(plateau, floor, falling, state.learning_rate);
        }
    }

    /// The source text of the longest of some training pairs, cut to what a message can hold.
    fn longest(&self, pairs: &[usize]) -> String {
        let batch = self.train.batch(pairs);
        let sources = batch.sources.iter().map(|source| &source.ids[..]);
        let longest = sources.max_by_key(|ids| ids.len()).unwrap_or_default();
        let longest = &longest[..longest.len() - self.source_vocab.marks().min(1)];
        self.source_vocab.decode(longest).chars().take(60).collect()
    }

    /// The error of a run whose numbers have left all bounds.
    fn astray(&self, run: &Run<'_>, what: &str) -> Error {
        let kept = match self.state.epoch {
            0 => "no epoch has finished yet".to_owned(),
            n => format!("epoch {n} is kept in {}", run.out.display()),
        };
        let (optimizer, t, schedule) = (&run.config.optimizer, &run.config.train, &run.config.schedule);
        Error::Training(format!(
            "{what}; lower optimizer.learning_rate ({}) or train.clip_norm ({}), or raise schedule.warmup_steps ({}), \
             and continue with --resume; {kept}",
            optimizer.learning_rate, t.clip_norm, schedule.warmup_steps
        ))
    }
}
