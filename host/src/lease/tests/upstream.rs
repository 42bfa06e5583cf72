//! An upstream for tests of leases: accepts, counts, echoes, and hangs up when told.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::broadcast;

/// What a test sees of its upstream.
#[derive(Clone)]
pub(super) struct Upstream {
    pub(super) address: SocketAddr,
    open: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    accepted: Arc<AtomicUsize>,
    orders: broadcast::Sender<Order>,
}

#[derive(Clone, Copy)]
enum Order {
    HangUp,
    Blurt,
}

impl Upstream {
    /// Starts one on a runtime of its own thread, so that it is no part of any worker.
    pub(super) fn start() -> Self {
        let std = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        std.set_nonblocking(true).unwrap();
        let (orders, _) = broadcast::channel(16);
        let upstream = Self {
            address: std.local_addr().unwrap(),
            open: Arc::default(),
            most: Arc::default(),
            accepted: Arc::default(),
            orders,
        };
        let serving = upstream.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async move {
                let listener = TcpListener::from_std(std).unwrap();
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    serving.accepted.fetch_add(1, Ordering::SeqCst);
                    let open = serving.open.fetch_add(1, Ordering::SeqCst) + 1;
                    serving.most.fetch_max(open, Ordering::SeqCst);
                    let orders = serving.orders.subscribe();
                    tokio::spawn(serve(stream, orders, Arc::clone(&serving.open)));
                }
            });
        });
        upstream
    }

    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    pub(super) fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }

    pub(super) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// Closes every connection.
    pub(super) fn hang_up(&self) {
        self.orders.send(Order::HangUp).ok();
    }

    /// Sends a byte that nobody asked for on every connection.
    pub(super) fn blurt(&self) {
        self.orders.send(Order::Blurt).ok();
    }
}

async fn serve(
    mut stream: tokio::net::TcpStream,
    mut orders: broadcast::Receiver<Order>,
    open: Arc<AtomicUsize>,
) {
    let mut bytes = [0; 1024];
    loop {
        tokio::select! {
            order = orders.recv() => match order {
                Ok(Order::Blurt) => stream.write_all(b"!").await.unwrap(),
                Ok(Order::HangUp) | Err(_) => break,
            },
            read = stream.read(&mut bytes) => match read {
                Ok(0) | Err(_) => break,
                Ok(count) => if stream.write_all(&bytes[..count]).await.is_err() { break },
            },
        }
    }
    open.fetch_sub(1, Ordering::SeqCst);
}
