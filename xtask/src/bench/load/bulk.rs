//! Bytes as fast as they go: a source behind the relay, and readers before it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::requests::WARM_UP;
use crate::bench::usage::Meter;

const BLOCK: usize = 256 << 10;

/// What one run has brought.
#[derive(Debug)]
pub(in crate::bench) struct Bulk {
    pub(in crate::bench) gigabytes_per_second: f64,
    pub(in crate::bench) cpu_seconds_per_gigabyte: f64,
}

/// A server that sends to whoever connects, until that one has gone. Its threads end with their
/// clients, and the one that accepts with this process.
pub(in crate::bench) fn source() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            thread::spawn(move || send(client));
        }
    });
    Ok(address)
}

fn send(mut client: TcpStream) {
    let block = vec![b'x'; BLOCK];
    while client.write_all(&block).is_ok() {}
}

/// Reads from so many streams for a time.
pub(in crate::bench) fn run(
    address: SocketAddr,
    streams: usize,
    time: Duration,
    meter: &Meter,
) -> anyhow::Result<Bulk> {
    let mut clients = Vec::new();
    for _ in 0..streams {
        let client = TcpStream::connect(address)
            .with_context(|| format!("a client cannot connect to {address}"))?;
        client.set_read_timeout(Some(Duration::from_secs(10)))?;
        clients.push(client);
    }
    let received = AtomicU64::new(0);
    thread::scope(|scope| {
        for client in &clients {
            let received = &received;
            scope.spawn(move || read(client, received));
        }
        thread::sleep(WARM_UP);
        let (began, cpu, bytes) = (Instant::now(), meter.cpu()?, received.load(Relaxed));
        thread::sleep(time);
        let (bytes, cpu) = (
            received.load(Relaxed) - bytes,
            meter.cpu()?.saturating_sub(cpu),
        );
        let elapsed = began.elapsed();
        for client in &clients {
            // The readers end with their streams.
            let _ = client.shutdown(std::net::Shutdown::Both);
        }
        if bytes == 0 {
            bail!("no byte came in {time:?}");
        }
        let gigabytes = bytes as f64 / 1e9;
        Ok(Bulk {
            gigabytes_per_second: gigabytes / elapsed.as_secs_f64(),
            cpu_seconds_per_gigabyte: cpu.as_secs_f64() / gigabytes,
        })
    })
}

fn read(mut client: &TcpStream, received: &AtomicU64) {
    let mut block = vec![0; BLOCK];
    while let Ok(count @ 1..) = client.read(&mut block) {
        received.fetch_add(count as u64, Relaxed);
    }
}
