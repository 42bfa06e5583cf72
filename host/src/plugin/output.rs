//! What a plugin says: the log of the contract, and lines on stdout and stderr.
//!
//! Lines go to the host's log with the plugin and the session they belong to, within limits. The
//! end of stderr is kept, since after a panic it says what happened.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use crate::contract::session_side::leaseway::plugin::log::{Host, Level};

use super::plugin_log::PluginLog;
use super::state::GuestState;

/// A longer line is cut.
pub(super) const MAX_LINE: usize = 4 << 10;
/// How much of stderr is kept for the message of a fault.
const MAX_LAST_WORDS: usize = 1 << 10;

/// Which of the two streams of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stdio {
    Out,
    Err,
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speaker {
    /// The plugin, outside of any session.
    Plugin,
    /// The session on this seat of the instance.
    Session(usize),
}

/// The voice of one instance.
#[derive(Debug)]
pub(super) struct Output {
    log: Arc<PluginLog>,
    speaker: Speaker,
    /// Session and listener, by seat.
    seats: Vec<(u64, String)>,
    /// Begun and not ended lines of stdout and stderr.
    partial: [Vec<u8>; 2],
    /// What came on stderr during this call.
    last_words: String,
}

impl Output {
    pub(super) fn new(log: Arc<PluginLog>) -> Self {
        Self {
            log,
            speaker: Speaker::Plugin,
            seats: Vec::new(),
            partial: [Vec::new(), Vec::new()],
            last_words: String::new(),
        }
    }

    /// A session takes a seat of the instance.
    pub(super) fn seat(&mut self, seat: usize, session: u64, listener: &str) {
        if self.seats.len() <= seat {
            self.seats.resize_with(seat + 1, Default::default);
        }
        let (known, name) = &mut self.seats[seat];
        *known = session;
        name.clear();
        name.push_str(listener);
    }

    /// A call begins.
    pub(super) fn begin(&mut self, speaker: Speaker) {
        self.speaker = speaker;
        self.last_words.clear();
    }

    /// What stderr got during the call that failed, in one line; empty if nothing.
    pub(super) fn last_words(&mut self) -> String {
        let rest = std::mem::take(&mut self.partial[1]);
        if !rest.is_empty() {
            self.line(Stdio::Err, &rest);
        }
        std::mem::take(&mut self.last_words)
    }

    /// Bytes on stdout or stderr.
    pub(super) fn write(&mut self, stdio: Stdio, mut bytes: &[u8]) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let mut line = std::mem::take(&mut self.partial[stdio as usize]);
            line.extend_from_slice(&bytes[..end]);
            bytes = &bytes[end + 1..];
            self.line(stdio, &line);
        }
        let partial = &mut self.partial[stdio as usize];
        let room = MAX_LINE.saturating_sub(partial.len());
        partial.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn line(&mut self, stdio: Stdio, line: &[u8]) {
        let line = String::from_utf8_lossy(&line[..line.len().min(MAX_LINE)]);
        let line = line.trim_end();
        if line.is_empty() {
            return;
        }
        if stdio == Stdio::Err && !line.starts_with("note: run with `RUST_BACKTRACE") {
            if !self.last_words.is_empty() {
                self.last_words.push(' ');
            }
            let room = MAX_LAST_WORDS.saturating_sub(self.last_words.len());
            let text = printable(line);
            self.last_words
                .push_str(&text[..text.floor_char_boundary(room)]);
        }
        self.log(Level::Debug, line);
    }

    fn log(&mut self, level: Level, message: &str) {
        if !enabled(level) || !self.log.may_write(Instant::now()) {
            return;
        }
        let message = printable(&message[..message.floor_char_boundary(MAX_LINE)]);
        let plugin = self.log.plugin();
        let (session, listener) = match self.speaker {
            Speaker::Plugin => (None, None),
            Speaker::Session(seat) => {
                let seat = self.seats.get(seat);
                (seat.map(|(id, _)| *id), seat.map(|(_, name)| name.as_str()))
            }
        };
        macro_rules! event {
            ($level:ident) => {
                tracing::event!(
                    target: "leaseway::plugin", tracing::Level::$level, plugin, listener, session, "{message}"
                )
            };
        }
        match level {
            Level::Trace => event!(TRACE),
            Level::Debug => event!(DEBUG),
            Level::Info => event!(INFO),
            Level::Warn => event!(WARN),
            Level::Error => event!(ERROR),
        }
    }
}

impl Host for GuestState {
    fn log(&mut self, level: Level, message: String) {
        self.output.log(level, &message);
    }

    fn enabled(&mut self) -> Level {
        [Level::Trace, Level::Debug, Level::Info, Level::Warn]
            .into_iter()
            .find(|level| enabled(*level))
            .unwrap_or(Level::Error)
    }
}

fn enabled(level: Level) -> bool {
    macro_rules! enabled {
        ($level:ident) => {
            tracing::enabled!(target: "leaseway::plugin", tracing::Level::$level)
        };
    }
    match level {
        Level::Trace => enabled!(TRACE),
        Level::Debug => enabled!(DEBUG),
        Level::Info => enabled!(INFO),
        Level::Warn => enabled!(WARN),
        Level::Error => enabled!(ERROR),
    }
}

/// A plugin must not be able to forge lines of the log or to talk to a terminal.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    if text.chars().any(char::is_control) {
        Cow::Owned(text.replace(char::is_control, " "))
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stderr_of_a_call_becomes_one_line_without_the_hint() {
        let mut output = Output::new(PluginLog::new(Arc::from("test")));
        output.begin(Speaker::Plugin);
        output.write(Stdio::Out, b"not this\n");
        output.write(Stdio::Err, b"\nthread 'main' panicked at src/li");
        output.write(Stdio::Err, b"b.rs:1:2:\nno \x1b[31mluck\n");
        output.write(
            Stdio::Err,
            b"note: run with `RUST_BACKTRACE=1` to see\nand no end",
        );
        assert_eq!(
            output.last_words(),
            "thread 'main' panicked at src/lib.rs:1:2: no  [31mluck and no end"
        );
        assert_eq!(output.last_words(), "");
    }

    #[test]
    fn last_words_are_of_this_call_and_bounded() {
        let mut output = Output::new(PluginLog::new(Arc::from("test")));
        output.write(Stdio::Err, b"before\n");
        output.begin(Speaker::Plugin);
        for _ in 0..100 {
            output.write(Stdio::Err, &[b'x'; 2 * MAX_LINE]);
            output.write(Stdio::Err, b"\n");
        }
        let words = output.last_words();
        assert!(
            words.starts_with('x') && words.len() <= 2 * MAX_LAST_WORDS,
            "{}",
            words.len()
        );
    }
}
