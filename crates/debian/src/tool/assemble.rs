//! Builds a tool's folder out of an unpacked package tree: the program, what it needs, and nothing else.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{Error, Kind, display};
use crate::elf;

/// Links a tool's files from `root` into the new folder `new`; returns the loader's file name.
pub(super) fn assemble(kind: Kind, root: &Path, new: &Path) -> Result<String, Error> {
    for folder in ["bin", "lib", "share"] {
        let path = new.join(folder);
        fs::create_dir_all(&path).map_err(|source| Error::Io { path, source })?;
    }
    let program = new.join("bin").join(kind.program());
    link(
        root,
        &Path::new("usr/bin").join(kind.program()),
        &program,
        kind.program(),
    )?;
    for data in kind.data() {
        let path = Path::new(data);
        let name = path.file_name().unwrap_or_default();
        link(root, path, &new.join("share").join(name), kind.program())?;
    }
    libraries(root, &program, &new.join("lib"))
}

/// Links everything that `program` needs to load, walking from library to library.
fn libraries(root: &Path, program: &Path, into: &Path) -> Result<String, Error> {
    let mut found = BTreeMap::new();
    index(root, Path::new(""), &mut found)?;
    let needs = |path: &Path| {
        elf::needs(path).map_err(|source| Error::Io {
            path: path.to_owned(),
            source,
        })
    };
    let first = needs(program)?;
    let name = display(program.file_name().unwrap_or_default());
    let loader = first
        .loader
        .as_deref()
        .and_then(|path| Path::new(path).file_name())
        .map(display);
    let loader = loader.ok_or_else(|| Error::DoesNotRun {
        program: name.clone(),
        said: "it names no loader".to_owned(),
    })?;
    let mut wanted: VecDeque<_> = first
        .libraries
        .into_iter()
        .chain([loader.clone()])
        .map(|library| (library, name.clone()))
        .collect();
    while let Some((library, needed_by)) = wanted.pop_front() {
        let target = into.join(&library);
        if target.exists() {
            continue;
        }
        let source = found.get(&library).ok_or_else(|| Error::NoFile {
            needed_by: needed_by.clone(),
            file: library.clone(),
        })?;
        link(root, source, &target, &needed_by)?;
        wanted.extend(
            needs(&target)?
                .libraries
                .into_iter()
                .map(|next| (next, library.clone())),
        );
    }
    Ok(loader)
}

/// Every file below `folder` by its name; of equal names the one nearest to the top.
fn index(root: &Path, folder: &Path, found: &mut BTreeMap<String, PathBuf>) -> Result<(), Error> {
    let path = root.join(folder);
    let io = |source| Error::Io {
        path: path.clone(),
        source,
    };
    let mut folders = Vec::new();
    for entry in fs::read_dir(&path).map_err(io)? {
        let entry = entry.map_err(io)?;
        let inside = folder.join(entry.file_name());
        if entry.file_type().map_err(io)?.is_dir() {
            folders.push(inside);
        } else {
            let shallower = |old: &PathBuf| old.components().count() <= inside.components().count();
            let name = display(entry.file_name());
            if !found.get(&name).is_some_and(shallower) {
                found.insert(name, inside);
            }
        }
    }
    folders
        .iter()
        .try_for_each(|folder| index(root, folder, found))
}

/// Gives the file behind `inside` (which may be a symbolic link within the tree) the second name `target`.
fn link(root: &Path, inside: &Path, target: &Path, needed_by: &str) -> Result<(), Error> {
    let missing = || Error::NoFile {
        needed_by: needed_by.to_owned(),
        file: display(inside),
    };
    let io = |source| Error::Io {
        path: root.join(inside),
        source,
    };
    let file = match fs::canonicalize(root.join(inside)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(missing()),
        file => file.map_err(io)?,
    };
    let root = fs::canonicalize(root).map_err(io)?;
    if !file.starts_with(&root) || !file.is_file() {
        return Err(missing());
    }
    fs::hard_link(&file, target).map_err(io)
}
