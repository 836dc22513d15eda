//! How long does it take from layers' verified gzip blobs to an image that can run, beside `gzip -dc | mkfs.erofs --tar=f` with
//! the same two digests of each layer computed?

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use cenote_bench::cost::{self, Cost};
use cenote_bench::host::Host;
use cenote_bench::layout;
use cenote_bench::report::{Flags, Report, Side};
use cenote_bench::series::in_turn;
use cenote_bench::tree::{self, Tree};
use clap::Parser;

/// Measures the conversion of layers beside gzip and mkfs.erofs
#[derive(Debug, Parser)]
struct Convert {
    /// How often each side runs
    #[arg(long, default_value_t = 5)]
    pairs: usize,
    /// Bytes of files to pack, in MB
    #[arg(long, default_value_t = 150)]
    megabytes: u64,
    #[command(flatten)]
    flags: Flags,
}

/// The peer: `$0` mkfs.erofs, `$1` a folder, then blobs, one after the other, as a script would do it. The image's file is
/// synchronised, because the store does so too.
const PEER: &str = r#"
mkfs=$0 folder=$1
shift
cd "$folder"
mkfifo blob archive
for blob; do
    sha256sum <blob >>digests & sha256sum <archive >>digests &
    tee blob <"$blob" | gzip -dc | tee archive | "$mkfs" --quiet --tar=f "$(basename "$blob").erofs" || exit 1
    wait
    sync "$(basename "$blob").erofs"
done
"#;

fn main() -> anyhow::Result<()> {
    let convert = Convert::parse();
    let mut report = Report::new(
        "convert",
        "How long from verified gzip blobs to an image, beside gzip and mkfs.erofs?",
    );
    let host = Host::new()?;
    let mkfs = mkfs()?;
    let tree = Tree::of_host(convert.megabytes * 1_000_000)?;
    report.condition(
        "input",
        format!(
            "{} MB in {} files and {} other entries of {}, gzip -6",
            tree.bytes / 1_000_000,
            tree.files,
            tree.paths.len() - tree.files,
            tree::FOLDERS.join(" and ")
        ),
    );
    report.condition(
        "peer",
        "sha256sum | gzip -dc | sha256sum | mkfs.erofs --tar=f, sync, a layer at a time",
    );
    for layers in [1, 3] {
        let blobs = tree.pack(host.scratch(), layers)?;
        let folder = host.scratch().join(format!("layout-{layers}"));
        layout::write(&folder, &format!("localhost/layers:{layers}"), &blobs)?;
        let mut ours = || ours(&host, &folder);
        let mut peer = || peer(&host, &mkfs, &blobs);
        ours()?;
        let costs = in_turn(convert.pairs, &mut [&mut ours, &mut peer])?;
        tell(&mut report, layers, &costs[0], &costs[1]);
    }
    report.publish(&convert.flags)
}

/// mkfs.erofs of the folder `CENOTE_EROFS_UTILS`, as for the tests.
fn mkfs() -> anyhow::Result<PathBuf> {
    let folder =
        env::var_os("CENOTE_EROFS_UTILS").map_or("target/tools/erofs-utils".into(), PathBuf::from);
    let path = folder.join("mkfs.erofs");
    fs::canonicalize(&path).with_context(|| {
        format!(
            "cannot find {}: run `scripts/fetch-erofs-utils {}`",
            path.display(),
            folder.display()
        )
    })
}

/// Loads the folder into an empty store.
fn ours(host: &Host, folder: &Path) -> anyhow::Result<Cost> {
    let data = host.scratch().join("store");
    fs::create_dir(&data)?;
    let mut command = host.command(&["load", "-q", "-i"]);
    let (cost, _) = cost::of(command.arg(folder).env("CENOTE_DATA", &data))?;
    fs::remove_dir_all(&data)?;
    Ok(cost)
}

fn peer(host: &Host, mkfs: &Path, blobs: &[PathBuf]) -> anyhow::Result<Cost> {
    let folder = host.scratch().join("peer");
    fs::create_dir(&folder)?;
    let (cost, _) = cost::of(
        Command::new("sh")
            .args(["-c", PEER])
            .arg(mkfs)
            .arg(&folder)
            .args(blobs),
    )?;
    fs::remove_dir_all(&folder)?;
    Ok(cost)
}

fn tell(report: &mut Report, layers: usize, ours: &[Cost], peer: &[Cost]) {
    let name = |what: &str| {
        format!(
            "{layers} layer{}, {what}",
            if layers == 1 { "" } else { "s" }
        )
    };
    let ((wall, cpu), (peer_wall, peer_cpu)) = (cost::series(ours), cost::series(peer));
    report.figure(&name("cenote"), "s", &wall);
    report.figure(&name("peer"), "s", &peer_wall);
    let faster = report.figure(&name("peer / cenote"), "ratio", &peer_wall.ratio(&wall));
    report.figure(&name("cenote, processor time"), "s", &cpu);
    report.figure(&name("peer, processor time"), "s", &peer_cpu);
    let dearer = report.figure(
        &name("cenote / peer, processor time"),
        "ratio",
        &cpu.ratio(&peer_cpu),
    );
    let limit = if layers == 1 { 1.0 } else { 1.5 };
    report.aim(
        &name("speed, times the peer's"),
        Side::AtLeast,
        limit,
        faster,
    );
    report.aim(
        &name("processor time, times the peer's"),
        Side::AtMost,
        1.0,
        dearer,
    );
}
