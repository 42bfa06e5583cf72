//! Runs other programs, and says in one line what failed and how to run it again by hand.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use rustix::process::{Resource, getrlimit, setrlimit};

/// The cargo that runs this command, or the first one in PATH.
pub(crate) fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// Whether this process may install packages.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether `program` can be started from PATH.
pub(crate) fn has(program: &str) -> bool {
    let Some(path) = std::env::var_os("PATH") else {
        return false;
    };
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Lets this process and its children open so many files, or as many as they may; returns how many
/// that is. Shells often allow 1024, and more when asked.
pub(crate) fn raise_file_limit(files: u64) -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    let Some(now) = limit.current.filter(|now| *now < files) else {
        return files;
    };
    let allowed = limit.maximum.map_or(files, |most| most.min(files));
    limit.current = Some(allowed);
    if let Err(why) = setrlimit(Resource::Nofile, limit) {
        eprintln!("warning: cannot raise the limit of open files to {allowed}: {why}");
        return now;
    }
    if allowed < files {
        eprintln!("warning: {allowed} open files are allowed, where {files} are wanted: ulimit -n");
    }
    allowed
}

/// A command that can be printed as one would type it.
#[derive(Debug)]
pub(crate) struct Cmd {
    program: OsString,
    args: Vec<OsString>,
    set: Vec<(OsString, OsString)>,
    unset: Vec<OsString>,
    dir: Option<PathBuf>,
}

impl Cmd {
    /// `program`, with no arguments yet.
    pub(crate) fn new(program: impl Into<OsString>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            set: Vec::new(),
            unset: Vec::new(),
            dir: None,
        }
    }

    /// Adds one argument.
    pub(crate) fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds arguments.
    pub(crate) fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets an environment variable.
    pub(crate) fn env(mut self, key: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.set.push((key.into(), value.into()));
        self
    }

    /// Takes a variable out of the environment.
    pub(crate) fn env_remove(mut self, key: impl Into<OsString>) -> Self {
        self.unset.push(key.into());
        self
    }

    /// Runs it in this folder.
    pub(crate) fn current_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// Runs it with this terminal; an exit status other than 0 is an error.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let status = self
            .command()
            .status()
            .map_err(|why| self.not_started(&why))?;
        if !status.success() {
            bail!("`{self}` failed: {status}");
        }
        Ok(())
    }

    /// Runs it and returns what it printed.
    pub(crate) fn read(&self) -> anyhow::Result<String> {
        let output = self
            .command()
            .stdin(Stdio::null())
            .output()
            .map_err(|why| self.not_started(&why))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("`{self}` failed: {}: {}", output.status, said.trim());
        }
        let text = String::from_utf8(output.stdout)
            .with_context(|| format!("`{self}` printed something that is not UTF-8"))?;
        Ok(text.trim_end().to_owned())
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.args);
        command.envs(self.set.iter().map(|(key, value)| (key, value)));
        for key in &self.unset {
            command.env_remove(key);
        }
        if let Some(dir) = &self.dir {
            command.current_dir(dir);
        }
        command
    }

    fn not_started(&self, why: &std::io::Error) -> anyhow::Error {
        let program = self.program.to_string_lossy();
        match why.kind() {
            ErrorKind::NotFound => {
                anyhow::anyhow!("there is no program {program:?}; install it, or put it into PATH")
            }
            _ => anyhow::anyhow!("cannot start {program:?}: {why}"),
        }
    }
}

impl fmt::Display for Cmd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (key, value) in &self.set {
            write!(f, "{}={} ", key.to_string_lossy(), quoted(value))?;
        }
        let program = Path::new(&self.program);
        // The path of a toolchain says nothing to a reader who would type its name.
        let shown = match program.file_name() {
            Some(name) if name == "cargo" && !program.starts_with("/usr") => name,
            _ => program.as_os_str(),
        };
        f.write_str(&quoted(shown))?;
        for arg in &self.args {
            write!(f, " {}", quoted(arg))?;
        }
        Ok(())
    }
}

fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=+./:,@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.into_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn a_command_is_printed_as_one_types_it() {
        let cmd = Cmd::new("/opt/rust/bin/cargo")
            .env("RUSTFLAGS", "-D warnings")
            .args(["test", "it's", ""]);
        assert_eq!(
            cmd.to_string(),
            r"RUSTFLAGS='-D warnings' cargo test 'it'\''s' ''"
        );
    }

    #[test]
    fn a_failure_names_the_command_and_what_it_said() {
        let why = Cmd::new("sh")
            .args(["-c", "echo no luck >&2; exit 3"])
            .read()
            .unwrap_err()
            .to_string();
        assert!(why.contains("exit 3"), "{why}");
        assert!(why.contains("no luck"), "{why}");
    }

    #[test]
    fn a_missing_program_is_named() {
        let why = Cmd::new("no-such-program").run().unwrap_err().to_string();
        assert!(why.contains("no-such-program"), "{why}");
    }
}
