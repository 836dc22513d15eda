//! `--label NAME=VALUE`; a label without `=` has an empty value.

use std::str::FromStr;

/// One label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// Not empty.
    pub name: String,
    /// May be empty.
    pub value: String,
}

/// A label without a name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no label: write NAME=VALUE")]
pub struct BadLabel(String);

impl FromStr for Label {
    type Err = BadLabel;

    fn from_str(text: &str) -> Result<Self, BadLabel> {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        if name.is_empty() {
            return Err(BadLabel(text.to_owned()));
        }
        Ok(Label {
            name: name.to_owned(),
            value: value.to_owned(),
        })
    }
}

#[cfg(test)]
#[path = "label_test.rs"]
mod tests;
