//! Looks, all the while that a test runs, how many connections a server has.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::redis::RedisServer;

const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// A watch that is going on.
#[derive(Debug)]
pub struct Watch {
    running: Arc<AtomicBool>,
    task: JoinHandle<Seen>,
}

/// What a watch has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Seen {
    /// How often it looked.
    pub looks: usize,
    /// The most connections at a time.
    pub most: usize,
}

impl Watch {
    /// Begins to look.
    #[must_use]
    pub fn start(redis: &Arc<RedisServer>) -> Self {
        let redis = Arc::clone(redis);
        let running = Arc::new(AtomicBool::new(true));
        let goes_on = Arc::clone(&running);
        let task = tokio::spawn(async move {
            let mut seen = Seen::default();
            while goes_on.load(Ordering::Relaxed) {
                seen.most = seen.most.max(redis.standing_clients().await);
                seen.looks += 1;
                tokio::time::sleep(BETWEEN_LOOKS).await;
            }
            seen
        });
        Self { running, task }
    }

    /// Ends it.
    ///
    /// # Panics
    /// The server has stopped answering.
    pub async fn end(self) -> Seen {
        self.running.store(false, Ordering::Relaxed);
        self.task.await.expect("the server answers every look")
    }
}
