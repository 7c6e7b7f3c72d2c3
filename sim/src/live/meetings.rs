//! Which requests of guests were in flight at once: a fact about a sequence, for signatures.

use super::action::Action;
use crate::workload::guest::Operation;
use std::collections::BTreeMap;

/// Follows a sequence's requests from when they are sent until their answers are awaited.
#[derive(Debug, Default)]
pub(super) struct Meetings {
    in_flight: BTreeMap<u32, Operation>,
}

impl Meetings {
    /// A line for every request in flight that what is done now meets: other requests, and commands.
    pub(super) fn follow(&mut self, action: &Action) -> Vec<String> {
        let met =
            |what: &str| self.in_flight.values().map(|by| format!("guest {by:?} met by {what}")).collect();
        match action {
            Action::Request { guest, operation, is_in_flight, .. } => {
                let found = met(&format!("{operation:?}"));
                if *is_in_flight {
                    self.in_flight.insert(*guest, *operation);
                }
                found
            }
            Action::Command(_) => met("a command"),
            Action::Answered { guest } => {
                self.in_flight.remove(guest);
                Vec::new()
            }
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_meet_until_the_first_is_answered() {
        let request = |guest, operation, is_in_flight| Action::Request {
            guest,
            operation,
            sector: 0,
            sectors: 1,
            tag: 1,
            is_in_flight,
        };
        let actions = [
            request(1, Operation::Read, false),
            request(1, Operation::Write, true),
            request(2, Operation::Discard, false),
            Action::Command("{}".to_owned()),
            Action::Answered { guest: 1 },
            request(2, Operation::Discard, false),
        ];
        let mut meetings = Meetings::default();
        let found: Vec<String> = actions.iter().flat_map(|action| meetings.follow(action)).collect();
        assert_eq!(found, ["guest Write met by Discard", "guest Write met by a command"]);
    }
}
