//! Chooses the kernels: one cfg from the name of the target.
//!
//! Stable Rust shows no `target_feature = "dsp"` for Cortex-M targets, so the target's name decides: `arm_dsp` (SMLAD and
//! SXTB16: Cortex-M4, M7, M33, M55), `armv7m` (Cortex-M3), `armv6m` (Cortex-M0, M0+, M23). Helium (`mve`) shows in the
//! compiler's flags alone: `-C target-cpu=cortex-m55`.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(arm_dsp)");
    println!("cargo::rustc-check-cfg=cfg(mve)");
    println!("cargo::rustc-check-cfg=cfg(armv8m)");
    println!("cargo::rustc-check-cfg=cfg(armv7m)");
    println!("cargo::rustc-check-cfg=cfg(armv6m)");
    println!("cargo::rerun-if-changed=build.rs");
    let target = std::env::var("TARGET").unwrap_or_default();
    let starts = |names: &[&str]| names.iter().any(|name| target.starts_with(name));
    if starts(&["thumbv7em", "thumbv8m.main"]) {
        println!("cargo::rustc-cfg=arm_dsp");
        if target.starts_with("thumbv8m") {
            println!("cargo::rustc-cfg=armv8m");
            if std::env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default().contains("target-cpu=cortex-m55")
            {
                println!("cargo::rustc-cfg=mve");
            }
        }
    } else if starts(&["thumbv7m"]) {
        println!("cargo::rustc-cfg=armv7m");
    } else if starts(&["thumbv6m", "thumbv8m.base"]) {
        println!("cargo::rustc-cfg=armv6m");
    }
}
