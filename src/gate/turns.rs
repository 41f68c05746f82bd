//! Whose turn it is on the compute threads: the rule of the job table, in memory.
//!
//! Those that wait take turns, however many requests each has waiting. A participant's turn is one
//! step after its last one, and not before the turn that is next when it begins to wait, so no
//! client saves turns up by being away. The queue is one participant with a weight: its step is
//! shorter. When the waiting room is full, a newcomer takes the place of the participant with the
//! most requests there, unless it would have as many itself; so a client alone may fill the room,
//! and none keeps another one out of it.

use std::{
    collections::{HashMap, VecDeque},
    num::NonZeroU32,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

/// Who uses compute threads.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Participant {
    /// The jobs in the queue, of all clients; they take turns in the job table.
    Queue,
    /// A client that waits for the outcome, by its Client-Id.
    Client(String),
    /// An operator who looks at a picture in the console.
    Operator,
}

/// The waiting room is full, and the participant has its share of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// The turns on a number of threads; clones share them.
#[derive(Debug, Clone)]
pub struct Turns(Arc<Mutex<State>>);

/// One step of a participant of weight 1.
const STEP: u64 = 1 << 20;
/// More participants than this are not remembered without need.
const MAX_REMEMBERED: usize = 1_000;

#[derive(Debug)]
struct State {
    threads: usize,
    free: usize,
    /// The turn that was given last.
    now: u64,
    queue_weight: NonZeroU32,
    arrivals: u64,
    participants: HashMap<Participant, Line>,
}

/// The requests of one participant that wait, in the order of their arrival.
#[derive(Debug, Default)]
struct Line {
    /// Its next turn.
    turn: u64,
    waiting: VecDeque<Waiter>,
}

#[derive(Debug)]
struct Waiter {
    arrival: u64,
    threads: usize,
    granted: oneshot::Sender<Slot>,
}

/// The right to use one thread, or all of them; given back when dropped.
#[derive(Debug)]
pub struct Slot {
    turns: Turns,
    threads: usize,
}

/// A place in the waiting room; left when dropped.
struct Place<'a> {
    turns: &'a Turns,
    participant: &'a Participant,
    arrival: u64,
}

impl Turns {
    /// Turns on so many threads.
    pub fn new(threads: usize) -> Self {
        Self(Arc::new(Mutex::new(State {
            threads,
            free: threads,
            now: 0,
            queue_weight: NonZeroU32::MIN,
            arrivals: 0,
            participants: HashMap::new(),
        })))
    }

    /// Gives the queue so many turns for one of a client.
    pub(crate) fn set_queue_weight(&self, weight: NonZeroU32) {
        self.state().queue_weight = weight;
    }

    /// Waits for a thread, in a waiting room for `room` requests of clients and operators.
    ///
    /// # Errors
    /// [`Full`], at once or when others take the place in the waiting room.
    pub async fn take(&self, participant: &Participant, room: usize) -> Result<Slot, Full> {
        self.take_threads(participant, 1, room).await
    }

    /// Waits for all threads. Who asks later waits for this.
    ///
    /// # Errors
    /// [`Full`] never for the queue.
    pub(crate) async fn take_all(&self, participant: &Participant) -> Result<Slot, Full> {
        let threads = self.state().threads;
        self.take_threads(participant, threads, usize::MAX).await
    }

    async fn take_threads(
        &self,
        participant: &Participant,
        threads: usize,
        room: usize,
    ) -> Result<Slot, Full> {
        let (arrival, granted, displaced) = {
            let mut state = self.state();
            if state.is_idle() && state.free >= threads {
                state.grant(participant, threads);
                return Ok(Slot { turns: self.clone(), threads });
            }
            let displaced = state.make_room(participant, room)?;
            let (sender, granted) = oneshot::channel();
            (state.join(participant, threads, sender), granted, displaced)
        };
        drop(displaced);
        let _place = Place { turns: self, participant, arrival };
        granted.await.map_err(|_| Full)
    }

    /// A thread, if one is free and no participant waits for it.
    pub fn try_take(&self, participant: &Participant) -> Option<Slot> {
        let mut state = self.state();
        if state.free == 0 || !state.is_idle() {
            return None;
        }
        state.grant(participant, 1);
        Some(Slot { turns: self.clone(), threads: 1 })
    }

    /// Whether [`take`](Self::take) would not be [`Full`] at once.
    pub(crate) fn has_room(&self, participant: &Participant, room: usize) -> bool {
        let state = self.state();
        (state.is_idle() && state.free > 0) || state.can_join(participant, room)
    }

    fn give_back(&self, threads: usize) {
        let mut given = Vec::new();
        {
            let mut state = self.state();
            state.free += threads;
            while let Some((waiter, threads)) = state.next() {
                given.push((waiter, Slot { turns: self.clone(), threads }));
            }
        }
        // Not under the lock: a slot that is no longer waited for is dropped here, and given
        // back.
        for (waiter, slot) in given {
            drop(waiter.granted.send(slot));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_idle(&self) -> bool {
        self.participants.values().all(|line| line.waiting.is_empty())
    }

    fn step(&self, participant: &Participant) -> u64 {
        match participant {
            Participant::Queue => STEP / u64::from(self.queue_weight.get()),
            Participant::Client(_) | Participant::Operator => STEP,
        }
    }

    /// Uses a turn of a participant.
    fn grant(&mut self, participant: &Participant, threads: usize) {
        let (step, now) = (self.step(participant), self.now);
        let line = self.line(participant);
        let turn = line.turn.max(now);
        line.turn = turn + step;
        self.now = turn;
        self.free -= threads;
    }

    fn line(&mut self, participant: &Participant) -> &mut Line {
        let now = self.now;
        if self.participants.len() >= MAX_REMEMBERED {
            self.participants.retain(|_, line| !line.waiting.is_empty() || line.turn > now);
        }
        self.participants.entry(participant.clone()).or_default()
    }

    /// Joins the line; returns the number of the arrival.
    fn join(
        &mut self,
        participant: &Participant,
        threads: usize,
        granted: oneshot::Sender<Slot>,
    ) -> u64 {
        let (arrival, now) = (self.arrivals, self.now);
        self.arrivals += 1;
        let line = self.line(participant);
        if line.waiting.is_empty() {
            line.turn = line.turn.max(now);
        }
        line.waiting.push_back(Waiter { arrival, threads, granted });
        arrival
    }

    /// Those whose places count.
    fn guests(&self) -> impl Iterator<Item = (&Participant, usize)> {
        let guests = self.participants.iter().filter(|(who, _)| **who != Participant::Queue);
        guests.map(|(who, line)| (who, line.waiting.len()))
    }

    fn waiting_of(&self, participant: &Participant) -> usize {
        self.participants.get(participant).map_or(0, |line| line.waiting.len())
    }

    /// Who gives up a place for a newcomer.
    fn longest(&self, newcomer: &Participant) -> Option<&Participant> {
        let (longest, waiting) = self.guests().max_by_key(|(_, waiting)| *waiting)?;
        (self.waiting_of(newcomer) + 1 < waiting).then_some(longest)
    }

    fn has_free_place(&self, participant: &Participant, room: usize) -> bool {
        *participant == Participant::Queue
            || self.guests().map(|(_, waiting)| waiting).sum::<usize>() < room
    }

    fn can_join(&self, participant: &Participant, room: usize) -> bool {
        self.has_free_place(participant, room) || self.longest(participant).is_some()
    }

    /// Makes room for another request in the waiting room; the one that has to leave, if any.
    fn make_room(
        &mut self,
        participant: &Participant,
        room: usize,
    ) -> Result<Option<Waiter>, Full> {
        if self.has_free_place(participant, room) {
            return Ok(None);
        }
        let longest = self.longest(participant).cloned().ok_or(Full)?;
        // The one that came last: it has waited least.
        Ok(self.participants.get_mut(&longest).and_then(|line| line.waiting.pop_back()))
    }

    /// The next one whose threads are free; uses its turn.
    fn next(&mut self) -> Option<(Waiter, usize)> {
        let heads = self.participants.iter().filter_map(|(who, line)| {
            line.waiting.front().map(|head| ((line.turn, head.arrival), head.threads, who))
        });
        let (_, threads, who) = heads.min_by_key(|(order, ..)| *order)?;
        // One that needs more is not overtaken, or it might never get a turn.
        if threads > self.free {
            return None;
        }
        let who = who.clone();
        self.grant(&who, threads);
        let waiter = self.participants.get_mut(&who)?.waiting.pop_front()?;
        Some((waiter, threads))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.turns.give_back(self.threads);
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut state = self.turns.state();
        let left = state.participants.get_mut(self.participant).and_then(|line| {
            let at = line.waiting.iter().position(|waiter| waiter.arrival == self.arrival)?;
            line.waiting.remove(at)
        });
        drop(state);
        if left.is_some() {
            // It may have been one that needs many threads, with others behind it.
            self.turns.give_back(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::task::JoinHandle;

    use super::*;

    fn client(name: &str) -> Participant {
        Participant::Client(name.to_owned())
    }

    /// Takes a thread, notes who has it, and gives it back.
    fn ask(
        turns: &Turns,
        who: &Participant,
        room: usize,
        served: &Arc<Mutex<Vec<Participant>>>,
    ) -> JoinHandle<Result<(), Full>> {
        let (turns, who, served) = (turns.clone(), who.clone(), Arc::clone(served));
        tokio::spawn(async move {
            let slot = turns.take(&who, room).await?;
            served.lock().unwrap().push(who);
            drop(slot);
            Ok(())
        })
    }

    /// The order in which those are served that ask while the only thread is in use.
    async fn order(asked: &[&Participant], weight: u32) -> Vec<Participant> {
        let turns = Turns::new(1);
        turns.set_queue_weight(NonZeroU32::new(weight).unwrap());
        let served: Arc<Mutex<Vec<_>>> = Arc::default();
        let busy = turns.take(&client("busy"), 99).await.unwrap();
        let mut waiting = Vec::new();
        for who in asked {
            waiting.push(ask(&turns, who, 99, &served));
            tokio::task::yield_now().await;
        }
        drop(busy);
        for one in waiting {
            one.await.unwrap().unwrap();
        }
        Arc::into_inner(served).unwrap().into_inner().unwrap()
    }

    #[tokio::test]
    async fn participants_take_turns_however_many_requests_each_has() {
        let (a, b) = (client("a"), client("b"));
        let served = order(&[&a, &a, &a, &a, &b, &b], 1).await;
        assert_eq!(served, [&a, &b, &a, &b, &a, &a].map(Clone::clone));
    }

    #[tokio::test]
    async fn the_queue_has_as_many_turns_as_its_weight() {
        let (a, queue) = (client("a"), Participant::Queue);
        let served = order(&[&a, &a, &a, &queue, &queue, &queue, &queue], 2).await;
        let of_queue = served.iter().take(4).filter(|who| **who == queue).count();
        assert_eq!(of_queue, 2, "{served:?}");
        assert_eq!(served.iter().filter(|who| **who == a).count(), 3);
    }

    #[tokio::test]
    async fn nobody_saves_up_turns_by_being_away() {
        let turns = Turns::new(1);
        for _ in 0..50 {
            drop(turns.take(&client("a"), 9).await.unwrap());
        }
        let served = Arc::default();
        let busy = turns.take(&client("a"), 9).await.unwrap();
        let mut waiting = Vec::new();
        for name in ["b", "b", "a", "b"] {
            waiting.push(ask(&turns, &client(name), 9, &served));
            tokio::task::yield_now().await;
        }
        drop(busy);
        for one in waiting {
            one.await.unwrap().unwrap();
        }
        assert_eq!(
            *served.lock().unwrap(),
            ["b", "b", "a", "b"].map(client),
            "it comes next, once"
        );
    }

    #[tokio::test]
    async fn a_client_alone_fills_the_room_and_another_one_finds_a_place_in_it_all_the_same() {
        let turns = Turns::new(1);
        let served = Arc::default();
        let busy = turns.take(&client("a"), 4).await.unwrap();
        let mut of_a = Vec::new();
        for _ in 0..4 {
            of_a.push(ask(&turns, &client("a"), 4, &served));
            tokio::task::yield_now().await;
        }
        assert!(!turns.has_room(&client("a"), 4) && turns.has_room(&client("b"), 4));
        assert_eq!(turns.take(&client("a"), 4).await.err(), Some(Full));
        let mut of_b = Vec::new();
        for _ in 0..2 {
            of_b.push(ask(&turns, &client("b"), 4, &served));
            tokio::task::yield_now().await;
        }
        assert_eq!(turns.take(&client("b"), 4).await.err(), Some(Full), "they have as many now");
        drop(busy);
        let mut refused = Vec::new();
        for (number, one) in of_a.into_iter().enumerate() {
            if one.await.unwrap() == Err(Full) {
                refused.push(number);
            }
        }
        assert_eq!(refused, [2, 3], "those that came last");
        for one in of_b {
            assert_eq!(one.await.unwrap(), Ok(()));
        }
    }

    #[tokio::test]
    async fn one_that_needs_all_threads_is_not_overtaken_and_keeps_nobody_waiting_when_it_leaves() {
        let turns = Turns::new(2);
        let busy = turns.take(&client("a"), 9).await.unwrap();
        let all = {
            let turns = turns.clone();
            tokio::spawn(async move { turns.take_all(&Participant::Queue).await.map(drop) })
        };
        tokio::task::yield_now().await;
        assert!(turns.try_take(&Participant::Queue).is_none());
        let served = Arc::default();
        let behind = ask(&turns, &client("b"), 9, &served);
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert!(!behind.is_finished());
        all.abort();
        assert_eq!(behind.await.unwrap(), Ok(()));
        drop(busy);
        let state = turns.state();
        assert_eq!((state.free, state.is_idle()), (2, true));
    }
}
