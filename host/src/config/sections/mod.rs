//! The sections of the config file, one file each; and what must hold between them.

mod checks;
mod listeners;
mod plugins;
mod process;
mod upstreams;

use std::path::Path;
use std::time::Duration;

use toml::de::DeTable;

use self::listeners::Listener;
pub(crate) use self::plugins::module;
pub(super) use self::upstreams::MAX_CONNECTIONS;
use super::model::{AdminConfig, Config};
use super::notes::{Notes, Span};
use super::table::Table;
use super::values;

/// No wait may be shorter, or it would be over before it began.
const SHORTEST: Duration = Duration::from_millis(1);

/// A section's name and where it stands.
struct Name {
    name: String,
    at: Span,
}

/// Reads the whole file. The result means something only if no mistake has been noted.
pub(super) fn read<'a>(notes: &'a Notes<'a>, keys: &'a DeTable<'a>, base_dir: &Path) -> Config {
    let mut root = Table::root(notes, keys);
    let process = process::read(root.table("process"), base_dir);
    let (plugin_names, plugins) = each(&mut root, "plugins", |name, table| {
        plugins::read(name, table, base_dir)
    });
    let (upstream_names, upstreams) = each(&mut root, "upstreams", upstreams::read);
    let (listener_names, listeners) = each(&mut root, "listeners", listeners::read);
    let admin = root.table("admin").and_then(admin);
    if listener_names.is_empty() && !root.is_broken() {
        root.wrong(
            root.at(),
            "there is no listener; add [listeners.NAME] with bind = \"127.0.0.1:6380\" and upstreams = [\"...\"]",
        );
    }
    root.finish();

    checks::names(notes, &listeners, &plugin_names, &upstream_names);
    checks::addresses(notes, &listeners, admin.as_ref());
    checks::unused(notes, &listeners, &plugin_names, &upstream_names);
    checks::probes(notes, &listeners, &upstreams, &upstream_names);
    Config {
        process,
        plugins,
        upstreams,
        listeners: listeners
            .into_iter()
            .map(|listener| listener.config)
            .collect(),
        admin: admin.map(|(admin, _)| admin),
    }
}

/// Reads `[KIND.NAME]` for each name. Names are returned for wrong sections too, so that who
/// names such a section is not told that it is missing.
fn each<'a, T>(
    root: &mut Table<'a>,
    kind: &'static str,
    mut read: impl FnMut(&str, Table<'a>) -> Option<T>,
) -> (Vec<Name>, Vec<T>) {
    let mut names = Vec::new();
    let mut sections = Vec::new();
    let tables = root
        .table(kind)
        .map(|table| table.named())
        .unwrap_or_default();
    for (name, table) in tables {
        if !is_name(&name) {
            table.wrong(
                table.at(),
                format!("{name:?} is not a name; use 1 to 64 letters, digits, \"-\" and \"_\""),
            );
        }
        names.push(Name {
            name: name.clone(),
            at: table.at().clone(),
        });
        sections.extend(read(&name, table));
    }
    (names, sections)
}

/// Names stand in log lines, metrics and messages.
fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// `[admin]`, and where its address stands.
fn admin(mut table: Table<'_>) -> Option<(AdminConfig, Span)> {
    let bind = table.required("bind", "\"127.0.0.1:9900\"", |value| {
        values::bind_address(value.text("127.0.0.1:9900")?)
    });
    let at = table.place_of("bind");
    table.finish();
    Some((AdminConfig { bind: bind? }, at))
}
