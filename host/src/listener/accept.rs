//! Accepting clients on a worker, and handing those over that another worker has more room for.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

/// How long a worker leaves the backlog alone when no client can be taken.
const PAUSE: Duration = Duration::from_millis(20);

/// Sessions of each worker, as all workers see them.
#[derive(Debug)]
pub struct Loads(Vec<AtomicUsize>);

impl Loads {
    /// No sessions on any of `workers`.
    pub fn new(workers: usize) -> Self {
        Self((0..workers).map(|_| AtomicUsize::new(0)).collect())
    }

    /// Counts a session in on a worker.
    pub fn enter(&self, worker: usize) {
        self.0[worker].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a session out.
    pub fn leave(&self, worker: usize) {
        self.0[worker].fetch_sub(1, Ordering::Relaxed);
    }

    /// Sessions of all workers.
    pub fn total(&self) -> usize {
        self.0.iter().map(|load| load.load(Ordering::Relaxed)).sum()
    }

    /// Where a client that `own` has accepted should live. With few sessions the spread is exact;
    /// with many, a worker keeps what the kernel gave it until it has an eighth more than the
    /// least loaded, since moving costs a wake-up.
    pub fn place(&self, own: usize) -> usize {
        let load = |worker: usize| self.0[worker].load(Ordering::Relaxed);
        let least = (0..self.0.len()).min_by_key(|&worker| load(worker));
        match least {
            Some(least) if load(own) > load(least) + load(least) / 8 => least,
            _ => own,
        }
    }
}

/// Accepts clients for ever, and gives each to `admit`. While `full` says so, clients wait in the
/// backlog. Running out of descriptors is logged and tried again: it passes when sessions end.
pub async fn accept(
    name: &str,
    listener: TcpListener,
    full: impl Fn() -> bool,
    mut admit: impl FnMut(TcpStream, SocketAddr),
) {
    let mut complained = false;
    loop {
        if full() {
            tokio::time::sleep(PAUSE).await;
            continue;
        }
        match listener.accept().await {
            Ok((client, peer)) => {
                complained = false;
                admit(client, peer);
            }
            Err(error) if is_of_one_client(&error) => {}
            Err(error) => {
                if !std::mem::replace(&mut complained, true) {
                    tracing::error!(
                        listener = name,
                        "cannot accept clients: {error}; they wait until sessions end (raise `ulimit -n`?)"
                    );
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// An error of the client that was being accepted, not of the listener.
fn is_of_one_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_sessions_are_spread_exactly_whoever_accepts_them() {
        let loads = Loads::new(4);
        for _ in 0..8 {
            loads.enter(loads.place(0));
        }
        assert!((0..4).all(|worker| loads.0[worker].load(Ordering::Relaxed) == 2));
    }

    #[test]
    fn many_sessions_stay_where_they_are_accepted_unless_far_apart() {
        let loads = Loads::new(2);
        for _ in 0..100 {
            loads.enter(0);
            loads.enter(1);
        }
        loads.enter(0);
        assert_eq!(loads.place(0), 0);
        for _ in 0..13 {
            loads.enter(0);
        }
        assert_eq!(loads.place(0), 1);
    }
}
