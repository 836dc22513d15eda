//! PID 1 in the VM: mounts, launches, executes and reports.

fn main() {}
