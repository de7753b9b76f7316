//! A line of input, edited as it arrives.

/// What a received byte did to the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Nothing to see.
    None,
    /// One more byte: echo it.
    Append(u8),
    /// The last character, and all of its bytes, is gone: rub it out.
    Erase,
    /// The line is complete.
    Line,
    /// The line is complete, but longer than there is room for; its beginning is kept.
    TooLong,
}

/// A line of at most `N` bytes.
#[derive(Debug)]
pub struct Line<const N: usize> {
    bytes: [u8; N],
    len: usize,
    overflow: bool,
    after_return: bool,
}

impl<const N: usize> Default for Line<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Line<N> {
    /// An empty line.
    pub const fn new() -> Self {
        Self { bytes: [0; N], len: 0, overflow: false, after_return: false }
    }

    /// The bytes so far, without the line's end.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// Empties the line.
    pub fn clear(&mut self) {
        self.len = 0;
        self.overflow = false;
    }

    /// Takes one received byte. A line ends with CR, LF or CR LF; backspace and delete remove a character; other
    /// control characters are ignored. After [`Event::Line`] or [`Event::TooLong`] call [`Line::clear`].
    pub fn push(&mut self, byte: u8) -> Event {
        let second_of_pair = byte == b'\n' && self.after_return;
        self.after_return = byte == b'\r';
        match byte {
            b'\n' if second_of_pair => Event::None,
            b'\r' | b'\n' if self.overflow => Event::TooLong,
            b'\r' | b'\n' => Event::Line,
            0x08 | 0x7F => self.erase(),
            0..0x20 if byte != b'\t' => Event::None,
            _ => self.append(byte),
        }
    }

    fn append(&mut self, byte: u8) -> Event {
        match self.bytes.get_mut(self.len) {
            Some(slot) => {
                *slot = byte;
                self.len += 1;
                Event::Append(byte)
            }
            None => {
                self.overflow = true;
                Event::None
            }
        }
    }

    fn erase(&mut self) -> Event {
        if self.len == 0 {
            return Event::None;
        }
        // A character of several bytes is its first byte and continuation bytes, 0b10xx_xxxx.
        loop {
            self.len -= 1;
            let continuation = self.bytes.get(self.len).is_some_and(|b| b & 0xC0 == 0x80);
            if self.len == 0 || !continuation {
                return Event::Erase;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every line of `input`, with whether it was too long.
    fn lines<const N: usize>(input: &[u8], mut each: impl FnMut(&[u8], bool)) {
        let mut line = Line::<N>::new();
        for &byte in input {
            match line.push(byte) {
                event @ (Event::Line | Event::TooLong) => {
                    each(line.bytes(), event == Event::TooLong);
                    line.clear();
                }
                Event::None | Event::Append(_) | Event::Erase => {}
            }
        }
    }

    #[track_caller]
    fn check<const N: usize>(input: &[u8], want: &[(&[u8], bool)]) {
        let mut n = 0;
        lines::<N>(input, |bytes, long| {
            assert_eq!((bytes, long), want[n]);
            n += 1;
        });
        assert_eq!(n, want.len());
    }

    #[test]
    fn any_line_end_ends_one_line() {
        check::<8>(b"a\nb\rc\r\n\n", &[(b"a", false), (b"b", false), (b"c", false), (b"", false)]);
    }

    #[test]
    fn backspace_takes_a_whole_character() {
        check::<8>("ab\u{8}c\u{e9}\u{7f}d\n".as_bytes(), &[(b"acd", false)]);
        check::<8>(b"\x08\x7fx\n", &[(b"x", false)]);
    }

    #[test]
    fn a_long_line_is_reported_once_and_the_next_is_whole() {
        check::<3>(b"abcdef\nxyz\n", &[(b"abc", true), (b"xyz", false)]);
    }
}
