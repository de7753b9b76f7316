//! Words outside of vocabularies, numbered as they are met.
//!
//! Where letters are read an unknown word is more than `<unk>`: it keeps an id of its own, beyond those of any vocabulary, which
//! means the same word to every vocabulary and network of the process. Networks that read no letters take it for `<unk>`.

use std::collections::HashMap;
use std::sync::{LazyLock, PoisonError, RwLock};

/// The first of these ids.
pub const FIRST: u32 = 1 << 31;

/// Words by number, which stay as long as the process, and their numbers.
#[derive(Default)]
struct Met {
    words: Vec<&'static str>,
    numbers: HashMap<&'static str, u32>,
}

static MET: LazyLock<RwLock<Met>> = LazyLock::new(RwLock::default);

/// The id of a word.
pub fn id(word: &str) -> u32 {
    let met = MET.read().unwrap_or_else(PoisonError::into_inner).numbers.get(word).copied();
    FIRST + met.unwrap_or_else(|| meet(word))
}

fn meet(word: &str) -> u32 {
    let mut met = MET.write().unwrap_or_else(PoisonError::into_inner);
    let Met { words, numbers } = &mut *met;
    let number = words.len() as u32;
    // Another thread may have met it meanwhile.
    *numbers.entry(word.to_owned().leak()).or_insert_with_key(|word| {
        words.push(word);
        number
    })
}

/// The word of an id; `None` of an id that is not of these.
pub fn word(id: u32) -> Option<&'static str> {
    let number = id.checked_sub(FIRST)?;
    MET.read().unwrap_or_else(PoisonError::into_inner).words.get(number as usize).copied()
}

/// How many there are so far.
pub fn count() -> usize {
    MET.read().unwrap_or_else(PoisonError::into_inner).words.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_has_one_id_on_every_thread() {
        let all = || ["zwei", "drei", "zwei"].map(id);
        let other = std::thread::spawn(all);
        let here = all();
        assert_eq!(here, other.join().unwrap());
        assert_eq!((here[0], here.map(word)), (here[2], [Some("zwei"), Some("drei"), Some("zwei")]));
        assert_eq!((word(5), word(u32::MAX)), (None, None));
    }
}
