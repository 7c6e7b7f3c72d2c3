//! What is judged once nobody knows any more what the graph is: a command of unknown effect has succeeded, and what a
//! guest wrote it reads again all the same.
//!
//! Only writers are followed, for nobody else may change what they see: a job that would write a node refuses one with a
//! writer. What another guest changes may lie below, so every change forgets what others wrote; what a command may have
//! put in the place of a node forgets everything.

use crate::content::word;
use crate::json::Json;
use crate::observation::{GuestOp, Observation};
use std::collections::{BTreeMap, VecDeque};

/// What the guests have written since.
#[derive(Clone, Debug, Default)]
pub struct DataJudge {
    /// By guest: the sectors it wrote, with their values.
    wrote: BTreeMap<u32, BTreeMap<u64, u64>>,
    /// Requests on their way.
    requests: BTreeMap<u64, Request>,
    /// By client: whether each of its unanswered commands leaves alone what guests see.
    commands: BTreeMap<u32, VecDeque<Effect>>,
    /// Goes on with everything that may change what a guest sees.
    moment: u64,
    /// A mirror may take a guest to a copy that is no copy of all.
    is_blind: bool,
    /// How many sectors were compared.
    pub compared: u64,
}

#[derive(Clone, Debug)]
struct Request {
    guest: u32,
    sector: u64,
    /// What is written; nothing, if it is a read or leaves open what is there then.
    values: Vec<u64>,
    is_read: bool,
    began: u64,
}

/// What the success of a command does to what guests see.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Effect {
    Nothing,
    Unknown,
    /// Now, and when the job ends.
    Mirrors,
}

/// Commands that leave alone what guests see, by the beginnings of their names.
const DATA_SAFE: [&str; 11] = [
    "query-",
    "x-debug-",
    "qom-list",
    "qom-get",
    "job-",
    "block-job-",
    "block-stream",
    "block-commit",
    "blockdev-backup",
    "block-export-",
    "block-dirty-bitmap-",
];

impl Effect {
    fn of(command: &str) -> Effect {
        let json = Json::parse(command);
        let name = json.as_ref().and_then(|json| json.text_of("execute")).unwrap_or_default();
        match name {
            "blockdev-mirror" | "drive-mirror" | "transaction" => Effect::Mirrors,
            _ if DATA_SAFE.iter().any(|safe| name.starts_with(safe)) => Effect::Nothing,
            _ => Effect::Unknown,
        }
    }
}

impl DataJudge {
    /// From now on. `mirrors`: one is under way.
    pub fn new(mirrors: bool) -> DataJudge {
        DataJudge { is_blind: mirrors, ..DataJudge::default() }
    }

    /// Takes the next observation; or says what a guest read that it had not written.
    pub fn observe(&mut self, observation: &Observation<'_>) -> Result<(), String> {
        match *observation {
            Observation::Sent { client, text } => {
                let effect = Effect::of(text);
                self.commands.entry(client).or_default().push_back(effect);
                if effect != Effect::Nothing {
                    self.forget();
                }
            }
            Observation::Reply { client, text } => {
                let effect = self.commands.entry(client).or_default().pop_front();
                let has_failed = Json::parse(text).is_some_and(|reply| reply.get("error").is_some());
                self.is_blind |= effect == Some(Effect::Mirrors) && !has_failed;
                if effect != Some(Effect::Nothing) {
                    self.forget();
                }
            }
            Observation::SchemaCommand => self.forget(),
            Observation::GuestDetached { guest } => {
                self.wrote.remove(&guest);
            }
            Observation::GuestBegan { request, guest, op } => self.began(request, guest, op),
            Observation::GuestEnded { request, result } => return self.ended(request, result),
            _ => {}
        }
        Ok(())
    }

    fn forget(&mut self) {
        self.moment += 1;
        self.wrote.clear();
    }

    fn began(&mut self, number: u64, guest: u32, op: GuestOp<'_>) {
        let (sector, count, values) = match op {
            GuestOp::Read { sector, count } => (sector, count, Vec::new()),
            GuestOp::Write { sector, values, .. } => (sector, values.len() as u64, values.to_vec()),
            GuestOp::WriteZeroes { sector, count } => (sector, count, vec![0; count as usize]),
            GuestOp::Discard { sector, count } => (sector, count, Vec::new()),
            GuestOp::Flush => return,
        };
        let is_read = matches!(op, GuestOp::Read { .. });
        if !is_read {
            self.moment += 1;
            self.wrote.retain(|other, _| *other == guest);
            let own = self.wrote.entry(guest).or_default();
            own.retain(|at, _| *at < sector || *at - sector >= count);
        }
        self.requests.insert(number, Request { guest, sector, values, is_read, began: self.moment });
    }

    fn ended(&mut self, number: u64, result: Result<&[u64], &str>) -> Result<(), String> {
        let Some(request) = self.requests.remove(&number) else { return Ok(()) };
        let is_alone = request.began == self.moment && !self.is_blind;
        if !request.is_read {
            self.moment += 1;
        }
        let Ok(read) = result else { return Ok(()) };
        if !is_alone {
            return Ok(());
        }
        // Another change that is still on its way may land on it.
        let is_last = self.requests.values().all(|other| other.is_read);
        let own = self.wrote.entry(request.guest).or_default();
        if !request.is_read {
            own.extend((request.sector..).zip(request.values).filter(|_| is_last));
            return Ok(());
        }
        for (sector, value) in (request.sector..).zip(read) {
            let Some(wrote) = own.get(&sector) else { continue };
            self.compared += 1;
            if wrote != value {
                return Err(format!(
                    "sector {sector}: guest {} wrote {} there and read {}",
                    request.guest,
                    word(*wrote),
                    word(*value)
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guest 7 writes two sectors, then `between` happens, then it reads `found`.
    fn after(between: &[Observation<'_>], found: &[u64]) -> (Result<(), String>, u64) {
        let mut holding = DataJudge::new(false);
        let write = GuestOp::Write { sector: 3, values: &[40, 41], fua: false };
        let read = GuestOp::Read { sector: 2, count: 4 };
        let before = [
            Observation::GuestBegan { request: 1, guest: 7, op: write },
            Observation::GuestEnded { request: 1, result: Ok(&[]) },
        ];
        let then = [
            Observation::GuestBegan { request: 2, guest: 7, op: read },
            Observation::GuestEnded { request: 2, result: Ok(found) },
        ];
        let judged = before.iter().chain(between).chain(&then).try_for_each(|seen| holding.observe(seen));
        (judged, holding.compared)
    }

    fn command(text: &str) -> [Observation<'_>; 2] {
        [Observation::Sent { client: 1, text }, Observation::Reply { client: 1, text: r#"{"return": {}}"# }]
    }

    #[test]
    fn what_a_guest_wrote_it_reads_again() {
        assert_eq!(after(&[], &[9, 40, 41, 9]), (Ok(()), 2));
        let (judged, compared) = after(&[], &[9, 40, 9, 9]);
        assert_eq!(judged, Err("sector 4: guest 7 wrote w41 there and read w9".to_owned()));
        assert_eq!(compared, 2);
    }

    #[test]
    fn jobs_leave_it_alone_and_edits_may_not() {
        let stream = command(r#"{"execute": "block-stream", "arguments": {"device": "n2"}}"#);
        assert!(after(&stream, &[9, 0, 0, 9]).0.is_err());
        let reopen = command(r#"{"execute": "blockdev-reopen", "arguments": {"options": []}}"#);
        assert_eq!(after(&reopen, &[9, 0, 0, 9]), (Ok(()), 0));
        assert_eq!(after(&[Observation::SchemaCommand], &[9, 0, 0, 9]), (Ok(()), 0));
    }

    #[test]
    fn of_two_writes_on_their_way_either_may_stay() {
        let mut holding = DataJudge::new(false);
        let write = |request, guest, values| Observation::GuestBegan {
            request,
            guest,
            op: GuestOp::Write { sector: 0, values, fua: false },
        };
        let ended = |request| Observation::GuestEnded { request, result: Ok(&[]) };
        let read =
            Observation::GuestBegan { request: 9, guest: 8, op: GuestOp::Read { sector: 0, count: 1 } };
        let first = Observation::GuestEnded { request: 9, result: Ok(&[4]) };
        let both = [write(1, 7, &[4]), write(2, 8, &[5]), ended(2), read, first];
        assert_eq!(both.iter().try_for_each(|seen| holding.observe(seen)), Ok(()));
        let again = [ended(1), write(3, 8, &[5]), ended(3), read, first];
        assert!(again.iter().try_for_each(|seen| holding.observe(seen)).is_err(), "it was the only one");
    }

    #[test]
    fn what_others_change_or_mirror_is_not_compared() {
        let op = GuestOp::Discard { sector: 3, count: 1 };
        let other = [
            Observation::GuestBegan { request: 5, guest: 8, op },
            Observation::GuestEnded { request: 5, result: Ok(&[]) },
        ];
        assert_eq!(after(&other, &[9, 0, 0, 9]), (Ok(()), 0));
        let own = [
            Observation::GuestBegan { request: 5, guest: 7, op },
            Observation::GuestEnded { request: 5, result: Ok(&[]) },
        ];
        assert_eq!(after(&own, &[9, 0, 41, 9]), (Ok(()), 1));
        let mut mirrored = DataJudge::new(true);
        let write = GuestOp::Write { sector: 0, values: &[4], fua: false };
        let seen = [
            Observation::GuestBegan { request: 1, guest: 7, op: write },
            Observation::GuestEnded { request: 1, result: Ok(&[]) },
            Observation::GuestBegan { request: 2, guest: 7, op: GuestOp::Read { sector: 0, count: 1 } },
            Observation::GuestEnded { request: 2, result: Ok(&[5]) },
        ];
        assert_eq!(seen.iter().try_for_each(|seen| mirrored.observe(seen)), Ok(()));
    }
}
