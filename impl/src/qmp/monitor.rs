//! One client of the engine: greeting, capabilities, commands one after the other, replies and events in order.
//!
//! It knows nothing of sockets: bytes or texts go in, lines come out. Commands of all monitors of an engine take
//! turns, so a command's checks hold until it has taken effect.

use super::dispatch;
use super::outbox::Outbox;
use super::text::{error_text, event_text, greeting_text, reply_text};
use crate::engine::Engine;
use crate::error::Refused;
use crate::event::{Event, EventSink};
use crate::qapi::json::{self, JsonError, Reader};
use crate::qapi::refusal::Refusal;
use crate::qapi::types::{Action, Command};
use crate::sync::either;
use crate::sync::range_lock::RangeGuard;
use crate::sync::shim::Mutex;
use seam::{Nanos, WallClock};
use serde_json::Value;
use std::future::Future;
use std::sync::{Arc, Weak};
use std::task::Poll;

/// How long a command that only asks waits for those that work.
const QUERY_TIMEOUT: Nanos = Nanos::SECOND;

/// One client.
#[derive(Debug)]
pub struct Monitor {
    engine: Arc<Engine>,
    outbox: Outbox,
    reader: Mutex<Reader>,
    phase: Mutex<Phase>,
}

/// What the client may do now.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Phase {
    /// Only negotiate capabilities; it receives no events.
    Negotiating,
    /// Everything.
    Open,
    /// Nothing more: it has said `quit`.
    Quitting,
}

/// Receives the engine's events for a monitor without keeping it alive.
#[derive(Debug)]
struct Subscriber(Weak<Monitor>);

impl EventSink for Subscriber {
    fn emit(&self, event: &Event, at: WallClock) {
        if let Some(monitor) = self.0.upgrade()
            && *monitor.phase.lock() != Phase::Negotiating
            && monitor.outbox.takes_lines()
        {
            monitor.outbox.push(event_text(event, at));
        }
    }
}

impl Monitor {
    /// A client that has just come; its greeting waits to be sent.
    pub fn new(engine: Arc<Engine>) -> Arc<Monitor> {
        let monitor = Arc::new(Monitor {
            engine: Arc::clone(&engine),
            outbox: Outbox::default(),
            reader: Mutex::new(Reader::new()),
            phase: Mutex::new(Phase::Negotiating),
        });
        engine.subscribe(Arc::new(Subscriber(Arc::downgrade(&monitor))));
        monitor.outbox.push(greeting_text());
        monitor
    }

    /// The next client takes this one's place: greeted anew, and nothing of the last one is left.
    pub fn reconnect(&self) {
        *self.reader.lock() = Reader::new();
        *self.phase.lock() = Phase::Negotiating;
        self.outbox.reset();
        self.outbox.push(greeting_text());
    }

    /// Does one command and gives its reply. `None`: the text holds no whole message.
    ///
    /// Between the command's effect and the return nothing is waited for. Events go to the output as ever.
    pub async fn execute(&self, text: &str) -> Option<String> {
        let message = json::read(text)?;
        self.answer(message).await
    }

    /// Takes bytes as they come, in pieces of any size; replies are queued in order. One call at a time.
    ///
    /// To be run to its end: dropped in the middle, it would leave a command half done.
    pub async fn receive(&self, bytes: &[u8]) {
        let mut messages = Vec::new();
        self.reader.lock().feed(bytes, &mut |message| messages.push(message));
        for message in messages {
            // Answers are made only as fast as they are taken.
            self.outbox.bytes_free().await;
            if let Some(reply) = self.answer(message).await {
                self.outbox.push(reply);
            }
        }
    }

    /// Waits until few enough lines wait to be sent that more may be received.
    pub async fn room(&self) {
        self.outbox.room().await;
    }

    /// The next line to send: greeting, replies and events in order. `None`: nothing more will come.
    pub async fn next_output(&self) -> Option<String> {
        self.outbox.next().await
    }

    /// The next line to send, if one waits.
    pub fn try_output(&self) -> Option<String> {
        self.outbox.pop()
    }

    /// The client takes nothing any more: what waits for it is dropped, and nothing is added before the next one comes.
    pub fn give_up(&self) {
        self.outbox.give_up();
    }

    /// Waits until no line of any client is wanted any more; those that come meanwhile are nobody's.
    pub async fn closed(&self) {
        self.outbox.closed().await;
    }

    /// Waits until so much waits to be sent that the client is given up.
    pub async fn given_up(&self) {
        self.outbox.given_up().await;
    }

    /// Says that no more lines are wanted, from now on and of no client; those that wait can still be taken.
    pub fn close(&self) {
        self.outbox.close();
    }

    /// Whether the client has said `quit`. Ending the engine is up to who owns it.
    pub fn wants_quit(&self) -> bool {
        *self.phase.lock() == Phase::Quitting
    }

    /// `None`: after `quit` nothing is answered.
    async fn answer(&self, message: Result<Value, JsonError>) -> Option<String> {
        if self.wants_quit() {
            return None;
        }
        let message = match message {
            Ok(message) => message,
            Err(e) => return Some(error_text("GenericError", &e.to_string(), None)),
        };
        let (request, id) = dispatch::open(message);
        let answered = match request {
            Ok(request) => self.dispatch(&request).await,
            Err(refusal) => Err(refusal),
        };
        Some(match answered {
            Ok(returns) => reply_text(&returns, id.as_ref()),
            Err(refusal) => error_text(refusal.class, &refusal.description, id.as_ref()),
        })
    }

    async fn dispatch(&self, request: &dispatch::Request) -> Result<std::borrow::Cow<'static, str>, Refusal> {
        self.refuse_out_of_phase(&request.name)?;
        let command = dispatch::admit(request)?;
        match command.action {
            Action::QmpCapabilities => self.negotiate(request)?,
            Action::Quit => {
                *self.phase.lock() = Phase::Quitting;
                // Whoever is at work gives it up, so that our turn comes.
                self.engine.hurry();
            }
            _ => {}
        }
        let begun = dispatch::begin(&self.engine, command, &request.arguments).await?;
        let _alone = match dispatch::only_asks(command) {
            true => self.turn_to_ask(command).await,
            false => Some(self.engine.commands().drain().await),
        };
        if self.engine.has_ended() {
            return Err(Refused::Ended.into());
        }
        if command.action == Action::Quit {
            // The reply comes after all that this brings about.
            self.engine.quit().await;
        }
        dispatch::run(&self.engine, command, &request.arguments, begun).await
    }

    /// A command that only asks waits for the one that works, and for jobs that commit, so that it sees what
    /// comes after; but not for ever: what it sees then is what was before.
    async fn turn_to_ask(&self, command: &Command) -> Option<RangeGuard<'_>> {
        let mut turn = std::pin::pin!(async {
            let alone = self.engine.commands().drain().await;
            if dispatch::asks_of_jobs(command) {
                self.engine.let_jobs_take_effect().await;
            }
            alone
        });
        let now = std::future::poll_fn(|context| match turn.as_mut().poll(context) {
            Poll::Ready(alone) => Poll::Ready(Some(alone)),
            Poll::Pending => Poll::Ready(None),
        });
        if let Some(alone) = now.await {
            return Some(alone);
        }
        let host = self.engine.host();
        let mut alone = None;
        let over = host.sleep_until(host.now().plus(QUERY_TIMEOUT));
        either(async { alone = Some(turn.await) }, over).await;
        alone
    }

    fn refuse_out_of_phase(&self, name: &str) -> Result<(), Refusal> {
        let negotiating = *self.phase.lock() == Phase::Negotiating;
        match (negotiating, name == "qmp_capabilities") {
            (true, false) => {
                Err(Refusal::not_found("Expecting capabilities negotiation with 'qmp_capabilities'"))
            }
            (false, true) => {
                Err(Refusal::not_found("Capabilities negotiation is already complete, command ignored"))
            }
            _ => Ok(()),
        }
    }

    fn negotiate(&self, request: &dispatch::Request) -> Result<(), Refusal> {
        // The greeting offers no capability, so there is none that can be had.
        let enabled = request.arguments.get("enable").and_then(Value::as_array);
        if let Some(name) = enabled.and_then(|names| names.first()?.as_str()) {
            return Err(Refusal::generic(format!("Capability {name} not available")));
        }
        *self.phase.lock() = Phase::Open;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::recorded::{output, with_monitor};
    use super::*;
    use crate::qapi::json::{MESSAGE_BYTES_MAX, MESSAGE_TOKENS_MAX, NESTING_MAX};

    #[test]
    fn before_negotiation_only_capabilities_are_spoken_of() {
        with_monitor(async |monitor| {
            monitor.reconnect();
            assert!(monitor.try_output().unwrap().starts_with(r#"{"QMP": "#));
            let refused = "Expecting capabilities negotiation with 'qmp_capabilities'";
            monitor.receive(br#"{"execute":"query-version"}{"execute":"nosuch"}"#).await;
            assert_eq!(output(&monitor), [refused, refused]);
            monitor.receive(br#"{"execute":"qmp_capabilities","arguments":{"enable":["oob"]}}"#).await;
            assert_eq!(output(&monitor), ["Capability oob not available"]);
            monitor.receive(br#"{"execute":"qmp_capabilities","arguments":{"enable":["x"]}}"#).await;
            assert_eq!(output(&monitor), ["Parameter 'null' does not accept value 'x'"]);
            monitor.receive(br#"{"execute":"qmp_capabilities","arguments":{"enable":[]}}"#).await;
            monitor.receive(br#"{"execute":"query-version"}"#).await;
            assert_eq!(output(&monitor), ["return", "return"]);
        });
    }

    #[test]
    fn events_and_replies_keep_their_order_and_none_comes_before_negotiation() {
        let event = Event::JobStatusChange { id: "j".to_owned(), status: "running" };
        let at = WallClock { seconds: 1, microseconds: 2 };
        with_monitor(async |monitor| {
            let subscriber = Subscriber(Arc::downgrade(&monitor));
            monitor.receive(br#"{"execute":"query-commands","id":1}"#).await;
            subscriber.emit(&event, at);
            monitor.receive(br#"{"execute":"query-commands","id":2}"#).await;
            assert!(monitor.next_output().await.unwrap().ends_with(r#", "id": 1}"#));
            let output = monitor.next_output().await.unwrap();
            assert_eq!(
                output,
                r#"{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "JOB_STATUS_CHANGE", "data": {"status": "running", "id": "j"}}"#
            );
            assert!(monitor.next_output().await.unwrap().ends_with(r#", "id": 2}"#));
            monitor.reconnect();
            subscriber.emit(&event, at);
            assert!(monitor.try_output().unwrap().starts_with(r#"{"QMP": "#));
            assert_eq!(monitor.try_output(), None);
        });
    }

    #[test]
    fn nothing_is_answered_after_quit() {
        with_monitor(async |monitor| {
            assert!(!monitor.wants_quit());
            monitor.receive(br#"{"execute":"quit","id":"bye"}{"execute":"query-version"}"#).await;
            assert_eq!(monitor.try_output().as_deref(), Some(r#"{"return": {}, "id": "bye"}"#));
            assert!(monitor.wants_quit());
            monitor.close();
            assert_eq!(monitor.next_output().await, None);
        });
    }

    #[test]
    fn half_a_message_has_no_reply() {
        with_monitor(async |monitor| {
            assert_eq!(monitor.execute(r#"{"execute":"query-version""#).await, None);
            assert_eq!(monitor.execute(" \n").await, None);
        });
    }

    // Each of these would otherwise take memory without end.
    #[test]
    fn oversize_messages_cost_one_error_and_the_connection_goes_on() {
        with_monitor(async |monitor| {
            let deep = "[".repeat(NESTING_MAX + 1);
            let many = format!("[{}", "1,".repeat(MESSAGE_TOKENS_MAX / 2));
            let long_text = format!("{{'a':'{}", "x".repeat(2 * MESSAGE_BYTES_MAX));
            let long_number = format!("{{'a':{}", "7".repeat(2 * MESSAGE_BYTES_MAX));
            for (sent, expected) in [
                (deep, "JSON nesting depth limit exceeded"),
                (many, "JSON token count limit exceeded"),
                (long_text, "JSON token size limit exceeded"),
                (long_number, "JSON token size limit exceeded"),
            ] {
                for piece in sent.as_bytes().chunks(1 << 16) {
                    monitor.receive(piece).await;
                }
                assert_eq!(output(&monitor), [expected]);
                monitor.receive(b"\n{'execute':'query-commands'}").await;
                assert_eq!(output(&monitor), ["return"]);
            }
            let deepest = format!("{}{}", "[".repeat(NESTING_MAX), "]".repeat(NESTING_MAX));
            monitor.receive(deepest.as_bytes()).await;
            assert_eq!(output(&monitor), ["QMP input must be a JSON object"]);
        });
    }

    #[test]
    fn a_client_that_never_reads_is_given_up() {
        with_monitor(async |monitor| {
            for _ in 0..100 {
                // A megabyte each.
                monitor.outbox.push("x".repeat(1 << 20));
            }
            assert_eq!(monitor.next_output().await, None);
        });
    }

    #[test]
    fn every_answer_is_what_the_schema_says() {
        with_monitor(async |monitor| {
            for name in ["query-version", "query-commands", "query-jobs", "query-block-jobs"] {
                let reply = monitor.execute(&format!("{{'execute':'{name}'}}")).await.unwrap();
                let reply: Value = serde_json::from_str(&reply).unwrap();
                let command = crate::qapi::schema::command(name).unwrap();
                assert_eq!(
                    crate::qapi::check::check_value(&reply["return"], &command.returns),
                    Ok(()),
                    "{name}"
                );
            }
        });
    }
}
