//! The admin address: `/metrics`, `/ready` and `/status` over HTTP.
//!
//! Owns one thread with an event loop of its own, so that a scrape never waits for a worker and a
//! worker never for a scrape. Reads what others count and never changes the relay. Started by the
//! relay before its workers, stopped after them.

mod pages;
mod readiness;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use prometheus_client::registry::Registry;
use tokio::sync::oneshot;

pub use readiness::{Readiness, State};

/// Makes what `/status` shows, anew for each request, on the admin thread.
pub type Status = Arc<dyn Fn() -> serde_json::Value + Send + Sync>;

/// The admin address cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("admin cannot {action} {address}: {why}; {mend}")]
pub struct AdminError {
    action: &'static str,
    address: SocketAddr,
    /// Part of the message, so no source of the error.
    why: io::Error,
    mend: &'static str,
}

/// A running admin address. Dropping it stops it too, without waiting.
#[derive(Debug)]
pub struct AdminHandle {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl AdminHandle {
    /// The address that is served; where port 0 was asked for, with the port that it became.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes the address and its connections, and waits until the thread has ended.
    pub fn stop(self) {
        // Fails only where the thread is gone already.
        let _ = self.stop.send(());
        let _ = self.thread.join();
    }
}

/// Binds `bind` before it returns, and serves it until it is stopped.
///
/// # Errors
/// The address cannot be bound, or the operating system gives no thread.
pub fn start(
    bind: SocketAddr,
    metrics: Arc<Registry>,
    readiness: Readiness,
    status: Status,
) -> Result<AdminHandle, AdminError> {
    let fail_bind = |why: io::Error| AdminError {
        action: "bind",
        address: bind,
        mend: mend(&why),
        why,
    };
    let fail_serve = |why| AdminError {
        action: "serve",
        address: bind,
        why,
        mend: "check the limits of the process (`ulimit -u -n`)",
    };
    let socket = TcpListener::bind(bind).map_err(fail_bind)?;
    socket.set_nonblocking(true).map_err(fail_bind)?;
    let address = socket.local_addr().map_err(fail_bind)?;

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(fail_serve)?;
    let listener = {
        let _context = runtime.enter();
        tokio::net::TcpListener::from_std(socket).map_err(fail_serve)?
    };
    let router = pages::router(pages::Sources {
        metrics,
        readiness,
        status,
    });
    let (stop, stopped) = oneshot::channel::<()>();
    let serve = move || {
        runtime.block_on(async {
            tokio::select! {
                // Both a message and a dropped handle end it.
                _ = stopped => {}
                served = axum::serve(listener, router) => {
                    if let Err(error) = served {
                        tracing::error!("admin at {address} has ended: {error}");
                    }
                }
            }
        });
    };
    let thread = std::thread::Builder::new()
        .name("admin".to_owned())
        .spawn(serve)
        .map_err(fail_serve)?;
    Ok(AdminHandle {
        address,
        stop,
        thread,
    })
}

fn mend(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "stop what listens there, or choose another port",
        io::ErrorKind::PermissionDenied => "choose a port above 1023",
        io::ErrorKind::AddrNotAvailable => "choose an address of this machine",
        _ => "check the address",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::time::Duration;

    use prometheus_client::metrics::counter::Counter;
    use serde_json::json;

    use super::*;

    fn loopback() -> SocketAddr {
        "127.0.0.1:0".parse().unwrap()
    }

    fn start_with(readiness: &Readiness) -> AdminHandle {
        let mut metrics = Registry::default();
        let sessions = Counter::<u64>::default();
        sessions.inc_by(7);
        metrics.register("sessions", "Sessions so far", sessions);
        let status: Status = Arc::new(|| json!({ "workers": 2 }));
        start(loopback(), Arc::new(metrics), readiness.clone(), status).unwrap()
    }

    fn get(address: SocketAddr, path: &str) -> String {
        let mut client = TcpStream::connect(address).unwrap();
        client
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        write!(
            client,
            "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn metrics_are_openmetrics_text() {
        let admin = start_with(&Readiness::new());
        let answer = get(admin.address(), "/metrics");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("content-type: application/openmetrics-text; version=1.0.0"));
        assert!(answer.contains("\nsessions_total 7\n"), "{answer}");
        assert!(answer.ends_with("# EOF\n"), "{answer}");
        admin.stop();
    }

    #[test]
    fn ready_follows_the_state_that_others_set() {
        let readiness = Readiness::new();
        let admin = start_with(&readiness);
        let answer = get(admin.address(), "/ready");
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(answer.ends_with("\r\n\r\nstarting\n"), "{answer}");
        readiness.set(State::Ready);
        let answer = get(admin.address(), "/ready");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(answer.ends_with("\r\n\r\nready\n"), "{answer}");
        readiness.set(State::Draining);
        let answer = get(admin.address(), "/ready");
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(answer.ends_with("\r\n\r\ndraining\n"), "{answer}");
        admin.stop();
    }

    #[test]
    fn status_is_json_for_people_and_programs() {
        let admin = start_with(&Readiness::new());
        let answer = get(admin.address(), "/status");
        assert!(
            answer.contains("content-type: application/json\r\n"),
            "{answer}"
        );
        assert!(
            answer.ends_with("\r\n\r\n{\n  \"workers\": 2\n}\n"),
            "{answer}"
        );
        admin.stop();
    }

    #[test]
    fn any_other_path_lists_the_paths_there_are() {
        let admin = start_with(&Readiness::new());
        let answer = get(admin.address(), "/stats?x=1");
        assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
        for text in ["nothing at /stats;", "/metrics", "/ready", "/status"] {
            assert!(answer.contains(text), "{text} in {answer}");
        }
        admin.stop();
    }

    #[test]
    fn stop_frees_the_address_though_a_client_stays() {
        let admin = start_with(&Readiness::new());
        let address = admin.address();
        let mut idle = TcpStream::connect(address).unwrap();
        idle.set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        admin.stop();
        assert!(TcpStream::connect(address).is_err());
        // Closed or reset, as the kernel sees fit; but not left hanging.
        let ended = match idle.read(&mut [0]) {
            Ok(count) => count == 0,
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        };
        assert!(ended);
    }

    #[test]
    fn an_address_that_is_taken_is_an_error_that_says_how_to_mend_it() {
        let holder = TcpListener::bind(loopback()).unwrap();
        let address = holder.local_addr().unwrap();
        let status: Status = Arc::new(|| json!({}));
        let error = start(address, Arc::default(), Readiness::new(), status).unwrap_err();
        let message = format!("{:#}", anyhow::Error::from(error));
        assert_eq!(message.matches("in use").count(), 1, "{message}");
        assert!(
            message.starts_with(&format!("admin cannot bind {address}: ")),
            "{message}"
        );
        assert!(message.ends_with("or choose another port"), "{message}");
    }
}
