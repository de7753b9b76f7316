//! The kernels of this host against the definition; `firmware-example/kernels.sh` runs the same cases on emulated cores.

#[path = "common/kernels/mod.rs"]
mod cases;

#[test]
fn products_agree_with_the_definition() {
    let mut room = Box::new(cases::Room::new());
    let agreed = cases::products(&mut room).unwrap_or_else(|difference| panic!("{difference}"));
    assert!(agreed > 1500, "{agreed}");
}

#[test]
fn gates_agree_with_the_definition() {
    let agreed = cases::gates().unwrap_or_else(|difference| panic!("{difference}"));
    assert!(agreed > 1000, "{agreed}");
}

#[test]
fn queries_times_keys_agree_with_the_definition() {
    let agreed = cases::dots().unwrap_or_else(|difference| panic!("{difference}"));
    assert!(agreed > 200, "{agreed}");
}

#[test]
fn columns_agree_with_the_definition() {
    cases::columns().unwrap_or_else(|difference| panic!("{difference}"));
}
