//! From the mounts of a specification to the servers of their directories, and what the guest is told of them.

use std::ffi::{CString, OsString};
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cenote_backend::Share;
use cenote_fuse::passthrough::{self, Changes, Config, Ids, Passthrough, ShareError};
use cenote_fuse::server::Server;
use cenote_fuse::stream::STREAMS_LIMIT;
use cenote_protocol::{MountPlan, MountSource, Owner, SHARE_PORT, ShareTransport};

use crate::mount::{Cache, IdMap, Locks, Mount, Sharing, Source, Transport};
use crate::observe::ObservedShare;
use crate::sandbox::Sandbox;
use crate::share_port::SharePort;
use crate::store::Store;
use crate::volume;

/// Why something could not be shared.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not there, or not for this user.
    #[error("cannot share {path}: {source}")]
    Source {
        /// What was to be shared.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// A device, a pipe or a socket.
    #[error("cannot share {0}: it is neither a directory nor a file")]
    Special(PathBuf),
    /// A file name that cannot be told to the guest.
    #[error("cannot share {0}: its name is not UTF-8; share its folder")]
    Name(PathBuf),
    /// `idmap=none`, and not root.
    #[error("idmap=none on {target} needs root, who alone can act as every user: leave it out")]
    NotRoot {
        /// Where it was to be mounted.
        target: String,
    },
    /// A volume is not there, or cannot be used.
    #[error(transparent)]
    Volume(#[from] volume::Error),
    /// The server could not be made.
    #[error(transparent)]
    Server(#[from] ShareError),
    /// The guest cannot reach the server.
    #[error("cannot listen for the guest at {path}: {source}")]
    Port {
        /// The socket.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
}

/// What a sandbox mounts, and who serves it.
#[derive(Debug, Default)]
pub(crate) struct Shares {
    /// The guest's part.
    pub mounts: Vec<MountPlan>,
    /// A device for each share on virtio-fs.
    pub devices: Vec<Share>,
    /// Volumes that nobody else may fill until the guest has.
    pub filling: Vec<File>,
    /// A port for each share on vsock.
    pub ports: Vec<SharePort>,
    servers: Vec<Arc<Server>>,
    /// What others change in them, if that can be noticed.
    pub changes: Option<Arc<Changes>>,
    /// What is known of each share's work, in the order of the mounts.
    pub observed: Vec<Arc<ObservedShare>>,
}

/// Those to tell who the container's main process is.
#[derive(Debug, Clone)]
pub(crate) struct Servers(Vec<Arc<Server>>);

impl Servers {
    /// Names the user of the guest whose files those of the host's user are, where all files are one user's.
    pub fn belong_to(&self, owner: Owner) {
        for server in &self.0 {
            if let Ids::Owner(files) = &server.directory().config().ids {
                files.becomes(owner.uid, owner.gid);
            }
        }
    }
}

impl Shares {
    /// Serves what `sandbox` mounts.
    pub fn serve(sandbox: &Sandbox) -> Result<Shares, Error> {
        let mut shares = Shares::default();
        if sandbox.spec().shares() > 0 {
            shares.changes = Changes::new()
                .inspect_err(|error| tracing::debug!(%error, "changes in shares go unnoticed"))
                .ok();
        }
        for mount in &sandbox.spec().mounts {
            let plan = shares.add(sandbox, mount)?;
            shares.mounts.push(plan);
        }
        Ok(shares)
    }

    /// All servers.
    pub fn servers(&self) -> Servers {
        Servers(self.servers.clone())
    }

    fn add(&mut self, sandbox: &Sandbox, mount: &Mount) -> Result<MountPlan, Error> {
        let (place, sharing, fill) = match &mount.source {
            Source::Tmpfs => return Ok(plan(mount, MountSource::Tmpfs)),
            Source::Bind { path, sharing } => (Place::find(path)?, sharing, false),
            Source::Volume {
                name,
                copy,
                sharing,
                ..
            } => {
                let volumes = volumes(sandbox)?;
                let filling = match *copy && !mount.read_only {
                    true => volumes.fill(name)?,
                    false => None,
                };
                let fill = filling.is_some();
                self.filling.extend(filling);
                (Place::find(&volumes.data(name))?, sharing, fill)
            }
        };
        let config = Config {
            read_only: mount.read_only,
            // A path of the host has no zero byte.
            only: place
                .file
                .as_deref()
                .and_then(|name| CString::new(name.as_bytes()).ok()),
            together: sandbox.spec().shares(),
            ..config(sharing, ids(mount, sharing.idmap, &place)?)
        };
        let file = match place.file {
            Some(name) => Some(
                name.into_string()
                    .map_err(|name| Error::Name(place.directory.join(name)))?,
            ),
            None => None,
        };
        let mut directory = Passthrough::new(&place.directory, config)?;
        if let Some(changes) = &self.changes {
            let number = u32::try_from(self.mounts.len()).unwrap_or(u32::MAX);
            directory = directory.with_changes(Arc::clone(changes), number);
        }
        let observed = Arc::new(ObservedShare::new(
            mount.target.clone(),
            tag(self.mounts.len()),
        ));
        let server = Arc::new(Server::new(directory).with_observer(observed.clone()));
        self.servers.push(Arc::clone(&server));
        self.observed.push(observed);
        let source = MountSource::Share {
            transport: self.carry(sandbox, server)?,
            file,
            fill,
        };
        Ok(plan(mount, source))
    }

    /// Lets the guest reach `server`.
    fn carry(&mut self, sandbox: &Sandbox, server: Arc<Server>) -> Result<ShareTransport, Error> {
        let number = self.mounts.len();
        match sandbox.spec().share_transport {
            None | Some(Transport::VirtioFs) => {
                let tag = tag(number);
                self.devices.push(Share {
                    tag: tag.clone(),
                    server,
                });
                Ok(ShareTransport::VirtioFs { tag })
            }
            Some(Transport::Vsock) => {
                let port = SHARE_PORT + u32::try_from(number).unwrap_or(u32::MAX - SHARE_PORT);
                let cpus = sandbox.spec().resources.cpus;
                let streams = usize::try_from(cpus)
                    .map_or(STREAMS_LIMIT, |cpus| cpus.clamp(1, STREAMS_LIMIT));
                self.ports.push(
                    SharePort::open(sandbox, port, streams, server)
                        .map_err(|(path, source)| Error::Port { path, source })?,
                );
                Ok(ShareTransport::Vsock {
                    port,
                    streams: streams as u32,
                })
            }
        }
    }
}

/// The tag of the mount of this number, if it is a share.
fn tag(number: usize) -> String {
    format!("share{number}")
}

fn volumes(sandbox: &Sandbox) -> Result<volume::Volumes, volume::Error> {
    Ok(Store::open(sandbox.paths())?.volumes())
}

/// A directory, or one file in it, without links on the way.
struct Place {
    directory: PathBuf,
    file: Option<OsString>,
}

impl Place {
    fn path(&self) -> PathBuf {
        match &self.file {
            Some(name) => self.directory.join(name),
            None => self.directory.clone(),
        }
    }

    fn find(path: &Path) -> Result<Place, Error> {
        let failed = |source| Error::Source {
            path: path.to_owned(),
            source,
        };
        let real = fs::canonicalize(path).map_err(failed)?;
        let kind = fs::metadata(&real).map_err(failed)?.file_type();
        match (real.parent(), real.file_name()) {
            _ if kind.is_dir() => Ok(Place {
                directory: real,
                file: None,
            }),
            (Some(directory), Some(name)) if kind.is_file() => Ok(Place {
                directory: directory.to_owned(),
                file: Some(name.to_owned()),
            }),
            _ => Err(Error::Special(path.to_owned())),
        }
    }
}

fn plan(mount: &Mount, source: MountSource) -> MountPlan {
    let words = [
        mount.options.as_str(),
        if mount.read_only { "ro" } else { "" },
    ];
    let words: Vec<_> = words.into_iter().filter(|word| !word.is_empty()).collect();
    MountPlan {
        target: mount.target.clone(),
        source,
        options: words.join(","),
    }
}

/// Whom the files of a share belong to: those of root's `idmap=owner` to whoever has them on the host.
fn ids(mount: &Mount, idmap: IdMap, place: &Place) -> Result<Ids, Error> {
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    let owner = match idmap {
        IdMap::None if !uid.is_root() => {
            return Err(Error::NotRoot {
                target: mount.target.clone(),
            });
        }
        IdMap::Auto | IdMap::None if uid.is_root() => return Ok(Ids::Same),
        IdMap::Owner if uid.is_root() => {
            let path = place.path();
            let found = fs::metadata(&path).map_err(|source| Error::Source { path, source })?;
            passthrough::Owner::of(found.uid(), found.gid())
        }
        _ => passthrough::Owner::of(uid.as_raw(), gid.as_raw()),
    };
    // Nobody on the host uses a volume.
    Ok(Ids::Owner(match mount.source {
        Source::Volume { .. } => owner.keeping(),
        _ => owner,
    }))
}

fn config(sharing: &Sharing, ids: Ids) -> Config {
    Config {
        cache: match sharing.cache {
            Cache::Never => passthrough::Cache::Never,
            Cache::Metadata => passthrough::Cache::Metadata,
            Cache::Auto => passthrough::Cache::Auto,
            Cache::Always => passthrough::Cache::Always,
        },
        ids,
        locks: match sharing.locks {
            Locks::Local => passthrough::Locks::Local,
            Locks::Host => passthrough::Locks::Host,
        },
        ..Config::default()
    }
}
