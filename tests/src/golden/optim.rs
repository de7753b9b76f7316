//! Optimizers and clipping of gradients.

use anyhow::{Context, Result};
use kinglet_train::config::{AdamConfig, OptimizerConfig, OptimizerKind, SgdConfig};
use kinglet_train::nn::params::Params;
use kinglet_train::optim::{Optimizer, clip_grad_norm as clip};

use super::{Compare, File};

pub(super) fn clip_grad_norm(file: &File, c: &mut Compare) -> Result<()> {
    let max_norm = file.scalar("max_norm")?;
    for variant in ["over", "under"] {
        let mut grads = Params::new(file.tensors(&format!("{variant}.grad_in."), ""))?;
        let norm = clip(&mut grads, max_norm);
        let expected = file.scalar(&format!("{variant}.total_norm"))?;
        c.number(&format!("{variant}.total_norm"), norm, f64::from(expected));
        for t in &grads {
            let name = format!("{variant}.grad_out.{}", t.name);
            c.values(&name, &t.data, file.get(&name)?);
        }
    }
    Ok(())
}

pub(super) fn optimizers(file: &File, config: &serde_json::Value, c: &mut Compare) -> Result<()> {
    let lr = config["optim"]["lr"].as_f64().context("config.json: optim.lr")? as f32;
    let adam = AdamConfig::default();
    let sgd = SgdConfig { momentum: 0.9, nesterov: false, weight_decay: 0.0 };
    for (name, kind) in [
        ("adam", OptimizerKind::Adam(adam)),
        ("adam_tf", OptimizerKind::Adam(AdamConfig { beta2: 0.98, eps: 1e-9, ..adam })),
        ("adam_l2", OptimizerKind::Adam(AdamConfig { weight_decay: 0.1, ..adam })),
        ("adamw", OptimizerKind::AdamW(AdamConfig { weight_decay: 0.05, ..adam })),
        ("sgd_momentum", OptimizerKind::Sgd(sgd)),
    ] {
        let mut params = Params::new(file.tensors("init.", ""))?;
        let mut optimizer = Optimizer::new(&OptimizerConfig { learning_rate: lr, kind }, &params);
        let steps = (1..).take_while(|k| file.has(&format!("step{k}.grad.p0"))).count();
        for k in 1..=steps {
            optimizer.step(&mut params, &Params::new(file.tensors(&format!("step{k}.grad."), ""))?, lr);
            for t in &params {
                let expected = format!("{name}.step{k}.{}", t.name);
                c.values(&expected, &t.data, file.get(&expected)?);
            }
        }
        // PyTorch's file holds Adam's moments alone.
        for (what, moments) in optimizer.moments().into_iter().filter(|(what, _)| what.starts_with("exp_avg"))
        {
            for t in moments {
                let expected = format!("{name}.{what}.{}", t.name);
                c.values(&expected, &t.data, file.get(&expected)?);
            }
        }
    }
    Ok(())
}
