//! Optimizers and clipping of gradients.

use anyhow::{Context, Result};
use kinglet_train::nn::params::Params;
use kinglet_train::optim::{Adam, clip_grad_norm as clip};

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
    for (name, beta2, eps) in [("adam", 0.999, 1e-8), ("adam_tf", 0.98, 1e-9)] {
        let mut params = Params::new(file.tensors("init.", ""))?;
        let mut adam = Adam { beta2, eps, ..Adam::new(&params, lr) };
        let steps = (1..).take_while(|k| file.has(&format!("step{k}.grad.p0"))).count();
        for k in 1..=steps {
            adam.step(&mut params, &Params::new(file.tensors(&format!("step{k}.grad."), ""))?);
            for t in &params {
                let expected = format!("{name}.step{k}.{}", t.name);
                c.values(&expected, &t.data, file.get(&expected)?);
            }
        }
        for (what, moments) in [("exp_avg", &adam.m), ("exp_avg_sq", &adam.v)] {
            for t in moments {
                let expected = format!("{name}.{what}.{}", t.name);
                c.values(&expected, &t.data, file.get(&expected)?);
            }
        }
    }
    for other in ["adam_l2", "adamw", "sgd_momentum"] {
        if file.has(&format!("{other}.step1.p0")) {
            c.unsupported(other);
            file.pass_over(&format!("{other}."));
        }
    }
    Ok(())
}
