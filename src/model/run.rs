//! Wrapped servers: the tree of processes that is one run, and its container.

use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::text_enum::text_enum;

/// Identifies a wrapped server's tree of processes: each of them has it in its environment, however it was started and
/// whoever became its parent.
///
/// ```
/// use govstore::RunId;
///
/// let run_id = RunId::random();
/// assert_eq!(run_id.to_string().len(), 32);
/// assert_eq!(run_id.to_string().parse(), Ok(run_id));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RunId(u128);

impl RunId {
    /// The environment variable that each process of the tree has.
    pub const VARIABLE: &'static str = "GOVSTORE_RUN_ID";

    /// The environment variable of the process that ends the tree.
    pub const KEEPER_VARIABLE: &'static str = "GOVSTORE_KEEPER_OF";

    /// One that nobody else has, and nobody can guess. The standard library's hashers are keyed by the system's random
    /// numbers, which spares a crate for them.
    #[must_use]
    pub fn random() -> Self {
        let half = || u128::from(RandomState::new().build_hasher().finish());
        Self(half() << 64 | half())
    }
}

/// 32 hexadecimal digits.
impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// A text that is no [`RunId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a run id is 32 digits of 0 to 9 and a to f")]
#[non_exhaustive]
pub struct ParseRunIdError;

impl FromStr for RunId {
    type Err = ParseRunIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != 32 || !text.bytes().all(is_digit) {
            return Err(ParseRunIdError);
        }
        u128::from_str_radix(text, 16).map(Self).map_err(|_| ParseRunIdError)
    }
}

impl Serialize for RunId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

text_enum! {
    /// A program that runs containers.
    #[non_exhaustive]
    pub enum ContainerRuntime {
        /// Docker.
        Docker => "docker",
        /// Podman.
        Podman => "podman",
    }
}

/// The container that a wrapped server is. It doesn't end with the program that has started it, and is removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Container {
    /// What runs it, a program on the `PATH`.
    pub runtime: ContainerRuntime,
    /// The file that the runtime writes its id into.
    pub id_file: PathBuf,
}

impl Container {
    /// The container whose id is or will be in a file.
    #[must_use]
    pub fn new(runtime: ContainerRuntime, id_file: impl Into<PathBuf>) -> Self {
        Self { runtime, id_file: id_file.into() }
    }
}

impl RunId {
    /// How each process of the tree says that it is one, in its environment.
    pub(crate) fn of_members(self) -> String {
        format!("{}={self}", Self::VARIABLE)
    }

    /// How the process says so that ends the tree.
    pub(crate) fn of_keeper(self) -> String {
        format!("{}={self}", Self::KEEPER_VARIABLE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_run_id_writes_is_one() {
        let written = "00000000000000000123456789abcdef";
        assert_eq!(written.parse::<RunId>().map(|id| id.to_string()), Ok(written.to_owned()));
        for other in [
            "",
            "0",
            &written[1..],
            &written.to_uppercase(),
            &format!("{written}0"),
            &written.replace('0', "+"),
        ] {
            assert_eq!(other.parse::<RunId>(), Err(ParseRunIdError), "{other}");
        }
        assert_ne!(RunId::random(), RunId::random());
    }
}
