//! Half characters: JSON from JavaScript may hold `\ud83d` without the other half, as when a text was cut in
//! the middle of an emoji. v1.0.3 took such texts, Rust has no such characters, and a call should not fail
//! for one of them.

/// How many bytes `\ud83d` has.
const ESCAPE: usize = 6;

/// Puts the replacement character in place of every half that has lost its other one. Says whether there were
/// any.
pub fn replace_halves(json: &mut [u8]) -> bool {
    let mut replaced = false;
    let mut at = 0;
    while at < json.len() {
        at += match (unit(json, at), unit(json, at + ESCAPE)) {
            (Some(0xd800..0xdc00), Some(0xdc00..0xe000)) => 2 * ESCAPE,
            (Some(0xd800..0xe000), _) => {
                json[at..at + ESCAPE].copy_from_slice(b"\\ufffd");
                replaced = true;
                ESCAPE
            }
            (Some(_), _) => ESCAPE,
            (None, _) if json[at] == b'\\' => 2, // of `\\u` the second backslash begins nothing
            (None, _) => 1,
        };
    }
    replaced
}

/// The UTF-16 unit that is escaped there, if one is.
fn unit(json: &[u8], at: usize) -> Option<u16> {
    let digits = json.get(at..at + ESCAPE)?.strip_prefix(b"\\u")?;
    digits.iter().try_fold(0, |unit, digit| {
        let digit = char::from(*digit).to_digit(16)?;
        Some(unit << 4 | u16::try_from(digit).ok()?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_characters_stay_and_halves_are_replaced() -> Result<(), serde_json::Error> {
        for (json, text) in [
            (r#""cut \ud83d""#, "cut \u{fffd}"),
            (r#""\ude80 cut""#, "\u{fffd} cut"),
            (r#""\ud83d\ud83d\ude80""#, "\u{fffd}🚀"),
            (r#""\ud83dA\uDE80""#, "\u{fffd}A\u{fffd}"),
            (r#""\\ud83d \ud83d\\""#, "\\ud83d \u{fffd}\\"),
        ] {
            assert!(serde_json::from_str::<String>(json).is_err(), "{json}");
            let mut mended = json.as_bytes().to_vec();
            assert!(replace_halves(&mut mended), "{json}");
            assert_eq!(serde_json::from_slice::<String>(&mended)?, text);
        }
        for whole in [r#""\ud83d\ude80 \u00e9 🚀 \\ud83d \" \\""#, "\"\\", "\"\\u", "\"\\ud83", ""] {
            let mut untouched = whole.as_bytes().to_vec();
            assert!(!replace_halves(&mut untouched), "{whole}");
            assert_eq!(untouched, whole.as_bytes());
        }
        Ok(())
    }
}
