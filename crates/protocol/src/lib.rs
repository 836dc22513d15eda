//! The messages between the host and the agent in the guest: versioned, bounded, shared by both sides.
