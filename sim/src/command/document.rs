//! `midstream document`: the page about a live daemon's defects, made anew from their traces.

use super::export::write_program;
use super::limits::check_folder;
use super::{Exit, refuse};
use crate::live::again::{Retaken, retake};
use crate::live::campaign::COMMAND;
use crate::live::doc::{Defect, Shown, defects, page};
use crate::live::script::{DRIVER, Driver, Fails, script};
use crate::live::sequence::Record;
use crate::live::target::Target;
use clap::Args;
use midstream::terminal::shown;
use midstream::trace::Trace;
use midstream::verdict::Detail;
use std::fs;
use std::path::{Path, PathBuf};

/// Take the trace of every known defect of QEMU again, and write the page about them, with a script for each.
#[derive(Args, Debug)]
pub(super) struct Document {
    /// Where their traces are.
    #[arg(long, value_name = "DIR", default_value = "traces/live")]
    traces: PathBuf,
    /// Where the page goes, and beside it a folder of scripts.
    #[arg(long, value_name = "DIR", default_value = "docs")]
    out: PathBuf,
    /// The version that is run.
    #[arg(long, value_name = "VERSION", default_value = "10.0.2")]
    version: String,
    /// The daemon.
    #[arg(long, value_name = "KIND[:PATH]", default_value = "qemu")]
    target: Target,
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
        self.target.check().map_err(|problem| format!("--target: {problem}"))?;
        let name = format!("qemu-{}", self.version);
        let scripts = self.out.join(&name);
        fs::create_dir_all(&scripts).map_err(|error| format!("{}: {error}", scripts.display()))?;
        let (driver, code) = DRIVER;
        fs::write(scripts.join(driver), code).map_err(|error| format!("{driver}: {error}"))?;
        let mut all = Vec::new();
        for defect in defects().filter(|defect| !defect.trace.is_empty()) {
            let file = defect.trace;
            let path = self.traces.join(file);
            let trace = Trace::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            all.push(self.shown(defect, trace, &scripts, &name)?);
        }
        let path = self.out.join(format!("{name}.md"));
        fs::write(&path, page(&self.version, &all, COMMAND))
            .map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(path)
    }

    fn shown(&self, defect: Defect, trace: Trace, scripts: &Path, folder: &str) -> Result<Shown, String> {
        let recorded = trace.target.as_deref().unwrap_or_default().parse()?;
        let target = self.target.placed_as(&recorded);
        let is_shown =
            |run: &Record| run.known.as_ref().is_some_and(|known| known.names().contains(&defect.name));
        let Retaken { failed: record, failures: reproduced, times } =
            retake(&target, &trace.choices, Detail::Full, defect.tries, &is_shown);
        let fails = if reproduced == times { Fails::Always } else { Fails::Sometimes };
        let text = record.as_ref().and_then(|record| script(defect.what, record, fails, Driver::Beside).ok());
        let file = format!("{}.sh", defect.name);
        if let Some(text) = &text {
            write_program(&scripts.join(&file), text).map_err(|error| format!("{file}: {error}"))?;
        }
        let script = text.map(|_| format!("{folder}/{file}"));
        Ok(Shown { defect, trace, record, reproduced, times, script })
    }
}
