//! The I/O ports: a serial port for the time before the guest has a console, and the registers that end the machine.

use std::os::fd::OwnedFd;

use crate::exit::Exit;

/// Registers of hardware-reduced ACPI (ACPI 6.5 sections 4.8.3.6 and 4.8.3.7).
pub const RESET: u16 = 0x600;
/// What is written to [`RESET`].
pub const RESET_VALUE: u8 = 1;
/// See [`RESET`].
pub const SLEEP_CONTROL: u16 = 0x601;
/// See [`RESET`].
pub const SLEEP_STATUS: u16 = 0x602;
/// The type of sleep that is off.
pub const SLEEP_TYPE_S5: u8 = 5;

/// `SLP_EN` and `SLP_TYPx` of the sleep control register.
const SLEEP_S5: u8 = 1 << 5 | SLEEP_TYPE_S5 << 2;

/// A PC's first serial port. Only what Linux' `earlyprintk` uses is here: bytes go out, and it is always ready.
const SERIAL: u16 = 0x3f8;
const LINE_STATUS: u16 = SERIAL + 5;
const TRANSMITTER_EMPTY: u8 = 0x60;

/// All ports.
pub struct Ports {
    serial: Option<OwnedFd>,
}

impl Ports {
    /// Ports of a machine whose early messages go to `serial`, if there is such a port.
    pub fn new(serial: Option<OwnedFd>) -> Self {
        Self { serial }
    }

    /// The guest writes `data` to `port`. Returns the machine's end, if this is one.
    pub fn write(&self, port: u16, data: &[u8]) -> Option<Exit> {
        match (port, data) {
            (SLEEP_CONTROL, &[SLEEP_S5]) => return Some(Exit::PowerOff),
            (RESET, &[RESET_VALUE]) => return Some(Exit::Reset),
            (SERIAL, bytes) => self.print(bytes),
            _ => {}
        }
        None
    }

    /// The guest reads `port`.
    pub fn read(&self, port: u16, data: &mut [u8]) {
        data.fill(match port {
            LINE_STATUS if self.serial.is_some() => TRANSMITTER_EMPTY,
            SLEEP_CONTROL | SLEEP_STATUS => 0,
            _ => 0xff,
        });
    }

    fn print(&self, bytes: &[u8]) {
        if let Some(serial) = &self.serial {
            // Whoever reads it may be gone; the guest goes on without being heard.
            let _ = rustix::io::retry_on_intr(|| rustix::io::write(serial, bytes));
        }
    }
}
