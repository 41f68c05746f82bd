//! A thread writes the log. A slow or closed reader, or a full disk, loses log lines and never
//! blocks a request or a background task.

use std::{
    io::{self, Write},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, Receiver, SyncSender},
    },
    thread,
    time::Duration,
};

use tracing_subscriber::fmt::MakeWriter;

/// Maximum number of lines that wait to be written.
const MAX_WAITING_LINES: usize = 10_000;
/// How long the exit of the process waits for unwritten lines.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

static LOG: OnceLock<Log> = OnceLock::new();

/// The queue of lines; clones share it.
#[derive(Debug, Clone)]
pub(super) struct Log {
    messages: SyncSender<Message>,
    lost: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Message {
    Line(Vec<u8>),
    /// Everything before it was written, or lost, when this is dropped.
    Flush(SyncSender<()>),
}

/// One line; sent when dropped.
#[derive(Debug)]
pub(super) struct Line {
    log: Log,
    bytes: Vec<u8>,
}

impl Log {
    /// The log of this process, to standard error.
    pub(super) fn to_stderr() -> Self {
        LOG.get_or_init(|| Self::to(io::stderr())).clone()
    }

    fn to(output: impl Write + Send + 'static) -> Self {
        let (messages, waiting) = mpsc::sync_channel(MAX_WAITING_LINES);
        let log = Self { messages, lost: Arc::default() };
        let lost = Arc::clone(&log.lost);
        let writing = move || write_lines(&waiting, output, &lost);
        // Without the thread every line is lost, and counted.
        let _ = thread::Builder::new().name("log".to_owned()).spawn(writing);
        log
    }

    fn send(&self, line: Vec<u8>) {
        if self.messages.try_send(Message::Line(line)).is_err() {
            count_lost(&self.lost);
        }
    }

    fn flush(&self) {
        let (written, wait) = mpsc::sync_channel::<()>(0);
        if self.messages.try_send(Message::Flush(written)).is_ok() {
            let _ = wait.recv_timeout(FLUSH_TIMEOUT);
        }
    }
}

/// Waits a short time until all lines are written.
pub fn finish() {
    if let Some(log) = LOG.get() {
        log.flush();
    }
}

fn write_lines(waiting: &Receiver<Message>, mut output: impl Write, lost: &AtomicU64) {
    while let Ok(message) = waiting.recv() {
        let line = match message {
            Message::Line(line) => line,
            Message::Flush(written) => {
                drop(written);
                continue;
            }
        };
        if output.write_all(&line).and_then(|()| output.flush()).is_err() {
            count_lost(lost);
            continue;
        }
        let lines = lost.swap(0, Ordering::Relaxed);
        if lines > 0 {
            // Through the log itself, for its format.
            tracing::warn!(
                lines,
                "log lines were lost: their reader is slow, or its disk was full"
            );
        }
    }
}

fn count_lost(lost: &AtomicU64) {
    lost.fetch_add(1, Ordering::Relaxed);
    metrics::counter!("visavis_log_lines_lost_total").increment(1);
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line { log: self.clone(), bytes: Vec::new() }
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.log.send(std::mem::take(&mut self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, MutexGuard};

    use super::*;

    /// An output that fails or blocks on request.
    #[derive(Clone, Default)]
    struct Output {
        written: Arc<Mutex<Vec<u8>>>,
        gate: Arc<Mutex<()>>,
        fails: Arc<AtomicU64>,
    }

    impl Output {
        fn block(&self) -> MutexGuard<'_, ()> {
            self.gate.lock().unwrap()
        }

        fn text(&self) -> String {
            String::from_utf8(self.written.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Output {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            drop(self.gate.lock().unwrap());
            if self.fails.load(Ordering::SeqCst) > 0 {
                self.fails.fetch_sub(1, Ordering::SeqCst);
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.written.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn log(log: &Log, text: &str) {
        log.make_writer().write_all(text.as_bytes()).unwrap();
    }

    #[test]
    fn lines_that_cannot_be_written_are_lost_and_counted_and_those_after_them_are_not() {
        let output = Output::default();
        output.fails.store(2, Ordering::SeqCst);
        let lines = Log::to(output.clone());
        for line in ["one\n", "two\n"] {
            log(&lines, line);
        }
        lines.flush();
        assert_eq!((output.text().as_str(), lines.lost.load(Ordering::SeqCst)), ("", 2));
        log(&lines, "three\n");
        lines.flush();
        assert_eq!((output.text().as_str(), lines.lost.load(Ordering::SeqCst)), ("three\n", 0));
    }

    #[test]
    fn an_output_without_a_reader_blocks_no_line() {
        let output = Output::default();
        let blocked = output.block();
        let lines = Log::to(output.clone());
        for _ in 0..MAX_WAITING_LINES + 500 {
            log(&lines, "line\n");
        }
        assert!(lines.lost.load(Ordering::SeqCst) >= 400);
        drop(blocked);
        while output.text().len() < MAX_WAITING_LINES * 5 {
            thread::sleep(Duration::from_millis(1));
        }
    }
}
