//! The real storage daemon under the model, where it is installed: a short campaign, and the trace of every known defect.

#[allow(dead_code, reason = "each test uses its part of it")]
mod support;

use midstream::trace::{PASSED, Trace};
use midstream::verdict::Detail;
use sim::live::again::again;
use sim::live::campaign::{Minimise, Plan, fuzz};
use sim::live::doc::{Defect, defects};
use sim::live::script::{DRIVER, Driver, Fails, script};
use sim::live::sequence::Record;
use sim::live::target::Target;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use support::daemon::binary;

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
        before: Vec::new(),
        target,
        seed: 1,
        runs: 100,
        time: None,
        jobs: 1,
        out: folder.path().to_owned(),
        minimise: Minimise::Nothing,
        history: None,
        until: None,
    };
    let campaign = fuzz(&plan, &AtomicBool::new(false), &mut |_| ());
    assert_eq!(campaign.runs, 100);
    let failed: u64 = campaign.found.values().map(|found| found.runs).sum();
    assert!(failed < 75, "most sequences are lived through: {failed} failed: {:#?}", campaign.found);
    assert!(
        campaign.found.keys().all(|name| !name.contains("did not start")),
        "the daemon starts every time: {:#?}",
        campaign.found.keys()
    );
    assert!(campaign.found.values().any(|found| found.is_known), "100 sequences meet what is known");
    // Somebody must have read and written under load, or the campaign has looked at nodes at rest only.
    assert!(campaign.in_flight > 20, "{} requests were in flight beside commands", campaign.in_flight);
    assert!(campaign.read_twice > 0, "no image was read by a second reader");
}

/// A flush that is missing shows only when something is cut off: with no flaw to look for, cuts alone must find it.
#[test]
fn cuts_of_sequences_on_the_simulated_disk_find_the_missing_flush_and_most_of_them_hold() {
    let Some(target) = daemon() else { return };
    let folder = tempfile::tempdir().expect("a scratch folder");
    let plan = Plan {
        before: Vec::new(),
        target: Target { on_disk: true, ..target },
        seed: 1,
        runs: 60,
        time: None,
        jobs: 1,
        out: folder.path().to_owned(),
        minimise: Minimise::Nothing,
        history: None,
        until: None,
    };
    let campaign = fuzz(&plan, &AtomicBool::new(false), &mut |_| ());
    let crashes = campaign.crashes;
    assert!(crashes.kills.tried > 300 && crashes.power_cuts.tried > 600, "{crashes:?}");
    assert!(crashes.kills.held > crashes.kills.tried / 2, "{crashes:?}");
    assert!(crashes.power_cuts.held > crashes.power_cuts.tried / 2, "{crashes:?}");
    assert_eq!(crashes.lost, 0, "the model follows every sequence a second time");
    assert!(
        campaign.found.keys().any(|name| name.split(" + ").any(|name| name == "no-flush")),
        "Q7 is among {:?}",
        campaign.found.keys()
    );
}

// `traces/live/right` holds sequences that were right, and that the model or the harness once took for wrong.
#[test]
fn what_was_judged_wrongly_once_is_judged_right() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("traces/live/right");
    let mut traces = 0;
    for file in std::fs::read_dir(folder).expect("the folder is there") {
        let path = file.expect("a folder can be read").path();
        let trace = Trace::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        traces += 1;
        assert_eq!(trace.expect, PASSED, "{}", path.display());
        let ours: Target = format!("midstreamd:{}", binary().display()).parse().expect("it was built");
        for target in [Some(ours), daemon()].into_iter().flatten() {
            let record = again(&target, &trace.choices, Detail::Quiet);
            let verdict = &record.outcome.verdict;
            assert_ne!(verdict.law(), trace.law, "{} on {target}: {verdict:?}", path.display());
        }
    }
    assert!(traces >= 4, "only {traces} traces");
}

#[test]
fn every_known_defect_is_shown_by_its_trace() {
    let Some(target) = daemon() else { return };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("traces/live");
    let (mut traces, mut scripts) = (0, 0);
    for defect in defects().filter(|defect| !defect.trace.is_empty()) {
        let file = defect.trace;
        traces += 1;
        let trace = Trace::read(&folder.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        let recorded = trace.target.as_deref().unwrap_or_default().parse().expect("a kind of daemon");
        let target = target.placed_as(&recorded);
        // What depends on timing may need more than one try.
        let mut names = Vec::new();
        let shown = (0..defect.tries).find_map(|_| {
            let record = again(&target, &trace.choices, Detail::Quiet);
            names.push(record.name());
            record.known.as_ref().is_some_and(|known| known.names().contains(&defect.name)).then_some(record)
        });
        let Some(record) = shown else {
            panic!("{file} does not show {}, but {names:#?}", defect.name);
        };
        scripts += usize::from(has_its_script(&defect, &record));
    }
    assert!(traces >= 36 && scripts >= 32, "only {traces} defects have a trace, and {scripts} a script");
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/qemu-10.0.2")
}

/// Whether a defect can have a script; then the one that is kept is what `midstream document` writes today, but for what
/// differs from run to run: times and folders in what was found, how often it is tried, and where a job was waited for.
fn has_its_script(defect: &Defect, record: &Record) -> bool {
    let Ok(today) = script(defect.what, record, Fails::Always, Driver::Beside) else { return false };
    let path = scripts().join(format!("{}.sh", defect.name));
    let kept = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let differs = ["DETAIL = ", "UNTRUE = ", "TRIES = ", "    [\"settle\"],"];
    let lines = |text: &str| -> Vec<String> {
        let kept = text.lines().filter(|line| !differs.iter().any(|start| line.starts_with(start)));
        kept.map(str::to_owned).collect()
    };
    assert_eq!(lines(&kept), lines(&today), "{}: `cargo midstream document` writes another", path.display());
    true
}

#[test]
fn the_scripts_of_the_page_are_short_data_beside_one_driver() {
    let (file, code) = DRIVER;
    assert_eq!(fs::read_to_string(scripts().join(file)).expect("the driver"), code);
    let known: Vec<String> = defects().map(|defect| format!("{}.sh", defect.name)).collect();
    for entry in fs::read_dir(scripts()).expect("the folder is there") {
        let name = entry.expect("an entry").file_name().into_string().expect("UTF-8");
        if name == file {
            continue;
        }
        assert!(known.contains(&name), "{name} is of no defect");
        let text = fs::read_to_string(scripts().join(&name)).expect("a script");
        assert!(text.contains(file) && text.lines().count() < 100, "{name} has more than its data");
    }
}
