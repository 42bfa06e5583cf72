//! Waiting for a condition instead of sleeping for a time.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// A deadline that only a hang can miss.
pub const GENEROUS: Duration = Duration::from_secs(30);

const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

/// Waits until `condition` holds.
///
/// # Panics
/// It does not within `deadline`; the message says what was waited for.
pub async fn eventually(what: &str, deadline: Duration, mut condition: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !condition().await {
        assert!(
            started.elapsed() < deadline,
            "not within {deadline:?}: {what}"
        );
        sleep(BETWEEN_LOOKS).await;
    }
}
