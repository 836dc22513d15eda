//! A client that is a test: it sends what it likes, well-formed or not, and looks at the replies.

mod client;
mod device;
mod messages;
mod play;
mod seeds;
mod share;
mod streams;

pub use client::FakeClient;
pub use device::device;
pub use messages::{me, message, whole_offer};
pub use play::requests;
pub use seeds::replay;
pub use share::{Share, as_one_user};
pub use streams::streams;
