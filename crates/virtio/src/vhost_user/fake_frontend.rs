//! A VMM's end of the protocol, played by the `vhost` crate's front-end.

use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use vhost::vhost_user::message::VhostUserProtocolFeatures;
use vhost::vhost_user::{Frontend, VhostUserFrontend};
use vhost::{VhostBackend, VhostUserMemoryRegionInfo, VringConfigData};
use vmm_sys_util::eventfd::EventFd;

use crate::testing::Driver;

/// Where the front-end has guest memory in its own address space, as far as the back-end is concerned.
pub const FRONTEND_BASE: u64 = 0x7000_0000_0000;
const PROTOCOL_FEATURES: u64 = 1 << 30;

/// A front-end on `socket` for a device with `queues` queues, with all features negotiated.
pub fn connect(socket: UnixStream, queues: u64) -> Frontend {
    let mut frontend = Frontend::from_stream(socket, queues);
    frontend.set_owner().unwrap();
    let features = frontend.get_features().unwrap();
    assert_ne!(features & PROTOCOL_FEATURES, 0);
    let protocol = frontend.get_protocol_features().unwrap();
    let wanted = VhostUserProtocolFeatures::CONFIG
        | VhostUserProtocolFeatures::MQ
        | VhostUserProtocolFeatures::RESET_DEVICE
        | VhostUserProtocolFeatures::CONFIGURE_MEM_SLOTS
        | VhostUserProtocolFeatures::REPLY_ACK;
    assert!(protocol.contains(wanted));
    frontend.set_protocol_features(wanted).unwrap();
    frontend.set_hdr_flags(vhost::vhost_user::message::VhostUserHeaderFlag::NEED_REPLY);
    frontend.set_features(features).unwrap();
    frontend
}

fn event_fd(fd: OwnedFd) -> EventFd {
    // SAFETY: the descriptor is an eventfd of the fake driver's, and its ownership moves.
    unsafe { EventFd::from_raw_fd(fd.into_raw_fd()) }
}

/// Guest memory at `guest_phys_addr`, as the front-end announces it.
pub fn region(file: &File, guest_phys_addr: u64, memory_size: u64) -> VhostUserMemoryRegionInfo {
    VhostUserMemoryRegionInfo {
        guest_phys_addr,
        memory_size,
        userspace_addr: FRONTEND_BASE + guest_phys_addr,
        mmap_offset: 0,
        mmap_handle: file.as_raw_fd(),
    }
}

/// Tells the back-end where ring `index` is, and lets it start at `base`. It still has to be enabled.
pub fn start_ring(frontend: &mut Frontend, index: usize, driver: &Driver, base: u16) {
    let layout = driver.layout;
    frontend.set_vring_num(index, layout.size).unwrap();
    frontend.set_vring_base(index, base).unwrap();
    frontend.set_vring_addr(index, &addresses(driver)).unwrap();
    frontend
        .set_vring_call(index, &event_fd(driver.interrupt()))
        .unwrap();
    frontend
        .set_vring_kick(index, &event_fd(driver.doorbell()))
        .unwrap();
}

/// Where a ring is, in the front-end's addresses.
pub fn addresses(driver: &Driver) -> VringConfigData {
    let layout = driver.layout;
    VringConfigData {
        queue_max_size: layout.size,
        queue_size: layout.size,
        flags: 0,
        desc_table_addr: FRONTEND_BASE + layout.desc_table,
        used_ring_addr: FRONTEND_BASE + layout.used_ring,
        avail_ring_addr: FRONTEND_BASE + layout.avail_ring,
        log_addr: None,
    }
}
