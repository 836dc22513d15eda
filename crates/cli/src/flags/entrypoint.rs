//! `--entrypoint`: one program as a plain string, or a program with arguments as a JSON array.

/// The argument list that replaces the image's entrypoint; an empty one clears it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entrypoint(pub Vec<String>);

impl From<&str> for Entrypoint {
    /// A text that is no JSON array of strings is a program's name, as in podman.
    fn from(text: &str) -> Self {
        match serde_json::from_str::<Vec<String>>(text) {
            Ok(list) => Entrypoint(list),
            Err(_) if text.is_empty() => Entrypoint(Vec::new()),
            Err(_) => Entrypoint(vec![text.to_owned()]),
        }
    }
}

#[cfg(test)]
#[path = "entrypoint_test.rs"]
mod tests;
