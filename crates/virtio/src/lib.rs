//! Virtio device models on queues, one implementation for two transports (virtio-mmio and vhost-user).
//!
//! A device is a [`device::Device`]: it says what it is (type, features, configuration space, queue sizes) and is
//! activated with guest [`memory`], its rings ([`queue`]) and a way to raise interrupts; from then on threads of its
//! own serve it. A transport carries it to a guest: [`vhost_user`] lends it to another VMM.
//!
//! Everything in guest memory is written by a stranger. Lengths, indices and addresses are checked where they are
//! read, and what a guest can make the host remember is bounded by the constants beside the code that remembers.
//!
//! Knows nothing of KVM or QEMU.

pub mod block;
pub mod console;
pub mod device;
pub mod fs;
pub mod memory;
pub mod mmio;
pub mod net;
pub mod pmem;
pub mod queue;
mod queue_thread;
pub mod rng;
pub mod vhost_user;
pub mod vsock;
mod worker;

#[cfg(any(test, feature = "testing"))]
pub mod testing;
