//! Times and sizes for people, three digits or more.

/// A time that is given in nanoseconds, such as `4.56ms`.
pub fn time(ns: u64) -> String {
    scaled(ns, 1000, &["ns", "µs", "ms", "s"])
}

/// A number of bytes, such as `1.50MiB`.
pub fn bytes(bytes: u64) -> String {
    scaled(bytes, 1024, &["B", "KiB", "MiB", "GiB", "TiB"])
}

/// `amount` of the first unit, in the largest one that it reaches; each is `step` times the one before.
fn scaled(amount: u64, step: u64, units: &[&str]) -> String {
    let (mut value, mut unit) = (amount as f64, 0);
    while value >= step as f64 && unit + 1 < units.len() {
        value /= step as f64;
        unit += 1;
    }
    let digits = match (unit, value) {
        (0, _) => 0,
        (_, ..10.0) => 2,
        (_, ..100.0) => 1,
        _ => 0,
    };
    format!("{value:.digits$}{}", units[unit])
}

#[cfg(test)]
#[path = "quantity_test.rs"]
mod tests;
