//! Values written as text: durations, sizes, addresses. Each mistake says how to mend it.
//!
//! Pure functions of a string. Used by the config reader and by command-line arguments, so that
//! both take and refuse the same things.

use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

/// No duration may be longer: deadlines are computed by adding it to the clock.
pub const MAX_DURATION: Duration = Duration::from_secs(365 * 86_400);

/// A unit: its name, how much it is, and what people write in its place.
struct Unit {
    name: &'static str,
    factor: u64,
    aliases: &'static [&'static str],
}

const fn unit(name: &'static str, factor: u64, aliases: &'static [&'static str]) -> Unit {
    Unit {
        name,
        factor,
        aliases,
    }
}

/// Factors in milliseconds.
const DURATION_UNITS: &[Unit] = &[
    unit(
        "ms",
        1,
        &["msec", "msecs", "millis", "millisecond", "milliseconds"],
    ),
    unit("s", 1_000, &["sec", "secs", "second", "seconds"]),
    unit("m", 60_000, &["min", "mins", "minute", "minutes"]),
    unit("h", 3_600_000, &["hr", "hrs", "hour", "hours"]),
    unit("d", 86_400_000, &["day", "days"]),
];

/// Factors in bytes.
const SIZE_UNITS: &[Unit] = &[
    unit("B", 1, &["b", "byte", "bytes"]),
    unit("KiB", 1 << 10, &["k", "kb", "kib", "ki"]),
    unit("MiB", 1 << 20, &["m", "mb", "mib", "mi"]),
    unit("GiB", 1 << 30, &["g", "gb", "gib", "gi"]),
];

/// Reads a duration such as `"250ms"`, `"5s"`, `"10m"`, `"1h"` or `"7d"`.
///
/// # Errors
/// What is wrong and how to mend it.
pub fn duration(text: &str) -> Result<Duration, String> {
    let millis = amount(text, DURATION_UNITS, "duration", "s")?;
    match millis.map(Duration::from_millis) {
        Some(duration) if duration <= MAX_DURATION => Ok(duration),
        _ => Err(format!(
            "{text:?} is too long; the longest duration is \"365d\""
        )),
    }
}

/// Reads a size in bytes such as `"512B"`, `"64KiB"`, `"16MiB"` or `"1GiB"`.
///
/// # Errors
/// What is wrong and how to mend it.
pub fn size(text: &str) -> Result<u64, String> {
    amount(text, SIZE_UNITS, "size", "MiB")?
        .ok_or_else(|| format!("{text:?} is too large; write a smaller size"))
}

/// A duration as people write it: in the largest unit that divides it.
pub fn show_duration(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    show(millis, DURATION_UNITS)
}

/// A size as people write it: in the largest unit that divides it.
pub fn show_size(bytes: u64) -> String {
    show(bytes, SIZE_UNITS)
}

fn show(amount: u64, units: &[Unit]) -> String {
    let fitting = |unit: &&Unit| amount > 0 && amount.is_multiple_of(unit.factor);
    match units.iter().rev().find(fitting).or(units.first()) {
        Some(unit) => format!("{}{}", amount / unit.factor, unit.name),
        None => amount.to_string(),
    }
}

/// A number and a unit; `None` where the product is more than 64 bits.
fn amount(text: &str, units: &[Unit], kind: &str, usual: &str) -> Result<Option<u64>, String> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, name) = text.split_at(digits);
    if number.is_empty() {
        return Err(format!(
            "{text:?} is not a {kind}; write a whole number and a unit, as in \"5{usual}\" (units: {})",
            names(units)
        ));
    }
    if name.is_empty() {
        return Err(format!(
            "{text:?} has no unit; write \"{text}{usual}\" or another unit of {}",
            names(units)
        ));
    }
    let Some(unit) = units.iter().find(|unit| unit.name == name) else {
        return Err(unknown_unit(text, number, name, units));
    };
    let number: Option<u64> = number.parse().ok();
    Ok(number.and_then(|number| number.checked_mul(unit.factor)))
}

fn unknown_unit(text: &str, number: &str, name: &str, units: &[Unit]) -> String {
    if name.starts_with(['.', ',']) {
        return format!(
            "{text:?} is not a whole number; write it in a smaller unit (units: {})",
            names(units)
        );
    }
    let plain = name.trim().to_ascii_lowercase();
    let meant = units.iter().find(|unit| {
        unit.name.eq_ignore_ascii_case(&plain) || unit.aliases.contains(&plain.as_str())
    });
    let valid = names(units);
    let name = name.trim();
    match meant {
        Some(unit) => format!(
            "unknown unit {name:?} in {text:?}; did you mean \"{number}{}\"? (units: {valid})",
            unit.name
        ),
        None => format!("unknown unit {name:?} in {text:?}; valid units are {valid}"),
    }
}

fn names(units: &[Unit]) -> String {
    let names: Vec<&str> = units.iter().map(|unit| unit.name).collect();
    names.join(", ")
}

/// Reads an address to listen on: `"127.0.0.1:6380"`, `"[::1]:6380"`; port 0 takes a free one.
///
/// # Errors
/// What is wrong and how to mend it.
pub fn bind_address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let hint = match host_and_port(text) {
        Ok(("localhost", port)) => {
            format!("write an IP address, as in \"127.0.0.1:{port}\"")
        }
        Ok(("" | "*", port)) => {
            format!("for all addresses of this machine write \"0.0.0.0:{port}\"")
        }
        Ok((_, port)) => format!("write an IP address of this machine, as in \"127.0.0.1:{port}\""),
        Err(why) => return Err(why),
    };
    Err(format!("{text:?} is not an IP address and port; {hint}"))
}

/// Reads an upstream's address: `"cache.example:6379"`, `"10.0.0.7:6379"`, `"[::1]:6379"`.
///
/// # Errors
/// What is wrong and how to mend it.
pub fn endpoint_address(text: &str) -> Result<(String, u16), String> {
    let (host, port) = host_and_port(text)?;
    if port == 0 {
        return Err(format!(
            "{text:?} has port 0; write the port that the upstream listens on"
        ));
    }
    let is_address = host.parse::<std::net::IpAddr>().is_ok();
    if !is_address && !is_dns_name(host) {
        return Err(format!(
            "{host:?} in {text:?} is neither an IP address nor a DNS name; write HOST:PORT, as in \"cache.example:6379\""
        ));
    }
    Ok((host.to_owned(), port))
}

fn host_and_port(text: &str) -> Result<(&str, u16), String> {
    if text.contains("://") {
        return Err(format!(
            "{text:?} is a URL; write HOST:PORT without a scheme or a path"
        ));
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        return Err(format!(
            "{text:?} is an IPv6 address without a port; write \"[{text}]:PORT\""
        ));
    }
    let split = match text.strip_prefix('[') {
        Some(rest) => rest
            .split_once("]:")
            .filter(|(host, _)| host.parse::<Ipv6Addr>().is_ok()),
        None => text.rsplit_once(':'),
    };
    let Some((host, port)) = split else {
        return Err(if text.starts_with('[') {
            format!("{text:?} is not an address; write \"[IPv6]:PORT\", as in \"[::1]:6379\"")
        } else {
            format!("{text:?} has no port; write \"{text}:PORT\"")
        });
    };
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    match port.parse() {
        Ok(number) if digits => Ok((host, number)),
        _ => Err(format!(
            "{port:?} in {text:?} is not a port; ports are numbers up to 65535"
        )),
    }
}

/// Labels of letters, digits, `-` and `_`, 1 to 63 bytes each, 253 in all.
fn is_dns_name(host: &str) -> bool {
    let name = host.strip_suffix('.').unwrap_or(host);
    let last_is_number = name
        .rsplit('.')
        .next()
        .is_some_and(|label| label.bytes().all(|b| b.is_ascii_digit()));
    name.len() <= 253
        && !last_is_number
        && name.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn durations_have_five_units() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("5s"), Ok(Duration::from_secs(5)));
        assert_eq!(duration("10m"), Ok(Duration::from_secs(600)));
        assert_eq!(duration("1h"), Ok(Duration::from_secs(3600)));
        assert_eq!(duration("365d"), Ok(MAX_DURATION));
        assert!(duration("366d").is_err());
        assert!(duration("99999999999999999999d").is_err());
    }

    #[test]
    fn sizes_have_four_units() {
        assert_eq!(size("512B"), Ok(512));
        assert_eq!(size("64KiB"), Ok(65_536));
        assert_eq!(size("16MiB"), Ok(16 << 20));
        assert_eq!(size("4GiB"), Ok(4 << 30));
        assert!(size("99999999999GiB").unwrap_err().contains("too large"));
    }

    #[test]
    fn amounts_are_shown_as_they_are_written() {
        for text in ["0ms", "250ms", "5s", "90s", "10m", "1h", "7d"] {
            assert_eq!(show_duration(duration(text).unwrap()), text);
        }
        for text in ["0B", "512B", "64KiB", "1000KiB", "4GiB"] {
            assert_eq!(show_size(size(text).unwrap()), text);
        }
    }

    #[test]
    fn endpoints_are_addresses_or_names() {
        let endpoint = |text| endpoint_address(text).unwrap();
        assert_eq!(endpoint("10.0.0.7:6379"), ("10.0.0.7".to_owned(), 6379));
        assert_eq!(endpoint("[::1]:6379"), ("::1".to_owned(), 6379));
        assert_eq!(endpoint("localhost:1"), ("localhost".to_owned(), 1));
        assert_eq!(
            endpoint("redis_1.cache.example.:65535"),
            ("redis_1.cache.example.".to_owned(), 65535)
        );
        for wrong in [
            "",
            ":1",
            "a",
            "a:",
            "a:0",
            "a:+1",
            "a b:1",
            "-a:1",
            "a..b:1",
            "1.2.3.400:1",
            "[x]:1",
            "[::1]",
            "::1",
        ] {
            assert!(endpoint_address(wrong).is_err(), "{wrong:?}");
        }
    }
}
