//! What differs from core to core: start-up, waiting, the stack's bounds, the counter of instructions.

#[cfg_attr(target_arch = "arm", path = "cortex_m.rs")]
#[cfg_attr(target_arch = "riscv32", path = "riscv.rs")]
mod chosen;

#[doc(hidden)]
pub use chosen::runtime;
pub use chosen::{Counter, STACK_PAINT, breakpoint, stack_bounds, wait};

/// The program's entry: starts `$main` with exclusive references to statics, which take no stack. At most once in a
/// program.
#[macro_export]
macro_rules! entry {
    ($main:path $(, $name:ident: $type:ty = $value:expr)* $(,)?) => {
        /// Where the start-up code goes when memory is set up.
        #[$crate::cpu::runtime::entry]
        fn entry() -> ! {
            $crate::cpu::runtime::before_main();
            $main($({
                static mut $name: $type = $value;
                // SAFETY: the start-up code calls this function, nothing else can, and only once.
                unsafe { &mut *(&raw mut $name) }
            }),*)
        }
    };
}
