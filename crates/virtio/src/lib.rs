//! Virtio device models on queues, one implementation for two transports (virtio-mmio and vhost-user).
//!
//! Knows nothing of KVM or QEMU.
