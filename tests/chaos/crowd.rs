//! The processes of a run, their requests, and their messages.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::mpsc::{self, Receiver, Sender},
    time::{Duration, Instant},
};

use crate::{
    dice::Dice,
    ledger::Acknowledged,
    process::{Line, Process},
    roles::ProcessConfig,
};

/// How long a process may take to end in order.
const PATIENCE: Duration = Duration::from_secs(15);
/// Kills of producers, of a hundred.
const PRODUCERS_SHARE: u64 = 8;

/// All processes, and the state of the requests.
pub struct Crowd {
    config: ProcessConfig,
    /// Variables of a clock that all have.
    pub clock: Vec<(&'static str, String)>,
    members: Vec<(&'static str, Process)>,
    hired: u32,
    ready: BTreeSet<u32>,
    said: Sender<Line>,
    heard: Receiver<Line>,
    /// Requests without an outcome, and the process that follows each.
    under_way: BTreeMap<u64, u32>,
    most_under_way: usize,
    pub requests: u64,
    pub acknowledged: Acknowledged,
    pub complaints: Vec<String>,
    pub lost_leases: u64,
    pub kills: u64,
}

impl Crowd {
    pub fn new(config: ProcessConfig, most_under_way: usize) -> Self {
        let (said, heard) = mpsc::channel();
        Self {
            config,
            clock: Vec::new(),
            members: Vec::new(),
            hired: 0,
            ready: BTreeSet::new(),
            said,
            heard,
            under_way: BTreeMap::new(),
            most_under_way,
            requests: 0,
            acknowledged: Acknowledged::new(),
            complaints: Vec::new(),
            lost_leases: 0,
            kills: 0,
        }
    }

    /// Starts so many processes of a role.
    pub fn spawn(&mut self, role: &'static str, count: usize) {
        for _ in 0..count {
            let process = self.start(role);
            self.members.push((role, process));
        }
    }

    fn start(&mut self, role: &str) -> Process {
        self.hired += 1;
        let variables = [self.config.variables(), self.clock.clone()].concat();
        Process::start(role, self.hired, &variables, &self.said)
    }

    pub fn wait_until_ready(&mut self, patience: Duration) {
        let begun = Instant::now();
        while self.ready.len() < self.members.len() {
            self.listen(Duration::from_millis(20));
            assert!(begun.elapsed() < patience, "only {} processes are ready", self.ready.len());
        }
    }

    /// Receives messages for at least `time`.
    pub fn listen(&mut self, time: Duration) {
        let until = Instant::now() + time;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.heard.recv_timeout(left) {
                Ok((number, line)) => self.receive(number, &line),
                Err(_) => return,
            }
        }
    }

    fn receive(&mut self, number: u32, line: &str) {
        let words: Vec<_> = line.split(' ').collect();
        match words[..] {
            ["ready"] => {
                self.ready.insert(number);
            }
            ["away"] => self.lost_leases += 1,
            ["acknowledged", request, id] => {
                let request = request.parse().unwrap();
                // The first id is the one that a client uses.
                let first = self.acknowledged.entry(request).or_insert_with(|| id.to_owned());
                if first != id {
                    self.complaints.push(format!("{request} has two ids: {first} and {id}"));
                }
            }
            ["finished", request] => {
                self.under_way.remove(&request.parse().unwrap());
            }
            _ => self.complaints.push(format!("process {number}: {line}")),
        }
    }

    /// Gives requests to producers until enough are under way.
    pub fn feed(&mut self, dice: &mut Dice) {
        while self.under_way.len() < self.most_under_way {
            let producers: Vec<_> = self.indices(|role, _| role != "worker");
            let Some(&index) = dice.choose(&producers) else { return };
            self.requests += 1;
            self.ask(index, self.requests);
        }
    }

    fn ask(&mut self, index: usize, request: u64) {
        let (_, process) = &mut self.members[index];
        process.send_line(&format!("enqueue {request}"));
        self.under_way.insert(request, process.number);
    }

    /// Members of which this holds.
    fn indices(&self, is: impl Fn(&str, &Process) -> bool) -> Vec<usize> {
        let members = self.members.iter().enumerate();
        members.filter(|(_, (role, process))| is(role, process)).map(|(i, _)| i).collect()
    }

    /// Kills a ready process; false if none is ready.
    pub fn kill_one(&mut self, dice: &mut Dice) -> bool {
        let producer = dice.percent(PRODUCERS_SHARE);
        let victims = self.indices(|role, process| {
            (role != "worker") == producer
                && self.ready.contains(&process.number)
                && !process.is_stopped()
        });
        let Some(&index) = dice.choose(&victims) else { return false };
        self.members[index].1.kill();
        self.kills += 1;
        self.replace(index);
        true
    }

    /// Kills the first one, whatever it does.
    pub fn kill_first(&mut self) {
        self.members[0].1.kill();
        self.kills += 1;
    }

    /// Starts a new process in its place, with its unfinished requests.
    pub fn replace(&mut self, index: usize) {
        let role = self.members[index].0;
        let new = self.start(role);
        let gone = std::mem::replace(&mut self.members[index].1, new).number;
        self.ready.remove(&gone);
        let left: Vec<_> =
            self.under_way.iter().filter(|(_, by)| **by == gone).map(|(n, _)| *n).collect();
        for request in left {
            self.ask(index, request);
        }
    }

    /// Reports and replaces each process that ended without being killed.
    pub fn replace_ended(&mut self) {
        for index in 0..self.members.len() {
            let (role, process) = &mut self.members[index];
            if process.has_ended() {
                let complaint = format!("{role} {} ended by itself", process.number);
                self.complaints.push(complaint);
                self.replace(index);
            }
        }
    }

    /// Stops a worker for longer than its lease, unless enough are stopped.
    pub fn stop_one(&mut self, dice: &mut Dice, most: usize, time: Range<u64>) -> bool {
        if self.indices(|_, process| process.is_stopped()).len() >= most {
            return false;
        }
        let victims = self.indices(|role, process| {
            role == "worker" && self.ready.contains(&process.number) && !process.is_stopped()
        });
        let Some(&index) = dice.choose(&victims) else { return false };
        self.members[index].1.stop_for(dice.millis(time));
        true
    }

    pub fn is_any_stopped(&self) -> bool {
        self.members.iter().any(|(_, process)| process.is_stopped())
    }

    pub fn has_unacknowledged(&self) -> bool {
        self.under_way.keys().any(|request| !self.acknowledged.contains_key(request))
    }

    pub fn has_unfinished(&self) -> bool {
        !self.under_way.is_empty()
    }

    /// Ends all processes in order; returns those that did not end.
    pub fn dismiss(&mut self) -> Vec<String> {
        for (_, process) in &mut self.members {
            process.dismiss();
        }
        let mut failures = Vec::new();
        for (role, mut process) in std::mem::take(&mut self.members) {
            let code = process.wait(PATIENCE);
            if code != Some(0) {
                failures.push(format!("{role} {} ended with {code:?}", process.number));
            }
        }
        self.listen(Duration::from_millis(50));
        failures
    }
}
