//! `--xattrmap RULES`: under which names a shared directory keeps extended attributes, in virtiofsd's words.

use std::str::FromStr;

use cenote_fuse::passthrough::{Rule, XattrMap};

/// The rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct XattrMapFlag(pub XattrMap);

/// What is wrong with the flag.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadXattrMap {
    /// A rule does not end.
    #[error(
        "`{0}` is no rule: write :map:KEY:PREFIX:, :prefix:all:KEY:PREFIX:, :bad:all:KEY:: or :ok:all:::"
    )]
    Form(String),
    /// A rule that is a rule elsewhere.
    #[error(
        "the rule `{0}` is not supported: :map:KEY:PREFIX:, :prefix:all:KEY:PREFIX:, :bad:all:KEY:: (or unsupported) and a last :ok:all::: are"
    )]
    Unsupported(String),
    /// Something follows a rule that ends the map.
    #[error("`{0}` follows a rule that leaves nothing over")]
    AfterLast(String),
}

impl FromStr for XattrMapFlag {
    type Err = BadXattrMap;

    fn from_str(text: &str) -> Result<Self, BadXattrMap> {
        let mut rules = Vec::new();
        let mut rest = text.trim();
        let mut over = false;
        while let Some(delimiter) = rest.chars().next() {
            if over {
                return Err(BadXattrMap::AfterLast(rest.to_owned()));
            }
            let bad = || BadXattrMap::Form(rest.to_owned());
            let mut fields = rest[delimiter.len_utf8()..].split(delimiter);
            let mut field = || fields.next().ok_or_else(bad);
            let kind = field()?;
            let scope = if kind == "map" { "all" } else { field()? };
            let (key, prefix) = (field()?, field()?);
            // The rule's end has a delimiter as well, so something follows it, if only nothing.
            field()?;
            let mut count = kind.len() + key.len() + prefix.len() + 4 * delimiter.len_utf8();
            if kind != "map" {
                count += scope.len() + delimiter.len_utf8();
            }
            let (rule, after) = rest.split_at(count);
            over = kind == "map" || kind == "ok";
            match (kind, scope) {
                ("map" | "prefix", "all") => rules.push(Rule::Prefix {
                    client: key.to_owned(),
                    host: prefix.to_owned(),
                }),
                ("bad" | "unsupported", "all") if prefix.is_empty() || prefix == key => {
                    rules.push(Rule::Hide(key.to_owned()));
                }
                ("ok", "all") if key.is_empty() && prefix.is_empty() => {}
                _ => return Err(BadXattrMap::Unsupported(rule.to_owned())),
            }
            rest = after.trim_start();
        }
        Ok(Self(XattrMap::new(rules)))
    }
}

#[cfg(test)]
#[path = "xattrmap_test.rs"]
mod tests;
