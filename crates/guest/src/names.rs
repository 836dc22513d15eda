//! The files by which a container knows names: /etc/hostname, /etc/hosts, /etc/resolv.conf.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};

use cenote_protocol::{DnsPlan, HostEntry};

/// The content of /etc/hostname.
pub fn hostname_file(hostname: &str) -> String {
    format!("{hostname}\n")
}

/// The content of /etc/hosts: localhost, the container itself at `address` (or at the loopback without a network),
/// and the entries of the plan.
pub fn hosts_file(hostname: &str, address: Option<Ipv4Addr>, entries: &[HostEntry]) -> String {
    let own = address.unwrap_or(Ipv4Addr::LOCALHOST);
    let mut text = format!(
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n{own}\t{hostname}\n"
    );
    for entry in entries {
        line(&mut text, format_args!("{}\t{}", entry.address, entry.name));
    }
    text
}

/// The content of /etc/resolv.conf (resolv.conf(5)).
pub fn resolv_file(dns: &DnsPlan) -> String {
    let mut text = String::new();
    for server in &dns.servers {
        line(&mut text, format_args!("nameserver {}", *server as IpAddr));
    }
    for (keyword, values) in [("search", &dns.search), ("options", &dns.options)] {
        if !values.is_empty() {
            line(&mut text, format_args!("{keyword} {}", values.join(" ")));
        }
    }
    text
}

fn line(text: &mut String, content: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{content}");
}

#[cfg(test)]
#[path = "names_test.rs"]
mod tests;
