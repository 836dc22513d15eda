//! The configuration: fragments put together, and whether Linux's configuration program kept what they ask for.
//!
//! Kconfig drops a symbol without a word when something that it depends on is missing, or when this source calls it
//! otherwise. So the result is compared with the fragments, symbol by symbol.

use std::collections::BTreeMap;
use std::fmt;

use super::inputs::File;

/// What a fragment asks for and does not get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmet {
    /// The symbol, with `CONFIG_`.
    pub symbol: String,
    /// The value that was asked for.
    pub wanted: String,
    /// The value that it has; `None` if it is off.
    pub found: Option<String>,
    /// The fragment that asks.
    pub fragment: &'static str,
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = self.found.as_deref().unwrap_or(OFF);
        write!(
            f,
            "{}={} in {} became {found}",
            self.symbol, self.wanted, self.fragment
        )
    }
}

/// How a fragment says that a symbol is to be off.
const OFF: &str = "n";

/// The fragments as one file, for `KCONFIG_ALLCONFIG`.
pub(super) fn merge(fragments: &[File]) -> String {
    let part = |file: &File| format!("# {}\n{}\n", file.name, file.text);
    fragments.iter().map(part).collect()
}

/// Every symbol of `fragments` that `config`, a finished `.config`, does not hold.
pub(super) fn unmet(fragments: &[File], config: &str) -> Vec<Unmet> {
    let found: BTreeMap<&str, &str> = assignments(config).collect();
    let mut wanted = BTreeMap::new();
    for file in fragments {
        for (symbol, value) in assignments(file.text) {
            wanted.insert(symbol, (value, file.name));
        }
    }
    let mut unmet = Vec::new();
    for (symbol, (wanted, fragment)) in wanted {
        let found = found.get(symbol).copied();
        if found.unwrap_or(OFF) != wanted {
            unmet.push(Unmet {
                symbol: symbol.to_owned(),
                wanted: wanted.to_owned(),
                found: found.map(str::to_owned),
                fragment,
            });
        }
    }
    unmet
}

/// The lines `CONFIG_NAME=value` of a configuration.
fn assignments(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines()
        .filter(|line| line.starts_with("CONFIG_"))
        .filter_map(|line| line.split_once('='))
}

#[cfg(test)]
#[path = "config_test.rs"]
mod tests;
