//! What a commit survives.

/// What a commit survives. A killed process loses nothing under either.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Durability {
    /// Every commit survives a power cut (`synchronous=FULL`).
    #[default]
    Full,
    /// The file survives a power cut, the last commits may not (`synchronous=NORMAL`). Faster.
    Normal,
}
