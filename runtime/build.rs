//! Sets one cfg: `arm_dsp` where the target has the DSP extension of Armv7E-M (SMLAD, SXTB16). Stable Rust shows no
//! `target_feature = "dsp"` for these targets, so the target's name decides.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(arm_dsp)");
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("TARGET").is_ok_and(|target| target.starts_with("thumbv7em")) {
        println!("cargo::rustc-cfg=arm_dsp");
    }
}
