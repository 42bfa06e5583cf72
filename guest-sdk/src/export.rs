//! Which hooks a plugin has, found out while compiling, and the macro that exports them.
//!
//! [`Has`] answers "does this type implement that trait?" by Rust's own rule that an inherent
//! item goes before a trait's of the same name: `Has<T>` has inherent items where `T` implements
//! the hook, and [`Fallback`] has the same items for every `T`. That works on concrete types
//! only, so [`crate::export!`] writes the calls down in the author's crate, as an implementation
//! of [`Exported`]; everything else is generic over that.

use std::marker::PhantomData;

use crate::{
    Choice, ChooseUpstream, Connect, Connection, Disposition, Hooks, LeaseError, LeaseOutcome,
    Leased, MeasureReplies, OnData, OnEof, OnLeaseFailed, OnLeased, OnRequestFailed, Plugin,
    PoolReturn, Probe, Replies, Reset, Side, Steps, Target,
};

/// A plugin that [`crate::export!`] has looked at: each hook, or a trap in its place. Not to be
/// implemented by hand.
#[allow(missing_docs)]
pub trait Exported: Plugin {
    const PACKAGE: &'static str;
    const VERSION: &'static str;

    fn hooks() -> Hooks;
    fn choose_upstream(session: &mut Self::Session, client_bytes: &[u8]) -> Choice;
    fn on_leased(session: &mut Self::Session, lease: &Leased) -> Steps;
    fn on_lease_failed(session: &mut Self::Session, why: &LeaseError) -> Steps;
    fn on_data(session: &mut Self::Session, origin: Side, data: &[u8]) -> Steps;
    fn on_eof(session: &mut Self::Session, origin: Side) -> Steps;
    fn pool_return(session: &mut Self::Session, outcome: LeaseOutcome) -> Disposition;
    fn connect(plugin: &Self, c: &mut Connection<'_>, target: &Target) -> Result<Vec<u8>, String>;
    fn reset(plugin: &Self, c: &mut Connection<'_>, target: &Target) -> Result<(), String>;
    fn probe(
        plugin: &Self,
        c: &mut Connection<'_>,
        target: &Target,
        idle_ms: u64,
    ) -> Result<(), String>;
    fn replies(plugin: &Self) -> Box<dyn MeasureReplies>;
    fn on_request_failed(session: &mut Self::Session, why: &LeaseError, replies: u32) -> Vec<u8>;

    /// [`Plugin::CONFIG_FILES`], as the contract has it.
    fn config_files() -> Vec<String> {
        let keys = Self::CONFIG_FILES.iter();
        keys.map(|key| (*key).to_owned()).collect()
    }

    /// The plugin's short name.
    fn name() -> &'static str {
        Self::NAME.unwrap_or_else(|| {
            let package = Self::PACKAGE;
            ["leaseway-plugin-", "leaseway-example-"]
                .iter()
                .find_map(|prefix| package.strip_prefix(prefix))
                .unwrap_or(package)
        })
    }
}

/// Has inherent items for each hook that `T` implements.
pub struct Has<T: ?Sized>(PhantomData<T>);

/// The same items as [`Has`], for hooks that `T` does not implement.
#[allow(missing_docs)]
pub trait Fallback<T: ?Sized> {
    const CHOOSE_UPSTREAM: Option<Hooks> = None;
    const ON_LEASED: Option<Hooks> = None;
    const ON_LEASE_FAILED: Option<Hooks> = None;
    const ON_DATA: Option<Hooks> = None;
    const ON_EOF: Option<Hooks> = None;
    const POOL_RETURN: Option<Hooks> = None;
    const CONNECT: Option<Hooks> = None;
    const RESET: Option<Hooks> = None;
    const PROBE: Option<Hooks> = None;
    const REPLIES: Option<Hooks> = None;
    const ON_REQUEST_FAILED: Option<Hooks> = None;

    fn choose_upstream(_: &mut T, _: &[u8]) -> Choice {
        left_out("choose-upstream")
    }
    fn on_leased(_: &mut T, _: &Leased) -> Steps {
        left_out("on-leased")
    }
    fn on_lease_failed(_: &mut T, _: &LeaseError) -> Steps {
        left_out("on-lease-failed")
    }
    fn on_data(_: &mut T, _: Side, _: &[u8]) -> Steps {
        left_out("on-data")
    }
    fn on_eof(_: &mut T, _: Side) -> Steps {
        left_out("on-eof")
    }
    fn pool_return(_: &mut T, _: LeaseOutcome) -> Disposition {
        left_out("pool-return")
    }
    fn connect(_: &T, _: &mut Connection<'_>, _: &Target) -> Result<Vec<u8>, String> {
        left_out("connect")
    }
    fn reset(_: &T, _: &mut Connection<'_>, _: &Target) -> Result<(), String> {
        left_out("reset")
    }
    fn probe(_: &T, _: &mut Connection<'_>, _: &Target, _: u64) -> Result<(), String> {
        left_out("probe")
    }
    fn replies(_: &T) -> Box<dyn MeasureReplies> {
        left_out("replies")
    }
    fn on_request_failed(_: &mut T, _: &LeaseError, _: u32) -> Vec<u8> {
        left_out("on-request-failed")
    }
}

impl<T: ?Sized> Fallback<T> for Has<T> {}

/// The host never calls a hook that `describe` left out; one that does is broken.
#[cold]
fn left_out(hook: &str) -> ! {
    panic!("the host called `{hook}`, which this plugin does not have")
}

/// The hooks that there are, as the contract's set.
pub fn union(hooks: [Option<Hooks>; 11]) -> Hooks {
    hooks
        .into_iter()
        .flatten()
        .fold(Hooks::empty(), |all, hook| all | hook)
}

/// Refuses, while compiling, a hook that stands on one of the two types and counts on the other:
/// the host would never hear of it.
pub const fn refuse_misplaced(here: Option<Hooks>, there: Option<Hooks>, why: &str) {
    if there.is_some() && here.is_none() {
        panic!("{}", why);
    }
}

/// The inherent items of [`Has`] for one hook.
macro_rules! hook {
    ($hook:ident, $flag:ident, $method:ident, $this:ty, ($($argument:ident: $type:ty),*), $result:ty) => {
        #[allow(missing_docs)]
        impl<T: $hook> Has<T> {
            pub const $flag: Option<Hooks> = Some(Hooks::$flag);

            #[inline]
            pub fn $method(this: $this, $($argument: $type),*) -> $result {
                this.$method($($argument),*)
            }
        }
    };
}

hook!(ChooseUpstream, CHOOSE_UPSTREAM, choose_upstream, &mut T, (client_bytes: &[u8]), Choice);
hook!(OnLeased, ON_LEASED, on_leased, &mut T, (lease: &Leased), Steps);
hook!(OnLeaseFailed, ON_LEASE_FAILED, on_lease_failed, &mut T, (why: &LeaseError), Steps);
hook!(OnData, ON_DATA, on_data, &mut T, (origin: Side, data: &[u8]), Steps);
hook!(OnEof, ON_EOF, on_eof, &mut T, (origin: Side), Steps);
hook!(PoolReturn, POOL_RETURN, pool_return, &mut T, (outcome: LeaseOutcome), Disposition);
hook!(Connect, CONNECT, connect, &T, (c: &mut Connection<'_>, target: &Target), Result<Vec<u8>, String>);
hook!(Reset, RESET, reset, &T, (c: &mut Connection<'_>, target: &Target), Result<(), String>);
hook!(Probe, PROBE, probe, &T, (c: &mut Connection<'_>, target: &Target, idle_ms: u64), Result<(), String>);
hook!(Replies, REPLIES, replies, &T, (), Box<dyn MeasureReplies>);
hook!(OnRequestFailed, ON_REQUEST_FAILED, on_request_failed, &mut T, (why: &LeaseError, replies: u32), Vec<u8>);

/// Make this type the plugin of the module. Once in a crate, at its top level.
///
/// Finds out which hooks the type and its session type implement, so that there is no list to
/// keep in step with them; takes name and version from the package. The type must not be
/// generic.
///
/// A hook that is implemented for the wrong one of the two types does not compile:
///
/// ```compile_fail
/// use leaseway_sdk::*;
///
/// struct Mine;
/// struct Session;
/// impl Plugin for Mine {
///     type Config = NoConfig;
///     type Session = Session;
///     fn configure(_: NoConfig) -> Result<Self, String> { Ok(Mine) }
///     fn session(&self, _: &SessionInfo) -> Session { Session }
/// }
/// // error: `OnEof` is a hook of the session: implement it for `Plugin::Session`
/// impl OnEof for Mine {
///     fn on_eof(&mut self, _: Side) -> Steps { Steps::new() }
/// }
/// export!(Mine);
/// # fn main() {}
/// ```
///
/// ```compile_fail
/// # use leaseway_sdk::*;
/// # struct Mine;
/// # struct Session;
/// # impl Plugin for Mine {
/// #     type Config = NoConfig;
/// #     type Session = Session;
/// #     fn configure(_: NoConfig) -> Result<Self, String> { Ok(Mine) }
/// #     fn session(&self, _: &SessionInfo) -> Session { Session }
/// # }
/// // error: `Probe` is a hook of the plugin: implement it for the type in `export!`
/// impl Probe for Session {
///     fn probe(&self, _: &mut Connection<'_>, _: &Target, _: u64) -> Result<(), String> { Ok(()) }
/// }
/// # export!(Mine);
/// # fn main() {}
/// ```
///
/// On the right ones it does:
///
/// ```
/// # use leaseway_sdk::*;
/// # struct Mine;
/// # struct Session;
/// # impl Plugin for Mine {
/// #     type Config = NoConfig;
/// #     type Session = Session;
/// #     fn configure(_: NoConfig) -> Result<Self, String> { Ok(Mine) }
/// #     fn session(&self, _: &SessionInfo) -> Session { Session }
/// # }
/// impl OnEof for Session {
///     fn on_eof(&mut self, _: Side) -> Steps { Steps::new() }
/// }
/// impl Probe for Mine {
///     fn probe(&self, _: &mut Connection<'_>, _: &Target, _: u64) -> Result<(), String> { Ok(()) }
/// }
/// # export!(Mine);
/// # fn main() {
/// let hooks = leaseway_sdk::testing::describe::<Mine>().hooks;
/// assert_eq!(hooks, Hooks::ON_EOF | Hooks::PROBE);
/// # }
/// ```
#[macro_export]
macro_rules! export {
    ($plugin:ty) => {
        const _: () = {
            use $crate::export::{Exported, Fallback as _, Has, refuse_misplaced};

            type OfPlugin = Has<$plugin>;
            type Session = <$plugin as $crate::Plugin>::Session;
            type OfSession = Has<Session>;

            const _: () = {
                refuse_misplaced(
                    OfSession::CHOOSE_UPSTREAM,
                    OfPlugin::CHOOSE_UPSTREAM,
                    "`ChooseUpstream` is a hook of the session: implement it for `Plugin::Session`",
                );
                refuse_misplaced(
                    OfSession::ON_LEASED,
                    OfPlugin::ON_LEASED,
                    "`OnLeased` is a hook of the session: implement it for `Plugin::Session`",
                );
                refuse_misplaced(
                    OfSession::ON_LEASE_FAILED,
                    OfPlugin::ON_LEASE_FAILED,
                    "`OnLeaseFailed` is a hook of the session: implement it for `Plugin::Session`",
                );
                refuse_misplaced(
                    OfSession::ON_DATA,
                    OfPlugin::ON_DATA,
                    "`OnData` is a hook of the session: implement it for `Plugin::Session`",
                );
                refuse_misplaced(
                    OfSession::ON_EOF,
                    OfPlugin::ON_EOF,
                    "`OnEof` is a hook of the session: implement it for `Plugin::Session`",
                );
                refuse_misplaced(
                    OfSession::POOL_RETURN,
                    OfPlugin::POOL_RETURN,
                    "`PoolReturn` is a hook of the session: implement it for `Plugin::Session`",
                );
                refuse_misplaced(
                    OfPlugin::CONNECT,
                    OfSession::CONNECT,
                    "`Connect` is a hook of the plugin: implement it for the type in `export!`",
                );
                refuse_misplaced(
                    OfPlugin::RESET,
                    OfSession::RESET,
                    "`Reset` is a hook of the plugin: implement it for the type in `export!`",
                );
                refuse_misplaced(
                    OfPlugin::PROBE,
                    OfSession::PROBE,
                    "`Probe` is a hook of the plugin: implement it for the type in `export!`",
                );
                refuse_misplaced(
                    OfPlugin::REPLIES,
                    OfSession::REPLIES,
                    "`Replies` is a hook of the plugin: implement it for the type in `export!`",
                );
                refuse_misplaced(
                    OfSession::ON_REQUEST_FAILED,
                    OfPlugin::ON_REQUEST_FAILED,
                    "`OnRequestFailed` is a hook of the session: implement it for `Plugin::Session`",
                );
            };

            impl Exported for $plugin {
                const PACKAGE: &'static str = ::core::env!("CARGO_PKG_NAME");
                const VERSION: &'static str = ::core::env!("CARGO_PKG_VERSION");

                fn hooks() -> $crate::Hooks {
                    $crate::export::union([
                        OfSession::CHOOSE_UPSTREAM,
                        OfSession::ON_LEASED,
                        OfSession::ON_LEASE_FAILED,
                        OfSession::ON_DATA,
                        OfSession::ON_EOF,
                        OfSession::POOL_RETURN,
                        OfPlugin::CONNECT,
                        OfPlugin::RESET,
                        OfPlugin::PROBE,
                        OfPlugin::REPLIES,
                        OfSession::ON_REQUEST_FAILED,
                    ])
                }
                fn choose_upstream(session: &mut Session, client_bytes: &[u8]) -> $crate::Choice {
                    OfSession::choose_upstream(session, client_bytes)
                }
                fn on_leased(session: &mut Session, lease: &$crate::Leased) -> $crate::Steps {
                    OfSession::on_leased(session, lease)
                }
                fn on_lease_failed(
                    session: &mut Session,
                    why: &$crate::LeaseError,
                ) -> $crate::Steps {
                    OfSession::on_lease_failed(session, why)
                }
                fn on_data(
                    session: &mut Session,
                    origin: $crate::Side,
                    data: &[u8],
                ) -> $crate::Steps {
                    OfSession::on_data(session, origin, data)
                }
                fn on_eof(session: &mut Session, origin: $crate::Side) -> $crate::Steps {
                    OfSession::on_eof(session, origin)
                }
                fn pool_return(
                    session: &mut Session,
                    outcome: $crate::LeaseOutcome,
                ) -> $crate::Disposition {
                    OfSession::pool_return(session, outcome)
                }
                fn connect(
                    plugin: &Self,
                    c: &mut $crate::Connection<'_>,
                    target: &$crate::Target,
                ) -> ::core::result::Result<::std::vec::Vec<u8>, ::std::string::String> {
                    OfPlugin::connect(plugin, c, target)
                }
                fn reset(
                    plugin: &Self,
                    c: &mut $crate::Connection<'_>,
                    target: &$crate::Target,
                ) -> ::core::result::Result<(), ::std::string::String> {
                    OfPlugin::reset(plugin, c, target)
                }
                fn probe(
                    plugin: &Self,
                    c: &mut $crate::Connection<'_>,
                    target: &$crate::Target,
                    idle_ms: u64,
                ) -> ::core::result::Result<(), ::std::string::String> {
                    OfPlugin::probe(plugin, c, target, idle_ms)
                }
                fn replies(plugin: &Self) -> ::std::boxed::Box<dyn $crate::MeasureReplies> {
                    OfPlugin::replies(plugin)
                }
                fn on_request_failed(
                    session: &mut Session,
                    why: &$crate::LeaseError,
                    replies: u32,
                ) -> ::std::vec::Vec<u8> {
                    OfSession::on_request_failed(session, why, replies)
                }
            }

            #[cfg(target_arch = "wasm32")]
            type Component = $crate::component::Component<$plugin>;
            #[cfg(target_arch = "wasm32")]
    $crate::bindings::export_component!(Component with_types_in $crate::bindings);
        };
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    const EOF: Option<Hooks> = Some(Hooks::ON_EOF);

    #[test]
    #[should_panic(expected = "implement it for `Plugin::Session`")]
    fn a_hook_on_the_wrong_type_is_refused_with_what_to_do() {
        refuse_misplaced(None, EOF, "implement it for `Plugin::Session`");
    }

    #[test]
    fn a_hook_on_the_right_type_or_on_both_is_not() {
        refuse_misplaced(EOF, None, "");
        refuse_misplaced(EOF, EOF, "");
        refuse_misplaced(None, None, "");
    }
}
