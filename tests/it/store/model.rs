//! The queue as one would write it without a database, for comparison.

use visavis::{
    clock::UnixMillis,
    compare::TransactionId,
    queue::{Accepted, Depth},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Queued,
    Running,
    Done,
    Dead,
}

#[derive(Debug, Clone)]
pub struct ModelJob {
    pub id: TransactionId,
    pub phase: Phase,
    pub token: i64,
    pub attempt: u32,
    pub client: &'static str,
    turn: i64,
    digest: Option<u8>,
    bytes: u64,
    due_at: UnixMillis,
    created_at: UnixMillis,
    finished_at: UnixMillis,
}

/// All jobs, in the order in which they were accepted.
#[derive(Debug, Default)]
pub struct Model {
    pub jobs: Vec<ModelJob>,
    pub now: UnixMillis,
}

impl Model {
    pub fn get(&self, id: &TransactionId) -> Option<&ModelJob> {
        self.jobs.iter().find(|job| job.id == *id)
    }

    pub fn find_digest(&self, digest: u8) -> Option<TransactionId> {
        Some(self.jobs.iter().find(|job| job.digest == Some(digest))?.id.clone())
    }

    pub fn store(
        &mut self,
        client: &'static str,
        id: TransactionId,
        digest: Option<u8>,
        bytes: u64,
        phase: Phase,
    ) -> Accepted {
        if let Some(first) = digest.and_then(|digest| self.find_digest(digest)) {
            return Accepted::Duplicate(first);
        }
        let (token, attempt, now) = (0, 0, self.now);
        let turn = if phase == Phase::Queued { self.next_turn(client) } else { 0 };
        self.jobs.push(ModelJob {
            id: id.clone(),
            phase,
            token,
            attempt,
            client,
            turn,
            digest,
            bytes,
            due_at: now,
            created_at: now,
            finished_at: now,
        });
        Accepted::New(id)
    }

    /// Behind the client's own jobs, and not before what is next, or was last.
    fn next_turn(&self, client: &str) -> i64 {
        let open =
            || self.jobs.iter().filter(|j| matches!(j.phase, Phase::Queued | Phase::Running));
        let own = open().filter(|job| job.client == client).map(|job| job.turn + 1).max();
        let next = open().filter(|job| job.phase == Phase::Queued && job.due_at <= self.now);
        let next = next.map(|job| job.turn).min();
        let last = open().map(|job| job.turn).max();
        own.unwrap_or(0).max(next.or(last).unwrap_or(0))
    }

    /// What a claim takes, in the order in which it is returned.
    pub fn claim(&mut self, limit: usize, length: UnixMillis) -> Vec<ModelJob> {
        let mut due: Vec<_> = (0..self.jobs.len())
            .filter(|n| {
                let job = &self.jobs[*n];
                matches!(job.phase, Phase::Queued | Phase::Running) && job.due_at <= self.now
            })
            .collect();
        due.sort_by_key(|n| (self.jobs[*n].turn, *n));
        due.truncate(limit);
        due.into_iter()
            .map(|n| {
                let job = &mut self.jobs[n];
                job.phase = Phase::Running;
                job.token += 1;
                job.attempt += 1;
                job.due_at = self.now + length;
                job.clone()
            })
            .collect()
    }

    /// The job, if this token still holds it.
    fn held(&mut self, id: &TransactionId, token: i64) -> Option<&mut ModelJob> {
        let mut jobs = self.jobs.iter_mut();
        jobs.find(|job| job.id == *id && job.token == token && job.phase == Phase::Running)
    }

    /// Whether a write with this token holds.
    pub fn finish(&mut self, id: &TransactionId, token: i64, phase: Phase) -> bool {
        let now = self.now;
        let Some(job) = self.held(id, token) else { return false };
        job.phase = phase;
        job.finished_at = now;
        true
    }

    pub fn put_back(&mut self, id: &TransactionId, token: i64, wait: i64, uncounted: u32) -> bool {
        let now = self.now;
        let Some(job) = self.held(id, token) else { return false };
        job.phase = Phase::Queued;
        job.due_at = now + wait;
        job.attempt -= uncounted;
        true
    }

    pub fn renew(&mut self, id: &TransactionId, token: i64, length: UnixMillis) -> bool {
        let now = self.now;
        let Some(job) = self.held(id, token) else { return false };
        job.due_at = now + length;
        true
    }

    pub fn recover(&mut self) -> u64 {
        let now = self.now;
        let running = self.jobs.iter_mut().filter(|j| j.phase == Phase::Running && j.due_at > now);
        running.map(|job| job.due_at = now).count() as u64
    }

    /// How many jobs a purge deletes.
    pub fn purgeable(&self, age: UnixMillis, limit: usize) -> usize {
        self.jobs.iter().filter(|job| self.is_old(job, age)).count().min(limit)
    }

    /// Takes the jobs out that the store has deleted: old ones, and no younger one before an older.
    pub fn purge(&mut self, age: UnixMillis, gone: &[TransactionId]) {
        let (went, stayed): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.jobs).into_iter().partition(|job| gone.contains(&job.id));
        assert!(went.iter().all(|job| self.is_old(job, age)), "{went:?}");
        let left = stayed.iter().filter(|job| self.is_old(job, age)).map(|job| job.finished_at);
        let youngest_gone = went.iter().map(|job| job.finished_at).max();
        assert!(left.min().is_none_or(|left| youngest_gone.is_none_or(|gone| gone <= left)));
        self.jobs = stayed;
    }

    fn is_old(&self, job: &ModelJob, age: UnixMillis) -> bool {
        matches!(job.phase, Phase::Done | Phase::Dead) && job.finished_at < self.now - age
    }

    pub fn depth(&self) -> Depth {
        let open =
            || self.jobs.iter().filter(|j| matches!(j.phase, Phase::Queued | Phase::Running));
        Depth {
            jobs: open().count() as u64,
            bytes: open().map(|job| job.bytes).sum(),
            oldest: open().map(|job| job.created_at).min(),
        }
    }
}
