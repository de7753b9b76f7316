//! What a training step minimises: likelihood, pairs weighted one by one, the distributions of teachers.

use crate::model::network::Pass;
use crate::model::sentences::Masks;
use crate::model::{Feed, Seq2Seq};
use crate::nn::loss::{CrossEntropy, cross_entropy_backward, distillation_backward, softmax};
use crate::nn::operand::Packs;
use crate::quant::Weights;
use crate::vocab::Encoded;

/// What a decoder reads and what its logits are measured by; by default the mean likelihood of the references' tokens.
#[derive(Clone, Copy, Default)]
pub struct Objective<'a> {
    /// Where the decoder's tokens come from.
    pub feed: Feed<'a>,
    /// What the negative log-likelihood of each pair of the batch counts, instead of one over the batch's target tokens.
    pub weights: Option<&'a [f32]>,
    /// Networks whose distributions are learned beside the references.
    pub teachers: Option<Teachers<'a>>,
}

/// Word-level distillation (Hinton et al. 2015; Kim and Rush 2016, section 3.1): of the loss, `1 - weight` is that of the
/// references and `weight` is `T² KL(p || q)`, where `p` is the teachers' mean distribution behind the references' tokens
/// and `q` the network's, both of logits divided by the temperature `T`.
#[derive(Debug, Clone, Copy)]
pub struct Teachers<'a> {
    /// The networks, which have the student's vocabularies.
    pub members: &'a [&'a Seq2Seq],
    /// Their share of the loss.
    pub weight: f32,
    /// What logits are divided by.
    pub temperature: f32,
}

/// Sources and targets of a batch.
type Sides<'a> = (&'a [Encoded], &'a [Vec<u32>]);

/// The loss of a pass over some pairs of a batch; its logits are replaced by their gradients.
pub(super) fn backward(
    objective: &Objective<'_>,
    sides: Sides<'_>,
    pass: &mut Pass,
    vocab: usize,
    smoothing: f32,
    scale: f32,
) -> CrossEntropy {
    let (targets, logits) = (&pass.targets, pass.trace.logits_mut());
    if objective.weights.is_none() && objective.teachers.is_none() {
        return cross_entropy_backward(logits, &targets.ids, vocab, smoothing, scale);
    }
    let mut total = CrossEntropy::default();
    let soft =
        objective.teachers.map(|teachers| (teachers, teachers.distributions(sides, &targets.names, vocab)));
    for t in 0..targets.seq.steps() {
        for (b, &name) in targets.names[..targets.seq.batch(t)].iter().enumerate() {
            let row = targets.seq.offset(t) + b;
            let scale = objective.weights.map_or(scale, |weights| weights[name]);
            let (values, target) = (row * vocab..(row + 1) * vocab, targets.ids[row]);
            let logits = &mut logits[values.clone()];
            let one = match &soft {
                None => cross_entropy_backward(logits, &[target], vocab, smoothing, scale),
                Some((teachers, soft)) => {
                    let of_teachers = (&soft[values], teachers.weight, teachers.temperature);
                    distillation_backward(logits, target, of_teachers, smoothing, scale)
                }
            };
            total.nll += one.nll;
            total.loss += one.loss;
        }
    }
    total
}

impl Teachers<'_> {
    /// The mean distributions, a row for each of the packed target tokens of the named pairs.
    fn distributions(&self, sides: Sides<'_>, names: &[usize], vocab: usize) -> Vec<f32> {
        let mut mean: Vec<f32> = Vec::new();
        for member in self.members {
            assert_eq!(member.target_vocab(), vocab, "a teacher has the student's vocabulary");
            let grid = member.grid();
            let weights = Weights::new(&member.params, grid.as_ref());
            let packs = Packs::new(&member.operands, weights, false, 1);
            let pass =
                member.network.forward(weights.with_packs(&packs), sides, names, Masks::NONE, Feed::Teacher);
            let mut rows = pass.trace.logits().clone();
            rows.iter_mut().for_each(|x| *x /= self.temperature);
            rows.chunks_exact_mut(vocab).for_each(softmax);
            mean.resize(rows.len(), 0.0);
            mean.iter_mut().zip(rows.iter()).for_each(|(sum, p)| *sum += p / self.members.len() as f32);
        }
        mean
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tests::{batch, configs, model};
    use crate::model::{Batch, StepOptions};
    use crate::nn::check::GradientCheck;

    #[test]
    fn weights_count_pairs_one_by_one() {
        let batch = batch(3, 5);
        let weights = [0.5, -2.0, 0.0];
        for config in configs().iter().step_by(4) {
            let start = model(config);
            GradientCheck::new(start.params.clone(), vec![]).run(
                |p, _| {
                    let mut model = start.clone();
                    model.params = p.clone();
                    let one = |i: usize| {
                        let (source, target) = (batch.sources[i].clone(), batch.targets[i].clone());
                        model.loss(&Batch { sources: vec![source], targets: vec![target] }, 1).nll
                    };
                    weights.iter().enumerate().map(|(i, &w)| f64::from(w) * one(i)).sum()
                },
                |p, g, _| {
                    let mut model = start.clone();
                    model.params = p.clone();
                    let objective = Objective { weights: Some(&weights), ..Objective::default() };
                    model.loss_and_gradients_of(&batch, g, &StepOptions::default(), &objective);
                    vec![]
                },
            );
        }
    }

    #[test]
    fn a_student_that_is_its_teacher_has_nothing_to_learn_from_it() {
        let batch = batch(4, 6);
        for config in configs().iter().step_by(4) {
            let student = model(config);
            let other = Seq2Seq::new(config, 7, 6, 77);
            let mut grads = student.params.zeros_like();
            let mut largest = |members: &[&Seq2Seq]| {
                let teachers = Some(Teachers { members, weight: 1.0, temperature: 2.0 });
                let objective = Objective { teachers, ..Objective::default() };
                let sum =
                    student.loss_and_gradients_of(&batch, &mut grads, &StepOptions::default(), &objective);
                (sum.loss, grads.iter().flat_map(|t| &t.data).fold(0.0f32, |max, g| max.max(g.abs())))
            };
            let (loss, gradient) = largest(&[&student, &student]);
            assert!(loss.abs() < 1e-4 && gradient < 1e-6, "{loss} {gradient}");
            let (loss, gradient) = largest(&[&student, &other]);
            assert!(loss > 1e-3 && gradient > 1e-4, "{loss} {gradient}");
        }
    }
}
