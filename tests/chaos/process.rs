//! A process of a run, seen by the one that started it.
//!
//! None is left behind: each ends by itself when its standard input is closed, which at the latest
//! happens when the starting process ends, and one that is stopped is woken by an independent
//! helper.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::Sender,
    thread,
    time::{Duration, Instant},
};

/// The variable with the role of a process; see [`crate::roles`].
pub const ROLE: &str = "CHAOS_ROLE";

/// A line that the process of that number has printed.
pub type Line = (u32, String);

/// A child of this process; dead at the latest when this is dropped.
pub struct Process {
    child: Child,
    input: Option<ChildStdin>,
    stopped_until: Option<Instant>,
    /// The only one of the run that ever has it.
    pub number: u32,
}

impl Process {
    /// Starts this very program in another role.
    pub fn start(
        role: &str,
        number: u32,
        variables: &[(&str, String)],
        lines: &Sender<Line>,
    ) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .env(ROLE, role)
            .env("CHAOS_NUMBER", number.to_string())
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let lines = lines.clone();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                // An error means that the receiver was dropped.
                let _ = lines.send((number, line));
            }
        });
        let input = child.stdin.take();
        Self { child, input, stopped_until: None, number }
    }

    /// Sends it a line; it may have ended.
    pub fn send_line(&mut self, line: &str) {
        if let Some(input) = &mut self.input {
            let _ = input.write_all(format!("{line}\n").as_bytes());
        }
    }

    /// SIGKILL: no thread of it runs when this returns.
    pub fn kill(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGSTOP now and SIGCONT after `time`, even if this process is killed meanwhile.
    pub fn stop_for(&mut self, time: Duration) {
        let (pid, seconds) = (self.child.id().to_string(), time.as_secs_f64().to_string());
        let script = r#"kill -STOP "$1"; sleep "$2"; kill -CONT "$1""#;
        let mut helper = Command::new("sh")
            .args(["-c", script, "stop", &pid, &seconds])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        thread::spawn(move || helper.wait());
        // A little longer than the helper needs on a busy machine.
        self.stopped_until = Some(Instant::now() + time + Duration::from_millis(300));
    }

    pub fn is_stopped(&self) -> bool {
        self.stopped_until.is_some_and(|until| Instant::now() < until)
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// How it ended: the exit code, or `None` after a signal. Panics when it does not end.
    pub fn wait(&mut self, patience: Duration) -> Option<i32> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(begun.elapsed() < patience, "process {} does not end", self.number);
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Requests it to end in order.
    pub fn dismiss(&mut self) {
        self.input = None;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
