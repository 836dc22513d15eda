//! Debian's order of versions (Debian policy 5.6.12): epoch, upstream version, revision.

use std::cmp::Ordering;

/// Compares two Debian versions, as `dpkg --compare-versions` does.
///
/// ```
/// use std::cmp::Ordering;
/// assert_eq!(cenote_debian::version::compare("1:10.0.13+ds-0", "1:9.2"), Ordering::Greater);
/// assert_eq!(cenote_debian::version::compare("7.3.4-1~bpo13+1", "7.3.4-1"), Ordering::Less);
/// ```
#[must_use]
pub fn compare(left: &str, right: &str) -> Ordering {
    let (left, right) = (split(left), split(right));
    compare_part(left.0, right.0)
        .then_with(|| compare_part(left.1, right.1))
        .then_with(|| compare_part(left.2, right.2))
}

/// The version without its epoch, which a file name does not carry.
#[must_use]
pub fn without_epoch(version: &str) -> &str {
    version.split_once(':').map_or(version, |(_, rest)| rest)
}

fn split(version: &str) -> (&str, &str, &str) {
    let (epoch, rest) = version.split_once(':').unwrap_or(("0", version));
    let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, "0"));
    (epoch, upstream, revision)
}

/// Alternates between runs without digits (compared by [`rank`]) and runs of digits (compared as numbers).
fn compare_part(mut left: &str, mut right: &str) -> Ordering {
    while !left.is_empty() || !right.is_empty() {
        let (left_text, left_rest) = run(left, |byte| !byte.is_ascii_digit());
        let (right_text, right_rest) = run(right, |byte| !byte.is_ascii_digit());
        let (left_number, left_rest) = run(left_rest, |byte| byte.is_ascii_digit());
        let (right_number, right_rest) = run(right_rest, |byte| byte.is_ascii_digit());
        let order = compare_text(left_text, right_text)
            .then_with(|| compare_number(left_number, right_number));
        if order.is_ne() {
            return order;
        }
        (left, right) = (left_rest, right_rest);
    }
    Ordering::Equal
}

fn run(text: &str, belongs: impl Fn(u8) -> bool) -> (&str, &str) {
    // Only ASCII bytes end or begin a run of digits, so this is a character boundary.
    text.split_at(
        text.bytes()
            .position(|byte| !belongs(byte))
            .unwrap_or(text.len()),
    )
}

fn compare_text(left: &str, right: &str) -> Ordering {
    let length = left.len().max(right.len());
    (0..length)
        .map(|i| rank(left.as_bytes().get(i)).cmp(&rank(right.as_bytes().get(i))))
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}

/// `~` sorts before the end, the end before letters, letters before everything else.
fn rank(byte: Option<&u8>) -> i32 {
    match byte {
        Some(b'~') => -1,
        None => 0,
        Some(byte) if byte.is_ascii_alphabetic() => i32::from(*byte),
        Some(byte) => i32::from(*byte) + 256,
    }
}

fn compare_number(left: &str, right: &str) -> Ordering {
    let (left, right) = (left.trim_start_matches('0'), right.trim_start_matches('0'));
    left.len().cmp(&right.len()).then_with(|| left.cmp(right))
}

#[cfg(test)]
#[path = "version_test.rs"]
mod tests;
