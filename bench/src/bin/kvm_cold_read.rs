//! How often does a fresh machine on KVM fault while it reads a large file of its image for the first time?
//!
//! The machines run in the lab. Their image lies on a pmem of the lab's own machine (EROFS with DAX), as it does for every
//! level of nesting but the first, then on the lab's own disk (ext4), then in a tmpfs with small pages, where no huge mapping
//! is possible. Faults are counted by the tracepoint `kvm_page_fault`, and only those in the machine's pmem.

use anyhow::Context;
use cenote_bench::files;
use cenote_bench::host::Host;
use cenote_bench::lab::Lab;
use cenote_bench::report::{Flags, Report, Side};
use cenote_bench::series::{Series, in_turn};
use clap::Parser;

/// Counts the nested page faults of a cold read
#[derive(Debug, Parser)]
struct ColdRead {
    /// How often a fresh machine reads the file, in each place
    #[arg(long, default_value_t = 1)]
    rounds: usize,
    #[command(flatten)]
    flags: Flags,
}

/// The file that is read.
const SIZE: usize = 60_000_000;
/// The place that has no huge pages, and therefore no aim.
const CONTROL: &str = "tmpfs without huge pages";
/// The event that has the faults' addresses.
const EVENT: &str = "/sys/kernel/tracing/events/kvm/kvm_page_fault";
/// A machine of 3 GiB or less has its pmem from 4 GiB on, and nothing else there.
const TRIGGER: &str = "hist:keys=vcpu_id if fault_address >= 0x100000000";
/// The name of the image that is made in the lab.
const OWN: &str = "localhost/own";
/// Makes the tree of an image like [`files::IMAGE`] whose content is new, so that none of it is lent, in /tree, and procfs
/// at /writable, since a container's own is read-only.
const PREPARE: &str = "mkdir -p /writable /tree/bin && mount -t proc proc /writable && cp /bin/busybox /tree/bin/ && \
     for name in sh cat sleep; do ln -s busybox /tree/bin/$name; done && \
     head -c 8000000 /dev/urandom >/tree/warm && head -c 60000000 /dev/urandom >/tree/large";
/// Leaves nothing of a file in the page cache that is on its disk.
const DROP_CACHES: &str = "sync; echo 3 >/writable/sys/vm/drop_caches";

fn main() -> anyhow::Result<()> {
    let bench = ColdRead::parse();
    let mut report = Report::new(
        "kvm_cold_read",
        "How often does a machine on KVM fault while it reads a file of its image for the first time?",
    );
    let host = Host::new()?;
    let lab = Lab::with_files(&host, SIZE)?;
    lab.describe(&mut report)?;
    lab.run(PREPARE)?;

    let lent = Place {
        lab: &lab,
        data: "/bench/data",
        image: files::IMAGE,
    };
    let disk = Place::new(&lab, "/bench/disk")?;
    lab.run("mkdir /small && mount -t tmpfs -o huge=never tmpfs /small")?;
    let small = Place::new(&lab, "/small/data")?;
    let sides = in_turn(
        bench.rounds,
        &mut [
            &mut || lent.read(),
            &mut || disk.import().and_then(|()| disk.read()),
            &mut || lab.run(DROP_CACHES).and_then(|_| disk.read()),
            &mut || small.import().and_then(|()| small.read()),
        ],
    )?;
    let places = [
        "EROFS with DAX",
        "ext4, just imported",
        "ext4, not in the page cache",
        CONTROL,
    ];
    for (place, faults) in places.into_iter().zip(&sides) {
        let [first, second] =
            [0, 1].map(|read| Series::new(faults.iter().map(|reads| reads[read]).collect()));
        let first = report.figure(&format!("{place}: first read"), "", &first);
        report.figure(&format!("{place}: second read"), "", &second);
        if place != CONTROL {
            let aim = format!("{place}: first read of 60 MB");
            report.aim(&aim, Side::AtMost, 64.0, first);
        }
    }
    report.publish(&bench.flags)
}

/// Where an image lies in the lab.
struct Place<'a> {
    lab: &'a Lab<'a>,
    /// The data folder.
    data: &'static str,
    image: &'static str,
}

impl<'a> Place<'a> {
    /// A new data folder.
    fn new(lab: &'a Lab<'a>, data: &'static str) -> anyhow::Result<Self> {
        lab.run(&format!(
            "mkdir {data} && ln -s /bench/data/kernels {data}/kernels"
        ))?;
        Ok(Self {
            lab,
            data,
            image: OWN,
        })
    }

    /// What a shell in the lab prints when it runs `script` with this data folder.
    fn run(&self, script: &str) -> anyhow::Result<String> {
        self.lab
            .run(&format!("export CENOTE_DATA={}\n{script}", self.data))
    }

    /// Makes the image anew.
    fn import(&self) -> anyhow::Result<()> {
        self.run(&format!(
            "cenote rmi {OWN} 2>/dev/null; tar -c -C /tree . | cenote import - {OWN}"
        ))?;
        Ok(())
    }

    /// The page faults in the image of a fresh machine while it reads the file, once and again.
    fn read(&self) -> anyhow::Result<[f64; 2]> {
        self.run(&format!(
            "cenote run -d --quiet --vmm kvm --network none --read-only --kernel {} --name reader {} sleep 1000000 && \
             cenote exec reader cat /warm >/dev/null",
            self.lab.kernel(),
            self.image
        ))?;
        let faults = [self.faults()?, self.faults()?];
        self.run("cenote rm -f reader")?;
        Ok(faults)
    }

    fn faults(&self) -> anyhow::Result<f64> {
        let told = self.run(&format!(
            "echo '{TRIGGER}' >{EVENT}/trigger && cenote exec reader cat /large >/dev/null && cat {EVENT}/hist && \
             echo '!{TRIGGER}' >{EVENT}/trigger"
        ))?;
        let hits = told
            .lines()
            .find_map(|line| line.trim().strip_prefix("Hits:"));
        hits.and_then(|hits| hits.trim().parse().ok())
            .with_context(|| format!("the histogram says {told:?}"))
    }
}
