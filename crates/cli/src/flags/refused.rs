//! The flags of podman 4.3 `run` that Cenote does not have: each is refused by its name and a reason in one
//! line, so that a command line carried over from podman never runs with a wish silently dropped.
//!
//! The flags are ordinary hidden flags to the parser, which therefore knows which of them take a value.

use clap::error::Error;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

/// Shared with the host by design of podman, and not shareable with a machine of its own.
const OWN_KERNEL: &str =
    "the container has a kernel of its own, whose namespaces the host cannot join or lend";
const OWN_IDS: &str = "the container has a kernel of its own and needs no mapping of user ids";
const HOST_CGROUPS: &str = "the limits of a container are its machine's: use --cpus and --memory";
const ONE_NETWORK: &str = "there is one network per container, behind user-mode networking";
const DEVICES: &str = "devices of the host are not handed to the machine";
const PRIVILEGES: &str = "the container's capabilities and limits cannot be set yet";
const HEALTH: &str = "health checks are not supported yet; run the check with `cenote exec`";
const PODS: &str = "one machine holds one container";
const CONMON: &str = "there is no conmon: each container has its own monitor, see `cenote inspect`";
const PLATFORMS: &str = "only images of this machine's platform run";
const LOGS: &str = "logs are kept in one format; read them with `cenote logs`";
const IDENTITY: &str = "the container's account files are the image's own";
const ENVIRONMENT: &str = "not supported yet; name the variables with -e";
const REGISTRIES: &str = "not an option of run; pull the image first, with `cenote pull`";
const NOT_YET: &str = "not supported yet";

/// A flag that is refused.
#[derive(Debug)]
struct Flag {
    long: &'static str,
    short: Option<char>,
    value: bool,
    reason: &'static str,
}

const fn value(long: &'static str, reason: &'static str) -> Flag {
    Flag {
        long,
        short: None,
        value: true,
        reason,
    }
}

const fn switch(long: &'static str, reason: &'static str) -> Flag {
    Flag {
        long,
        short: None,
        value: false,
        reason,
    }
}

const fn short(short: char, flag: Flag) -> Flag {
    Flag {
        short: Some(short),
        ..flag
    }
}

const FLAGS: &[Flag] = &[
    value(
        "volumes-from",
        "name the volumes with -v; `cenote inspect` tells them",
    ),
    value(
        "image-volume",
        "what an image declares as volumes are folders of the container; name a volume with -v",
    ),
    value(
        "rootfs",
        "make an image of the directory, with `cenote import`",
    ),
    value("chrootdirs", NOT_YET),
    value("secret", "share the file that has it, with -v FILE:PATH:ro"),
    value("pid", OWN_KERNEL),
    value("ipc", OWN_KERNEL),
    value("uts", OWN_KERNEL),
    value("cgroupns", OWN_KERNEL),
    value("userns", OWN_IDS),
    value("uidmap", OWN_IDS),
    value("gidmap", OWN_IDS),
    value("subuidname", OWN_IDS),
    value("subgidname", OWN_IDS),
    value("cgroups", HOST_CGROUPS),
    value("cgroup-parent", HOST_CGROUPS),
    value("cgroup-conf", HOST_CGROUPS),
    value("blkio-weight", HOST_CGROUPS),
    value("blkio-weight-device", HOST_CGROUPS),
    value("cpu-period", HOST_CGROUPS),
    value("cpu-quota", HOST_CGROUPS),
    value("cpu-rt-period", HOST_CGROUPS),
    value("cpu-rt-runtime", HOST_CGROUPS),
    short('c', value("cpu-shares", HOST_CGROUPS)),
    value("cpuset-cpus", HOST_CGROUPS),
    value("cpuset-mems", HOST_CGROUPS),
    value("memory-reservation", HOST_CGROUPS),
    value("memory-swap", HOST_CGROUPS),
    value("memory-swappiness", HOST_CGROUPS),
    switch("oom-kill-disable", HOST_CGROUPS),
    value("oom-score-adj", HOST_CGROUPS),
    value("pids-limit", HOST_CGROUPS),
    value("rdt-class", HOST_CGROUPS),
    value("device", DEVICES),
    value("device-cgroup-rule", DEVICES),
    value("device-read-bps", DEVICES),
    value("device-read-iops", DEVICES),
    value("device-write-bps", DEVICES),
    value("device-write-iops", DEVICES),
    switch("privileged", PRIVILEGES),
    value("cap-add", PRIVILEGES),
    value("cap-drop", PRIVILEGES),
    value("security-opt", PRIVILEGES),
    value("seccomp-policy", PRIVILEGES),
    value("ulimit", PRIVILEGES),
    value("sysctl", PRIVILEGES),
    value("personality", PRIVILEGES),
    value("umask", PRIVILEGES),
    value("shm-size", NOT_YET),
    value("ip", ONE_NETWORK),
    value("ip6", ONE_NETWORK),
    value("mac-address", ONE_NETWORK),
    value("network-alias", ONE_NETWORK),
    value("link-local-ip", ONE_NETWORK),
    switch("no-hosts", NOT_YET),
    value("dns-option", NOT_YET),
    value("dns-opt", NOT_YET),
    value("dns-search", NOT_YET),
    value(
        "expose",
        "every port of the container can be published with -p",
    ),
    short('P', switch("publish-all", "name the ports with -p")),
    value("health-cmd", HEALTH),
    value("health-interval", HEALTH),
    value("health-retries", HEALTH),
    value("health-start-period", HEALTH),
    value("health-timeout", HEALTH),
    switch("no-healthcheck", HEALTH),
    value(
        "restart",
        "there is no daemon that could restart the container",
    ),
    value("pod", PODS),
    value("pod-id-file", PODS),
    value("requires", PODS),
    value("conmon-pidfile", CONMON),
    value("pidfile", CONMON),
    value("sdnotify", CONMON),
    value("preserve-fds", OWN_KERNEL),
    value(
        "systemd",
        "systemd is not detected; the container's command runs as the image says",
    ),
    value("platform", PLATFORMS),
    value("arch", PLATFORMS),
    value("os", PLATFORMS),
    value("variant", PLATFORMS),
    value("log-driver", LOGS),
    value("log-opt", LOGS),
    value("group-add", IDENTITY),
    value("group-entry", IDENTITY),
    value("passwd-entry", IDENTITY),
    switch("passwd", IDENTITY),
    value("hostuser", IDENTITY),
    switch(
        "env-host",
        "it would hand all of the host's environment to the container; name variables with -e",
    ),
    value("env-merge", ENVIRONMENT),
    value("unsetenv", ENVIRONMENT),
    switch("unsetenv-all", ENVIRONMENT),
    switch(
        "http-proxy",
        "proxy variables are not copied; name them with -e",
    ),
    value("tz", "set the variable: -e TZ=..."),
    value("authfile", REGISTRIES),
    value("decryption-key", REGISTRIES),
    switch("disable-content-trust", REGISTRIES),
    switch("tls-verify", REGISTRIES),
    switch("rmi", "remove the image with `cenote rmi`"),
    short(
        'a',
        value(
            "attach",
            "a container in the foreground has its output attached; use -d to run it detached",
        ),
    ),
    value(
        "detach-keys",
        "a container in the foreground cannot be left behind; use -d to run it detached",
    ),
    switch("sig-proxy", "signals always reach the container"),
    value("init-path", "--init uses the guest's own init"),
    value("annotation", "use --label"),
    value("label-file", "use --label"),
    value("timeout", "use timeout(1)"),
];

/// The first flag on the command line that is refused, if there is one.
#[derive(Debug)]
pub struct Refused(Option<&'static Flag>);

/// A flag of podman's that Cenote does not have.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("--{flag} is not supported: {reason}")]
pub struct NotSupported {
    /// Its long name.
    flag: &'static str,
    /// Why, and what to do instead.
    reason: &'static str,
}

impl Refused {
    /// Whether the command line can be followed as it stands.
    pub fn check(&self) -> Result<(), NotSupported> {
        match self.0 {
            None => Ok(()),
            Some(flag) => Err(NotSupported {
                flag: flag.long,
                reason: flag.reason,
            }),
        }
    }
}

impl Args for Refused {
    fn augment_args(command: Command) -> Command {
        FLAGS
            .iter()
            .fold(command, |command, flag| command.arg(hidden(flag)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

fn hidden(flag: &Flag) -> Arg {
    let arg = Arg::new(flag.long)
        .long(flag.long)
        .hide(true)
        .action(ArgAction::Append);
    let arg = match flag.short {
        Some(short) => arg.short(short),
        None => arg,
    };
    match flag.value {
        true => arg,
        false => arg
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true"),
    }
}

impl FromArgMatches for Refused {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let typed =
            |flag: &&Flag| matches.value_source(flag.long) == Some(ValueSource::CommandLine);
        Ok(Refused(FLAGS.iter().find(typed)))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
#[path = "refused_test.rs"]
mod tests;
