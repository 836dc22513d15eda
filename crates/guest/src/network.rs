//! The guest's network interface: address, route, size of packets (netdevice(7), ioctls on a datagram socket).

use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};

use cenote_protocol::NetworkPlan;
use rustix::io::{Errno, Result};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use crate::step::{Step, StepError};
use crate::sys::check;

/// The first and only interface, as the kernel names it.
const INTERFACE: &str = "eth0";

/// Brings up the loopback, and the interface if the plan has one.
///
/// # Errors
/// A missing interface, or an address that the kernel refuses.
pub fn configure(plan: Option<&NetworkPlan>) -> std::result::Result<(), StepError> {
    let socket = socket_with(
        AddressFamily::INET,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        None,
    )
    .step("open a socket for", "the network settings")?;
    bring_up(&socket, "lo").step("bring up the interface", "lo")?;
    let Some(plan) = plan else { return Ok(()) };
    let mask = netmask(plan.prefix)
        .ok_or(Errno::INVAL)
        .step("use a prefix of this length:", plan.prefix)?;
    set_address(&socket, libc::SIOCSIFADDR, plan.address)
        .step("give eth0 the address", plan.address)?;
    set_address(&socket, libc::SIOCSIFNETMASK, mask).step("give eth0 the netmask", mask)?;
    if let Some(mtu) = plan.mtu {
        set_mtu(&socket, mtu).step("let eth0 send packets of this size:", mtu)?;
    }
    bring_up(&socket, INTERFACE).step("bring up the interface", INTERFACE)?;
    match plan.gateway {
        Some(gateway) => add_default_route(&socket, gateway).step("route through", gateway),
        None => Ok(()),
    }
}

fn netmask(prefix: u8) -> Option<Ipv4Addr> {
    let host_bits = 32u32.checked_sub(u32::from(prefix))?;
    Some(Ipv4Addr::from(u32::MAX.checked_shl(host_bits).unwrap_or(0)))
}

fn request(name: &str) -> libc::ifreq {
    // SAFETY: all-zero is a valid `ifreq`: bytes, integers and a union of such.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // One byte stays zero: the name's end.
    for (to, from) in request.ifr_name[..libc::IFNAMSIZ - 1]
        .iter_mut()
        .zip(name.bytes())
    {
        *to = from as libc::c_char;
    }
    request
}

fn ifreq_ioctl(
    socket: &OwnedFd,
    operation: libc::c_ulong,
    request: &mut libc::ifreq,
) -> Result<()> {
    // SAFETY: every operation used here reads and writes one `ifreq` and nothing else.
    check(i64::from(unsafe {
        libc::ioctl(
            socket.as_raw_fd(),
            operation as _,
            request as *mut libc::ifreq,
        )
    }))
}

fn bring_up(socket: &OwnedFd, name: &str) -> Result<()> {
    let mut request = request(name);
    ifreq_ioctl(socket, libc::SIOCGIFFLAGS, &mut request)?;
    // SAFETY: SIOCGIFFLAGS has filled the union's flags.
    unsafe { request.ifr_ifru.ifru_flags |= libc::IFF_UP as libc::c_short };
    ifreq_ioctl(socket, libc::SIOCSIFFLAGS, &mut request)
}

fn set_address(socket: &OwnedFd, operation: libc::c_ulong, address: Ipv4Addr) -> Result<()> {
    let mut request = request(INTERFACE);
    request.ifr_ifru.ifru_addr = internet_address(address);
    ifreq_ioctl(socket, operation, &mut request)
}

fn set_mtu(socket: &OwnedFd, mtu: u32) -> Result<()> {
    let mut request = request(INTERFACE);
    request.ifr_ifru.ifru_mtu = i32::try_from(mtu).map_err(|_| Errno::INVAL)?;
    ifreq_ioctl(socket, libc::SIOCSIFMTU, &mut request)
}

fn add_default_route(socket: &OwnedFd, gateway: Ipv4Addr) -> Result<()> {
    // SAFETY: all-zero is a valid `rtentry`; a null device means "choose by the gateway".
    let mut route: libc::rtentry = unsafe { std::mem::zeroed() };
    route.rt_dst = internet_address(Ipv4Addr::UNSPECIFIED);
    route.rt_genmask = internet_address(Ipv4Addr::UNSPECIFIED);
    route.rt_gateway = internet_address(gateway);
    route.rt_flags = libc::RTF_UP | libc::RTF_GATEWAY;
    // SAFETY: the kernel reads one `rtentry`.
    check(i64::from(unsafe {
        libc::ioctl(socket.as_raw_fd(), libc::SIOCADDRT as _, &raw const route)
    }))
}

/// An IPv4 address in the generic form: family, port (2 bytes), address (4 bytes).
fn internet_address(address: Ipv4Addr) -> libc::sockaddr {
    let mut data = [0; 14];
    for (to, from) in data[2..6].iter_mut().zip(address.octets()) {
        *to = from as libc::c_char;
    }
    libc::sockaddr {
        sa_family: libc::AF_INET as libc::sa_family_t,
        sa_data: data,
    }
}

#[cfg(test)]
#[path = "network_test.rs"]
mod tests;
