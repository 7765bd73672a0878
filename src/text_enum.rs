//! Enums that are words, in SQL, JSON and on the command line alike.

/// A word that is none of those that a type has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{word:?} is none of {}", expected.join(", "))]
#[non_exhaustive]
pub struct ParseWordError {
    /// The word.
    pub word: String,
    /// The words that the type has.
    pub expected: &'static [&'static str],
}

/// Declares an enum whose variants are words: `as_str`, `Display`, `FromStr` and serde agree on them.
macro_rules! text_enum {
    ($(#[$meta:meta])* $vis:vis enum $name:ident { $($(#[$variant_meta:meta])* $variant:ident => $word:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        $vis enum $name {
            $($(#[$variant_meta])* #[serde(rename = $word)] $variant),+
        }

        impl $name {
            /// The word that stands for it in SQL, JSON and on the command line.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::text_enum::ParseWordError;

            fn from_str(word: &str) -> Result<Self, Self::Err> {
                match word {
                    $($word => Ok(Self::$variant),)+
                    other => Err($crate::text_enum::ParseWordError {
                        word: other.to_owned(),
                        expected: &[$($word),+],
                    }),
                }
            }
        }
    };
}
pub(crate) use text_enum;
