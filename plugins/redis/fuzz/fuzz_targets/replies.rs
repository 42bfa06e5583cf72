//! Replies split at any place are measured as they are whole.

#![no_main]

use leaseway_plugin_redis::resp::reply::Replies;
use libfuzzer_sys::fuzz_target;

/// Covers `bytes` as they come in pieces of `piece`; how far, and how many replies.
fn measure(bytes: &[u8], piece: usize) -> Option<(u64, u64)> {
    let (mut replies, mut covered, mut count) = (Replies::default(), 0_u64, 0);
    let mut end = 0;
    while end < bytes.len() {
        end = (end + piece).min(bytes.len());
        loop {
            let Some(shown) = usize::try_from(covered).ok().and_then(|at| bytes.get(at..end)) else {
                break;
            };
            let now = replies.cover(shown, u64::MAX).ok()?;
            covered = covered.saturating_add(now.bytes);
            count += now.replies;
            if now.bytes == 0 {
                break;
            }
        }
    }
    Some((covered, count))
}

fuzz_target!(|data: &[u8]| {
    let Some((&piece, bytes)) = data.split_first() else { return };
    let whole = measure(bytes, bytes.len().max(1));
    let pieces = measure(bytes, usize::from(piece).max(1));
    assert_eq!(whole, pieces);
});
