//! `/init` of the guest's initramfs.

fn main() {
    cenote_guest::init::run()
}
