//! How the big arrays grow.

/// Smallest step, in elements.
const STEP_MIN: usize = 1_024;

/// Makes room for one more element, in steps of an eighth rather than by doubling.
///
/// A large array is enlarged by remapping its pages, so more and smaller steps cost little, and at
/// most an eighth of the memory is idle.
pub(crate) fn grow<T>(array: &mut Vec<T>) {
    if array.len() == array.capacity() {
        array.reserve_exact((array.len() / 8).max(STEP_MIN));
    }
}
