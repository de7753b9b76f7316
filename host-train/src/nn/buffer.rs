//! Memory that is used again: what a training step takes, the next one finds.
//!
//! Fresh memory of the size of a batch's activations comes from the system page by page, which costs about as much as
//! filling it. A [`Buffer`] goes back to a pool when it is dropped, and the next one of about its size takes it from there;
//! once the shapes of all batches have been seen, nothing is allocated. All threads share the pool: what one of them takes
//! another may drop, and either may be the next to need it.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Memory that is not in use, by its length.
type Pool<T> = BTreeMap<usize, Vec<Vec<T>>>;

/// What buffers hold.
pub trait Element: Copy + Default + 'static {
    /// Unused memory for it.
    #[doc(hidden)]
    fn pool() -> MutexGuard<'static, Pool<Self>>;
}

macro_rules! element {
    ($($type:ty),*) => {$(
        impl Element for $type {
            fn pool() -> MutexGuard<'static, Pool<Self>> {
                static POOL: Mutex<Pool<$type>> = Mutex::new(BTreeMap::new());
                POOL.lock().unwrap_or_else(PoisonError::into_inner)
            }
        }
    )*};
}
element!(f32, f64, u32, usize, (usize, usize));

/// A slice on recycled memory.
pub struct Buffer<T: Element = f32> {
    /// As long as its size class.
    data: Vec<T>,
    len: usize,
}

/// Lengths that memory comes in: four to a power of two, so that at most a fifth lies idle.
fn class(len: usize) -> usize {
    let step = (len.next_power_of_two() / 8).max(16);
    len.next_multiple_of(step)
}

impl<T: Element> Buffer<T> {
    /// `len` values that are what they are: for whoever writes them all.
    pub fn unspecified(len: usize) -> Self {
        if len == 0 {
            return Self { data: Vec::new(), len };
        }
        let size = class(len);
        let found = T::pool().get_mut(&size).and_then(Vec::pop);
        Self { data: found.unwrap_or_else(|| vec![T::default(); size]), len }
    }

    /// None yet, with room for `len` values.
    pub fn with_room(len: usize) -> Self {
        let mut buffer = Self::unspecified(len);
        buffer.len = 0;
        buffer
    }

    /// `len` times `value`.
    pub fn filled(len: usize, value: T) -> Self {
        let mut buffer = Self::unspecified(len);
        buffer.fill(value);
        buffer
    }

    /// `len` zeros.
    pub fn zeros(len: usize) -> Self {
        Self::filled(len, T::default())
    }

    /// A copy of `values`.
    pub fn copy(values: &[T]) -> Self {
        let mut buffer = Self::unspecified(values.len());
        buffer.copy_from_slice(values);
        buffer
    }

    /// Appends `values`.
    pub fn extend_from_slice(&mut self, values: &[T]) {
        self.lengthen(values.len()).copy_from_slice(values);
    }

    /// Appends `value`.
    pub fn push(&mut self, value: T) {
        self.lengthen(1)[0] = value;
    }

    /// Makes it `len` values long; new ones are what they are.
    pub fn resize(&mut self, len: usize) {
        let more = len.saturating_sub(self.len);
        self.lengthen(more);
        self.len = len;
    }

    /// Appends `more` values that are what they are, and returns them.
    pub fn lengthen(&mut self, more: usize) -> &mut [T] {
        let start = self.len;
        if start + more > self.data.len() {
            let mut larger = Self::unspecified((start + more).max(2 * start));
            larger[..start].copy_from_slice(self);
            *self = larger;
        }
        self.len = start + more;
        &mut self.data[start..start + more]
    }
}

impl<T: Element> Drop for Buffer<T> {
    fn drop(&mut self) {
        let data = std::mem::take(&mut self.data);
        if !data.is_empty() {
            T::pool().entry(data.len()).or_default().push(data);
        }
    }
}

impl<T: Element> Deref for Buffer<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.data[..self.len]
    }
}

impl<T: Element> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.data[..self.len]
    }
}

impl<T: Element> Default for Buffer<T> {
    fn default() -> Self {
        Self::unspecified(0)
    }
}

impl<T: Element> Clone for Buffer<T> {
    fn clone(&self) -> Self {
        Self::copy(self)
    }
}

impl<T: Element> From<Vec<T>> for Buffer<T> {
    fn from(values: Vec<T>) -> Self {
        Self::copy(&values)
    }
}

impl<T: Element> FromIterator<T> for Buffer<T> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        let values = values.into_iter();
        let mut buffer = Self::with_room(values.size_hint().0);
        values.for_each(|value| buffer.push(value));
        buffer
    }
}

impl<T: Element + PartialEq> PartialEq for Buffer<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: Element + Eq> Eq for Buffer<T> {}

impl<T: Element + std::fmt::Debug> std::fmt::Debug for Buffer<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_dropped_is_taken_again_by_any_thread() {
        // A length that no other test has.
        let first = Buffer::<f64>::zeros(1000);
        let place = first.as_ptr() as usize;
        std::thread::spawn(|| drop(first)).join().unwrap();
        let second = Buffer::<f64>::filled(990, 2.0);
        assert_eq!((second.as_ptr() as usize, second.len()), (place, 990));
        assert_ne!(Buffer::<f64>::zeros(990).as_ptr() as usize, place);
    }

    #[test]
    fn grows_and_keeps_what_it_holds() {
        let mut buffer: Buffer<u32> = (0..100).collect();
        buffer.extend_from_slice(&[7; 500]);
        buffer.push(9);
        let expected: Vec<u32> = (0..100).chain([7; 500]).chain([9]).collect();
        assert_eq!(buffer[..], expected);
        assert_eq!(buffer.clone(), buffer);
    }

    #[test]
    fn a_size_class_wastes_at_most_a_quarter() {
        for len in [1, 16, 17, 1000, 1025, 70_000] {
            assert!((len..=len + (len / 4).max(16)).contains(&class(len)), "{len} {}", class(len));
        }
    }
}
