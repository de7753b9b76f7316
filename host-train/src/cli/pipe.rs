//! Output into a pipe whose reader has gone, as with `| head`.
#![expect(unsafe_code, reason = "a signal's disposition has no safe name in the standard library")]

/// Lets the next write into a pipe that nobody reads end the process quietly, by SIGPIPE as other commands of a shell. The
/// standard library ignores that signal, and then `println!` panics. Does nothing where there are no signals.
pub fn end_quietly() {
    #[cfg(unix)]
    {
        // The same numbers on every Unix.
        const SIGPIPE: i32 = 13;
        const SIG_DFL: usize = 0;
        unsafe extern "C" {
            fn signal(number: i32, handler: usize) -> usize;
        }
        // SAFETY: the C library's function, given a signal that exists and the default disposition.
        unsafe { signal(SIGPIPE, SIG_DFL) };
    }
}
