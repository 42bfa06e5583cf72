//! `leaseway check`: says all that is wrong with a config, and starts nothing.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use crate::config::{self, Config};
use crate::plugin::Runtime;

/// Reads the config at `path`, loads its plugins, and prints what was found.
///
/// # Errors
/// Standard output cannot be written to.
pub fn check(path: &Path) -> io::Result<ExitCode> {
    let mut out = io::stdout().lock();
    let fine = report(path, &mut out)?;
    out.flush()?;
    Ok(if fine {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Whether the config can be run; `out` gets a line for each finding, and a last one to sum up.
fn report(path: &Path, out: &mut dyn Write) -> io::Result<bool> {
    let file = path.display();
    let (config, warnings) = match config::read(path) {
        Ok(read) => read,
        Err(errors) => {
            writeln!(out, "{errors}")?;
            // That it cannot be read is all there is to say.
            if !errors.is_unreadable() {
                let mistakes = count(errors.mistakes().len(), "mistake");
                writeln!(out, "{file} has {mistakes}")?;
            }
            return Ok(false);
        }
    };
    for warning in &warnings {
        writeln!(out, "warning: {warning}")?;
    }
    let unloadable = load_plugins(&config);
    for why in &unloadable {
        writeln!(out, "{file}: {why}")?;
    }
    if unloadable.is_empty() {
        writeln!(
            out,
            "{file} is fine: {}, {}, {}",
            count(config.listeners.len(), "listener"),
            count(config.plugins.len(), "plugin"),
            count(config.upstreams.len(), "upstream"),
        )?;
    } else {
        let plugins = count(unloadable.len(), "plugin");
        let verb = if unloadable.len() == 1 { "does" } else { "do" };
        writeln!(out, "{file} has {plugins} that {verb} not load")?;
    }
    Ok(unloadable.is_empty())
}

/// Why plugins do not load, one entry for each that does not.
fn load_plugins(config: &Config) -> Vec<String> {
    if config.plugins.is_empty() {
        return Vec::new();
    }
    match Runtime::new(config.process.cache_dir.as_deref()) {
        Ok(runtime) => config
            .plugins
            .iter()
            .filter_map(|plugin| runtime.load(plugin).err())
            .map(|error| error.to_string())
            .collect(),
        Err(error) => vec![error.to_string()],
    }
}

fn count(number: usize, of: &str) -> String {
    format!("{number} {of}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::path::PathBuf;

    use super::*;

    /// A directory of this test's own, removed when it ends.
    struct Dir(PathBuf);

    impl Dir {
        fn new(test: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("leaseway-{test}-{}", std::process::id()));
            std::fs::create_dir_all(&dir).unwrap();
            Self(dir)
        }

        fn check(&self, text: &str) -> (bool, String) {
            let file = self.0.join("c.toml");
            std::fs::write(&file, text).unwrap();
            let mut out = Vec::new();
            let fine = report(&file, &mut out).unwrap();
            let out = String::from_utf8(out).unwrap();
            (fine, out.replace(&format!("{}/", self.0.display()), ""))
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    const PLAIN: &str = "[process]\ncache-dir = false\n\
        [listeners.a]\nbind = \"127.0.0.1:0\"\nupstreams = [\"b\"]\n\
        [upstreams.b]\nendpoints = [\"127.0.0.1:1\"]\n";

    #[test]
    fn a_fine_config_is_summed_up() {
        let (fine, out) = Dir::new("fine").check(PLAIN);
        assert!(fine);
        assert_eq!(out, "c.toml is fine: 1 listener, 0 plugins, 1 upstream\n");
    }

    #[test]
    fn mistakes_are_listed_and_counted() {
        let (fine, out) = Dir::new("mistakes").check("[admin]\nbnd = 1\n[process]\nworkers = 0\n");
        assert!(!fine);
        assert_eq!(
            out,
            "c.toml:1:1: [admin]: \"bind\" is missing; write bind = \"127.0.0.1:9900\"\n\
             c.toml:1:1: there is no listener; add [listeners.NAME] with bind = \"127.0.0.1:6380\" and upstreams = [\"...\"]\n\
             c.toml:2:1: unknown key \"bnd\" in [admin]; did you mean \"bind\"?\n\
             c.toml:4:11: \"workers\" in [process]: 0 is out of range; write 1 to 1024\n\
             c.toml has 4 mistakes\n"
        );
    }

    #[test]
    fn a_plugin_that_does_not_load_is_named() {
        let text = format!("{PLAIN}[plugins.p]\nmodule = \"missing.wasm\"\n");
        let (fine, out) = Dir::new("plugin").check(&text);
        assert!(!fine);
        let lines: Vec<&str> = out.lines().collect();
        assert_eq!(lines.len(), 3, "{out}");
        assert!(
            lines[0].starts_with("warning: c.toml:8:10: [plugins.p] is loaded, but"),
            "{out}"
        );
        assert!(
            lines[1].starts_with("c.toml: plugin p: cannot read "),
            "{out}"
        );
        assert!(lines[1].contains("missing.wasm"), "{out}");
        assert_eq!(lines[2], "c.toml has 1 plugin that does not load");
    }

    #[test]
    fn a_file_that_a_plugins_config_names_is_looked_for_beside_the_config() {
        let dir = Dir::new("files");
        std::fs::write(dir.0.join("users.txt"), "a user").unwrap();
        let module = crate::plugin::tests::hostile().display();
        let check = |file: &str| {
            dir.check(&format!(
                "{PLAIN}[plugins.p]\nmodule = \"{module}\"\nconfig = {{ file = {file} }}\n"
            ))
        };
        assert!(check("\"users.txt\"").0);
        let (fine, out) = check("\"uers.txt\"");
        assert!(!fine);
        let line = "c.toml: plugin p: config: \"file\": cannot read uers.txt: No such file";
        assert!(out.lines().any(|one| one.starts_with(line)), "{out}");
    }

    #[test]
    fn a_file_that_is_not_there_has_no_mistakes() {
        let mut out = Vec::new();
        assert!(!report(Path::new("/nowhere/c.toml"), &mut out).unwrap());
        let out = String::from_utf8(out).unwrap();
        assert_eq!(out.lines().count(), 1, "{out}");
        assert!(
            out.starts_with("/nowhere/c.toml: cannot be read: "),
            "{out}"
        );
    }
}
