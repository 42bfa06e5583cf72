//! `leaseway run` and `leaseway relay`: start, wait for a signal, drain.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

use crate::config::Config;
use crate::relay::Relay;
use crate::session::Phase;

/// How often a drain looks whether the last session has ended.
const LOOK: Duration = Duration::from_millis(20);

/// Runs a relay until it has been told to stop and has drained.
///
/// # Errors
/// It cannot start.
pub fn run(config: &Config) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the main thread's event loop")?;
    runtime.block_on(async {
        // Before anything listens, so that no signal is missed.
        let mut signals = Signals::new().context("cannot listen for signals")?;
        let relay = Relay::start(config)?;
        for (name, address) in relay.listening() {
            tracing::info!(listener = name, "listening on {address}");
        }
        if let Some(address) = relay.admin_address() {
            tracing::info!("metrics and status on http://{address}");
        }
        let first = signals.next().await;
        drain(&relay, &mut signals, first, config.process.drain_timeout).await;
        relay.join();
        tracing::info!("stopped");
        Ok(ExitCode::SUCCESS)
    })
}

async fn drain(relay: &Relay, signals: &mut Signals, first: &str, timeout: Duration) {
    tracing::info!(
        sessions = relay.sessions(),
        "{first}: no new clients; sessions have {timeout:?} to end their leases (a second signal ends them now)"
    );
    relay.set_phase(Phase::Draining);
    let deadline = Instant::now() + timeout;
    while !relay.is_finished() {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            second = signals.next() => {
                tracing::warn!(sessions = relay.sessions(), "{second}: ending all sessions now");
                break;
            }
            () = tokio::time::sleep_until(deadline) => {
                tracing::warn!(
                    sessions = relay.sessions(),
                    "drain-timeout of {timeout:?} has passed: ending all sessions"
                );
                break;
            }
        }
    }
    relay.set_phase(Phase::Stopping);
}

/// The signals that end a relay.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
