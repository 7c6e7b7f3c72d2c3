//! `midstream document`: the page about live daemons' defects, made anew from their traces.

use super::export::write_program;
use super::limits::check_folder;
use super::{Exit, refuse};
use crate::live::again::{Retaken, retake};
use crate::live::doc::{Defect, Script, Shown, Tried, defects, page};
use crate::live::repro::{self, Iotests, Shortest, Verdict as Ended, shortest};
use crate::live::script::{DRIVER, Driver, Fails, script};
use crate::live::sequence::Record;
use crate::live::target::Target;
use clap::Args;
use midstream::terminal::shown;
use midstream::trace::Trace;
use midstream::verdict::{Detail, Verdict};
use model::Release;
use std::cell::{Cell, OnceCell};
use std::fs;
use std::path::{Path, PathBuf};

/// A script that is kept shows its defect within so many tries, since a machine that does other things may be late; a test
/// fails in each of them.
const TRIES: u32 = 3;
/// The page and the folder of its scripts.
const NAME: &str = "qemu-defects";

/// Take the trace of every known defect of QEMU again, and write the page about them, with a script for each.
#[derive(Args, Debug)]
pub(super) struct Document {
    /// Where their traces are.
    #[arg(long, value_name = "DIR", default_value = "traces/live")]
    traces: PathBuf,
    /// Where the page goes, and beside it a folder of scripts.
    #[arg(long, value_name = "DIR", default_value = "docs")]
    out: PathBuf,
    /// A daemon; can be given more than once, the oldest release first.
    #[arg(long, value_name = "KIND[:PATH]", default_value = "qemu")]
    target: Vec<Target>,
    /// Only the defects of these names; the page is not written.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Write scripts for readers anew that show their defects as they are.
    #[arg(long)]
    anew: bool,
    /// The folder tests/qemu-iotests of QEMU's source: tests for that package are made and run as well.
    #[arg(long, value_name = "DIR")]
    iotests: Option<PathBuf>,
}

/// A failure of a defect's trace, and where it was.
struct Best<'a> {
    defect: &'a Defect,
    record: &'a Record,
    fails: Fails,
    target: &'a Target,
    tried: &'a [Tried],
    shortest: OnceCell<Option<Shortest>>,
}

impl Best<'_> {
    fn shortest(&self) -> Option<&Shortest> {
        self.shortest.get_or_init(|| shortest(self.record, self.target).ok()).as_ref()
    }

    /// What every script of it says at its top.
    fn title(&self) -> [String; 2] {
        [format!("{}.", self.defect.what), format!("Right instead: {}.", self.defect.right)]
    }
}

impl Document {
    pub(super) fn run(&self) -> Exit {
        match self.write() {
            Ok(path) => {
                say!("{}", shown(&path));
                Exit::Clean
            }
            Err(problem) => refuse(&problem),
        }
    }

    fn write(&self) -> Result<PathBuf, String> {
        check_folder("--out", &self.out)?;
        let iotests = self.iotests.as_deref().map(Iotests::of).transpose();
        let iotests = iotests.map_err(|problem| format!("--iotests: {problem}"))?;
        let mut releases = Vec::new();
        for target in &self.target {
            target.check().map_err(|problem| format!("--target: {problem}"))?;
            releases.push(target.release()?.map(|part| part.to_string()).join("."));
        }
        let scripts = self.out.join(NAME);
        fs::create_dir_all(&scripts).map_err(|error| format!("{}: {error}", scripts.display()))?;
        let (driver, code) = DRIVER;
        fs::write(scripts.join(driver), code).map_err(|error| format!("{driver}: {error}"))?;
        let is_wanted = |defect: &Defect| {
            !defect.trace.is_empty()
                && (self.only.is_empty() || self.only.iter().any(|name| name == defect.name))
        };
        let mut all = Vec::new();
        for defect in defects().filter(is_wanted) {
            let shown = self.shown(defect, &scripts, iotests.as_ref())?;
            let times = shown.tried.iter().map(|tried| tried.shown.to_string()).collect::<Vec<_>>();
            say!("{}: shown {} times", shown.defect.name, times.join(", "));
            all.push(shown);
        }
        if !self.only.is_empty() {
            return Ok(scripts);
        }
        let path = self.out.join(format!("{NAME}.md"));
        fs::write(&path, page(&releases, all)).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(path)
    }

    fn shown(&self, defect: Defect, scripts: &Path, iotests: Option<&Iotests>) -> Result<Shown, String> {
        let path = self.traces.join(defect.trace);
        let trace = Trace::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let recorded = trace.target.as_deref().unwrap_or_default().parse()?;
        let has_passed = Cell::new(false);
        let is_shown = |run: &Record| {
            has_passed.set(has_passed.get() || run.outcome.verdict == Verdict::Passed);
            run.known.as_ref().is_some_and(|known| known.names().contains(&defect.name))
        };
        let (mut tried, mut best) = (Vec::new(), None);
        for target in &self.target {
            let target = target.placed_as(&recorded).that_may_have(defect.name);
            let Retaken { failed, failures, times } =
                retake(&target, &trace.choices, Detail::Full, defect.tries, &is_shown);
            tried.push(Tried { shown: failures, times, has_passed: has_passed.take() });
            // The newest release that shows it speaks for all.
            if let Some(record) = failed {
                let fails = if failures == times { Fails::Always } else { Fails::Sometimes };
                best = Some((record, fails, target));
            }
        }
        let (script, iotest) = match &best {
            Some((record, fails, target)) => {
                let (defect, fails, tried) = (&defect, *fails, tried.as_slice());
                let best = Best { defect, record, fails, target, tried, shortest: OnceCell::new() };
                (self.script(&best, scripts)?, self.iotest(&best, scripts, iotests)?)
            }
            None => (None, None),
        };
        if let Some(Script { short: Some(text), .. }) = &script {
            self.tried_by_script(text, &defect, &mut tried);
        }
        Ok(Shown { defect, law: trace.law, tried, script, iotest })
    }

    /// The short script if there is one: the one that is kept, as long as it shows the defect. Else the long one.
    fn script(&self, best: &Best<'_>, scripts: &Path) -> Result<Option<Script>, String> {
        let Best { defect, record, fails, target, tried, .. } = *best;
        let (name, path) = (format!("{}.sh", defect.name), scripts.join(format!("{}.sh", defect.name)));
        let file = format!("{NAME}/{name}");
        let is_short = |text: &String| !text.contains(DRIVER.0);
        let kept = fs::read_to_string(&path).ok().filter(|text| !self.anew && is_short(text));
        let shows = |text: &str, target: &Target| (0..TRIES).any(|_| repro::shows(text, target));
        let kept = kept.filter(|text| shows(text, target) && self.is_true_of(text, defect, tried));
        let title = best.title();
        let titled = |shortest: &Shortest| shortest.sh(&title.each_ref().map(String::as_str));
        // Its comments follow what is known of the defect.
        let kept = kept.map(|text| Shortest::kept(&text).map_or(text, |shortest| titled(&shortest)));
        let fresh = || best.shortest().map(titled);
        let fresh = || fresh().filter(|text| self.is_true_of(text, defect, tried));
        if let Some(short) = kept.or_else(fresh) {
            let text = with_releases(&short, &self.seen(|target| shows(&short, target)), ENDS_WITH_1);
            write_program(&path, &text).map_err(|error| format!("{name}: {error}"))?;
            return Ok(Some(Script { file, short: Some(text) }));
        }
        let Ok(text) = script(defect.what, record, fails, Driver::Beside) else { return Ok(None) };
        write_program(&path, &text).map_err(|error| format!("{name}: {error}"))?;
        Ok(Some(Script { file, short: None }))
    }

    /// The file of a test for QEMU's package: the one that is kept, as long as it fails where the defect is and passes where
    /// it is not. Without the package nobody can try it, and what is there stays.
    fn iotest(
        &self,
        best: &Best<'_>,
        scripts: &Path,
        iotests: Option<&Iotests>,
    ) -> Result<Option<String>, String> {
        let name = format!("{}.py", best.defect.name);
        let (path, file) = (scripts.join(&name), format!("{NAME}/{name}"));
        let kept = fs::read_to_string(&path).ok();
        let Some(iotests) = iotests else { return Ok(kept.map(|_| file)) };
        // A test that fails now and then is of no use to anybody.
        let fails =
            |text: &str, target: &Target| (0..TRIES).all(|_| iotests.run(text, target) == Ended::Fails);
        let is_true = |text: &String| {
            let mut gone = self.gone(best.defect, best.tried).into_iter();
            fails(text, best.target) && gone.all(|target| iotests.run(text, target) == Ended::Passes)
        };
        let title = best.title();
        let script = fs::read_to_string(path.with_extension("sh")).ok();
        let of_script = || Shortest::kept(script.as_deref()?);
        let fresh = || {
            let of_script = of_script();
            let shortest = of_script.as_ref().or_else(|| best.shortest())?;
            shortest.iotest(best.defect.name, &title.each_ref().map(String::as_str), best.target, is_true)
        };
        let kept = kept.filter(|text| !self.anew && is_true(text));
        let Some(text) = kept.or_else(fresh) else {
            // What was kept fails no more.
            drop(fs::remove_file(&path));
            return Ok(None);
        };
        let seen = self.seen(|target| fails(&text, target));
        write_program(&path, &with_releases(&text, &seen, FAILS_THERE))
            .map_err(|error| format!("{name}: {error}"))?;
        Ok(Some(file))
    }

    /// Whether a script shows nothing where the trace goes well on a release that is not known to have the defect: else it has
    /// lost its meaning.
    fn is_true_of(&self, text: &str, defect: &Defect, tried: &[Tried]) -> bool {
        if repro::is_never_right(text) {
            return true;
        }
        self.gone(defect, tried).into_iter().all(|target| !repro::shows(text, target))
    }

    /// The daemons that a defect's trace went well on, and that are not known to have it.
    fn gone(&self, defect: &Defect, tried: &[Tried]) -> Vec<&Target> {
        let is_gone = |(target, tried): &(&Target, &Tried)| {
            tried.shown == 0 && tried.has_passed && !is_known_on(defect, target)
        };
        self.target.iter().zip(tried).filter(is_gone).map(|(target, _)| target).collect()
    }

    /// Where the trace shows nothing and the script does, the defect is there: if it is a crash, a hang or damage, or the
    /// release is known to have it.
    fn tried_by_script(&self, text: &str, defect: &Defect, tried: &mut [Tried]) {
        for (target, tried) in self.target.iter().zip(tried) {
            let is_sure = repro::is_never_right(text) || is_known_on(defect, target);
            if tried.shown == 0 && is_sure && repro::shows(text, target) {
                *tried = Tried { shown: 1, times: 1, has_passed: false };
            }
        }
    }

    /// The known releases on which something shows a defect.
    fn seen(&self, shows: impl Fn(&Target) -> bool) -> Vec<&'static str> {
        self.target
            .iter()
            .filter(|target| shows(target))
            .filter_map(known_release)
            .map(Release::name)
            .collect()
    }
}

/// The release of a daemon, if somebody has looked into it.
fn known_release(target: &Target) -> Option<Release> {
    let number = target.release().ok()?;
    Release::ALL.into_iter().find(|release| release.number() == number)
}

fn is_known_on(defect: &Defect, target: &Target) -> bool {
    known_release(target).is_some_and(|release| defect.releases.contains(&release.name()))
}

/// How the line begins that says where a script was seen to show its defect.
pub const SEEN_ON: &str = "# Seen on ";

/// What a shell script says behind it,
const ENDS_WITH_1: &str = "Ends with 1 if the defect shows.";
/// and what a test says.
const FAILS_THERE: &str = "Fails where the defect is.";

/// The script with a line that says so, instead of any that was there.
fn with_releases(text: &str, releases: &[&str], behind: &str) -> String {
    let seen = format!("{SEEN_ON}{}. {behind}", releases.join(", "));
    let mut lines: Vec<&str> = text.lines().filter(|line| !line.starts_with(SEEN_ON)).collect();
    let at = lines.iter().position(|line| !line.starts_with('#')).unwrap_or(lines.len());
    lines.insert(at, &seen);
    lines.join("\n") + "\n"
}
