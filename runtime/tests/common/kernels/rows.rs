//! Rows of bytes and words: queries times keys, and columns of products.

use core::cell::Cell;

use kinglet::kernels;

use super::{Difference, Random, UNTOUCHED, rounded};

/// Multiplies queries and keys, one query or two, at all alignments.
///
/// # Errors
///
/// The first difference.
pub fn dots() -> Result<usize, Difference> {
    const MOST: usize = 70;
    let mut random = Random(0x1234_5678);
    let mut done = 0;
    for terms in (0..MOST - 4).chain(0..MOST - 4) {
        let keys = [const { Cell::new(0i8) }; MOST];
        keys.iter().for_each(|key| key.set((random.word() >> 8) as i8));
        let mut queries = [[0i16; MOST]; 2];
        queries.iter_mut().flatten().for_each(|query| *query = random.below(255) as i16 - 127);
        let skew = random.below(4) as usize;
        let key = keys.get(skew..skew + terms).unwrap_or(&[]);
        let queries = queries.each_ref().map(|query| query.get(skew..skew + terms).unwrap_or(&[]));
        let expected = queries.map(|query| {
            query.iter().zip(key).fold(0, |sum, (&q, k)| sum + i32::from(q) * i32::from(k.get()))
        });
        for (expected, query) in expected.into_iter().zip(queries) {
            let found = kernels::dot(key, query);
            if found != expected {
                return Err(Difference::Dot { terms, expected, found });
            }
            done += 1;
        }
        for (expected, found) in expected.into_iter().zip(kernels::dot_two(key, queries)) {
            if found != expected {
                return Err(Difference::Dot { terms, expected, found });
            }
        }
    }
    Ok(done)
}

/// Makes columns of all values that a byte or a word can have, in rows of all lengths about a vector's.
///
/// # Errors
///
/// The first difference.
pub fn columns() -> Result<usize, Difference> {
    const MOST: usize = 40;
    let (bytes, words) = ([const { Cell::new(0i8) }; MOST], [const { Cell::new(0i16) }; MOST]);
    let (mut next, mut done) = (i16::MIN, 0);
    while done < 1 << 16 {
        for len in 0..=MOST {
            for (byte, word) in bytes.iter().zip(&words) {
                byte.set(next as i8);
                word.set(next);
                next = next.wrapping_add(1);
            }
            let offset = if len & 1 == 0 { 128 } else { 0 };
            let mut to = [UNTOUCHED; MOST + 1];
            kernels::columns_of_bytes(bytes.get(..len).unwrap_or(&[]), offset, &mut to);
            columns_are("bytes", len, &to, |at| bytes.get(at).map_or(0, |x| i16::from(x.get()) + offset))?;
            let mut to = [UNTOUCHED; MOST + 1];
            kernels::columns_of_words(words.get(..len).unwrap_or(&[]), offset, &mut to);
            let rounded = |x: &Cell<i16>| rounded(x.get().into(), 8).clamp(-127, 127) as i16 + offset;
            columns_are("words", len, &to, |at| words.get(at).map_or(0, rounded))?;
            done += MOST;
        }
    }
    Ok(done)
}

fn columns_are(
    kind: &'static str,
    len: usize,
    columns: &[i16],
    expected: impl Fn(usize) -> i16,
) -> Result<(), Difference> {
    for (at, &found) in columns.iter().enumerate() {
        let expected = if at < len { expected(at) } else { UNTOUCHED };
        if found != expected {
            return Err(Difference::Columns { kind, len, at, expected, found });
        }
    }
    Ok(())
}
