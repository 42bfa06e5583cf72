//! Loading: everything about a plugin that must be right before anything listens.
//!
//! Reads the code, checks the contract, compiles, asks the plugin what it is and gives it its
//! config on an instance that is thrown away. Called at start, never by a worker.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use prometheus_client::registry::Registry;
use wasmtime::component::{HasSelf, Linker};
use wasmtime::{Cache, Config, Engine, OptLevel};

use super::component::{Checked, Interface, ModuleKind, Origin, one_line, prepare};
use super::config_files::WithFiles;
use super::direct::Direct;
use super::error::LoadError;
use super::fault::{check_target, explain};
use super::hooks::TimeLimit;
use super::limits::MAX_STACK;
use super::metrics::{Hook, Metrics, PluginMetrics};
use super::output::Speaker;
use super::plugin_log::PluginLog;
use super::state::{GuestState, begin};
use super::store::{self, SharedStore};
use super::ticker::{Ticker, Ticking};
use super::{builtin, cache, sandbox};
use crate::config::{ModuleSource, PluginConfig, PluginLimits};
use crate::contract::conversation_side::ConversationInstancePre;
use crate::contract::conversation_side::leaseway::plugin::connection;
use crate::contract::session_side::leaseway::plugin::log;
use crate::contract::session_side::{SessionInstance, SessionInstancePre};
use crate::contract::{PluginInfo, Settings};
use crate::file;

/// Stack of a conversation: what guest code may use, and as much for the host's own functions.
const CONVERSATION_STACK: usize = 2 * MAX_STACK;
/// No module is larger, so what is larger was given by mistake.
const MAX_MODULE: u64 = 256 << 20;

/// The WebAssembly engine of the process: compiles plugins and keeps their time.
pub struct Runtime {
    pub(super) engine: Engine,
    cache: Option<Cache>,
    ticker: Arc<Ticker>,
    metrics: Metrics,
}

/// A plugin that is ready to be instantiated on any worker.
pub struct Plugin {
    pub(super) name: Arc<str>,
    pub(super) engine: Engine,
    pub(super) sessions: SessionInstancePre<GuestState>,
    pub(super) conversations: ConversationInstancePre<GuestState>,
    /// For sessions, where they can do without the component.
    pub(super) direct: Option<Direct>,
    pub(super) config: WithFiles,
    pub(super) limits: PluginLimits,
    pub(super) metrics: Arc<PluginMetrics>,
    /// Shared by all instances.
    pub(super) store: Arc<SharedStore>,
    info: PluginInfo,
    settings: Settings,
    pub(super) ticking: Ticking,
}

/// What a file is, for `leaseway plugin inspect`.
#[derive(Debug, Clone, PartialEq)]
pub struct Inspection {
    /// What the plugin says of itself.
    pub info: PluginInfo,
    /// What the file is.
    pub kind: ModuleKind,
    /// The contract version it was built for.
    pub contract: String,
    /// The component's imports by full name, the adapter's included.
    pub imports: Vec<String>,
    /// The component's exports by full name.
    pub exports: Vec<String>,
    /// Why its session hooks are called through the component model, if they are: that costs some
    /// three times as much.
    pub through_component: Option<String>,
    /// Bytes of the file.
    pub file_bytes: usize,
    /// Bytes of the component made of it; of a component, the same.
    pub component_bytes: usize,
    /// Bytes of machine code and data that it compiles to.
    pub compiled_bytes: usize,
}

impl Runtime {
    /// Starts the engine. Compiled code is kept in `cache_dir`, so that the next start need not
    /// compile; a directory that cannot be used is a warning, and each start compiles.
    pub fn new(cache_dir: Option<&Path>) -> Result<Self, LoadError> {
        let cache = cache_dir.and_then(cache::open);
        let mut config = Config::new();
        config
            .wasm_component_model(true)
            .epoch_interruption(true)
            .cranelift_opt_level(OptLevel::Speed)
            .max_wasm_stack(MAX_STACK)
            .async_stack_size(CONVERSATION_STACK)
            .cache(cache.clone());
        let engine = Engine::new(&config).map_err(|e| LoadError::Engine(format!("{e:#}")))?;
        let ticker = Ticker::new(engine.clone())
            .map_err(|e| LoadError::Engine(format!("no thread: {e}")))?;
        Ok(Self {
            engine,
            cache,
            ticker,
            metrics: Metrics::default(),
        })
    }

    /// Loads a plugin, asks it what it is and gives it its config.
    pub fn load(&self, config: &PluginConfig) -> Result<Arc<Plugin>, LoadError> {
        let (module, bytes) = code(&config.name, &config.module)?;
        let origin = Origin {
            plugin: &config.name,
            module: &module,
        };
        let hits = self.cache_hits();
        let checked = prepare(&self.engine, &bytes, origin)?;
        let direct = self.direct(&checked, &bytes).inspect_err(|why| {
            tracing::debug!(plugin = config.name, "called as a component: {why}");
        });
        let plugin = self.finish(&checked, direct.ok(), config, origin)?;
        tracing::debug!(
            plugin = config.name,
            module,
            version = plugin.info.version,
            compiled = self.cache_hits() == hits,
            "plugin loaded"
        );
        Ok(Arc::new(plugin))
    }

    /// Looks into a module: loads it and asks it what it is, without a config. `name` is what
    /// errors call the plugin.
    pub fn inspect(&self, name: &str, module: &ModuleSource) -> Result<Inspection, LoadError> {
        let (module, bytes) = code(name, module)?;
        let origin = Origin {
            plugin: name,
            module: &module,
        };
        let checked = prepare(&self.engine, &bytes, origin)?;
        let sessions = self
            .link_sessions(&checked)
            .map_err(|e| origin.contract(&e))?;
        let ticking = self.ticker.start();
        let working = ticking.works();
        let limits = PluginLimits::default();
        let store = SharedStore::new(&limits, Arc::default());
        let info = Setup::new(&self.engine, &sessions, &limits, &store, origin)?.describe()?;
        drop((working, ticking));
        let image = checked.component.image_range();
        Ok(Inspection {
            info,
            through_component: self.direct(&checked, &bytes).err(),
            kind: checked.kind,
            contract: checked.contract,
            imports: checked.imports,
            exports: checked.exports,
            file_bytes: bytes.len(),
            component_bytes: checked.component_bytes,
            compiled_bytes: (image.end as usize).saturating_sub(image.start as usize),
        })
    }

    /// How often compiled code was found in the cache.
    pub(super) fn cache_hits(&self) -> usize {
        self.cache.as_ref().map_or(0, Cache::cache_hits)
    }

    /// Adds the metrics of all plugins, those that are loaded later included. Their names are
    /// complete: the registry must have no prefix.
    pub fn register(&self, registry: &mut Registry) {
        self.metrics.register(registry);
    }

    fn finish(
        &self,
        checked: &Checked,
        direct: Option<Direct>,
        config: &PluginConfig,
        origin: Origin<'_>,
    ) -> Result<Plugin, LoadError> {
        let sessions = self
            .link_sessions(checked)
            .map_err(|e| origin.contract(&e))?;
        let conversations = self
            .link_conversations(checked)
            .map_err(|e| origin.contract(&e))?;
        // Guest code runs from here on.
        let ticking = self.ticker.start();
        let working = ticking.works();
        let limits = &config.limits;
        let metrics = self.metrics.plugin(&config.name);
        let store = SharedStore::new(limits, metrics.store());
        let mut setup = Setup::new(&self.engine, &sessions, limits, &store, origin)?;
        let info = setup.describe()?;
        let with_files = WithFiles::read(config, &info.config_files)?;
        let settings = setup.configure(&with_files)?;
        check_settings(&settings, origin)?;
        drop(working);
        Ok(Plugin {
            name: Arc::from(config.name.as_str()),
            engine: self.engine.clone(),
            sessions,
            conversations,
            direct,
            config: with_files,
            limits: limits.clone(),
            metrics,
            store,
            info,
            settings,
            ticking,
        })
    }

    /// A core module without the component around it, or why its hooks cannot be called so.
    fn direct(&self, checked: &Checked, bytes: &[u8]) -> Result<Direct, String> {
        match checked.kind {
            ModuleKind::Component => Err("it is one".to_owned()),
            ModuleKind::CoreModule => {
                Direct::new(&self.engine, bytes).map_err(|why| one_line(&format!("{why:#}")))
            }
        }
    }

    fn link_sessions(&self, checked: &Checked) -> wasmtime::Result<SessionInstancePre<GuestState>> {
        let component = &checked.component;
        let mut linker = Linker::new(&self.engine);
        sandbox::define(&mut linker, &self.engine, component, false)?;
        log::add_to_linker::<_, HasSelf<GuestState>>(&mut linker, |state| state)?;
        store::define(&mut linker)?;
        // The plugin's world imports it, but no session hook can get hold of a connection.
        for (name, item) in component.component_type().imports(&self.engine) {
            if Interface::parse(name).is_some_and(|interface| interface.name == "connection") {
                sandbox::trap_all(&mut linker, &self.engine, name, &item.ty)?;
            }
        }
        SessionInstancePre::new(linker.instantiate_pre(component)?)
    }

    fn link_conversations(
        &self,
        checked: &Checked,
    ) -> wasmtime::Result<ConversationInstancePre<GuestState>> {
        let mut linker = Linker::new(&self.engine);
        sandbox::define(&mut linker, &self.engine, &checked.component, true)?;
        log::add_to_linker::<_, HasSelf<GuestState>>(&mut linker, |state| state)?;
        store::define(&mut linker)?;
        connection::add_to_linker::<_, HasSelf<GuestState>>(&mut linker, |state| state)?;
        ConversationInstancePre::new(linker.instantiate_pre(&checked.component)?)
    }
}

impl Plugin {
    /// The plugin's name in the config.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the plugin says of itself.
    pub fn info(&self) -> &PluginInfo {
        &self.info
    }

    /// What the plugin says to its config.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The limits of its instances.
    pub fn limits(&self) -> &PluginLimits {
        &self.limits
    }
}

/// The instance that is asked and then thrown away.
struct Setup<'a> {
    store: wasmtime::Store<GuestState>,
    instance: SessionInstance,
    origin: Origin<'a>,
}

impl<'a> Setup<'a> {
    fn new(
        engine: &Engine,
        sessions: &SessionInstancePre<GuestState>,
        limits: &PluginLimits,
        shared: &Arc<SharedStore>,
        origin: Origin<'a>,
    ) -> Result<Self, LoadError> {
        let log = PluginLog::new(Arc::from(origin.plugin));
        let time = TimeLimit::Setup(limits.hook);
        let shared = Arc::clone(shared);
        let mut store = GuestState::for_sessions(engine, log, shared, limits, time);
        begin(&mut store, Speaker::Plugin);
        match sessions.instantiate(&mut store) {
            Ok(instance) => Ok(Self {
                store,
                instance,
                origin,
            }),
            Err(error) => Err(fault(origin, Hook::Instantiate, &error, &mut store)),
        }
    }

    fn describe(&mut self) -> Result<PluginInfo, LoadError> {
        begin(&mut self.store, Speaker::Plugin);
        let meta = self.instance.leaseway_plugin_plugin_meta();
        let answer = meta.call_describe(&mut self.store);
        answer.map_err(|error| fault(self.origin, Hook::Describe, &error, &mut self.store))
    }

    fn configure(&mut self, config: &WithFiles) -> Result<Settings, LoadError> {
        begin(&mut self.store, Speaker::Plugin);
        let meta = self.instance.leaseway_plugin_plugin_meta();
        let answer = meta.call_configure(&mut self.store, &config.json);
        let answer =
            answer.map_err(|error| fault(self.origin, Hook::Configure, &error, &mut self.store))?;
        answer.map_err(|message| LoadError::Config {
            plugin: self.origin.plugin.to_owned(),
            message: config.refusal(&message),
        })
    }
}

fn fault(
    origin: Origin<'_>,
    hook: Hook,
    error: &wasmtime::Error,
    store: &mut wasmtime::Store<GuestState>,
) -> LoadError {
    let (plugin, module) = origin.names();
    LoadError::Fault {
        plugin,
        module,
        fault: explain(hook.name(), error, store.data_mut()),
    }
}

fn check_settings(settings: &Settings, origin: Origin<'_>) -> Result<(), LoadError> {
    check_target(&settings.default_target).map_err(|why| {
        let (plugin, module) = origin.names();
        LoadError::Contract {
            plugin,
            module,
            message: format!("its default target's {why}"),
        }
    })
}

/// What errors call the module, and its bytes.
fn code(plugin: &str, module: &ModuleSource) -> Result<(String, Cow<'static, [u8]>), LoadError> {
    match module {
        ModuleSource::Builtin(name) => match builtin::find(name) {
            Some(code) => Ok((format!("builtin:{name}"), Cow::Borrowed(code))),
            None => Err(builtin::missing(plugin, name)),
        },
        ModuleSource::File(path) => match file::read(path, MAX_MODULE) {
            Ok(code) => Ok((path.display().to_string(), Cow::Owned(code))),
            Err(why) => Err(LoadError::Read {
                plugin: plugin.to_owned(),
                path: path.to_owned(),
                why,
            }),
        },
    }
}
