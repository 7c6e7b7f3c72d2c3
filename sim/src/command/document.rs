//! `midstream document`: the page about a live daemon's defects, made anew from their traces.

use super::{Exit, refuse};
use crate::live::again::{Retaken, retake};
use crate::live::campaign::{COMMAND, name_of};
use crate::live::divergence::{Divergence, known};
use crate::live::doc::{Shown, page};
use crate::live::script::{Fails, script};
use crate::live::sequence::Record;
use crate::live::target::Target;
use crate::terminal::shown;
use crate::trace::Trace;
use crate::verdict::{Detail, Verdict};
use clap::Args;
use std::fs;
use std::path::{Path, PathBuf};

/// Take the trace of every known divergence of QEMU again, and write the page about them, with a script for each.
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
        let name = format!("qemu-{}", self.version);
        let scripts = self.out.join(&name);
        fs::create_dir_all(&scripts).map_err(|error| error.to_string())?;
        let mut all = Vec::new();
        for divergence in known().iter().filter(|known| known.target == self.target.kind.name()) {
            let Some(file) = &divergence.trace else { continue };
            let trace = Trace::read(&self.traces.join(file)).map_err(|error| format!("{file}: {error}"))?;
            all.push(self.shown(divergence, trace, &scripts, &name)?);
        }
        let path = self.out.join(format!("{name}.md"));
        fs::write(&path, page(&self.version, &all, COMMAND)).map_err(|error| error.to_string())?;
        Ok(path)
    }

    fn shown(
        &self,
        divergence: &'static Divergence,
        trace: Trace,
        scripts: &Path,
        folder: &str,
    ) -> Result<Shown, String> {
        let recorded = trace.target.as_deref().unwrap_or_default().parse()?;
        let target = self.target.placed_as(&recorded);
        let is_shown = |run: &Record| {
            run.outcome.verdict != Verdict::Passed && name_of(&self.target, run) == divergence.name
        };
        let Retaken { failed: record, failures: reproduced, times } =
            retake(&target, &trace.choices, Detail::Full, divergence.tries, &is_shown);
        let fails = if reproduced == times { Fails::Always } else { Fails::Sometimes };
        let text = record.as_ref().and_then(|record| script(&divergence.what, record, fails).ok());
        let file = format!("{}.sh", divergence.name);
        if let Some(text) = &text {
            fs::write(scripts.join(&file), text).map_err(|error| format!("{file}: {error}"))?;
        }
        let script = text.map(|_| format!("{folder}/{file}"));
        Ok(Shown { divergence, trace, record, reproduced, times, script })
    }
}
