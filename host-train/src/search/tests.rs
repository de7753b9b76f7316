//! Searches against their definitions.

use super::*;
use crate::model::Seq2Seq;
use crate::model::tests::{all, words};

fn models() -> impl Iterator<Item = Seq2Seq> {
    all().into_iter().map(|config| {
        let mut model = Seq2Seq::new(&config, &words(), 6, 9);
        // Peaked and input-dependent distributions, so that search has something to find.
        model.params.iter_mut().for_each(|t| t.data.iter_mut().for_each(|v| *v *= 3.0));
        model
    })
}

fn sources() -> Vec<Vec<u32>> {
    vec![vec![4, 5, EOS], vec![EOS], vec![6, 6, 5, 4, EOS], vec![5, EOS]]
}

/// Log-probability of `ids`, with the end mark if `ended`, by one teacher-forced pass.
fn log_prob(model: &Seq2Seq, source: &[u32], ids: &[u32], ended: bool) -> f64 {
    let mut target = ids.to_vec();
    target.push(EOS);
    let (mut t, mut sum) = (0, 0.0);
    model.observe(source, &target, &mut |name, row| {
        if name == "decoder.logits" {
            if ended || t < ids.len() {
                sum += f64::from(row[target[t] as usize]) - log_sum_exp(row);
            }
            t += 1;
        }
    });
    sum
}

#[test]
fn greedy_is_a_beam_of_one_and_scores_are_those_of_teacher_forcing() {
    for model in models() {
        let options = SearchOptions { beam_size: 1, max_len: 6, ..SearchOptions::default() };
        let greedy = greedy(&model, &sources(), 6);
        let beam = beam(&model, &sources(), &options);
        for ((g, b), source) in greedy.iter().zip(&beam).zip(sources()) {
            assert_eq!(&vec![g.clone()], b);
            let ended = g.ids.len() < 6;
            let expected = log_prob(&model, &source, &g.ids, ended);
            assert!((g.log_prob - expected).abs() < 1e-4, "{} {expected}", g.log_prob);
            let length = g.ids.len() + usize::from(ended);
            assert!((g.score - g.log_prob / length as f64).abs() < 1e-12);
            // Every token is the most probable one.
            let mut target = g.ids.clone();
            target.push(EOS);
            let mut steps = target.iter().take(length);
            model.observe(&source, &target, &mut |name, row| {
                if let ("decoder.logits", Some(&id)) =
                    (name, (name == "decoder.logits").then(|| steps.next()).flatten())
                {
                    assert!(row.iter().all(|&x| x <= row[id as usize] + 1e-5));
                }
            });
        }
    }
}

#[test]
fn a_wide_beam_finds_the_best_of_all_targets() {
    let max_len = 3;
    let mut all: Vec<Vec<u32>> = vec![vec![]];
    let mut level = all.clone();
    for _ in 0..max_len {
        let longer = |ids: &Vec<u32>| {
            (0..6).filter(|&id| id != EOS).map(|id| [&ids[..], &[id]].concat()).collect::<Vec<_>>()
        };
        level = level.iter().flat_map(longer).collect();
        all.extend(level.clone());
    }
    for model in models().step_by(4) {
        for length_penalty in [0.0, 1.0] {
            let options = SearchOptions {
                beam_size: 160,
                max_len,
                length_penalty,
                num_hypotheses: 3,
                ..SearchOptions::default()
            };
            for (found, source) in beam(&model, &sources(), &options).iter().zip(sources()) {
                let score = |ids: &Vec<u32>| {
                    let ended = ids.len() < max_len;
                    let length = (ids.len() + usize::from(ended)) as f64;
                    log_prob(&model, &source, ids, ended) / length.powf(f64::from(length_penalty))
                };
                let mut scores: Vec<f64> = all.iter().map(score).collect();
                scores.sort_by(|a, b| b.total_cmp(a));
                assert_eq!(found.len(), 3);
                for (hypothesis, expected) in found.iter().zip(scores) {
                    assert!((hypothesis.score - expected).abs() < 1e-4, "{hypothesis:?} {expected}");
                }
            }
        }
    }
}

/// A search by its definition: all continuations of all live hypotheses, sorted. Log-probabilities and ids with the end mark.
fn defined(
    flavour: Flavour,
    wanted: usize,
    max_len: usize,
    log_prob: impl Fn(&[u32], bool) -> f64,
) -> Vec<(f64, Vec<u32>)> {
    let beam_size = 3;
    let score = |(log_prob, ids): &(f64, Vec<u32>)| log_prob / ids.len() as f64;
    let best_first = |done: &mut Vec<(f64, Vec<u32>)>| done.sort_by(|a, b| score(b).total_cmp(&score(a)));
    let (mut live, mut done) = (vec![(0.0, Vec::new())], Vec::new());
    for _ in 0..max_len {
        let mut all: Vec<(f64, Vec<u32>)> = Vec::new();
        for (_, ids) in &live {
            let longer = |id| [&ids[..], &[id]].concat();
            all.extend((0..6).map(longer).map(|ids| {
                let ended = ids.last() == Some(&EOS);
                let tokens = &ids[..ids.len() - usize::from(ended)];
                (log_prob(tokens, ended), ids)
            }));
        }
        all.sort_by(|a, b| b.0.total_cmp(&a.0));
        if flavour == Flavour::Shrink {
            all.truncate(beam_size - done.len());
        }
        let ends = |(_, ids): &&(f64, Vec<u32>)| ids.last() == Some(&EOS);
        done.extend(all.iter().take(beam_size).filter(ends).cloned());
        live = all.iter().filter(|x| !ends(x)).take(beam_size).cloned().collect();
        if flavour == Flavour::Best {
            best_first(&mut done);
            done.truncate(beam_size);
            if done.len() == beam_size && live.iter().all(|alive| score(alive) <= score(&done[beam_size - 1]))
            {
                live.clear();
            }
        } else {
            done.truncate(beam_size);
            if done.len() == beam_size {
                live.clear();
            }
        }
    }
    done.extend(live);
    best_first(&mut done);
    done.truncate(wanted);
    done
}

#[test]
fn every_flavour_finds_what_its_definition_does() {
    let cases = [(Flavour::Best, 1), (Flavour::Best, 3), (Flavour::Keep, 3), (Flavour::Shrink, 3)];
    for model in models() {
        for (flavour, num_hypotheses) in cases {
            let max_len = 8;
            let options =
                SearchOptions { beam_size: 3, flavour, max_len, num_hypotheses, ..SearchOptions::default() };
            for (found, source) in beam(&model, &sources(), &options).iter().zip(sources()) {
                let expected = defined(flavour, num_hypotheses, max_len, |ids, ended| {
                    log_prob(&model, &source, ids, ended)
                });
                assert_eq!(found.len(), expected.len());
                for (hypothesis, (log_prob, ids)) in found.iter().zip(&expected) {
                    let tokens = ids.strip_suffix(&[EOS]).unwrap_or(ids);
                    assert_eq!(hypothesis.ids, tokens, "{flavour:?}");
                    assert!((hypothesis.log_prob - log_prob).abs() < 1e-4);
                }
            }
        }
    }
}

#[test]
fn limits_are_kept_and_attention_is_returned_when_asked_for() {
    for model in models() {
        let options = SearchOptions {
            beam_size: 3,
            min_len: 2,
            max_len: 4,
            num_hypotheses: 3,
            return_attention: true,
            ..SearchOptions::default()
        };
        let attends = model.config.attention.kind != crate::config::AttentionKind::None;
        for (found, source) in beam(&model, &sources(), &options).iter().zip(sources()) {
            assert!(!found.is_empty() && found.len() <= 3);
            assert!(found.is_sorted_by(|a, b| a.score >= b.score));
            for h in found {
                assert!((2..=4).contains(&h.ids.len()), "{h:?}");
                assert!(h.attention.len() == h.ids.len() || h.attention.len() == h.ids.len() + 1);
                for row in &h.attention {
                    assert_eq!(row.len(), if attends { source.len() } else { 0 });
                    assert!(!attends || (row.iter().sum::<f32>() - 1.0).abs() < 1e-5);
                }
            }
        }
        assert_eq!(greedy(&model, &sources(), 0)[0], Hypothesis::default());
    }
}

#[test]
fn results_do_not_depend_on_the_company() {
    let many: Vec<Vec<u32>> =
        (0..150u32).map(|i| vec![4 + i % 3, 4 + i / 3 % 3, 4 + i / 9 % 3, EOS]).collect();
    let options = SearchOptions { max_len: 5, num_hypotheses: 4, ..SearchOptions::default() };
    for model in models().step_by(5) {
        let together = beam(&model, &many, &options);
        for (source, found) in many.iter().zip(&together).step_by(29) {
            let alone = &beam(&model, std::slice::from_ref(source), &options)[0];
            assert_eq!(alone.len(), found.len());
            for (a, b) in alone.iter().zip(found) {
                assert_eq!(a.ids, b.ids);
                assert!((a.score - b.score).abs() < 1e-5);
            }
        }
    }
}
