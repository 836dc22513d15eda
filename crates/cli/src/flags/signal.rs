//! Signals as users write them: `TERM`, `SIGTERM`, `sigterm`, `15`, `RTMIN+3`.

use std::str::FromStr;

/// A signal's number on Linux, 1 to 64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signal(pub i32);

/// A text that is no signal.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no signal: write a name such as TERM or SIGTERM, or a number from 1 to 64")]
pub struct BadSignal(String);

/// Names by number, signal(7) for x86_64 and aarch64; index 0 is no signal.
const NAMES: [&str; 32] = [
    "", "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// The range that programs see: the C library keeps 32 and 33 for itself.
const RTMIN: i32 = 34;
const RTMAX: i32 = 64;

impl FromStr for Signal {
    type Err = BadSignal;

    fn from_str(text: &str) -> Result<Self, BadSignal> {
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        number(name)
            .filter(|number| (1..=RTMAX).contains(number))
            .map(Signal)
            .ok_or_else(|| BadSignal(text.to_owned()))
    }
}

fn number(name: &str) -> Option<i32> {
    if let Some(index) = NAMES
        .iter()
        .position(|known| *known == name && !name.is_empty())
    {
        return i32::try_from(index).ok();
    }
    let real_time = |number: i32| (RTMIN..=RTMAX).contains(&number).then_some(number);
    match name {
        "POLL" => Some(29),
        "IOT" => Some(6),
        "CLD" => Some(17),
        "RTMIN" => Some(RTMIN),
        "RTMAX" => Some(RTMAX),
        _ => match (name.strip_prefix("RTMIN+"), name.strip_prefix("RTMAX-")) {
            (Some(add), _) => real_time(RTMIN.checked_add(add.parse().ok()?)?),
            (_, Some(less)) => real_time(RTMAX.checked_sub(less.parse().ok()?)?),
            _ if name.bytes().all(|byte| byte.is_ascii_digit()) => name.parse().ok(),
            _ => None,
        },
    }
}

#[cfg(test)]
#[path = "signal_test.rs"]
mod tests;
