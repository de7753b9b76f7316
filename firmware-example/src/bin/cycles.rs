//! Regions of a few instructions with the cycles that they take by the rules of `scripts/cycles.c`, which
//! `tests/cycles.sh` compares with what the plugin counted.
//!
//! Prints one line a region: name, instructions, cycles on M0, M3, M4 and M55; 0 where the core has no such instruction.
#![no_std]
#![no_main]
#![expect(unsafe_code, reason = "the regions are assembly")]

use core::arch::asm;
use core::fmt::Write;

use kinglet_firmware::board::Board;
use kinglet_firmware::entry;
use semihosting::process;

/// Runs a region, with r0 at 64 bytes of RAM, and returns its name and what is expected of it.
macro_rules! region {
    ($memory:ident, $name:literal, $expected:expr, $($line:literal),*) => {{
        // SAFETY: reads and writes the 64 bytes and words that it pushes; the registers it changes are named.
        unsafe {
            asm!(
                "mov r10, r10", $($line,)* "mov r11, r11",
                inout("r0") $memory.as_mut_ptr() => _,
                out("r1") _, out("r2") _, out("r3") _, out("r4") _, out("r5") _, out("r8") _, out("lr") _,
            );
        }
        ($name, $expected)
    }};
}

entry!(start, MEMORY: [u32; 16] = [0; 16]);

fn start(memory: &mut [u32; 16]) -> ! {
    let regions: &[(&str, [u32; 5])] = &[
        region!(memory, "nothing", [0, 0, 0, 0, 0],),
        region!(memory, "arithmetic", [3, 3, 3, 3, 3], "adds r1, #1", "adds r1, #1", "movs r2, #1"),
        region!(memory, "load", [1, 2, 2, 2, 2], "ldr r1, [r0]"),
        region!(memory, "loads", [3, 6, 4, 4, 4], "ldr r1, [r0]", "ldrb r2, [r0, #4]", "ldrh r3, [r0, #8]"),
        region!(memory, "loads apart", [3, 5, 5, 5, 5], "ldr r1, [r0]", "movs r2, #1", "ldr r3, [r0, #8]"),
        region!(memory, "stores", [2, 4, 2, 2, 2], "str r1, [r0]", "strb r1, [r0, #4]"),
        region!(memory, "ldm, stm", [2, 10, 10, 10, 10], "ldm r0!, {{r1-r4}}", "stm r0!, {{r1-r4}}"),
        region!(memory, "push, pop", [2, 8, 8, 8, 8], "push {{r1-r3}}", "pop {{r1-r3}}"),
        region!(memory, "product", [1, 1, 1, 1, 1], "muls r1, r2, r1"),
        region!(memory, "branch", [1, 3, 3, 3, 3], "b 2f", "nop", "2:"),
        region!(memory, "branch not taken", [3, 3, 3, 3, 3], "movs r1, #1", "beq 2f", "nop", "2:"),
        region!(memory, "loop of 10", [21, 39, 39, 39, 39], "movs r1, #10", "2:", "subs r1, #1", "bne 2b"),
        region!(memory, "call", [3, 10, 9, 9, 9], "bl 2f", "b 3f", "2:", "bx lr", "3:"),
        region!(memory, "accumulation", [1, 0, 2, 1, 1], "mla r1, r2, r3, r1"),
        region!(memory, "32-bit product", [1, 0, 1, 1, 1], "mul r8, r2, r3"),
        region!(memory, "long products", [2, 0, 9, 2, 2], "smull r1, r2, r3, r4", "smlal r1, r2, r3, r4"),
        region!(memory, "division", [2, 0, 12, 12, 12], "udiv r1, r2, r3", "sdiv r1, r2, r3"),
        region!(memory, "ldrd, strd", [2, 0, 6, 6, 6], "ldrd r2, r3, [r0]", "strd r2, r3, [r0]"),
        region!(memory, "wide loads", [2, 0, 3, 3, 3], "ldr.w r8, [r0], #4", "ldrsb.w r3, [r0, #8]"),
        region!(memory, "wide ldm", [1, 0, 7, 7, 7], "ldm.w r0, {{r1-r5, r8}}"),
        #[cfg(board = "an547")]
        region!(
            memory,
            "Helium",
            [3, 0, 0, 0, 4],
            ".cpu cortex-m55",
            "vldrb.u8 q0, [r0]",
            "vmladava.s8 r2, q0, q0",
            "vldrb.u8 q1, [r0]"
        ),
        #[cfg(board = "an547")]
        region!(
            memory,
            "Helium loop of 4",
            [18, 0, 0, 0, 19],
            ".cpu cortex-m55",
            "movs r1, #4",
            "dls lr, r1",
            "2:",
            "vldrb.u8 q0, [r0]",
            "vldrb.u8 q1, [r0]",
            "vmladava.s8 r2, q0, q1",
            "le lr, 2b"
        ),
    ];
    if let Some(mut out) = Board::take() {
        for (name, [instructions, m0, m3, m4, m55]) in regions {
            writeln!(out, "{name}\t{instructions}\t{m0}\t{m3}\t{m4}\t{m55}").ok();
        }
    }
    process::exit(0)
}
