//! The trace that a request belongs to (W3C Trace Context, level 1).
//!
//! Whoever calls may name its trace by `traceparent`. The name stands in the log beside the request's id and goes on with
//! every event that the request causes, so that a receiver's own trace hangs on the caller's. A request without one, or
//! with one that cannot be read, has no trace: nothing here begins one, and no span leaves the process.

use std::fmt;

use crate::random::{self, Random};

/// Of version 00: `00-<trace id>-<parent id>-<flags>`.
const LENGTH: usize = 55;
const SAMPLED: u8 = 1;

/// A place in a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    trace: u128,
    parent: u64,
    sampled: bool,
}

impl TraceContext {
    /// Reads a `traceparent`. A version that is newer than this code may have more behind what is known of it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (known, more) = text.split_at_checked(LENGTH)?;
        let mut parts = known.split('-');
        let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let lengths = [version, trace, parent, flags].map(str::len);
        if lengths != [2, 32, 16, 2] || !known.bytes().all(is_hex_or_dash) || version == "ff" {
            return None;
        }
        let is_extended = version != "00" && more.starts_with('-');
        if !more.is_empty() && !is_extended {
            return None;
        }
        let context = Self {
            trace: u128::from_str_radix(trace, 16).ok()?,
            parent: u64::from_str_radix(parent, 16).ok()?,
            sampled: u8::from_str_radix(flags, 16).ok()? & SAMPLED == SAMPLED,
        };
        (context.trace != 0 && context.parent != 0).then_some(context)
    }

    /// What a call says that is made on behalf of this place: the same trace, and a place of its own.
    #[must_use]
    pub fn child(self, random: &dyn Random) -> Self {
        // All zeroes would mean none.
        let parent = u64::from_be_bytes(random::array(random)).max(1);
        Self { parent, ..self }
    }

    /// The trace's id: 32 hexadecimal digits.
    #[must_use]
    pub fn trace_id(&self) -> String {
        format!("{:032x}", self.trace)
    }
}

/// As the header has it.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = u8::from(self.sampled);
        write!(f, "00-{:032x}-{:016x}-{flags:02x}", self.trace, self.parent)
    }
}

const fn is_hex_or_dash(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::OsRandom;

    const PLAIN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_is_read_and_written_as_it_was() {
        let unsampled = PLAIN.replace("-01", "-00");
        for text in [PLAIN, &unsampled] {
            assert_eq!(TraceContext::parse(text).unwrap().to_string(), text);
        }
        let trace = TraceContext::parse(PLAIN).unwrap().trace_id();
        assert_eq!(trace, "4bf92f3577b34da6a3ce929d0e0e4736");
    }

    #[test]
    fn of_a_newer_version_what_is_known_is_read() {
        for (newer, flags) in [
            (PLAIN.replace("00-4", "01-4"), "01"),
            (format!("{}-what-else", PLAIN.replace("00-4", "fe-4")), "01"),
            (PLAIN.replace("-01", "-fe"), "00"),
        ] {
            let read = TraceContext::parse(&newer).unwrap().to_string();
            assert_eq!(read, format!("{}{flags}", &PLAIN[..53]), "{newer}");
        }
    }

    #[test]
    fn what_is_no_traceparent_is_none() {
        for text in [
            "",
            "00",
            &PLAIN[..54],
            &format!("{PLAIN}0"),
            &format!("{PLAIN}-more"),
            &format!("{}0", PLAIN.replace("00-4", "01-4")),
            &PLAIN.replace("00-4", "ff-4"),
            &PLAIN.to_uppercase(),
            &PLAIN.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            &PLAIN.replace("00f067aa0ba902b7", &"0".repeat(16)),
            &PLAIN.replace("4bf", "+bf"),
            &PLAIN.replace("00f067aa0ba902b7-01", "00f067aa0ba902b-701"),
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7ä01",
            &"-".repeat(55),
        ] {
            assert_eq!(TraceContext::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_child_is_in_the_same_trace_at_another_place() {
        let random = OsRandom::new();
        let context = TraceContext::parse(PLAIN).unwrap();
        let (one, other) = (context.child(&random), context.child(&random));
        assert_eq!(one.trace_id(), context.trace_id());
        assert!(one.parent != context.parent && one.parent != other.parent);
        assert_eq!(TraceContext::parse(&one.to_string()), Some(one));
    }
}
