//! Reading requests never panics, and never covers more than a frame says.

#![no_main]

use leaseway_plugin_redis::resp::request::{Front, front};
use leaseway_sdk::frame::Parsed;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Parsed::Complete { value: Front::Command(command), .. } = front(data) {
        let _ = command.arguments(8);
        let (start, mut rest) = command.rest();
        assert!(start <= data.len());
        let _ = rest.cover(&data[start..]);
    }
});
