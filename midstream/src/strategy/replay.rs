//! A run taken again from its choice log.
//!
//! Strict replay follows the choice log in its order and stops at the first decision that is not on offer. Tolerant replay
//! lets every point use up its own recorded values in order, carries on where they do not fit, and counts the drifts.

use crate::choice::{Choices, Decision, Point, Strategy};
use crate::verdict::Outcome;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Where a strict replay left its choice log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Divergence {
    /// How many decisions fitted before.
    pub after: usize,
    /// What the choice log says; `None` past its end.
    pub recorded: Option<Decision>,
    /// What the run asked instead.
    pub offered: Offer,
}

/// What a run asks at one point.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Offer {
    /// A number below `of`.
    Number {
        /// Where.
        at: Point,
        /// How many there are.
        of: u32,
    },
    /// One of these.
    Options {
        /// Where.
        at: Point,
        /// Which.
        options: Vec<Point>,
    },
    /// Nothing more: the run has ended.
    End,
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(recorded) = &self.recorded else {
            return write!(f, "the run goes on after the last of {} decisions", self.after);
        };
        write!(f, "diverged at decision {}\n  recorded  {recorded}", self.after + 1)?;
        match &self.offered {
            Offer::Number { at, of } => write!(f, "\n  on offer  {at}: a number below {of}"),
            Offer::Options { at, options } => {
                let names: Vec<String> = options.iter().map(Point::to_string).collect();
                write!(f, "\n  on offer  {at}: {}", names.join(", "))
            }
            Offer::End => write!(f, "\n  on offer  nothing more, the run has ended"),
        }
    }
}

/// Takes a run again, decision by decision. After a divergence the run goes on with option 0 everywhere, only to end.
pub fn strict(run: impl FnOnce(Choices) -> Outcome, tape: &[Decision]) -> (Outcome, Option<Divergence>) {
    let divergence = Arc::new(Mutex::new(None));
    let follower = Strict { tape: tape.to_vec(), next: 0, divergence: Arc::clone(&divergence) };
    let outcome = run(Choices::new(Box::new(follower)));
    let divergence = divergence.lock().unwrap_or_else(PoisonError::into_inner).take();
    let taken = outcome.tape.len();
    let unused = (taken < tape.len()).then(|| Divergence {
        after: taken,
        recorded: tape.get(taken).copied(),
        offered: Offer::End,
    });
    (outcome, divergence.or(unused))
}

struct Strict {
    tape: Vec<Decision>,
    next: usize,
    divergence: Arc<Mutex<Option<Divergence>>>,
}

impl Strict {
    fn follow(&mut self, fits: impl FnOnce(&Decision) -> Option<u32>, offer: impl FnOnce() -> Offer) -> u32 {
        let recorded = self.tape.get(self.next).copied();
        if let Some(value) = recorded.as_ref().and_then(fits) {
            self.next += 1;
            return value;
        }
        let mut divergence = self.divergence.lock().unwrap_or_else(PoisonError::into_inner);
        divergence.get_or_insert_with(|| Divergence { after: self.next, recorded, offered: offer() });
        // Whatever comes later must not fit by accident.
        self.tape.clear();
        0
    }
}

impl Strategy for Strict {
    fn choose(&mut self, at: Point, of: u32) -> u32 {
        let fits = |recorded: &Decision| match *recorded {
            Decision::Number { at: there, of: so_many, value } if there == at && so_many == of => Some(value),
            _ => None,
        };
        self.follow(fits, || Offer::Number { at, of })
    }

    fn pick(&mut self, at: Point, options: &[Point]) -> usize {
        let fits = |recorded: &Decision| match *recorded {
            Decision::Option { at: there, picked, .. } if there == at => place(options, picked),
            _ => None,
        };
        self.follow(fits, || Offer::Options { at, options: options.to_vec() }) as usize
    }
}

fn place(options: &[Point], wanted: Point) -> Option<u32> {
    options.iter().position(|&option| option == wanted).map(|index| index as u32)
}

/// A choice log with its decisions sorted by point, so that many variants of it can be replayed quickly.
#[derive(Debug)]
pub struct Recording {
    tape: Vec<Decision>,
    /// Every point of the choice log, once, sorted.
    points: Vec<Point>,
    /// For each point, where on the choice log its decisions are, in order.
    queues: Vec<Vec<u32>>,
    /// For each decision, its point's place in `points`, and its own place in that point's queue.
    place: Vec<(u32, u32)>,
}

impl Recording {
    /// Sorts `tape` by point.
    pub fn new(tape: Vec<Decision>) -> Self {
        let mut points: Vec<Point> = tape.iter().map(Decision::at).collect();
        points.sort_unstable();
        points.dedup();
        let mut queues = vec![Vec::new(); points.len()];
        let mut place = Vec::with_capacity(tape.len());
        for (position, decision) in tape.iter().enumerate() {
            let point = points.binary_search(&decision.at()).expect("every point of the tape is in the list");
            place.push((point as u32, queues[point].len() as u32));
            queues[point].push(position as u32);
        }
        Recording { tape, points, queues, place }
    }

    /// The choice log.
    pub fn tape(&self) -> &[Decision] {
        &self.tape
    }

    /// The value of each decision: what a variant changes. For a pick, 0 is the first option and the rest is by name.
    pub fn values(&self) -> Vec<u32> {
        self.tape.iter().map(Decision::value).collect()
    }
}

/// Takes a run again with these `values` in place of the recorded ones (as many; missing ones are 0), as far as they
/// fit. Returns how often they did not.
pub fn tolerant(
    run: impl FnOnce(Choices) -> Outcome,
    recording: &Arc<Recording>,
    values: Vec<u32>,
) -> (Outcome, u64) {
    variant(run, recording, values, None)
}

/// The same with another schedule: the recorded numbers, but whatever is picked `schedule` picks.
pub fn rescheduled(
    run: impl FnOnce(Choices) -> Outcome,
    recording: &Arc<Recording>,
    values: Vec<u32>,
    schedule: Box<dyn Strategy + Send>,
) -> Outcome {
    variant(run, recording, values, Some(schedule)).0
}

fn variant(
    run: impl FnOnce(Choices) -> Outcome,
    recording: &Arc<Recording>,
    values: Vec<u32>,
    schedule: Option<Box<dyn Strategy + Send>>,
) -> (Outcome, u64) {
    let drifts = Arc::new(AtomicU64::new(0));
    let follower = Tolerant {
        used: vec![0; recording.points.len()],
        recording: Arc::clone(recording),
        values,
        guess: 0,
        schedule,
        drifts: Arc::clone(&drifts),
    };
    let outcome = run(Choices::new(Box::new(follower)));
    (outcome, drifts.load(Ordering::Relaxed))
}

/// How many recorded picks that are not on offer are passed over in search of one that is.
const AHEAD_MAX: u32 = 64;

struct Tolerant {
    recording: Arc<Recording>,
    values: Vec<u32>,
    /// How much of each point's queue is used up.
    used: Vec<u32>,
    /// Where on the choice log the next decision stands if nothing has drifted.
    guess: usize,
    /// Picks in place of the recorded picks.
    schedule: Option<Box<dyn Strategy + Send>>,
    drifts: Arc<AtomicU64>,
}

impl Tolerant {
    /// The point's place in the recording.
    fn find(&self, at: Point) -> Option<usize> {
        match self.recording.tape.get(self.guess) {
            Some(decision) if decision.at() == at => Some(self.recording.place[self.guess].0 as usize),
            _ => self.recording.points.binary_search(&at).ok(),
        }
    }

    /// The choice log position of the point's next decision but `ahead`.
    fn peek(&self, point: usize, ahead: u32) -> Option<usize> {
        self.recording.queues[point]
            .get((self.used[point] + ahead) as usize)
            .map(|&position| position as usize)
    }

    fn advance(&mut self, point: usize, position: usize) {
        self.used[point] = self.recording.place[position].1 + 1;
        self.guess = position + 1;
    }

    fn value(&self, position: usize) -> u32 {
        self.values.get(position).copied().unwrap_or(0)
    }

    fn drift<T: Default>(&self) -> T {
        self.drifts.fetch_add(1, Ordering::Relaxed);
        T::default()
    }

    /// The next recorded pick that is on offer; what is not belongs to somebody who is gone. A pick changed to 0 means
    /// the first option, whatever its name is now.
    fn recorded_pick(&self, point: usize, options: &[Point]) -> Option<(usize, usize)> {
        let mut ahead = (0..AHEAD_MAX).map_while(|ahead| self.peek(point, ahead));
        ahead.find_map(|position| match self.recording.tape[position] {
            Decision::Option { value, .. } if value > 0 && self.value(position) == 0 => Some((position, 0)),
            Decision::Option { picked, .. } => place(options, picked).map(|index| (position, index as usize)),
            Decision::Number { .. } => None,
        })
    }
}

impl Strategy for Tolerant {
    fn choose(&mut self, at: Point, of: u32) -> u32 {
        let Some(point) = self.find(at) else { return self.drift() };
        let Some(position) = self.peek(point, 0) else { return self.drift() };
        self.advance(point, position);
        let value = self.value(position);
        if value >= of {
            let _: u32 = self.drift();
        }
        value.min(of - 1)
    }

    fn pick(&mut self, at: Point, options: &[Point]) -> usize {
        if let Some(schedule) = &mut self.schedule {
            return schedule.pick(at, options);
        }
        let Some(point) = self.find(at) else { return self.drift() };
        if let Some((position, index)) = self.recorded_pick(point, options) {
            if Some(position) != self.peek(point, 0) {
                let _: u32 = self.drift();
            }
            self.advance(point, position);
            return index;
        }
        if let Some(head) = self.peek(point, 0) {
            self.advance(point, head);
        }
        self.drift()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::of_seed;
    use crate::toy;
    use crate::verdict::Verdict;

    fn failing() -> Outcome {
        toy::first_failure().1
    }

    #[test]
    fn strict_replay_gives_the_same_run() {
        for outcome in (0..200).map(|seed| toy::run(of_seed(seed))) {
            let (again, divergence) = strict(toy::run, &outcome.tape);
            assert_eq!(divergence, None);
            assert_eq!(again.history_hash, outcome.history_hash);
            assert_eq!(again.tape, outcome.tape);
        }
    }

    #[test]
    fn strict_replay_stops_at_the_first_point_that_is_not_asked() {
        let mut tape = failing().tape;
        let removed = tape.remove(5);
        let (_, divergence) = strict(toy::run, &tape);
        let divergence = divergence.expect("the tape lacks a decision");
        assert_eq!(divergence.after, 5);
        assert_eq!(divergence.recorded, Some(tape[5]));
        assert_eq!(divergence.offered, Offer::Number { at: removed.at(), of: removed.of() });
    }

    #[test]
    fn strict_replay_names_an_option_that_is_gone() {
        let mut tape = failing().tape;
        let ghost = Point::new("ghost", [0; 3]);
        let index = tape.iter().position(|d| matches!(d, Decision::Option { .. })).expect("a pick");
        if let Decision::Option { picked, .. } = &mut tape[index] {
            *picked = ghost;
        }
        let text = strict(toy::run, &tape).1.expect("nobody offers a ghost").to_string();
        assert!(text.contains("recorded  schedule: ghost"), "{text}");
        assert!(text.contains("on offer  schedule: client"), "{text}");
    }

    #[test]
    fn a_tape_too_long_or_too_short_diverges_at_its_end() {
        let tape = failing().tape;
        let (_, divergence) = strict(toy::run, &tape[..tape.len() - 1]);
        assert_eq!(divergence.expect("too short").recorded, None);
        let longer: Vec<Decision> = tape.iter().copied().chain([tape[0]]).collect();
        let (outcome, divergence) = strict(toy::run, &longer);
        assert_eq!(divergence.expect("too long").offered, Offer::End);
        assert_eq!(outcome.tape, tape);
    }

    #[test]
    fn tolerant_replay_of_an_unchanged_tape_never_drifts() {
        let outcome = failing();
        let recording = Arc::new(Recording::new(outcome.tape.clone()));
        let (again, drifts) = tolerant(toy::run, &recording, recording.values());
        assert_eq!(drifts, 0);
        assert_eq!(again.tape, outcome.tape);
    }

    // A slot that decides nothing any more takes its arguments with it: every later point must still find its own.
    #[test]
    fn tolerant_replay_survives_edits() {
        let outcome = failing();
        let recording = Arc::new(Recording::new(outcome.tape.clone()));
        let mut kept = 0;
        for (position, decision) in recording.tape().iter().enumerate() {
            if decision.at().name != toy::COMMAND || decision.value() == 0 {
                continue;
            }
            let mut values = recording.values();
            values[position] = 0;
            let (again, _) = tolerant(toy::run, &recording, values);
            kept += usize::from(again.verdict.law() == outcome.verdict.law());
            let same = |d: &Decision| d.at().name == toy::COMMAND && d.at() != decision.at();
            let before: Vec<&Decision> = outcome.tape.iter().filter(|d| same(d)).collect();
            let after: Vec<&Decision> = again.tape.iter().filter(|d| same(d)).collect();
            assert_eq!(before, after);
        }
        assert!(kept > 0, "no command could be left out");
    }

    #[test]
    fn tolerant_replay_of_nothing_takes_option_0_everywhere() {
        let recording = Arc::new(Recording::new(Vec::new()));
        let (outcome, drifts) = tolerant(toy::run, &recording, Vec::new());
        assert_eq!(outcome.verdict, Verdict::Passed);
        assert!(drifts > 0);
        assert!(outcome.tape.iter().all(|d| d.value() == 0));
    }
}
