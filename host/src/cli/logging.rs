//! The log: where lines go, how they look, and which are written.
//!
//! Set up once, before anything else runs. The rest of the host only emits events.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use tracing::{Dispatch, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::Directive;
use tracing_subscriber::fmt::MakeWriter;

use super::args::{LogArgs, LogFormat};
use super::log_writer::LogWriter;

/// How long the end of the process waits for the last lines to be read.
const FLUSH: Duration = Duration::from_secs(1);

/// The log cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The filter is not one.
    #[error(
        "cannot read {directive:?} in the log filter {filter:?}: {why}; write error, warn, info, debug or trace, as in \"info,leaseway::pool=debug\" (from --log or LEASEWAY_LOG)"
    )]
    Filter {
        /// What was given.
        filter: String,
        /// The part of it that is none.
        directive: String,
        /// What is wrong with it.
        why: String,
    },
    /// The operating system gives no thread to write it.
    #[error(
        "cannot start the thread that writes the log: {0}; check the limits of the process (`ulimit -u`)"
    )]
    Thread(io::Error),
    /// It has been set up already.
    #[error("the log has been set up before; this is a mistake in leaseway")]
    Twice,
}

/// The log of the process. What has been logged is written when it is dropped, if that takes no
/// longer than a second.
pub struct Log {
    format: LogFormat,
    writer: LogWriter,
}

/// Sends the log of this process to standard error, from now on.
///
/// # Errors
/// The filter cannot be read, there is no thread, or this has been called before.
pub fn init(args: &LogArgs) -> Result<Log, LoggingError> {
    let terminal = io::stderr().is_terminal();
    let colours = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let format = format_for(args.log_format, terminal);
    // Past the queue, since it is the queue that was full.
    let direct = Dispatch::new(subscriber(format, "warn", colours, io::stderr)?);
    let tell = move |count: u64| {
        tracing::dispatcher::with_default(&direct, || {
            tracing::warn!("{count} log lines left out: standard error is not read fast enough");
        });
    };
    let writer = LogWriter::start(io::stderr(), tell).map_err(LoggingError::Thread)?;
    let lines = writer.clone();
    let subscriber = subscriber(format, &args.log, colours, move || lines.clone())?;
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LoggingError::Twice)?;
    Ok(Log { format, writer })
}

impl Log {
    /// The last words of a relay that does not run: a line for people, or one of the log where
    /// programs read it.
    pub fn fail(&self, error: &anyhow::Error) {
        let text = format!("{error:#}");
        if self.format == LogFormat::Human {
            self.writer.flush(FLUSH);
            return complain(text);
        }
        // Whatever the filter says: it is why the process ends.
        let lines = self.writer.clone();
        if let Ok(subscriber) = subscriber(self.format, "error", false, move || lines.clone()) {
            let text = text.replace('\n', "; ");
            tracing::subscriber::with_default(subscriber, || tracing::error!("{text}"));
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.writer.flush(FLUSH);
    }
}

/// A line for people on standard error. If nobody can read it, there is nothing to be done.
pub fn complain(what: impl Display) {
    let _ = writeln!(io::stderr(), "leaseway: {what}");
}

/// People read terminals; programs read everything else.
fn format_for(asked: Option<LogFormat>, terminal: bool) -> LogFormat {
    match asked {
        Some(format) => format,
        None if terminal => LogFormat::Human,
        None => LogFormat::Json,
    }
}

fn subscriber<W>(
    format: LogFormat,
    filter: &str,
    colours: bool,
    writer: W,
) -> Result<Box<dyn Subscriber + Send + Sync>, LoggingError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = EnvFilter::builder()
        .parse(filter)
        .map_err(|why| bad_filter(filter, &why))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // It would tell standard error that standard error cannot be written to, and panic.
        .log_internal_errors(false)
        .with_writer(writer);
    Ok(match format {
        LogFormat::Human => Box::new(builder.with_ansi(colours).with_target(false).finish()),
        LogFormat::Json => Box::new(
            builder
                .json()
                .flatten_event(true)
                .with_current_span(false)
                .finish(),
        ),
    })
}

/// Names the first part of the filter that is none.
fn bad_filter(filter: &str, why: &dyn Display) -> LoggingError {
    let bad = filter
        .split(',')
        .filter(|part| !part.is_empty())
        .find_map(|part| Some((part, part.parse::<Directive>().err()?.to_string())));
    let (directive, why) = bad.unwrap_or_else(|| (filter, why.to_string()));
    LoggingError::Filter {
        filter: filter.to_owned(),
        directive: directive.to_owned(),
        why,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, filter: &str) -> String {
        let page = Page::default();
        let writer = page.clone();
        let subscriber = subscriber(format, filter, false, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(listener = "cache", "listening");
            tracing::debug!("detail");
        });
        let bytes = page.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn json_is_one_object_a_line_with_the_fields_beside_the_message() {
        let text = logged(LogFormat::Json, "debug");
        let lines: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["level"], "INFO");
        assert_eq!(lines[0]["message"], "listening");
        assert_eq!(lines[0]["listener"], "cache");
    }

    #[test]
    fn human_lines_end_in_message_and_fields() {
        let text = logged(LogFormat::Human, "info");
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(
            text.ends_with(" INFO listening listener=\"cache\"\n"),
            "{text}"
        );
    }

    #[test]
    fn without_a_wish_terminals_get_lines_for_people() {
        assert_eq!(format_for(None, true), LogFormat::Human);
        assert_eq!(format_for(None, false), LogFormat::Json);
        assert_eq!(format_for(Some(LogFormat::Json), true), LogFormat::Json);
    }

    #[test]
    fn a_filter_that_is_none_is_an_error_that_shows_one() {
        let error = subscriber(LogFormat::Json, "leaseway=loud", false, io::sink)
            .err()
            .unwrap();
        let message = error.to_string();
        assert!(
            message.contains("\"leaseway=loud\" in the log filter \"leaseway=loud\""),
            "{message}"
        );
        assert!(message.contains("info,leaseway::pool=debug"), "{message}");
        let error = subscriber(LogFormat::Json, "info,,=", false, io::sink);
        let message = error.err().unwrap().to_string();
        assert!(
            message.starts_with("cannot read \"=\" in the log filter \"info,,=\": "),
            "{message}"
        );
    }
}
