//! Requests in flight: a guest's request is sent, then the next turn's command, and both are awaited, whichever comes
//! first.
//!
//! A guest has one socket and at most one request on it. Nobody leaves, looks or comes to rest while any is in flight;
//! a kill gives them up.
//!
//! Whether an answer on a guest's socket is older or younger than a line on the monitor, nobody can know. So the judge
//! sees an answer that comes beside a command only after the command's reply: that a request took longer than it
//! did allows more, and never forbids what was right.

use super::action::Action;
use super::guests::Seat;
use super::judge::Broken;
use super::sequence::Live;
use super::timeout::Timeout;
use super::turns::{Turn, What};
use crate::conform::case::IoOp;
use crate::conform::nbd;
use crate::conform::subject::{Answer, Disconnected, Request as NbdRequest};
use midstream::choice::{Choices, Point};
use midstream::content::{SECTOR_BYTES, Tag, fill};
use midstream::content::{tag_in_sector, tags};
use midstream::request::Operation;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::VecDeque;
use std::os::fd::AsFd;
use std::time::Duration;

/// One request in so many is in flight while the next turn is taken.
const IN_FLIGHT_IN: u32 = 3;
/// A guest that waits longer than this waits for a job.
const GUEST_TIMEOUT: Duration = Duration::from_millis(700);
/// Whoever waits for the monitor looks after the guests for so long first.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// Draws which requests are in flight while the next turn is taken.
pub(super) fn draw(choices: &mut Choices, scripts: &mut [VecDeque<Turn<'_>>]) {
    for turn in scripts.iter_mut().flatten() {
        let What::Request { plan, lane, request, .. } = turn.what else { continue };
        let of = [plan.guest, lane, request.slot()];
        let point = Point::new("guest # lane # request # in flight", of);
        turn.in_flight = choices.choose(point, IN_FLIGHT_IN) == IN_FLIGHT_IN - 1;
    }
}

/// What a guest asks for.
#[derive(Copy, Clone, Debug)]
pub(super) struct Asked {
    pub(super) guest: u32,
    pub(super) operation: Operation,
    pub(super) sector: u64,
    pub(super) sectors: u64,
    pub(super) tag: Tag,
}

/// A request without its answer.
#[derive(Debug)]
pub(super) struct Unanswered {
    number: u64,
    asked: Asked,
    /// The next turn was taken without its answer.
    is_in_flight: bool,
    /// A command was sent while there was no answer.
    met_command: bool,
    /// The answer, if it has come and the judge does not know it yet, or that the connection broke.
    came: Option<Result<Answer, Disconnected>>,
}

impl Asked {
    /// The request on the wire, with `data` to write.
    fn wire<'a>(&self, data: &'a [u8]) -> NbdRequest<'a> {
        let op = match self.operation {
            Operation::Read => IoOp::Read,
            Operation::Write => IoOp::Write,
            Operation::WriteZeroes => IoOp::Zero,
            Operation::Discard => IoOp::Discard,
            Operation::Flush => IoOp::Flush,
        };
        let bytes = |sectors: u64| sectors * SECTOR_BYTES as u64;
        let (offset, len) = match self.operation {
            Operation::Flush => (0, 0),
            _ => (bytes(self.sector), bytes(self.sectors) as u32),
        };
        NbdRequest { op, offset, len, data, nohole: false }
    }

    fn data(&self) -> Vec<u8> {
        if self.operation != Operation::Write {
            return Vec::new();
        }
        let mut data = vec![0; self.sectors as usize * SECTOR_BYTES];
        for (sector, bytes) in (self.sector..).zip(data.chunks_mut(SECTOR_BYTES)) {
            fill(bytes, tag_in_sector(self.tag, sector));
        }
        data
    }

    fn text(&self) -> String {
        let Asked { guest, operation, sector, sectors, .. } = self;
        format!("guest {guest}, {} of {sectors} at {sector}", operation.word())
    }
}

impl Live<'_> {
    /// Sends a request; its guest sits, and has none without an answer.
    pub(super) fn ask(&mut self, asked: Asked, is_in_flight: bool) -> Result<(), Broken> {
        let Asked { guest, operation, sector, sectors, tag } = asked;
        self.did(Action::Request { guest, operation, sector, sectors, tag, is_in_flight });
        // Of what was said before the request, nothing depends on it.
        self.receive(None, "a guest's request")?;
        self.request += 1;
        let number = self.request;
        self.judge.began(number, guest, operation, (sector, sectors), tag)?;
        let data = asked.data();
        let seat = self.guests.get_mut(&guest).expect("a guest asks only while it sits");
        assert!(seat.unanswered.is_none(), "{} while it waits for {:?}", asked.text(), seat.unanswered);
        seat.requests += 1;
        let came = nbd::ask(&mut seat.socket, seat.requests, asked.wire(&data)).err().map(Err);
        seat.unanswered = Some(Unanswered { number, asked, is_in_flight, met_command: false, came });
        Ok(())
    }

    /// Waits for the answer to the request that a guest has sent, and shows it to the judge. `None`: there is none to
    /// wait for, or it was in flight and the answer came beside that of a command.
    pub(super) fn answered(&mut self, guest: u32) -> Result<Option<Result<Vec<Tag>, String>>, Broken> {
        let Some(seat) = self.guests.get_mut(&guest).filter(|seat| seat.unanswered.is_some()) else {
            return Ok(None);
        };
        if !seat.comes(GUEST_TIMEOUT) {
            // A job may hold guests up for as long as it waits for its operator.
            self.urge_all()?;
        }
        let seat = self.guests.get_mut(&guest).expect("a guest that asked sits until it is answered");
        if seat.unanswered.is_none() {
            // Its answer came before that of a command that urged a job.
            return Ok(None);
        }
        let mut timeout = Timeout::begin();
        while !seat.comes(timeout.pause()) {
            if timeout.look(self.process.ticks()).is_some() {
                let late = Disconnected(format!("no answer within {}", timeout.text()));
                seat.unanswered.as_mut().expect("it still waits").came = Some(Err(late));
            }
        }
        let (unanswered, answer) = seat.take_answer();
        match answer {
            Err(gone) => Err(self.unserved(&unanswered.asked.text(), &gone.0)),
            Ok(answer) => {
                self.receive(None, "a guest's request")?;
                self.ended(&unanswered, answer).map(Some)
            }
        }
    }

    fn ended(&mut self, unanswered: &Unanswered, answer: Answer) -> Result<Result<Vec<Tag>, String>, Broken> {
        let guest = unanswered.asked.guest;
        if unanswered.is_in_flight {
            self.did(Action::Answered { guest });
        }
        let result = match answer.error {
            0 => Ok(tags(&answer.data)),
            error => Err(format!("error {error}")),
        };
        self.judge.ended(unanswered.number, result.as_deref().map_err(String::as_str))?;
        Ok(result)
    }

    /// Waits for every request in flight; then those leave who have nothing more to ask.
    pub(super) fn all_answered(&mut self) -> Result<(), Broken> {
        let is_due = |seat: &Seat| seat.unanswered.is_some() || seat.leaves;
        let due: Vec<u32> =
            self.guests.iter().filter(|(_, seat)| is_due(seat)).map(|(guest, _)| *guest).collect();
        due.into_iter().try_for_each(|guest| self.answered_and_left(guest))
    }

    /// The same for one guest.
    pub(super) fn answered_and_left(&mut self, guest: u32) -> Result<(), Broken> {
        self.answered(guest)?;
        match self.guests.get(&guest) {
            Some(seat) if seat.leaves => self.leave(guest),
            _ => Ok(()),
        }
    }

    /// A command was sent: counts the requests that were in flight then.
    pub(super) fn count_in_flight(&mut self) {
        for seat in self.guests.values_mut() {
            if let Some(unanswered) = seat.unanswered.as_mut()
                && !unanswered.met_command
                && unanswered.came.is_none()
                && !seat.socket.has_come()
            {
                unanswered.met_command = true;
                self.in_flight += 1;
            }
        }
    }

    /// Takes the answers to guests that come before the monitor says anything, and keeps them. The monitor's lines are
    /// not touched: the next one may be the reply that somebody waits for.
    pub(super) fn receive_answers(&mut self) {
        while let Some(guest) = self.next_answer() {
            let seat = self.guests.get_mut(&guest).expect("its answer has come");
            seat.keep_answer();
        }
    }

    /// A command has its reply: the judge sees the answers that were kept.
    pub(super) fn report_answers(&mut self) -> Result<(), Broken> {
        let has_answer = |seat: &&mut Seat| {
            seat.unanswered.as_ref().is_some_and(|waiting| matches!(waiting.came, Some(Ok(_))))
        };
        while let Some(seat) = self.guests.values_mut().find(has_answer) {
            // Of a broken connection the monitor reports why, if it is the daemon's end; if not, the guest's turn does.
            if let (unanswered, Ok(answer)) = seat.take_answer() {
                drop(self.ended(&unanswered, answer)?);
            }
        }
        Ok(())
    }

    /// The guest whose answer comes next, if one comes soon and before the monitor says anything.
    fn next_answer(&mut self) -> Option<u32> {
        let may_come = |waiting: &Unanswered| waiting.is_in_flight && waiting.came.is_none();
        let waits = |seat: &Seat| seat.unanswered.as_ref().is_some_and(may_come);
        let waiting: Vec<(u32, &Seat)> =
            self.guests.iter().filter(|(_, seat)| waits(seat)).map(|(guest, seat)| (*guest, seat)).collect();
        if waiting.is_empty() || self.process.qmp.has_line() {
            return None;
        }
        if let Some((guest, _)) = waiting.iter().find(|(_, seat)| seat.socket.has_first()) {
            return Some(*guest);
        }
        let mut fds = vec![PollFd::from_borrowed_fd(self.process.qmp.as_fd(), PollFlags::IN)];
        fds.extend(
            waiting.iter().map(|(_, seat)| PollFd::from_borrowed_fd(seat.socket.as_fd(), PollFlags::IN)),
        );
        // Interrupted, nothing has come as far as anybody knows.
        poll(&mut fds, Some(&LOOK)).ok()?;
        if !fds[0].revents().is_empty() {
            return None;
        }
        let come = fds[1..].iter().position(|fd| !fd.revents().is_empty())?;
        Some(waiting[come].0)
    }
}

impl Seat {
    /// Whether the answer comes, or will never come, within `max`.
    fn comes(&mut self, max: Duration) -> bool {
        let has_come = self.unanswered.as_ref().is_some_and(|waiting| waiting.came.is_some());
        has_come || self.socket.comes(max)
    }

    /// Reads the answer that has come, for later.
    fn keep_answer(&mut self) {
        let (mut unanswered, answer) = self.take_answer();
        unanswered.came = Some(answer);
        self.unanswered = Some(unanswered);
    }

    /// The request without an answer, and the answer.
    fn take_answer(&mut self) -> (Unanswered, Result<Answer, Disconnected>) {
        let mut unanswered = self.unanswered.take().expect("its answer was waited for");
        let kept = unanswered.came.take();
        let answer = kept.unwrap_or_else(|| nbd::answer(&mut self.socket, unanswered.asked.wire(&[])));
        (unanswered, answer)
    }
}
