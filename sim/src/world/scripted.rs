//! A world driven by hand, for tests that know what they want: one command, one request, so many steps.
//!
//! Whatever is done here takes option 0; the oracle watches as ever. `finish` lives through the rest.

use super::{OPERATOR, Stop, World};
use crate::workload::guest::{Place, Request};
use crate::workload::scenario::Scenario;
use crate::world::door::Door;
use crate::world::guest;
use midstream::choice::{Choices, Point, Strategy};
use midstream::content::{Tag, tag_of_request};
use midstream::request::{Operation, RequestId};
use midstream::verdict::{Detail, Outcome, Verdict};
use midstream::world::fault::Fault;
use midstream::world::scheduler::{Rest, STEPS_MAX};
use std::sync::{Arc, Mutex};

/// Takes option 0 everywhere.
#[derive(Copy, Clone, Debug, Default)]
pub struct First;

impl Strategy for First {
    fn choose(&mut self, _: Point, _: u32) -> u32 {
        0
    }

    fn pick(&mut self, _: Point, _: &[Point]) -> usize {
        0
    }
}

/// A guest that a test holds.
#[derive(Debug)]
pub struct Hand {
    number: u32,
    requests: u32,
    guest: Arc<Door>,
}

impl World {
    /// A world whose nodes are set up, ready to be driven.
    pub fn open(scenario: Scenario) -> World {
        let mut world = World::new(scenario, Detail::Full);
        let set_up = world.set_up();
        world.expect(set_up);
        world
    }

    /// Executes a command on the engine and gives its reply.
    pub fn execute(&mut self, text: &str) -> String {
        let (monitor, oracle, text) = (self.monitor.clone(), self.oracle.clone(), text.to_owned());
        self.get("operator", async move {
            oracle.sent(OPERATOR, &text);
            let reply = monitor.execute(&text).await.unwrap_or_default();
            oracle.reply(OPERATOR, reply.clone());
            reply
        })
    }

    /// Arms a fault: from now on the disk may do this.
    pub fn arm(&mut self, fault: Fault) {
        self.oracle.armed(&fault, &self.scenario);
        self.host.core().disks.faults.arm(fault);
    }

    /// Lets so many steps pass; fewer, if nothing is left to happen.
    pub fn pass(&mut self, steps: u64) {
        self.scheduler.run(&[], steps, None);
    }

    /// Lets pass whatever can still happen by itself.
    pub fn settle(&mut self) {
        let rest = self.scheduler.run(&[], STEPS_MAX, None);
        assert!(
            matches!(rest, Rest::Idle | Rest::Halted),
            "it does not come to rest: {}",
            self.stuck("no rest")
        );
    }

    /// Attaches a guest; the refusal's text, if it is turned away.
    pub fn attach(&mut self, number: u32, node: &str, writable: bool) -> Result<Hand, String> {
        match self.engine.open_guest(node, writable) {
            Ok(guest) => {
                self.oracle.attached(number, node, writable);
                Ok(Hand { number, requests: 0, guest: Arc::new(Door::Device(guest)) })
            }
            Err(refused) => {
                self.oracle.turned_away(number, node, writable, &refused);
                Err(refused.to_string())
            }
        }
    }

    /// Detaches a guest.
    pub fn detach(&mut self, hand: Hand) {
        let number = hand.number;
        drop(hand);
        self.oracle.detached(number);
    }

    /// Does one request of a guest, to its end.
    pub fn request(&mut self, hand: &mut Hand, operation: Operation, sector: u64, sectors: u64) {
        let id = RequestId { guest: hand.number, lane: 0, slot: hand.requests };
        hand.requests += 1;
        let tag: Tag = tag_of_request(hand.number, 0, id.slot);
        let place = Place::Sector(sector);
        let request = Request { think: 0, operation, place, sectors, tag, fua: false, unmaps: false };
        let (guest, engine, oracle) = (hand.guest.clone(), self.engine.clone(), self.oracle.clone());
        self.get("guest", async move { guest::perform(id, &request, &guest, &engine, &oracle).await });
    }

    /// The history so far, without the numbers of the steps.
    pub fn log(&self) -> Vec<String> {
        self.oracle.lines().iter().map(|line| line.get(11..).unwrap_or_default().to_owned()).collect()
    }

    /// Brings every job to its end, looks, closes, reopens the files, and judges.
    pub fn finish(mut self) -> Outcome {
        let mut choices = Choices::new(Box::new(First));
        let ended = self.close(&mut choices).and_then(|()| self.look()).and_then(|()| self.quit());
        self.outcome(ended)
    }

    /// Ends the world without warning, reads what is left, and judges.
    pub fn end(
        mut self,
        ending: midstream::world::crash::Ending,
        strategy: Box<dyn Strategy + Send>,
    ) -> Outcome {
        let ended = self.crash(ending, &mut Choices::new(strategy));
        self.outcome(ended)
    }

    fn outcome(self, ended: Result<(), Stop>) -> Outcome {
        let verdict = self.judge(ended);
        let mut outcome = Outcome::of(verdict);
        outcome.steps = self.scheduler.steps();
        self.oracle.report(&mut outcome);
        outcome
    }

    fn get<T: Send + 'static>(
        &mut self,
        name: &'static str,
        work: impl Future<Output = T> + Send + 'static,
    ) -> T {
        let place = Arc::new(Mutex::new(None));
        let put = place.clone();
        let ended = self.plain(name, async move {
            let got = work.await;
            *put.lock().expect("nobody panics holding it") = Some(got);
        });
        self.expect(ended);
        place.lock().expect("nobody panics holding it").take().expect("a task that ended has put its result")
    }

    fn expect(&self, ended: Result<(), Stop>) {
        if ended.is_err() {
            let verdict: Verdict = self.judge(ended);
            panic!("{verdict:?} after\n{}", self.log().join("\n"));
        }
    }
}
