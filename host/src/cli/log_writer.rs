//! Log lines on their way out, so that nobody who logs waits for whoever reads.
//!
//! A reader of standard error may stall. Lines then wait in a bounded queue, further ones are left
//! out and counted, and one line tells how many as soon as the reader reads again. One thread
//! writes. (tracing-appender does most of this, but prints to standard output where its queue is full
//! at the end, and tells nobody of lines that were left out.)

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// Lines that wait for the reader; further ones are left out.
const MAX_WAITING: usize = 4096;
/// How often lines that were left out are told while they become more and more.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// How often a full queue is tried again by who wants it flushed.
const LOOK: Duration = Duration::from_millis(5);

/// Where log lines go: one write is one line. Never blocks and never fails.
#[derive(Debug, Clone)]
pub(super) struct LogWriter {
    queue: SyncSender<Message>,
    left_out: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Message {
    Line(Vec<u8>),
    /// Answer when all that came before has been written.
    Flush(SyncSender<()>),
}

impl LogWriter {
    /// Starts the thread that writes to `out`. It calls `tell` for a line on what was left out.
    ///
    /// # Errors
    /// The operating system gives no thread.
    pub(super) fn start(
        out: impl Write + Send + 'static,
        tell: impl Fn(u64) + Send + 'static,
    ) -> io::Result<Self> {
        let (queue, messages) = sync_channel(MAX_WAITING);
        let left_out = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&left_out);
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || write_all(&messages, out, &counted, tell))?;
        Ok(Self { queue, left_out })
    }

    /// Waits until the lines so far have been written, but no longer than `patience`.
    pub(super) fn flush(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        let (done, written) = sync_channel(1);
        let mut message = Message::Flush(done);
        loop {
            match self.queue.try_send(message) {
                Ok(()) => break,
                Err(TrySendError::Disconnected(_)) => return,
                Err(TrySendError::Full(back)) => message = back,
            }
            if Instant::now() >= deadline {
                return;
            }
            thread::sleep(LOOK);
        }
        // Whether it came or not, the time is up.
        let _ = written.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    }
}

impl Write for LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.queue.try_send(Message::Line(line.to_vec())).is_err() {
            self.left_out.fetch_add(1, Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Ends when nobody can send any more.
fn write_all(
    messages: &Receiver<Message>,
    mut out: impl Write,
    left_out: &AtomicU64,
    tell: impl Fn(u64),
) {
    let tell_left_out = || {
        let count = left_out.swap(0, Relaxed);
        if count > 0 {
            tell(count);
        }
        Instant::now()
    };
    let mut last_told = Instant::now();
    loop {
        let message = match messages.try_recv() {
            Ok(message) => message,
            Err(TryRecvError::Disconnected) => return,
            Err(TryRecvError::Empty) => {
                last_told = tell_left_out();
                let Ok(message) = messages.recv() else {
                    return;
                };
                message
            }
        };
        match message {
            // With nobody to read it, there is nobody to tell either.
            Message::Line(line) => drop(out.write_all(&line)),
            Message::Flush(done) => {
                last_told = tell_left_out();
                let _ = out.flush();
                let _ = done.try_send(());
            }
        }
        if last_told.elapsed() >= TELL_EVERY {
            last_told = tell_left_out();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::{PipeReader, Read};
    use std::sync::Mutex;

    use super::*;

    /// A writer into a pipe that nobody has read yet; each line is larger than what the pipe holds.
    fn stalled() -> (LogWriter, PipeReader, Arc<Mutex<Vec<u64>>>) {
        let (reader, pipe) = io::pipe().unwrap();
        let told = Arc::new(Mutex::new(Vec::new()));
        let list = Arc::clone(&told);
        let writer = LogWriter::start(pipe, move |count| list.lock().unwrap().push(count));
        (writer.unwrap(), reader, told)
    }

    #[test]
    fn a_reader_that_stalls_keeps_nobody_waiting_and_is_told_what_it_missed() {
        let (mut writer, mut reader, told) = stalled();
        // The first line fills the pipe, so that the thread waits with it in hand.
        let large = vec![b'x'; 1 << 20];
        writer.write_all(&large).unwrap();
        for _ in 0..MAX_WAITING + 1000 {
            writer.write_all(b"line\n").unwrap();
        }
        writer.flush(Duration::from_millis(20));
        let reading = thread::spawn(move || {
            let mut text = Vec::new();
            reader.read_to_end(&mut text).unwrap();
            text
        });
        writer.flush(Duration::from_secs(30));
        drop(writer);
        let text = reading.join().unwrap();
        let lines = text.iter().filter(|byte| **byte == b'\n').count();
        let left_out: u64 = told.lock().unwrap().iter().sum();
        // The large one waits in the queue too until the thread has run.
        assert!((MAX_WAITING - 1..=MAX_WAITING).contains(&lines), "{lines}");
        assert_eq!(lines as u64 + left_out, MAX_WAITING as u64 + 1000);
    }

    #[test]
    fn a_reader_that_is_gone_is_no_failure() {
        let (mut writer, reader, _) = stalled();
        drop(reader);
        for _ in 0..100 {
            writer.write_all(b"line\n").unwrap();
        }
        let started = Instant::now();
        writer.flush(Duration::from_secs(30));
        assert!(started.elapsed() < Duration::from_secs(30));
    }
}
