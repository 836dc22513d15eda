//! The card as a transport sees it: identity, configuration space, and the worker behind it.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use virtio_bindings::virtio_ids::VIRTIO_ID_NET;
use virtio_bindings::virtio_net::{
    VIRTIO_NET_F_MAC, VIRTIO_NET_F_MRG_RXBUF, VIRTIO_NET_F_MTU, VIRTIO_NET_F_STATUS,
};
use zerocopy::IntoBytes;

use super::config::Config;
use super::link::Link;
use super::receive::Receiver;
use super::transmit::Transmitter;
use super::{ETHERNET, MTUS, NetError, NetSpec, NetState, RECEIVE};
use crate::device::{ActivateError, Activation, Device, DeviceState, feature, read_config_from};
use crate::queue::{Ring, RingError, RingPosition};
use crate::worker::{Service, Worker};

/// Receive and transmit queue (virtio 1.2 section 5.1.2). With mergeable buffers Linux fills the first one with buffers of
/// 1.5 to 4 KiB: at most 1 MiB of the guest, and room for 15 of the longest frames, more than the socket holds.
const QUEUE_SIZES: [u16; 2] = [256, 256];

/// Mergeable buffers: without them, and with an MTU beyond a page, Linux keeps 68 KiB for every frame that may come, 17 MiB
/// in all. The status tells the guest when the link goes down.
const FEATURES: u64 = feature::RING
    | 1 << VIRTIO_NET_F_MAC
    | 1 << VIRTIO_NET_F_MTU
    | 1 << VIRTIO_NET_F_STATUS
    | 1 << VIRTIO_NET_F_MRG_RXBUF;

/// A network card. See the [module](super).
pub struct Net {
    state: NetState,
    link_up: Arc<AtomicBool>,
    worker: Worker<Card>,
}

impl Net {
    /// A card whose link is `spec.stream`.
    pub fn new(spec: NetSpec) -> Result<Self, NetError> {
        let NetSpec { stream, mac, mtu } = spec;
        if !MTUS.contains(&mtu) {
            return Err(NetError::Mtu { mtu });
        }
        let longest = usize::from(mtu) + ETHERNET;
        let state = NetState { mac, mtu };
        let link = Link::new(stream, state);
        Ok(Self {
            state,
            link_up: link.status(),
            worker: Worker::new(
                "net",
                Card {
                    link,
                    transmitter: Transmitter::new(longest),
                    receiver: Receiver::new(longest),
                },
            ),
        })
    }
}

impl Device for Net {
    fn name(&self) -> &'static str {
        "net"
    }

    fn device_type(&self) -> u32 {
        VIRTIO_ID_NET
    }

    fn features(&self) -> u64 {
        FEATURES
    }

    fn queue_sizes(&self) -> &[u16] {
        &QUEUE_SIZES
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        let config = Config::new(self.state, self.link_up.load(Ordering::Acquire));
        read_config_from(config.as_bytes(), offset, data);
    }

    fn activate(&mut self, activation: Activation) -> Result<(), ActivateError> {
        let accepted = |bit: u32| activation.features & 1 << bit != 0;
        let mut card = self.worker.service();
        card.receiver.merge(accepted(VIRTIO_NET_F_MRG_RXBUF));
        card.link
            .tell(accepted(VIRTIO_NET_F_STATUS).then_some(activation.interrupt));
        drop(card);
        self.worker.start(activation.rings)
    }

    fn pause(&mut self) -> Vec<Option<RingPosition>> {
        let positions = self.worker.stop();
        let card = self.worker.service();
        let (from_guest, to_guest) = (card.transmitter.dropped(), card.receiver.dropped());
        tracing::debug!(
            from_guest,
            to_guest,
            "frames dropped by the network card so far"
        );
        positions
    }

    fn reset(&mut self) {
        let mut card = self.worker.service();
        card.transmitter.forget_driver();
        card.receiver.forget_driver();
        card.link.tell(None);
    }

    fn save(&self) -> DeviceState {
        DeviceState::Net(self.state)
    }
}

/// What the worker serves.
pub(super) struct Card {
    pub(super) link: Link,
    pub(super) transmitter: Transmitter,
    pub(super) receiver: Receiver,
}

impl Service for Card {
    fn serve(&mut self, ring: &mut Ring) -> Result<bool, RingError> {
        ring.disarm()?;
        let more = if ring.index() == RECEIVE {
            self.receiver.round(ring, &mut self.link)?
        } else {
            self.transmitter.round(ring, &mut self.link)?
        };
        ring.notify()?;
        Ok(more)
    }

    fn sources(&self) -> Vec<BorrowedFd<'_>> {
        vec![self.link.stream()]
    }

    fn waits_to_write(&self) -> bool {
        self.transmitter.waits()
    }
}
