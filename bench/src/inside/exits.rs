//! The exits of virtual machines, counted by the histograms of KVM's tracepoints.

use std::collections::BTreeMap;
use std::fs;

use anyhow::Context;

/// Where tracefs shows the events of KVM.
const EVENTS: &str = "/sys/kernel/tracing/events/kvm";
/// The events and what each of their exits is counted by.
const COUNTED: [(&str, &str); 2] = [
    ("kvm_exit", "exit_reason"),
    ("kvm_userspace_exit", "reason"),
];

/// Counters of all machines of this host. They count until they are dropped.
pub struct Counters(());

/// Exits by reason.
pub type Exits = BTreeMap<String, u64>;

impl Counters {
    /// Counts from zero on.
    pub fn start() -> anyhow::Result<Self> {
        let counters = Self(());
        for (event, key) in COUNTED {
            set(event, &format!("hist:keys={key}"))?;
        }
        Ok(counters)
    }

    /// The exits by the hardware's reason, and those to user space by KVM's reason, until now.
    pub fn read(&self) -> anyhow::Result<[Exits; 2]> {
        let [(exits, _), (user, _)] = COUNTED;
        Ok([counts(exits)?, counts(user)?])
    }
}

impl Drop for Counters {
    fn drop(&mut self) {
        for (event, key) in COUNTED {
            // One that was never set counts nothing.
            let _ = set(event, &format!("!hist:keys={key}"));
        }
    }
}

fn set(event: &str, trigger: &str) -> anyhow::Result<()> {
    let path = format!("{EVENTS}/{event}/trigger");
    fs::write(&path, trigger).with_context(|| format!("cannot write {trigger:?} to {path}"))
}

fn counts(event: &str) -> anyhow::Result<Exits> {
    let text = fs::read_to_string(format!("{EVENTS}/{event}/hist"))?;
    Ok(text.lines().filter_map(bucket).collect())
}

/// A line `{ exit_reason:  96 } hitcount:  852`.
fn bucket(line: &str) -> Option<(String, u64)> {
    let (key, count) = line.split_once("} hitcount:")?;
    let (_, key) = key.split_once(':')?;
    Some((key.trim().to_owned(), count.trim().parse().ok()?))
}
