//! Any bytes as requests: no panic, and nothing is asked for that is there.
#![no_main]

use leaseway_plugin_redis::commands::classify;
use leaseway_plugin_redis::resp::request::{Front, front};
use leaseway_sdk::frame::Parsed;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut at = 0u64;
    while let Some(shown) = usize::try_from(at).ok().and_then(|at| bytes.get(at..)) {
        match front(shown) {
            Parsed::Complete { value: Front::Empty(len), .. } => at += len as u64,
            Parsed::Complete { value: Front::Command(command), .. } => {
                let _ = classify(&command);
                if let Parsed::Complete { len, .. } = command.arguments(16) {
                    assert!(len <= shown.len());
                }
                let (start, mut rest) = command.rest();
                match rest.cover(&shown[start..]) {
                    Ok(covered) if rest.is_done() => at += start as u64 + covered,
                    _ => return,
                }
            }
            Parsed::Incomplete { at_least } => {
                assert!(at_least > shown.len());
                return;
            }
            Parsed::Invalid(_) => return,
        }
    }
});
