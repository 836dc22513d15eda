//! Names of sandboxes: checked when a user gives one, made up otherwise.

use std::str::FromStr;

/// Longest name: the length of a label of a host name.
const MAX_NAME: usize = 63;

/// A name that `ps` shows and every verb accepts: `[a-zA-Z0-9][a-zA-Z0-9_.-]*`, podman's rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name(pub String);

/// A text that is no name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no name: use letters, digits, `_`, `.` and `-`, begin with a letter or digit, at most {MAX_NAME} characters"
)]
pub struct BadName(String);

impl FromStr for Name {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        if begins && text.len() <= MAX_NAME && text.chars().all(inner) {
            Ok(Name(text.to_owned()))
        } else {
            Err(BadName(text.to_owned()))
        }
    }
}

const ADJECTIVES: [&str; 32] = [
    "amber", "ancient", "blue", "bright", "calm", "clear", "cold", "crystal", "deep", "distant",
    "emerald", "gentle", "glassy", "golden", "green", "hidden", "hollow", "limpid", "lucid",
    "mossy", "narrow", "open", "pale", "patient", "quiet", "rocky", "sacred", "silent", "slow",
    "still", "sunlit", "wide",
];

const NOUNS: [&str; 32] = [
    "aquifer", "basin", "bat", "cave", "cavern", "cenote", "chamber", "ceiba", "fern", "fossil",
    "gallery", "grotto", "heron", "jade", "karst", "lagoon", "lantern", "maya", "mirror", "motmot",
    "passage", "pool", "reef", "river", "root", "shaft", "sinkhole", "spring", "stone", "swallow",
    "tide", "well",
];

/// A made-up name (`quiet_lagoon`) out of `seed`; from the `attempt`-th retry on a number follows, so that a
/// caller who finds the name taken always gets another one.
pub fn generated(seed: u64, attempt: u32) -> Name {
    let adjective = ADJECTIVES[(seed % ADJECTIVES.len() as u64) as usize];
    let noun = NOUNS[(seed / ADJECTIVES.len() as u64 % NOUNS.len() as u64) as usize];
    match attempt {
        0 => Name(format!("{adjective}_{noun}")),
        _ => Name(format!("{adjective}_{noun}{attempt}")),
    }
}

#[cfg(test)]
#[path = "name_test.rs"]
mod tests;
