//! What is written to the log, for tests to look at.

use std::cell::RefCell;
use std::io::{self, Write};
use std::sync::Once;

thread_local! {
    static LOG: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Writes to the log of the thread that logs, which is the one of the test.
struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOG.with_borrow_mut(|log| log.extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is logged meanwhile. By one subscriber for all threads: of one that a single thread has,
/// a line that another thread reaches first does not learn.
pub(super) fn logged(run: impl FnOnce()) -> String {
    subscribe();
    LOG.take();
    run();
    String::from_utf8_lossy(&LOG.take()).into_owned()
}

/// The same of a task of this thread.
pub(super) async fn logged_async(run: impl Future<Output = ()>) -> String {
    subscribe();
    LOG.take();
    run.await;
    String::from_utf8_lossy(&LOG.take()).into_owned()
}

fn subscribe() {
    static SUBSCRIBED: Once = Once::new();
    SUBSCRIBED.call_once(|| {
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::DEBUG)
            .with_ansi(false)
            .with_writer(|| Log)
            .finish();
        tracing::subscriber::set_global_default(subscriber).expect("the only global one");
    });
}
