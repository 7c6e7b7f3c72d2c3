//! The law of space: a cluster that a guest discarded has no place in its file any more, and what was there is gone.
//!
//! Only a discard that nothing else could touch is followed: no job and no command was under way when it began, no other
//! change overlapped it, it ended well, and afterwards nobody wrote there and no command came that could. What is left is
//! looked at after a clean end.

use crate::oracle::asked::after;
use crate::recovery::allocation::Allocation;
use midstream::request::Operation;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// A change of an image that a guest asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// The file of the image.
    pub file: String,
    /// What it is.
    pub operation: Operation,
    /// The clusters that it touches.
    pub touched: Range<u64>,
    /// Those of them that it covers.
    pub covered: Range<u64>,
    /// Whether no job works when it begins.
    pub is_quiet: bool,
}

/// What guests have given back.
#[derive(Clone, Debug, Default)]
pub struct Space {
    /// The clusters, by file.
    given_back: BTreeMap<String, BTreeSet<u64>>,
    /// Changes that have not ended, and whether each is the only one where it is.
    under_way: BTreeMap<u64, (Change, bool)>,
    /// Clients whose commands have no answer yet.
    clients: BTreeSet<u32>,
    looks: u64,
}

impl Space {
    /// A client sends a command.
    pub fn sent(&mut self, client: u32, text: &str) {
        self.clients.insert(client);
        let name = executed(text).unwrap_or_default();
        if !["query-", "job-", "block-job-"].iter().any(|harmless| name.starts_with(harmless)) {
            self.given_back.clear();
            self.under_way.values_mut().for_each(|(_, is_alone)| *is_alone = false);
        }
    }

    /// It is answered.
    pub fn reply(&mut self, client: u32) {
        self.clients.remove(&client);
    }

    /// A change begins.
    pub fn began(&mut self, request: u64, change: Change) {
        let mut is_alone = change.is_quiet && self.clients.is_empty();
        for (other, other_is_alone) in self.under_way.values_mut() {
            if other.file == change.file && meet(&other.touched, &change.touched) {
                (is_alone, *other_is_alone) = (false, false);
            }
        }
        if let Some(given) = self.given_back.get_mut(&change.file) {
            given.retain(|cluster| !change.touched.contains(cluster));
        }
        self.under_way.insert(request, (change, is_alone));
    }

    /// It has ended.
    pub fn ended(&mut self, request: u64, is_well: bool) {
        let Some((change, is_alone)) = self.under_way.remove(&request) else { return };
        if is_well && is_alone && change.operation == Operation::Discard {
            self.given_back.entry(change.file).or_default().extend(change.covered);
        }
    }

    /// What a file takes after a clean end. Says how it breaks the law, if it does; `is_passed_on` says whether the file
    /// itself sees what is discarded.
    pub fn closed(&mut self, file: &str, allocation: &Allocation, is_passed_on: bool) -> Option<String> {
        let nothing = BTreeSet::new();
        let given = self.given_back.get(file).unwrap_or(&nothing);
        self.looks += u64::from(!given.is_empty());
        let Allocation { taken_clusters: taken, all_clusters: all, stale_clusters: stale } = allocation;
        if !given.is_empty() && taken + given.len() as u64 > *all {
            return Some(format!(
                "{file}: {taken} of its {all} clusters have a place in the file, though these are discarded: {}",
                list(given)
            ));
        }
        (is_passed_on && !stale.is_empty()).then(|| {
            format!(
                "{file}: clusters of the file that nobody uses still hold data of guests: {}",
                list(stale)
            )
        })
    }

    /// How often there was something to find.
    pub fn looks(&self) -> u64 {
        self.looks
    }
}

/// Numbers as texts show them.
fn list<'a>(numbers: impl IntoIterator<Item = &'a u64>) -> String {
    numbers.into_iter().map(u64::to_string).collect::<Vec<_>>().join(", ")
}

/// Whether two ranges have anything in common.
fn meet(one: &Range<u64>, other: &Range<u64>) -> bool {
    one.start < other.end && other.start < one.end
}

/// The name of the command in a text, and what stands behind it.
fn executed(text: &str) -> Option<&str> {
    after(text, r#""execute":"#)?.trim_start().strip_prefix('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(operation: Operation, clusters: Range<u64>) -> Change {
        Change {
            file: "/n0".to_owned(),
            operation,
            touched: clusters.clone(),
            covered: clusters,
            is_quiet: true,
        }
    }

    /// What a file of four clusters may still have a place for, after these.
    fn may_take(space: &mut Space) -> u64 {
        let with = |taken| Allocation { taken_clusters: taken, all_clusters: 4, stale_clusters: Vec::new() };
        (0..=4)
            .filter(|taken| space.clone().closed("/n0", &with(*taken), false).is_none())
            .max()
            .expect("none")
    }

    fn discarded() -> Space {
        let mut space = Space::default();
        space.began(1, change(Operation::Discard, 1..3));
        assert_eq!(may_take(&mut space), 4, "it has not ended");
        space.ended(1, true);
        assert_eq!(may_take(&mut space), 2);
        space
    }

    #[test]
    fn what_is_discarded_has_no_place_until_it_is_written_again() {
        let mut space = discarded();
        space.began(2, change(Operation::Write, 0..2));
        assert_eq!(may_take(&mut space), 3);
        space.sent(1, r#"{"execute":"query-jobs"}"#);
        assert_eq!(may_take(&mut space), 3);
        space.sent(1, r#"{"execute":"block-stream"}"#);
        assert_eq!(may_take(&mut space), 4);
    }

    #[test]
    fn a_discard_that_something_else_may_touch_is_not_followed() {
        let mut spoilt: Vec<Space> = vec![Space::default(); 5];
        spoilt[0].began(2, change(Operation::Write, 2..4));
        spoilt[1].sent(1, r#"{"execute":"block-stream"}"#);
        for space in &mut spoilt {
            space.began(1, change(Operation::Discard, 1..3));
        }
        spoilt[2].began(2, change(Operation::Write, 2..4));
        spoilt[3].sent(1, r#"{"execute":"block-stream"}"#);
        for (case, space) in spoilt.iter_mut().enumerate() {
            space.ended(1, case != 4);
            assert_eq!(may_take(space), 4, "case {case}");
        }
    }

    #[test]
    fn data_that_stays_in_the_file_is_seen_where_the_file_sees_discards() {
        let stale = Allocation { taken_clusters: 0, all_clusters: 4, stale_clusters: vec![9] };
        assert_eq!(discarded().closed("/n0", &stale, false), None);
        let broken = discarded().closed("/n0", &stale, true).expect("cluster 9 is left");
        assert!(broken.ends_with("hold data of guests: 9"), "{broken}");
    }
}
