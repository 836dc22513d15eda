//! The options of a mount, one word or pair at a time.

use cenote_sandbox::mount::{Cache, IdMap, Locks, Sharing};

use super::BadMount;

const LABELS: &str = "Cenote does not label files";

/// How something is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Whether it refuses writes.
    pub read_only: bool,
    /// The kernel's and, for a file system in memory, its own.
    pub words: Vec<String>,
    /// How it is shared.
    pub sharing: Sharing,
    /// Whether an empty volume gets what the image has at the target.
    pub copy: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            read_only: false,
            words: Vec::new(),
            sharing: Sharing::default(),
            copy: true,
        }
    }
}

impl Options {
    /// Takes an option that shared directories and volumes have.
    pub fn share(&mut self, option: &str) -> Result<(), BadMount> {
        let (name, value) = match option.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (option, None),
        };
        match (name, value) {
            ("copy", None) => self.copy = true,
            ("nocopy", None) => self.copy = false,
            ("cache", Some(value)) => self.sharing.cache = cache(value)?,
            ("idmap", Some(value)) => self.sharing.idmap = idmap(value)?,
            ("locks", Some(value)) => self.sharing.locks = locks(value)?,
            // What is mounted below a directory of the host belongs to it here.
            ("bind" | "rbind" | "private" | "rprivate", None) => {}
            // No host of ours has labels to change.
            ("z" | "Z", None) => {}
            ("shared" | "rshared" | "slave" | "rslave" | "unbindable" | "runbindable", None) => {
                return Err(unsupported(
                    option,
                    "the container has a kernel of its own, whose mounts are its own",
                ));
            }
            ("U", None) => {
                return Err(unsupported(
                    option,
                    "owners are mapped instead of changed; see idmap=",
                ));
            }
            ("O" | "upperdir" | "workdir", _) => {
                return Err(unsupported(option, "use ro, or copy the directory"));
            }
            ("dax", _) => return Err(unsupported(option, "shares are not mapped yet")),
            _ => return self.plain(option, "a mount"),
        }
        Ok(())
    }

    /// Takes an option of a file system in memory.
    pub fn tmpfs(&mut self, option: &str) -> Result<(), BadMount> {
        let sized = option.split_once('=').is_some_and(|(name, value)| {
            matches!(name, "size" | "mode" | "nr_inodes" | "nr_blocks")
                && value
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'%')
        });
        match sized {
            true => {
                self.words.push(option.to_owned());
                Ok(())
            }
            false => self.plain(option, "a tmpfs"),
        }
    }

    /// Takes an option that everything mounted has.
    fn plain(&mut self, option: &str, of: &'static str) -> Result<(), BadMount> {
        match option {
            "" => {}
            "ro" | "readonly" => self.read_only = true,
            "rw" => self.read_only = false,
            "exec" | "noexec" | "suid" | "nosuid" | "dev" | "nodev" | "noatime" => {
                self.words.push(option.to_owned());
            }
            _ => return Err(BadMount::Option(option.to_owned(), of)),
        }
        Ok(())
    }

    /// Takes podman's `relabel=`, which labels nothing here.
    pub fn relabel(value: &str) -> Result<(), BadMount> {
        match value {
            "shared" | "private" => Ok(()),
            _ => Err(unsupported(&format!("relabel={value}"), LABELS)),
        }
    }
}

fn unsupported(option: &str, reason: &'static str) -> BadMount {
    BadMount::NotSupported(option.to_owned(), reason)
}

fn cache(value: &str) -> Result<Cache, BadMount> {
    Ok(match value {
        "never" => Cache::Never,
        "metadata" => Cache::Metadata,
        "auto" => Cache::Auto,
        "always" => Cache::Always,
        _ => {
            let known = "never, metadata, auto or always";
            return Err(BadMount::Value("cache", value.to_owned(), known));
        }
    })
}

fn idmap(value: &str) -> Result<IdMap, BadMount> {
    Ok(match value {
        "none" => IdMap::None,
        "owner" => IdMap::Owner,
        _ => return Err(BadMount::Value("idmap", value.to_owned(), "none or owner")),
    })
}

fn locks(value: &str) -> Result<Locks, BadMount> {
    Ok(match value {
        "local" => Locks::Local,
        "host" => Locks::Host,
        _ => return Err(BadMount::Value("locks", value.to_owned(), "local or host")),
    })
}
