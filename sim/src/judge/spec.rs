//! The two specifications behind one door.

use super::Fault;
use crate::oracle::laws;
use midstream::content::named;
use midstream::history::file::header::Spec;
use midstream::history::observed::Observed;
use midstream::recording::commands::Commands;
use midstream::request::Operation;
use model::data_only::DataOnly;
use model::{ImageSetup, Quirk};

/// The model keeps what has no flush yet: not more sectors than this.
const UNFLUSHED_MAX: u64 = 1 << 22;
/// It keeps every node and job there ever was: commands and the nodes they name, not more than this.
const NAMED_MAX: usize = 60_000;
/// And every fault.
const FAULTS_MAX: usize = 1_000;

/// Why nothing more is judged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Stop {
    /// A law was broken.
    Broken { law: String, detail: String },
    /// The input makes no sense.
    Bad(Fault),
    /// A bound was reached.
    Bound(String),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Stop {
        Stop::Bad(fault)
    }
}

impl Stop {
    /// With the names of values that our own guests and images have.
    pub(super) fn named(self) -> Stop {
        match self {
            Stop::Broken { law, detail } => Stop::Broken { law, detail: named(&detail) },
            other => other,
        }
    }

    /// With the command that is behind it.
    pub(super) fn by(self, commands: &Commands, observed: &Observed) -> Stop {
        match self {
            Stop::Broken { law, detail } => Stop::Broken { law, detail: commands.beside(observed, &detail) },
            other => other,
        }
    }
}

/// Who judges.
pub(super) enum Judge {
    Qemu(Box<Qemu>),
    DataOnly(DataOnly),
}

/// The model, and how much it had to take in that it never forgets.
pub(super) struct Qemu {
    judge: model::Judge,
    unflushed: u64,
    named: usize,
    faults: usize,
}

impl Judge {
    pub(super) fn new(spec: Spec, images: &[ImageSetup], torn_reads: bool, quirks: &[Quirk]) -> Judge {
        let Some(release) = spec.release() else {
            return Judge::DataOnly(DataOnly::new(images, torn_reads));
        };
        let judge = model::Judge::new(images).of_release(release).with(quirks);
        let judge = if torn_reads { judge.on_real_files() } else { judge };
        Judge::Qemu(Box::new(Qemu { judge, unflushed: 0, named: 0, faults: 0 }))
    }

    /// Shows it an observation.
    pub(super) fn show(&mut self, observed: &Observed) -> Result<(), Stop> {
        match self {
            Judge::Qemu(qemu) => {
                qemu.weigh(observed)?;
                observed.show(|seen| qemu.judge.observe(seen)).map_err(|broken| Stop::Broken {
                    law: broken.law.name().to_owned(),
                    detail: broken.detail,
                })
            }
            Judge::DataOnly(devices) => observed
                .show(|seen| devices.observe(seen))
                .map_err(|broken| Stop::Broken { law: broken.law.name().to_owned(), detail: broken.detail }),
        }
    }

    /// Whether there can be anything of that name: without QMP, only the images of the header.
    pub(super) fn knows(&self, name: &str) -> bool {
        match self {
            Judge::Qemu(_) => true,
            Judge::DataOnly(devices) => devices.knows(name),
        }
    }

    /// How often laws were checked.
    pub(super) fn checks(&self) -> u64 {
        match self {
            Judge::Qemu(qemu) => laws().map(|law| qemu.judge.tally().of(law)).sum(),
            Judge::DataOnly(devices) => devices.checks().iter().sum(),
        }
    }

    /// Why not everything is judged, if that is so.
    pub(super) fn inconclusive(&self) -> Option<String> {
        match self {
            Judge::Qemu(qemu) => qemu.judge.inconclusive().map(|why| why.to_string()),
            Judge::DataOnly(devices) => devices.inconclusive().map(|why| why.text()),
        }
    }
}

impl Qemu {
    /// Counts what the model never forgets.
    fn weigh(&mut self, observed: &Observed) -> Result<(), Stop> {
        match observed {
            Observed::Sent { text, .. } => {
                self.named += 1 + text.matches("driver").count() + text.matches("node-name").count();
            }
            Observed::FaultArmed { .. } | Observed::FaultStruck { .. } => self.faults += 1,
            Observed::Began { asked, .. } => match asked.operation {
                Operation::Flush => self.unflushed = 0,
                Operation::Read => {}
                _ => self.unflushed += asked.count,
            },
            _ => {}
        }
        let bound = |what: &str, most: &dyn std::fmt::Display| {
            Err(Stop::Bound(format!("more than {most} {what} are not followed")))
        };
        if self.named > NAMED_MAX {
            bound("commands and nodes named in them", &NAMED_MAX)
        } else if self.faults > FAULTS_MAX {
            bound("faults", &FAULTS_MAX)
        } else if self.unflushed > UNFLUSHED_MAX {
            bound("sectors written without a flush", &UNFLUSHED_MAX)
        } else {
            Ok(())
        }
    }
}
