//! A server that is far away: everything passes, each way and the connect included, after half of
//! the round trip. For kernels that cannot delay packets themselves.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// There and back.
const ROUND_TRIP: Duration = Duration::from_millis(5);

/// Starts to relay to `server` from far away, for as long as the runtime lives.
///
/// A connection's first bytes pass a whole round trip later than the others: the kernel, which
/// knows of no distance, has accepted it at once.
pub(in crate::bench) async fn before(server: SocketAddr) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            tokio::spawn(async move {
                let opened = Instant::now();
                // Whoever it fails for sees its connection close.
                let _ = relay(near, server, opened).await;
            });
        }
    });
    Ok(address)
}

async fn relay(near: TcpStream, server: SocketAddr, opened: Instant) -> io::Result<()> {
    let far = TcpStream::connect(server).await?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    tokio::spawn(pass(far_read, near_write, opened));
    pass(near_read, far_write, opened + ROUND_TRIP).await
}

/// Passes bytes half a round trip after they came, none before `since` and half a round trip.
async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, since: Instant) -> io::Result<()> {
    let (queue, mut queued) = mpsc::channel::<(Instant, Vec<u8>)>(1024);
    let writer = tokio::spawn(async move {
        while let Some((due, bytes)) = queued.recv().await {
            sleep_until(due).await;
            to.write_all(&bytes).await?;
        }
        to.shutdown().await
    });
    let mut buffer = vec![0; 16 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let due = Instant::now().max(since) + ROUND_TRIP / 2;
        if queue.send((due, buffer[..count].to_vec())).await.is_err() {
            break;
        }
    }
    drop(queue);
    writer.await?
}
