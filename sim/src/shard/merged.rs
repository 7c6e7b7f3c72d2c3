//! The union of what parts have left: in any order, in any groups, and however often, it is the same.

use super::result::{Kept, Results, Runs, Seen, VERSION};
use midstream::coverage::{Law, Totals};
use std::collections::BTreeMap;

/// All that is known.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Merged {
    parts: BTreeMap<Runs, Seen>,
    traces: BTreeMap<(String, String), Kept>,
}

impl Merged {
    /// Takes in what a file says. Of a part that is there twice, the one that got further stays; of traces the shortest.
    pub fn add(&mut self, results: Results) {
        for (runs, seen) in results.parts {
            let is_more = self.parts.get(&runs).is_none_or(|known| rank(known) < rank(&seen));
            if is_more {
                self.parts.insert(runs, seen);
            }
        }
        for kept in results.traces {
            let key = (kept.law.clone(), kept.bucket.clone());
            let is_shorter = |known: &Kept| (kept.decisions, &kept.trace) < (known.decisions, &known.trace);
            if self.traces.get(&key).is_none_or(is_shorter) {
                self.traces.insert(key, kept);
            }
        }
    }

    /// As a file, from which it comes back.
    pub fn results(&self) -> Results {
        let parts = self.parts.iter().map(|(runs, seen)| (runs.clone(), seen.clone())).collect();
        Results { version: VERSION, parts, traces: self.traces.values().cloned().collect() }
    }

    /// Each part, with what it saw.
    pub fn parts(&self) -> impl Iterator<Item = (&Runs, &Seen)> {
        self.parts.iter()
    }

    /// The shortest trace of each law and bucket.
    pub fn traces(&self) -> impl Iterator<Item = &Kept> {
        self.traces.values()
    }

    /// What all parts saw together.
    pub fn totals(&self, laws: &[Law]) -> Totals {
        let mut totals = Totals::default();
        self.parts.values().for_each(|seen| totals.merge(&seen.totals(laws)));
        totals
    }

    /// What is missing: parts that left nothing, and parts that were ended early. A line each.
    pub fn missing(&self) -> Vec<String> {
        let mut campaigns: BTreeMap<(u64, u64), Vec<u64>> = BTreeMap::new();
        for runs in self.parts.keys() {
            campaigns.entry((runs.campaign, runs.of)).or_default().push(runs.part);
        }
        let mut missing = Vec::new();
        for ((campaign, of), there) in campaigns {
            let absent: Vec<u64> = (0..of).filter(|part| there.binary_search(part).is_err()).collect();
            if !absent.is_empty() {
                let numbers = ranges(&absent);
                missing.push(format!(
                    "of the campaign from seed {campaign}, parts {numbers} of {of} have left nothing"
                ));
            }
        }
        let early = self.parts.iter().filter(|(_, seen)| seen.early);
        missing.extend(early.map(|(runs, seen)| {
            format!(
                "part {}/{} from seed {} was ended early, after {} runs",
                runs.part, runs.of, runs.campaign, seen.runs
            )
        }));
        missing
    }

    /// Parts of different campaigns that have seeds in common, which count twice then.
    pub fn overlaps(&self) -> Vec<String> {
        let mut campaigns: Vec<(u64, u64)> = self.parts.keys().map(|runs| (runs.campaign, runs.of)).collect();
        campaigns.dedup();
        let reach = |(campaign, of): (u64, u64)| {
            let of_it = self.parts.iter().filter(|(runs, _)| (runs.campaign, runs.of) == (campaign, of));
            let last =
                of_it.filter(|(_, seen)| seen.runs > 0).map(|(runs, seen)| runs.part + (seen.runs - 1) * of);
            last.max().map(|last| (campaign, campaign.saturating_add(last)))
        };
        let mut overlaps = Vec::new();
        for (at, one) in campaigns.iter().enumerate() {
            for other in &campaigns[at + 1..] {
                let (Some(a), Some(b)) = (reach(*one), reach(*other)) else { continue };
                if a.0 <= b.1 && b.0 <= a.1 {
                    overlaps.push(format!(
                        "the campaigns from seed {} in {} parts and from seed {} in {} parts may have seeds in common, which count twice",
                        one.0, one.1, other.0, other.1
                    ));
                }
            }
        }
        overlaps
    }
}

/// Of two files of one part, that with more runs says more; the rest only makes the order total.
fn rank(seen: &Seen) -> (u64, bool, u64, String) {
    let text = serde_json::to_string(seen).expect("numbers and texts are always JSON");
    (seen.runs, !seen.early, seen.milliseconds, text)
}

/// `0-3, 7`
fn ranges(numbers: &[u64]) -> String {
    let runs = numbers.chunk_by(|a, b| a + 1 == *b);
    let text = |run: &[u64]| match run {
        [only] => only.to_string(),
        _ => format!("{}-{}", run[0], run[run.len() - 1]),
    };
    runs.map(text).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::Part;
    use midstream::campaign::{Plan, Seeds, run};
    use midstream::toy;
    use proptest::prelude::*;
    use std::path::Path;
    use std::sync::atomic::AtomicBool;
    use std::time::{Duration, Instant};

    fn part(index: u64, of: u64, runs: u64) -> Results {
        let part = Part::new(index, of).expect("a part");
        let plan = Plan {
            seeds: Seeds::Every { first: 7 + index, step: of },
            runs: part.share(runs),
            time: None,
            jobs: 1,
            until_failure: false,
            ending_laws: Vec::new(),
            history: None,
        };
        let campaign = run(&toy::SUBJECT, &plan, &AtomicBool::new(false), &mut |_, _| {});
        Results::of_part(7, part, Seen::of(&campaign.totals, toy::SUBJECT.laws), std::iter::empty())
    }

    #[test]
    fn all_parts_together_saw_what_one_process_sees() {
        let mut merged = Merged::default();
        (0..8).rev().for_each(|index| merged.add(part(index, 8, 1_003)));
        let mut whole = Merged::default();
        whole.add(part(0, 1, 1_003));
        assert_eq!(merged.totals(toy::SUBJECT.laws), whole.totals(toy::SUBJECT.laws));
        assert!(merged.totals(toy::SUBJECT.laws).failures() > 0, "something broke");
        assert_eq!(merged.missing(), [""; 0]);
        assert_eq!(merged.overlaps(), [""; 0]);
    }

    #[test]
    fn what_is_missing_is_named() {
        let mut merged = Merged::default();
        let mut early = part(6, 8, 100);
        early.parts[0].1.early = true;
        [part(0, 8, 100), part(4, 8, 100), early].into_iter().for_each(|part| merged.add(part));
        assert_eq!(
            merged.missing(),
            [
                "of the campaign from seed 7, parts 1-3, 5, 7 of 8 have left nothing",
                "part 6/8 from seed 7 was ended early, after 12 runs"
            ]
        );
        merged.add(part(0, 4, 100));
        assert_eq!(merged.overlaps().len(), 1, "the same seeds in other parts");
    }

    #[test]
    fn a_thousand_parts_are_merged_in_less_than_a_second() {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let mut seen = part(0, 1, 100).parts[0].1.clone();
        seen.goals = (0..250).map(|number| (format!("goal {number}"), number)).collect();
        for index in 0..1000 {
            let part = Part::new(index, 1000).expect("a part");
            let results = Results::of_part(7, part, seen.clone(), std::iter::empty());
            results.write(folder.path(), &Results::file_name(7, part)).expect("writable");
        }
        // A machine that does other things may be late now and then, but not so often in turn.
        let took = (0..5).map(|_| merged_in(folder.path())).min().expect("there are some");
        assert!(took.as_secs_f64() < 1.0, "{took:?}");
    }

    fn merged_in(folder: &Path) -> Duration {
        let started = Instant::now();
        let mut merged = Merged::default();
        Results::read_all(folder).expect("they are results").into_iter().for_each(|file| merged.add(file));
        let runs = merged.totals(toy::SUBJECT.laws).runs;
        let took = started.elapsed();
        assert_eq!(runs, 100_000);
        took
    }

    fn any_results() -> impl Strategy<Value = Results> {
        let parts = prop::collection::vec((0u64..3, 0u64..4, 0u64..3, any::<bool>()), 0..4);
        let traces = prop::collection::vec((0u8..2, 0u8..2, 1usize..4, 0u8..3), 0..4);
        (parts, traces).prop_map(|(parts, traces)| Results {
            version: VERSION,
            parts: parts
                .into_iter()
                .map(|(campaign, part, runs, early)| {
                    let seen = Seen { runs, early, ..Seen::default() };
                    (Runs { campaign, part, of: 4 }, seen)
                })
                .collect(),
            traces: traces
                .into_iter()
                .map(|(law, bucket, decisions, text)| Kept {
                    law: law.to_string(),
                    bucket: bucket.to_string(),
                    decisions,
                    trace: text.to_string(),
                })
                .collect(),
        })
    }

    fn union(all: &[&Results]) -> Merged {
        let mut merged = Merged::default();
        all.iter().for_each(|results| merged.add((*results).clone()));
        merged
    }

    proptest! {
        #[test]
        fn order_groups_and_repetition_never_show(a in any_results(), b in any_results(), c in any_results()) {
            let all = union(&[&a, &b, &c]);
            prop_assert_eq!(&union(&[&c, &a, &b]), &all);
            prop_assert_eq!(&union(&[&a, &b, &a, &c, &c, &b]), &all);
            let left = union(&[&a, &b]).results();
            prop_assert_eq!(&union(&[&left, &c]), &all);
            let right = union(&[&b, &c]).results();
            prop_assert_eq!(&union(&[&a, &right]), &all);
            prop_assert_eq!(&union(&[&all.results()]), &all);
        }
    }
}
