//! The real storage daemon under the model, where it is installed: a short campaign, and the trace of every known defect.

#[allow(dead_code, reason = "each test uses its part of it")]
mod support;

use midstream::trace::{PASSED, Trace};
use midstream::verdict::Detail;
use model::Release;
use sim::live::again::again;
use sim::live::campaign::{Minimise, Plan, fuzz};
use sim::live::doc::{Defect, defects};
use sim::live::repro::{Iotests, Shortest, Verdict, shows};
use sim::live::script::DRIVER;
use sim::live::target::Target;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::{env, fs};
use support::daemon::binary;

/// The daemons of other releases, where somebody has put them: a list of paths like that of programs.
const OTHERS: &str = "MIDSTREAM_QEMU";

/// The daemon, and those of other releases, of which it is known what they do wrong.
fn daemons() -> Vec<Target> {
    let others = env::var_os(OTHERS).unwrap_or_default();
    let others = env::split_paths(&others).filter(|path| !path.as_os_str().is_empty());
    let others = others.map(|path| format!("qemu:{}", path.display()).parse().expect("a daemon"));
    let all: Vec<Target> = daemon().into_iter().chain(others).collect();
    let (known, unknown): (Vec<Target>, Vec<Target>) = all.into_iter().partition(|target| {
        Release::ALL.map(Release::number).contains(&target.release().expect("a version"))
    });
    for target in unknown {
        eprintln!("SKIPPED: nobody has looked into the release of {target}");
    }
    known
}

/// The release of a daemon of a known one.
fn release_of(target: &Target) -> Release {
    Release::nearest(target.release().expect("a version"))
}

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
        runs: 300,
        time: None,
        jobs: 1,
        out: folder.path().to_owned(),
        minimise: Minimise::Nothing,
        history: None,
        until: None,
    };
    let campaign = fuzz(&plan, &AtomicBool::new(false), &mut |_| ());
    assert_eq!(campaign.runs, 300);
    let failed: u64 = campaign.found.values().map(|found| found.runs).sum();
    assert!(failed < 225, "most sequences are lived through: {failed} failed: {:#?}", campaign.found);
    assert!(
        campaign.found.keys().all(|name| !name.contains("did not start")),
        "the daemon starts every time: {:#?}",
        campaign.found.keys()
    );
    assert!(campaign.found.values().any(|found| found.is_known), "300 sequences meet what is known");
    // Somebody must have read and written under load, or the campaign has looked at nodes at rest only.
    assert!(campaign.in_flight > 60, "{} requests were in flight beside commands", campaign.in_flight);
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
fn every_known_defect_of_the_release_is_shown_by_its_trace() {
    for target in daemons() {
        let release = release_of(&target);
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("traces/live");
        let mut traces = 0;
        let scripts = short_scripts();
        let has_it = |defect: &Defect| !defect.trace.is_empty() && defect.releases.contains(&release.name());
        for defect in defects().filter(has_it) {
            let file = defect.trace;
            traces += 1;
            let trace = Trace::read(&folder.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
            let recorded = trace.target.as_deref().unwrap_or_default().parse().expect("a kind of daemon");
            let target = target.placed_as(&recorded);
            // What depends on timing may need more than one try.
            let mut names = Vec::new();
            let is_shown = (0..defect.tries).any(|_| {
                let record = again(&target, &trace.choices, Detail::Quiet);
                names.push(record.name());
                record.known.as_ref().is_some_and(|known| known.names().contains(&defect.name))
            });
            // On one release the trace may go well, and the script that was made of it on another one shows it.
            let is_shown = is_shown
                || scripts.iter().any(|(name, text, releases)| {
                    let is_of_release = releases.iter().any(|seen| seen == release.name());
                    name == defect.name && is_of_release && shows_within(text, &target)
                });
            assert!(is_shown, "{file} does not show {} on {}, but {names:#?}", defect.name, release.name());
        }
        assert!(traces >= 30, "only {traces} defects of {} have a trace", release.name());
    }
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/qemu-defects")
}

/// Every short script, with the releases on which it says that it was seen to show its defect.
fn short_scripts() -> Vec<(String, String, Vec<String>)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(scripts()).expect("the folder is there") {
        let path = entry.expect("an entry").path();
        let text = fs::read_to_string(&path).expect("a script");
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        if let Some(seen) = text.lines().find_map(|line| line.strip_prefix("# Seen on "))
            && let Some((releases, _)) = seen.split_once(". Ends with 1")
        {
            all.push((name, text.clone(), releases.split(", ").map(str::to_owned).collect()));
        }
    }
    all.sort();
    all
}

/// A race is not won every time.
const TRIES: usize = 20;

/// Whether a script shows its defect within some tries.
fn shows_within(text: &str, target: &Target) -> bool {
    (0..TRIES).any(|_| shows(text, target))
}

#[test]
fn short_scripts_are_short_and_of_known_defects() {
    let all = short_scripts();
    let known: Vec<&str> = defects().map(|defect| defect.name).collect();
    for (name, text, releases) in &all {
        assert!(known.contains(&name.as_str()), "{name} is of no defect");
        assert!(!releases.is_empty(), "{name} was seen nowhere");
        let lines = text.lines().filter(|line| !line.starts_with('#')).count();
        assert!(lines <= 25, "{name} has {lines} lines");
    }
    let lines = |text: &str| text.lines().filter(|line| !line.starts_with('#')).count();
    let newest = Release::NEWEST.name();
    let fit = |(_, text, releases): &&(String, String, Vec<String>)| {
        lines(text) <= 20 && releases.iter().any(|release| release == newest)
    };
    let fit = all.iter().filter(fit).count();
    assert!(fit >= 25, "only {fit} scripts of at most 20 lines show their defect on {newest}");
}

// What a maintainer pastes shows what it says, on each release that is here.
#[test]
fn every_short_script_shows_its_defect() {
    for target in daemons() {
        let release = release_of(&target).name().to_owned();
        let mut run = 0;
        for (name, text, releases) in short_scripts() {
            if releases.contains(&release) {
                assert!(shows_within(&text, &target), "{name} does not show its defect on {release}");
                run += 1;
            }
        }
        assert!(run >= 15, "only {run} scripts were run on {release}");
    }
}

// What somebody mended by hand has its other forms as long as it is written as ours are.
#[test]
fn every_short_script_is_read_back_word_for_word() {
    let without_comments = |text: &str| {
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<String>>()
    };
    for (name, text, _) in short_scripts() {
        let kept = Shortest::kept(&text).unwrap_or_else(|| panic!("{name} is no script of the short form"));
        assert_eq!(without_comments(&kept.sh(&[])), without_comments(&text), "{name}");
    }
}

/// QEMU's own package for tests, where somebody has put it: its folder `tests/qemu-iotests`.
const IOTESTS: &str = "MIDSTREAM_IOTESTS";

/// Every test for that package, with the releases on which it says that it was seen to fail.
fn iotests() -> Vec<(String, String, Vec<String>)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(scripts()).expect("the folder is there") {
        let path = entry.expect("an entry").path();
        let text = fs::read_to_string(&path).expect("a script");
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        if let Some(seen) = text.lines().find_map(|line| line.strip_prefix("# Seen on "))
            && let Some((releases, _)) = seen.split_once(". Fails")
        {
            all.push((name, text.clone(), releases.split(", ").map(str::to_owned).collect()));
        }
    }
    all
}

// The worst there is, in the form that QEMU's maintainers keep.
#[test]
fn the_worst_defects_have_a_test_for_qemus_own_package() {
    let worst = [
        "short-layer-memory",
        "stream-read-error-memory",
        "flush-error-corrupts",
        "no-flush-commit",
        "no-flush-backup",
        "stream-flush-error-lost",
        "mirror-bypassed",
        "short-layer",
    ];
    let all = iotests();
    for name in worst {
        let (_, text, releases) =
            all.iter().find(|(has, ..)| has == name).unwrap_or_else(|| panic!("{name} has none"));
        assert!(releases.iter().any(|release| release == "11.1.3"), "{name}: {releases:?}");
        assert!(
            text.lines().all(|line| line.chars().count() < 80 || line.starts_with('#')),
            "{name} has long lines"
        );
    }
}

// It fails below the line that says what ought to be true, and so all that comes before it holds; on a release without the
// defect it passes.
#[test]
fn every_test_for_qemus_own_package_fails_where_the_defect_is() {
    let Some(folder) = env::var_os(IOTESTS) else {
        eprintln!("SKIPPED: {IOTESTS} names no tests/qemu-iotests of QEMU's source");
        return;
    };
    let package = Iotests::of(Path::new(&folder)).expect("QEMU's package for tests");
    for target in daemons() {
        let release = release_of(&target).name();
        for (name, text, releases) in iotests() {
            let ended = |wanted: &Verdict| (0..TRIES).any(|_| package.run(&text, &target) == *wanted);
            let is_known = defects().any(|defect| defect.name == name && defect.releases.contains(&release));
            if releases.iter().any(|seen| seen == release) {
                assert!(ended(&Verdict::Fails), "{name} on {release}: {:?}", package.run(&text, &target));
            } else if !is_known {
                assert!(ended(&Verdict::Passes), "{name} on {release}: {:?}", package.run(&text, &target));
            }
        }
    }
}

#[test]
fn long_scripts_are_short_data_beside_one_driver() {
    let (file, code) = DRIVER;
    assert_eq!(fs::read_to_string(scripts().join(file)).expect("the driver"), code);
    let known: Vec<String> = defects().map(|defect| format!("{}.sh", defect.name)).collect();
    for entry in fs::read_dir(scripts()).expect("the folder is there") {
        let name = entry.expect("an entry").file_name().into_string().expect("UTF-8");
        if name == file || name.ends_with(".py") {
            continue;
        }
        assert!(known.contains(&name), "{name} is of no defect");
        let text = fs::read_to_string(scripts().join(&name)).expect("a script");
        assert!(text.lines().count() < 100, "{name} has more than its data");
    }
}
