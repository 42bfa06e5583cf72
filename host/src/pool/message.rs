//! What the pools of different workers tell each other.

use std::sync::Arc;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::connection::Parcel;
use super::shelf::OwnedKey;
use crate::upstream::{Endpoint, Group};

/// A note from one worker's pools to another's.
pub(super) enum Message {
    /// There is room to open a connection to this endpoint, and you have waited longest.
    Room(usize),
    /// A worker waits for a connection that you may have idle.
    Wanted {
        endpoint: usize,
        key: OwnedKey,
        worker: usize,
    },
    /// Here is a connection for you.
    Here(Box<Parcel>),
    /// This endpoint has been ejected: close what is idle, send who waits elsewhere.
    Ejected(usize),
}

/// What one worker's pools are made of; goes to its thread.
pub struct PoolsParts {
    pub(super) worker: usize,
    pub(super) mailboxes: Arc<[UnboundedSender<Message>]>,
    pub(super) inbox: UnboundedReceiver<Message>,
}

impl PoolsParts {
    /// The parts for all workers, in their order. Endpoints that come free from now on tell the
    /// worker that has waited longest.
    pub fn for_workers(count: usize, groups: &[Arc<Group>]) -> Vec<Self> {
        let (mailboxes, inboxes): (Vec<_>, Vec<_>) =
            (0..count).map(|_| unbounded_channel()).unzip();
        let mailboxes: Arc<[UnboundedSender<Message>]> = mailboxes.into();
        for group in groups {
            let mailboxes = Arc::clone(&mailboxes);
            group.on_endpoint(move |endpoint: &Arc<Endpoint>| {
                let mailboxes = Arc::clone(&mailboxes);
                let id = endpoint.id;
                endpoint.on_room(Box::new(move |worker| {
                    // A worker that has ended has nobody in line.
                    let _ = mailboxes[worker].send(Message::Room(id));
                }));
            });
        }
        inboxes
            .into_iter()
            .enumerate()
            .map(|(worker, inbox)| Self {
                worker,
                mailboxes: Arc::clone(&mailboxes),
                inbox,
            })
            .collect()
    }
}
