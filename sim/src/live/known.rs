//! Whether a failure is known: the smallest set of quirks that explains the whole history, and a bucket if the daemon fell.

use super::bucket::{Bucket, bucket_of};
use super::fall::Fall;
use super::target::Baseline;
use midstream::history::{History, Recorder, What};
use model::Quirk;
use model::quirk::QUIRKS;
use regex_lite::Regex;
use std::sync::LazyLock;

/// What a failure is known as: some quirks, a bucket, or both.
#[derive(Clone, Debug)]
pub struct Known {
    /// The smallest set that explains what was seen.
    pub quirks: Vec<Quirk>,
    /// What ended it.
    pub bucket: Option<&'static Bucket>,
}

impl Known {
    /// All its names: `short-layer + no-flush`.
    pub fn name(&self) -> String {
        self.names().join(" + ")
    }

    /// Each of its names.
    pub fn names(&self) -> Vec<&str> {
        let quirks = self.quirks.iter().map(|quirk| quirk.name());
        quirks.chain(self.bucket.map(|bucket| bucket.name.as_str())).collect()
    }

    /// What is wrong, a sentence for each of its names.
    pub fn what(&self) -> Vec<&str> {
        let quirks = self.quirks.iter().map(|quirk| quirk.about().what);
        quirks.chain(self.bucket.map(|bucket| bucket.what.as_str())).collect()
    }
}

/// The quirks that are known of such a daemon.
pub fn quirks_of(baseline: Baseline) -> Vec<Quirk> {
    let is_known = |quirk: &Quirk| {
        let about = quirk.about();
        baseline.has(about.name, about.releases.iter().copied())
    };
    QUIRKS.into_iter().filter(is_known).collect()
}

/// What a failure is known as, if what came before it is explained by the quirks of `quirks`.
pub fn known(baseline: Baseline, quirks: Vec<Quirk>, fall: Option<&Fall>) -> Option<Known> {
    let bucket = match fall {
        Some(fall) => Some(bucket_of(baseline, fall)?),
        None => None,
    };
    (bucket.is_some() || !quirks.is_empty()).then_some(Known { quirks, bucket })
}

/// A judge that has seen all of a history and allows these quirks, if that explains it.
pub fn explained(history: &History, quirks: &[Quirk]) -> Option<model::Judge> {
    let mut judge = model::Judge::new(&history.images).of_release(history.release).with(quirks);
    if history.recorder == Recorder::Live {
        judge = judge.on_real_files();
    }
    for entry in &history.entries {
        if let What::Observed(observed) = &entry.what {
            observed.show(|seen| judge.observe(seen)).ok()?;
        }
    }
    // What was not judged is not explained.
    (judge.inconclusive() != Some(model::Inconclusive::States)).then_some(judge)
}

/// The smallest set of quirks that explains a history: none, if nothing is wrong with it; nothing, if all do not.
pub fn smallest(history: &History, all: &[Quirk]) -> Option<Vec<Quirk>> {
    smallest_by(all, &|quirks| explained(history, quirks).is_some())
}

/// The same, of anything that quirks may explain.
///
/// Most often it is one. Where no single one explains it, all do of which none can be taken away.
pub fn smallest_by(all: &[Quirk], explains: &dyn Fn(&[Quirk]) -> bool) -> Option<Vec<Quirk>> {
    if explains(&[]) {
        return Some(Vec::new());
    }
    if !explains(all) {
        return None;
    }
    if let Some(one) = all.iter().find(|quirk| explains(&[**quirk])) {
        return Some(vec![*one]);
    }
    let mut left = all.to_vec();
    for quirk in all.iter().rev() {
        let without: Vec<Quirk> = left.iter().filter(|other| *other != quirk).copied().collect();
        if explains(&without) {
            left = without;
        }
    }
    Some(left)
}

/// A failure by what it looks like, without the numbers and names of its run: failures of one key count as one.
pub fn key(law: &str, detail: &str) -> String {
    format!("{law}: {}", shape(detail.lines().next().unwrap_or_default()))
}

/// A text without what differs from run to run.
fn shape(text: &str) -> String {
    static NUMBERS: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\d+").expect("a pattern of ours"));
    static VALUES: LazyLock<Regex> = LazyLock::new(|| {
        let value = r"[gnw]#[.#]*( of sector #)?";
        let values = format!(r"\b(expected|read|found|wrote|or) {value}( or ({value}|zeroes))*");
        Regex::new(&values).expect("a pattern of ours")
    });
    let text = NUMBERS.replace_all(text, "#");
    let mut text = VALUES.replace_all(&text, "$1 w#").into_owned();
    if let Some((end, _)) = text.char_indices().nth(160) {
        text.truncate(end);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_that_differ_in_numbers_only_are_one() {
        let (one, two) = (
            "sector 5 of /n1.qcow2: expected g1.0.2 or zeroes, read n3",
            "sector 6 of /n0.qcow2: expected n1, read g1.0.4 of sector 7",
        );
        assert_eq!(shape(one), shape(two));
        assert_eq!(shape("device n1 of t0: expected n2"), "device n# of t#: expected w#");
        assert_ne!(shape("expected w1, read zeroes"), shape("expected zeroes, read w1"));
    }

    #[test]
    fn the_smallest_set_has_nothing_that_can_be_left_out() {
        let [a, b, c, ..] = QUIRKS;
        let all = [a, b, c];
        let needs = |wanted: &[Quirk]| {
            let wanted = wanted.to_vec();
            smallest_by(&all, &|quirks| wanted.iter().all(|quirk| quirks.contains(quirk)))
        };
        assert_eq!(needs(&[]), Some(vec![]));
        assert_eq!(needs(&[b]), Some(vec![b]));
        assert_eq!(needs(&[a, c]), Some(vec![a, c]));
        assert_eq!(needs(&QUIRKS), None);
        // Two alone, or a third one instead of both: the fewest.
        let either = |quirks: &[Quirk]| quirks.contains(&c) || quirks.contains(&a) && quirks.contains(&b);
        assert_eq!(smallest_by(&all, &either), Some(vec![c]));
    }

    #[test]
    fn every_name_is_one_of_a_kind() {
        let buckets = super::super::bucket::buckets().iter().map(|bucket| bucket.name.as_str());
        let mut names: Vec<&str> = QUIRKS.iter().map(|quirk| quirk.name()).chain(buckets).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
