//! Sends one pair to the service and waits for its outcome.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use serde::Serialize;
use serde_json::{Value, json};
use visavis_signing::endpoints;

use crate::client::{ApiClient, Body, SignedRequest};

/// How pairs are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// `compare`: the response has the outcome.
    Compare,
    /// `asynccompare`, then `asynccheckresult` until the outcome is available.
    Async,
}

/// What became of a pair.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was compared.
    Compared,
    /// The service had too much to do.
    Refused,
    /// Another result code, and the response.
    Other(String, String),
    /// There was no valid response.
    Failed(String),
}

/// A code that says that a limit was reached.
const REFUSED: &str = "REQUEST_TRAFFIC_EXCEED_LIMIT";
/// How soon an outcome is asked for at the earliest, and again.
const SHORTEST: Duration = Duration::from_millis(5);
/// When the first outcome is asked for.
const FIRST_GUESS: Duration = Duration::from_millis(50);

/// The service that is measured.
#[derive(Debug)]
pub struct Target {
    client: ApiClient,
    mode: Mode,
    timeout: Duration,
    /// How long an outcome takes, in microseconds.
    guess: AtomicU64,
    polls: AtomicU64,
}

impl Target {
    /// Calls the endpoints of `mode` and waits at most `timeout` for an outcome.
    pub fn new(client: ApiClient, mode: Mode, timeout: Duration) -> Self {
        let guess = AtomicU64::new(micros(FIRST_GUESS));
        Self { client, mode, timeout, guess, polls: AtomicU64::new(0) }
    }

    fn endpoint(&self) -> &'static str {
        match self.mode {
            Mode::Compare => endpoints::COMPARE,
            Mode::Async => endpoints::ASYNC_COMPARE,
        }
    }

    /// Whether the service responds and knows the client.
    pub fn greet(&self) -> Result<()> {
        let body = json!({ "title": "bench" }).to_string();
        let request = self.client.sign(endpoints::TEST, body.into())?;
        let (code, response) = self.ask(endpoints::TEST, &request)?;
        if code != "SUCCESS" {
            bail!(
                "the service responses {code}: check that --client is the file of a client of this \
                 service, and that its keys are valid: {response}"
            );
        }
        Ok(())
    }

    /// Signs a request about a pair.
    pub(super) fn sign(&self, body: Body) -> Result<SignedRequest> {
        self.client.sign(self.endpoint(), body)
    }

    /// How often outcomes were asked for so far.
    pub(super) fn polls(&self) -> u64 {
        self.polls.load(Ordering::Relaxed)
    }

    /// Sends a request and waits for the outcome.
    pub(super) fn send(&self, request: &SignedRequest) -> Outcome {
        self.outcome(request).unwrap_or_else(|error| Outcome::Failed(format!("{error:#}")))
    }

    fn outcome(&self, request: &SignedRequest) -> Result<Outcome> {
        let (code, response) = self.ask(self.endpoint(), request)?;
        if self.mode == Mode::Async && code == "PROCESSING" {
            return self.wait(&response);
        }
        Ok(judged(code, response))
    }

    /// Asks until the transaction is finished. The first question comes when the outcome is about
    /// due, going by the earlier ones, because each costs the service a signature; the others
    /// follow closely.
    fn wait(&self, accepted: &str) -> Result<Outcome> {
        let accepted_at = Instant::now();
        let accepted: Value = serde_json::from_str(accepted)?;
        let id = accepted["transactionId"].as_str().context("the response has no transactionId")?;
        let body = json!({ "transactionId": id }).to_string();
        let guess = self.guess.load(Ordering::Relaxed);
        let mut due = accepted_at + Duration::from_micros(guess);
        let mut first = true;
        loop {
            // Signed while there is nothing else to do.
            let question = self.client.sign(endpoints::ASYNC_CHECK_RESULT, body.clone().into())?;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            self.polls.fetch_add(1, Ordering::Relaxed);
            let (code, response) = self.ask(endpoints::ASYNC_CHECK_RESULT, &question)?;
            // A question over a limit says nothing of the transaction.
            let finished = code != "PROCESSING" && code != REFUSED;
            let elapsed = accepted_at.elapsed();
            if finished {
                // It may have been there for long when the first question found it.
                let better =
                    if first { guess - guess / 16 } else { guess.midpoint(micros(elapsed)) };
                self.guess.store(better.max(micros(SHORTEST)), Ordering::Relaxed);
                return Ok(judged(code, response));
            }
            first = false;
            if elapsed > self.timeout {
                return Ok(Outcome::Other("NOT_FINISHED".to_owned(), response));
            }
            due = Instant::now() + SHORTEST.max(elapsed / 8);
        }
    }

    /// One exchange: the result code and the whole response.
    fn ask(&self, endpoint: &str, request: &SignedRequest) -> Result<(String, String)> {
        let response = self.client.send(endpoint, request)?.body;
        let parsed: Value = serde_json::from_str(&response).context("the response is not JSON")?;
        let code = parsed["result"]["resultCode"].as_str();
        Ok((code.context("the response has no resultCode")?.to_owned(), response))
    }
}

fn judged(code: String, response: String) -> Outcome {
    match code.as_str() {
        "SUCCESS" => Outcome::Compared,
        REFUSED => Outcome::Refused,
        _ => Outcome::Other(code, response),
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
