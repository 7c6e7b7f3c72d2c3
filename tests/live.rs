//! The real storage daemon under the model, where it is installed: a short campaign, and every known divergence's trace.

use sim::live::campaign::{Plan, Shorten, again, fuzz, name_of};
use sim::live::divergence::known;
use sim::live::target::Target;
use sim::trace::Trace;
use sim::verdict::{Detail, Verdict};
use std::path::Path;
use std::sync::atomic::AtomicBool;

/// The daemon, or a line that says why the test proves nothing here.
fn daemon() -> Option<Target> {
    match "qemu".parse() {
        Ok(target) => Some(target),
        Err(missing) => {
            eprintln!("SKIPPED: {missing}");
            None
        }
    }
}

#[test]
fn a_short_live_campaign_drives_the_daemon_and_keeps_every_failure_under_a_name() {
    let Some(target) = daemon() else { return };
    let folder = tempfile::tempdir().expect("a scratch folder");
    let plan = Plan {
        target,
        seed: 1,
        runs: 60,
        time: None,
        jobs: 1,
        out: folder.path().to_owned(),
        shorten: Shorten::Nothing,
    };
    let campaign = fuzz(&plan, &AtomicBool::new(false), &|_| ());
    assert_eq!(campaign.runs, 60);
    let failed: u64 = campaign.found.values().map(|found| found.runs).sum();
    assert!(failed < 45, "most sequences are lived through: {failed} failed: {:#?}", campaign.found);
    assert!(
        campaign.found.keys().all(|name| !name.contains("did not start")),
        "the daemon starts every time: {:#?}",
        campaign.found.keys()
    );
    assert!(campaign.found.values().any(|found| found.is_known), "60 sequences meet what is known");
}

/// A flush that is missing shows only when something is cut off: with no flaw to look for, cuts alone must find it.
#[test]
fn cuts_of_sequences_on_the_simulated_disk_find_the_missing_flush_and_most_of_them_hold() {
    let Some(target) = daemon() else { return };
    let folder = tempfile::tempdir().expect("a scratch folder");
    let plan = Plan {
        target: Target { on_disk: true, ..target },
        seed: 1,
        runs: 60,
        time: None,
        jobs: 1,
        out: folder.path().to_owned(),
        shorten: Shorten::Nothing,
    };
    let campaign = fuzz(&plan, &AtomicBool::new(false), &|_| ());
    let crashes = campaign.crashes;
    assert!(crashes.kills.tried > 300 && crashes.power_cuts.tried > 600, "{crashes:?}");
    assert!(crashes.kills.held > crashes.kills.tried / 2, "{crashes:?}");
    assert!(crashes.power_cuts.held > crashes.power_cuts.tried / 2, "{crashes:?}");
    assert_eq!(crashes.lost, 0, "the model follows every sequence a second time");
    assert!(campaign.found.contains_key("no-flush"), "Q7 is among {:?}", campaign.found.keys());
}

#[test]
fn every_known_divergence_is_shown_by_its_trace() {
    let Some(target) = daemon() else { return };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("traces/live");
    let mut traces = 0;
    for divergence in known() {
        let Some(file) = &divergence.trace else { continue };
        traces += 1;
        let trace = Trace::read(&folder.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        let target = target.placed_as(trace.target.as_deref().unwrap_or_default());
        assert_eq!(target.kind.name(), divergence.target, "{file}");
        // What depends on timing may need more than one try.
        let is_shown = (0..5).any(|_| {
            let record = again(&target, &trace.choices, Detail::Quiet);
            record.outcome.verdict != Verdict::Passed && name_of(&target, &record) == divergence.name
        });
        assert!(is_shown, "{file} does not show {}", divergence.name);
    }
    assert!(traces >= 5, "only {traces} divergences have a trace");
}
