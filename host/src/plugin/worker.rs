//! The instances of one plugin on one worker thread, and which session goes to which.
//!
//! Sessions fill the fullest instance that has room, so that the others drain; one without
//! sessions is kept for the next, further ones are dropped. No locks: all of it belongs to the
//! thread that made it.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use super::conversation::Conversations;
use super::hooks::{Fault, MeasureReplies};
use super::instance::{Instance, RepliesHandle, SessionHandle};
use super::load::Plugin;
use super::metrics::{Hook, Shard};
use super::plugin_log::PluginLog;
use crate::contract::SessionInfo;

/// A plugin on one worker. Cheap to clone; not to be sent to another thread.
#[derive(Clone)]
pub struct WorkerPlugin {
    worker: Rc<Worker>,
}

pub(super) struct Worker {
    pub(super) plugin: Arc<Plugin>,
    pub(super) shard: Arc<Shard>,
    /// One of its instances runs guest code.
    pub(super) inside: Arc<AtomicBool>,
    instances: RefCell<Vec<Rc<Instance>>>,
    log: Arc<PluginLog>,
}

impl WorkerPlugin {
    /// Starts with no instance; the first session makes one.
    pub fn new(plugin: Arc<Plugin>) -> Self {
        let shard = plugin.metrics.shard();
        let log = PluginLog::new(Arc::clone(&plugin.name));
        let inside = plugin.ticking.watch();
        Self {
            worker: Rc::new(Worker {
                plugin,
                shard,
                inside,
                instances: RefCell::default(),
                log,
            }),
        }
    }

    /// The plugin.
    pub fn plugin(&self) -> &Arc<Plugin> {
        &self.worker.plugin
    }

    /// The conversations of the plugin on this worker.
    pub fn conversations(&self) -> Conversations {
        let log = Arc::clone(&self.worker.log);
        Conversations::with_log(Arc::clone(self.plugin()), log)
    }

    /// Tells the log what it has been spared, if it has. To be called once in a while.
    pub fn tell_left_out(&self) {
        self.worker.log.tell_left_out(Instant::now());
    }

    /// Instances that are alive on this worker.
    pub fn instances(&self) -> usize {
        self.worker.instances.borrow().len()
    }

    /// Begins a session on an instance with room, or on a fresh one. A fault here ends only
    /// this session, and those of the instance that it would have joined.
    pub fn open(&self, info: &SessionInfo) -> Result<SessionHandle, Fault> {
        let instance = self.worker.instance()?;
        SessionHandle::open(&self.worker, instance, info)
    }

    /// Begins to measure the replies of a connection, on an instance as for a session.
    pub fn measure(&self) -> Result<Box<dyn MeasureReplies>, Fault> {
        let instance = self.worker.instance()?;
        Ok(Box::new(RepliesHandle::open(&self.worker, instance)?))
    }
}

impl Worker {
    /// One with room for another session.
    fn instance(&self) -> Result<Rc<Instance>, Fault> {
        match self.with_room() {
            Some(instance) => Ok(instance),
            None => self.fresh(),
        }
    }

    fn with_room(&self) -> Option<Rc<Instance>> {
        let limit = self.plugin.limits.sessions_per_instance.max(1) as usize;
        let instances = self.instances.borrow();
        let with_room = instances.iter().filter(|one| one.sessions() < limit);
        with_room.max_by_key(|one| one.sessions()).cloned()
    }

    fn fresh(&self) -> Result<Rc<Instance>, Fault> {
        self.shard.call(Hook::Configure);
        let instance =
            Instance::new(&self.plugin, &self.log).inspect_err(|fault| self.report(fault, 1))?;
        let instance = Rc::new(instance);
        self.instances.borrow_mut().push(Rc::clone(&instance));
        self.shard.instances.fetch_add(1, Relaxed);
        Ok(instance)
    }

    /// An instance has faulted: nobody gets it any more, and all its sessions end.
    pub(super) fn failed(&self, instance: &Rc<Instance>, fault: &Fault) {
        let ended = instance.end(fault);
        self.forget(instance);
        self.report(fault, ended);
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

    fn report(&self, fault: &Fault, sessions: usize) {
        self.shard.fault(fault);
        self.log.fault(fault, sessions, Instant::now());
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
