//! One file for each direction, one for enemies on both sides, and one each for the device's life in and out of process.

mod from_guest;
mod hostile;
mod life;
mod to_guest;
mod vhost_user;
