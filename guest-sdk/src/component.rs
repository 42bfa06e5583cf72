//! The component's exports, over any [`Exported`] plugin: from the contract's calls to the
//! author's traits. Called by the host, through the code that [`crate::export!`] writes.

use std::any::Any;
use std::cell::{OnceCell, RefCell};
use std::marker::PhantomData;
use std::rc::Rc;

use crate::bindings::exports::leaseway::plugin::{conversations, plugin_meta, session_hooks};
use crate::bindings::leaseway::plugin::connection::Connection as HostConnection;
use crate::export::Exported;
use crate::{
    Choice, Connection, Disposition, IoError, LeaseError, LeaseOutcome, Leased, MeasureReplies,
    PluginInfo, SessionInfo, Settings, Side, Span, Step, Target, Transport, config,
};

thread_local! {
    /// The configured plugin of this instance. A module has one, so its type is always the one
    /// that the module exports; a generic static could not say so.
    static PLUGIN: OnceCell<Rc<dyn Any>> = const { OnceCell::new() };
}

/// The configured plugin.
fn plugin<P: Exported>() -> Rc<P> {
    PLUGIN.with(|cell| {
        let Some(plugin) = cell.get() else {
            log_panics();
            panic!("the host must call `configure`, and it must succeed, before any hook")
        };
        match Rc::clone(plugin).downcast::<P>() {
            Ok(plugin) => plugin,
            Err(_) => panic!("this module exports two plugins"),
        }
    })
}

/// A panic ends in a trap, which tells the host nothing: so the reason goes to the log first.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| crate::error!("{panic}")));
}

/// What [`crate::export!`] exports.
pub struct Component<P>(PhantomData<P>);

impl<P: Exported> plugin_meta::Guest for Component<P> {
    fn describe() -> PluginInfo {
        PluginInfo {
            name: P::name().to_owned(),
            version: P::VERSION.to_owned(),
            hooks: P::hooks(),
            speaks_first: P::SPEAKS_FIRST,
            config_files: P::config_files(),
        }
    }

    fn configure(json: String) -> Result<Settings, String> {
        log_panics();
        let plugin = P::configure(config::parse(&json)?)?;
        let default_target = plugin.default_target();
        PLUGIN
            .with(|cell| cell.set(Rc::new(plugin)))
            .map_err(|_| "the host must call `configure` once only".to_owned())?;
        Ok(Settings { default_target })
    }
}

impl<P: Exported> session_hooks::Guest for Component<P> {
    type Session = Session<P>;
    type Replies = Replies<P>;
}

/// One session. The contract's methods share it, the author's do not: no hook is ever called
/// from within another.
pub struct Session<P: Exported>(RefCell<P::Session>);

impl<P: Exported> session_hooks::GuestSession for Session<P> {
    fn new(info: SessionInfo) -> Self {
        Self(RefCell::new(plugin::<P>().session(&info)))
    }

    fn choose_upstream(&self, client_bytes: Vec<u8>) -> Choice {
        P::choose_upstream(&mut self.0.borrow_mut(), &client_bytes)
    }

    fn on_leased(&self, lease: Leased) -> Vec<Step> {
        P::on_leased(&mut self.0.borrow_mut(), &lease).into()
    }

    fn on_lease_failed(&self, why: LeaseError) -> Vec<Step> {
        P::on_lease_failed(&mut self.0.borrow_mut(), &why).into()
    }

    fn on_data(&self, origin: Side, data: Vec<u8>) -> Vec<Step> {
        P::on_data(&mut self.0.borrow_mut(), origin, &data).into()
    }

    fn on_eof(&self, origin: Side) -> Vec<Step> {
        P::on_eof(&mut self.0.borrow_mut(), origin).into()
    }

    fn pool_return(&self, outcome: LeaseOutcome) -> Disposition {
        P::pool_return(&mut self.0.borrow_mut(), outcome)
    }

    fn on_request_failed(&self, why: LeaseError, replies: u32) -> Vec<u8> {
        P::on_request_failed(&mut self.0.borrow_mut(), &why, replies)
    }
}

/// The replies of one shared connection.
pub struct Replies<P>(RefCell<Box<dyn MeasureReplies>>, PhantomData<P>);

impl<P: Exported> session_hooks::GuestReplies for Replies<P> {
    fn new() -> Self {
        Self(RefCell::new(P::replies(&plugin::<P>())), PhantomData)
    }

    fn measure(&self, data: Vec<u8>) -> Result<Vec<Span>, String> {
        self.0.borrow_mut().measure(&data)
    }
}

impl<P: Exported> conversations::Guest for Component<P> {
    fn connect(c: &HostConnection, target: Target) -> Result<Vec<u8>, String> {
        converse(c, |c| P::connect(&plugin::<P>(), c, &target))
    }

    fn reset(c: &HostConnection, target: Target) -> Result<(), String> {
        converse(c, |c| P::reset(&plugin::<P>(), c, &target))
    }

    fn probe(c: &HostConnection, target: Target, idle_ms: u64) -> Result<(), String> {
        converse(c, |c| P::probe(&plugin::<P>(), c, &target, idle_ms))
    }
}

/// Runs a conversation over the host's connection.
fn converse<T>(
    host: &HostConnection,
    conversation: impl FnOnce(&mut Connection<'_>) -> Result<T, String>,
) -> Result<T, String> {
    let mut transport = HostTransport(host);
    let mut connection = Connection::new(&mut transport);
    let result = conversation(&mut connection)?;
    connection.finish()?;
    Ok(result)
}

/// The host's connection as a transport.
struct HostTransport<'c>(&'c HostConnection);

impl Transport for HostTransport<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), IoError> {
        self.0.write(bytes)
    }

    fn read(&mut self, max: u32) -> Result<Vec<u8>, IoError> {
        self.0.read(max)
    }

    fn read_exact(&mut self, count: u32) -> Result<Vec<u8>, IoError> {
        self.0.read_exact(count)
    }
}
