//! What the sessions of one listener on one worker have in common.

use std::rc::Rc;
use std::sync::Arc;

use super::complaints::Complaints;
use super::counters::ListenerCounters;
use super::registry::Registry;
use super::shared::Crowds;
use super::targets::Targets;
use crate::config::ListenerConfig;
use crate::contract::{LeaseError, Target};
use crate::copy::BufferPool;
use crate::lease::{Leasing, borrow};
use crate::plugin::WorkerPlugin;
use crate::pool::{Caretaker, Pools};
use crate::upstream::Group;

/// Shared by the sessions of one listener on one worker.
pub struct ListenerContext {
    /// The listener's config.
    pub config: ListenerConfig,
    /// The plugin that governs its sessions; none copies plainly.
    pub plugin: Option<Rc<WorkerPlugin>>,
    /// Opens, resets and probes connections for this listener.
    pub caretaker: Rc<dyn Caretaker>,
    /// `max-shown` of the plugin.
    pub max_shown: usize,
    /// The listener's upstream groups; the first is the default.
    pub groups: Vec<Arc<Group>>,
    /// The targets that its sessions name.
    pub targets: Rc<Targets>,
    /// The worker's pools.
    pub pools: Rc<Pools>,
    /// The worker's buffers.
    pub buffers: Rc<BufferPool>,
    /// The worker's sessions.
    pub registry: Rc<Registry>,
    /// The listener's counters.
    pub counters: ListenerCounters,
    /// The worker's shared connections.
    pub crowds: Rc<Crowds>,
    /// What the log has been told of this listener's sessions.
    pub complaints: Complaints,
}

impl ListenerContext {
    /// The group that a target names: the first if it names none.
    pub(super) fn group(&self, name: Option<&str>) -> Option<&Arc<Group>> {
        match name {
            None => self.groups.first(),
            Some(name) => self.groups.iter().find(|group| group.name() == name),
        }
    }

    /// Borrows a connection for a target. With `fresh` it is opened anew.
    pub(super) fn borrow(&self, target: &Arc<Target>, fresh: bool) -> Leasing {
        match self.group(target.group.as_deref()) {
            Some(group) => borrow(&self.pools, group, &self.caretaker, target, fresh),
            None => {
                let name = target.group.clone().unwrap_or_default();
                Leasing::Ready(Err(LeaseError::UnknownGroup(name)))
            }
        }
    }
}
