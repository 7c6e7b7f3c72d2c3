//! `midstream document`: the page about live daemons' defects, made anew from their traces.

use super::export::write_program;
use super::limits::check_folder;
use super::{Exit, refuse};
use crate::live::again::{Retaken, retake};
use crate::live::doc::{Defect, Script, Shown, Tried, defects, page};
use crate::live::repro;
use crate::live::script::{DRIVER, Driver, Fails, script};
use crate::live::sequence::Record;
use crate::live::target::Target;
use clap::Args;
use midstream::terminal::shown;
use midstream::trace::Trace;
use midstream::verdict::{Detail, Verdict};
use model::Release;
use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};

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
            let shown = self.shown(defect, &scripts)?;
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

    fn shown(&self, defect: Defect, scripts: &Path) -> Result<Shown, String> {
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
        let script = match best {
            Some((record, fails, target)) => {
                self.script(&defect, &record, fails, &target, (scripts, &tried))?
            }
            None => None,
        };
        if let Some(Script { short: Some(text), .. }) = &script
            && repro::is_never_right(text)
        {
            self.tried_by_script(text, &mut tried);
        }
        Ok(Shown { defect, law: trace.law, tried, script })
    }

    /// The short script if there is one: the one that is kept, as long as it shows the defect. Else the long one.
    fn script(
        &self,
        defect: &Defect,
        record: &Record,
        fails: Fails,
        target: &Target,
        (scripts, tried): (&Path, &[Tried]),
    ) -> Result<Option<Script>, String> {
        let (name, path) = (format!("{}.sh", defect.name), scripts.join(format!("{}.sh", defect.name)));
        let file = format!("{NAME}/{name}");
        let is_short = |text: &String| !text.contains(DRIVER.0);
        let kept = fs::read_to_string(&path).ok().filter(|text| !self.anew && is_short(text));
        let kept = kept.filter(|text| repro::shows(text, target) && self.is_true_of(text, tried));
        let title = [format!("{}.", defect.what), format!("Right instead: {}.", defect.right)];
        let fresh = || repro::script(&title.each_ref().map(String::as_str), record, target).ok();
        let fresh = || fresh().filter(|text| self.is_true_of(text, tried));
        if let Some(short) = kept.or_else(fresh) {
            let seen = self.seen(&short);
            let text = with_releases(&short, &seen);
            write_program(&path, &text).map_err(|error| format!("{name}: {error}"))?;
            return Ok(Some(Script { file, short: Some(text) }));
        }
        let Ok(text) = script(defect.what, record, fails, Driver::Beside) else { return Ok(None) };
        write_program(&path, &text).map_err(|error| format!("{name}: {error}"))?;
        Ok(Some(Script { file, short: None }))
    }

    /// Whether a script shows nothing where the trace goes well: else it has lost its meaning.
    fn is_true_of(&self, text: &str, tried: &[Tried]) -> bool {
        if repro::is_never_right(text) {
            return true;
        }
        let gone = self.target.iter().zip(tried).filter(|(_, tried)| tried.shown == 0 && tried.has_passed);
        gone.into_iter().all(|(target, _)| !repro::shows(text, target))
    }

    /// Where the trace shows nothing and the script a crash, a hang or damage, the defect is there.
    fn tried_by_script(&self, text: &str, tried: &mut [Tried]) {
        for (target, tried) in self.target.iter().zip(tried) {
            if tried.shown == 0 && repro::shows(text, target) {
                *tried = Tried { shown: 1, times: 1, has_passed: false };
            }
        }
    }

    /// The known releases on which a script shows its defect.
    fn seen(&self, text: &str) -> Vec<&'static str> {
        let known = |target: &Target| {
            let number = target.release().ok()?;
            Release::ALL.into_iter().find(|release| release.number() == number)
        };
        let shows = |target: &&Target| repro::shows(text, target);
        self.target.iter().filter(shows).filter_map(known).map(Release::name).collect()
    }
}

/// How the line begins that says where a script was seen to show its defect.
pub const SEEN_ON: &str = "# Seen on ";

/// The script with a line that says so, instead of any that was there.
fn with_releases(text: &str, releases: &[&str]) -> String {
    let seen = format!("{SEEN_ON}{}. Ends with 1 if the defect shows.", releases.join(", "));
    let mut lines: Vec<&str> = text.lines().filter(|line| !line.starts_with(SEEN_ON)).collect();
    let at = lines.iter().position(|line| !line.starts_with('#')).unwrap_or(lines.len());
    lines.insert(at, &seen);
    lines.join("\n") + "\n"
}
