//! The panic handler of a program that has no panic.
#![cfg_attr(not(debug_assertions), expect(unsafe_code, reason = "names a symbol that must not exist"))]

/// Links only when nothing can panic: the symbol is defined nowhere, and the optimizer removes this function where no
/// path leads to it. `check-no-panic.sh` shows that a panic path is found.
#[cfg(not(debug_assertions))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    unsafe extern "C" {
        fn kinglet_a_panic_path_was_linked() -> !;
    }
    // SAFETY: never called, as the program does not link when it might be.
    unsafe { kinglet_a_panic_path_was_linked() }
}

#[cfg(debug_assertions)]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {
        crate::cpu::breakpoint();
    }
}
