//! Any bytes as replies, whole and in pieces: the same outcome, and nothing past a frame.
#![no_main]

use leaseway_plugin_redis::resp::reply::{Invalid, Replies};
use libfuzzer_sys::fuzz_target;

/// Shows the bytes in pieces of so many, as the host does.
fn measure(bytes: &[u8], pieces: usize, most: u64) -> Result<(u64, u64), Invalid> {
    let (mut replies, mut covered, mut count) = (Replies::default(), 0u64, 0);
    for end in (0..bytes.len()).step_by(pieces).skip(1).chain([bytes.len()]) {
        let shown = usize::try_from(covered).ok().and_then(|at| bytes.get(at..end));
        let Some(shown) = shown.filter(|shown| !shown.is_empty() && count < most) else {
            continue;
        };
        let found = replies.cover(shown, most - count)?;
        covered = covered.saturating_add(found.bytes);
        count += found.replies;
    }
    Ok((covered, count))
}

fuzz_target!(|input: (&[u8], u8, u8)| {
    let (bytes, pieces, most) = input;
    let (pieces, most) = (usize::from(pieces).max(1), u64::from(most));
    let whole = measure(bytes, usize::MAX, most);
    assert_eq!(measure(bytes, pieces, most), whole);
    if let Ok((covered, count)) = whole
        && count == most
        && let Some(frames) = usize::try_from(covered).ok().and_then(|end| bytes.get(..end))
    {
        assert_eq!(measure(frames, usize::MAX, most), whole);
    }
});
