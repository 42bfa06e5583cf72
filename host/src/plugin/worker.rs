//! The instances of one plugin on one worker thread, and which session goes to which.
//!
//! Sessions fill the fullest instance that has room, so that the others drain; one without
//! sessions is kept for the next, further ones are dropped. No locks: all of it belongs to the
//! thread that made it.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::fault_log::FaultLog;
use super::hooks::Fault;
use super::instance::{Instance, SessionHandle};
use super::load::Plugin;
use super::metrics::{Hook, Shard};
use crate::contract::SessionInfo;

/// A plugin on one worker. Cheap to clone; not to be sent to another thread.
#[derive(Clone)]
pub struct WorkerPlugin {
    worker: Rc<Worker>,
}

pub(super) struct Worker {
    pub(super) plugin: Arc<Plugin>,
    pub(super) shard: Arc<Shard>,
    instances: RefCell<Vec<Rc<Instance>>>,
    fault_log: FaultLog,
}

impl WorkerPlugin {
    /// Starts with no instance; the first session makes one.
    pub fn new(plugin: Arc<Plugin>) -> Self {
        let shard = plugin.metrics.shard();
        Self {
            worker: Rc::new(Worker {
                plugin,
                shard,
                instances: RefCell::default(),
                fault_log: FaultLog::default(),
            }),
        }
    }

    /// The plugin.
    pub fn plugin(&self) -> &Arc<Plugin> {
        &self.worker.plugin
    }

    /// Instances that are alive on this worker.
    pub fn instances(&self) -> usize {
        self.worker.instances.borrow().len()
    }

    /// Begins a session on an instance with room, or on a fresh one. A fault here ends only
    /// this session, and those of the instance that it would have joined.
    pub fn open(&self, info: &SessionInfo) -> Result<SessionHandle, Fault> {
        let worker = &self.worker;
        let instance = match worker.with_room() {
            Some(instance) => instance,
            None => worker.fresh()?,
        };
        SessionHandle::open(worker, instance, info)
    }
}

impl Worker {
    fn with_room(&self) -> Option<Rc<Instance>> {
        let limit = self.plugin.limits.sessions_per_instance.max(1) as usize;
        let instances = self.instances.borrow();
        let with_room = instances.iter().filter(|one| one.sessions() < limit);
        with_room.max_by_key(|one| one.sessions()).cloned()
    }

    fn fresh(&self) -> Result<Rc<Instance>, Fault> {
        self.shard.call(Hook::Configure);
        let instance = Instance::new(&self.plugin).inspect_err(|fault| {
            self.report(Hook::Configure, fault, 1);
        })?;
        let instance = Rc::new(instance);
        self.instances.borrow_mut().push(Rc::clone(&instance));
        self.shard.instances.fetch_add(1, Relaxed);
        Ok(instance)
    }

    /// An instance has faulted: nobody gets it any more, and all its sessions end.
    pub(super) fn failed(&self, instance: &Rc<Instance>, hook: Hook, fault: &Fault) {
        let ended = instance.end(fault);
        self.forget(instance);
        self.report(hook, fault, ended);
    }

    /// A session has left: keep one instance without sessions, and no more.
    pub(super) fn left(&self, instance: &Rc<Instance>) {
        if instance.sessions() > 0 {
            return;
        }
        let instances = self.instances.borrow();
        let another = instances
            .iter()
            .any(|one| one.sessions() == 0 && !Rc::ptr_eq(one, instance));
        drop(instances);
        if another {
            self.forget(instance);
        }
    }

    fn forget(&self, instance: &Rc<Instance>) {
        let mut instances = self.instances.borrow_mut();
        let before = instances.len();
        instances.retain(|one| !Rc::ptr_eq(one, instance));
        if instances.len() < before {
            self.shard.instances.fetch_sub(1, Relaxed);
        }
    }

    fn report(&self, hook: Hook, fault: &Fault, sessions: usize) {
        self.shard.fault(hook, fault);
        self.fault_log.write(&self.plugin.name, fault, sessions);
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let left = self.instances.get_mut().len();
        self.shard
            .instances
            .fetch_sub(i64::try_from(left).unwrap_or(0), Relaxed);
    }
}
