//! One sequence on devices, judged at many points: what its files would show if the daemon had been killed, or the power
//! cut, after this or that request.
//!
//! The devices' log is done again step by step, and the model is shown again what had been seen by then. At each
//! chosen point a kill and several power cuts are tried: which unflushed writes are there, and which are torn, is
//! decided as in the simulator. Nothing of this needs the daemon.

use super::journal::Journal;
use crate::device::{Log, Past};
use crate::oracle::OF_DAMAGE;
use crate::recovery;
use crate::workload::scenario::Scenario;
use midstream::choice::Decision;
use midstream::choice::mix;
use midstream::history::observed::Observed;
use midstream::history::{Entry, History, Recorder, What};
use midstream::recording::explained;
use midstream::strategy::of_seed;
use midstream::world::crash::{Ending, crash_images};
use model::{CrashKind, Judge, Quirk};
use std::ops::AddAssign;
use xxhash_rust::xxh3::Xxh3;

/// So many points of a sequence are tried, spread over all of it.
const POINTS_MAX: usize = 40;
/// Power cuts at each point, each leaving another part of what was not flushed.
const POWER_CUTS: u32 = 3;
/// Decisions about survivors that are shown of a failure.
const SHOWN_MAX: usize = 24;

/// How many crashes of one kind were tried, and how many of them nothing was lost in.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    /// Tried.
    pub tried: u64,
    /// After which everything that was promised was there.
    pub held: u64,
}

/// The crashes tried.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct Tried {
    /// The process died, the devices lived.
    pub kills: Tally,
    /// The devices lost what was not flushed, or parts of it.
    pub power_cuts: Tally,
    /// Sequences that the model did not follow a second time, so that nothing was tried in the rest of them.
    pub lost: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.tried += other.tried;
        self.held += other.held;
    }
}

impl AddAssign for Tried {
    fn add_assign(&mut self, other: Tried) {
        self.kills += other.kills;
        self.power_cuts += other.power_cuts;
        self.lost += other.lost;
    }
}

/// A crash after which something was missing.
#[derive(Clone, Debug)]
pub struct Loss {
    /// How it ended.
    pub ending: Ending,
    /// The law.
    pub law: String,
    /// The values, and where the sequence was cut.
    pub detail: String,
    /// What was seen and what the devices did until then, the crash, and what was found.
    pub history: History,
    /// Quirks explain it, all together.
    is_explained: bool,
}

/// Tries crashes at points of a sequence, chosen by `salt`. Gives the first loss; one that no quirks explain before others.
pub(super) fn try_all(
    journal: Journal,
    history: &History,
    log: &Log,
    scenario: &Scenario,
    (salt, quirks): (u32, &[Quirk]),
) -> (Tried, Option<Loss>) {
    let (judge, noted) = journal.in_order();
    let excusing = judge.clone().with(quirks);
    let mut cutter = Cutter {
        log,
        history,
        noted: &noted,
        scenario,
        salt,
        judge,
        excusing,
        tried: Tried::default(),
        loss: None,
        last: None,
        news: true,
    };
    let mut noted = noted.iter().peekable();
    let mut past = log.past();
    loop {
        while let Some((_, entry)) = noted.next_if(|(steps, _)| *steps <= past.at()) {
            cutter.news = true;
            let observed = history.observed(*entry);
            let excused = observed.show(|seen| cutter.excusing.observe(seen));
            if observed.show(|seen| cutter.judge.observe(seen)).is_err() || excused.is_err() {
                cutter.tried.lost = 1;
                return (cutter.tried, cutter.loss);
            }
        }
        if is_chosen(salt, past.at(), log.steps.len()) {
            cutter.cut(&past, Ending::Kill, 0);
            for variant in 0..POWER_CUTS {
                cutter.cut(&past, Ending::PowerCut, variant);
            }
        }
        if !past.forward() {
            return (cutter.tried, cutter.loss);
        }
    }
}

fn is_chosen(salt: u32, at: usize, steps: usize) -> bool {
    steps <= POINTS_MAX || mix(u64::from(salt) << 32 | at as u64) % (steps as u64) < POINTS_MAX as u64
}

struct Cutter<'a> {
    log: &'a Log,
    history: &'a History,
    noted: &'a [(usize, usize)],
    scenario: &'a Scenario,
    salt: u32,
    judge: Judge,
    /// The same, with all quirks.
    excusing: Judge,
    tried: Tried,
    loss: Option<Loss>,
    /// What was on the devices after the last crash that was tried.
    last: Option<u64>,
    /// Whether the model has seen more since.
    news: bool,
}

impl Cutter<'_> {
    fn cut(&mut self, past: &Past<'_>, ending: Ending, variant: u32) {
        let seed = mix(mix(u64::from(self.salt) << 32 | past.at() as u64) ^ u64::from(variant + 1));
        let mut choices = of_seed(seed);
        let images = crash_images(past.disks(), ending, &mut choices);
        let hash = hash(&images);
        // The same bytes under the same promises are the same crash.
        if !self.news && self.last == Some(hash) {
            return;
        }
        (self.news, self.last) = (false, Some(hash));
        let tally = match ending {
            Ending::Kill => &mut self.tried.kills,
            Ending::PowerCut => &mut self.tried.power_cuts,
        };
        tally.tried += 1;
        match crash(self.judge.clone(), self.scenario, images.clone(), ending) {
            Ok(_) => tally.held += 1,
            Err(Lost { law, found, .. }) if self.loss.as_ref().is_none_or(|loss| loss.is_explained) => {
                let excused = crash(self.excusing.clone(), self.scenario, images, ending);
                let (is_explained, Lost { law, found, seen }) = match excused {
                    Ok(seen) if self.loss.is_some() => return drop(seen),
                    Ok(seen) => (true, Lost { law, found, seen }),
                    Err(lost) => (false, lost),
                };
                let detail = format!("{found}\n{}", self.place(past.at(), ending, choices.tape()));
                let mut history = self.before(past.at());
                for seen in seen {
                    history.push(0, 0, What::Observed(seen));
                }
                self.loss = Some(Loss { ending, law, detail, history, is_explained });
            }
            Err(_) => {}
        }
    }

    /// Everything before a step, as the devices and whoever watched the daemon saw it.
    fn before(&self, at: usize) -> History {
        let fresh = History::new(Recorder::Live, self.history.images.clone());
        let mut before = History { release: self.history.release, ..fresh };
        let mut noted = self.noted.iter().peekable();
        for step in 0..=at {
            while let Some((_, entry)) = noted.next_if(|(steps, _)| *steps <= step) {
                before.entries.push(Entry { step: 0, ..self.history.entries[*entry].clone() });
            }
            if step < at {
                before.push(0, 0, What::Note(format!("disk      {}", self.log.step_text(step))));
            }
        }
        before
    }

    fn place(&self, at: usize, ending: Ending, decided: &[Decision]) -> String {
        let how = match ending {
            Ending::Kill => "killed",
            Ending::PowerCut => "power cut",
        };
        let after = match at.checked_sub(1) {
            None => "before everything".to_owned(),
            Some(last) => {
                format!("after step {at} of {}: {}", self.log.steps.len(), self.log.step_text(last))
            }
        };
        let shown: Vec<String> = decided.iter().take(SHOWN_MAX).map(Decision::to_string).collect();
        format!("{how} {after}\n{}", shown.join("; "))
    }
}

/// What was lost, and what was seen of it: the crash, and the images up to the one that showed it.
struct Lost {
    law: String,
    found: String,
    seen: Vec<Observed>,
}

impl Lost {
    /// With what a check has found, if that is what was lost.
    fn explained(mut self, damage: &[String]) -> Lost {
        if OF_DAMAGE.iter().any(|law| law.name() == self.law) {
            self.found = explained(&self.found, damage);
        }
        self
    }
}

/// Gives what was seen of a crash: the crash, and every image.
fn crash(
    mut judge: Judge,
    scenario: &Scenario,
    mut images: Vec<Vec<u8>>,
    ending: Ending,
) -> Result<Vec<Observed>, Lost> {
    let kind = match ending {
        Ending::Kill => CrashKind::Kill,
        Ending::PowerCut => CrashKind::PowerCut,
    };
    let mut seen = Vec::new();
    let mut observe = |seen: &mut Vec<Observed>, observed: Observed| {
        let judged = observed.show(|observed| judge.observe(observed));
        seen.push(observed);
        judged.map_err(|broken| Lost {
            law: broken.law.name().to_owned(),
            found: broken.detail,
            seen: std::mem::take(seen),
        })
    };
    observe(&mut seen, Observed::Crash { kind })?;
    let all = match recovery::read_all(scenario, &mut images) {
        Ok(all) => all,
        Err(why) => {
            return Err(Lost { law: "an image cannot be read".to_owned(), found: why.to_owned(), seen });
        }
    };
    for recovered in all {
        let (file, damage) = (recovered.file.clone(), recovered.damage.clone());
        let observed = match recovered.found() {
            Ok(found) => Observed::Recovered(found),
            Err(why) => Observed::Unreadable { file, why },
        };
        observe(&mut seen, observed).map_err(|lost| lost.explained(&damage))?;
    }
    Ok(seen)
}

fn hash(images: &[Vec<u8>]) -> u64 {
    let mut hash = Xxh3::new();
    images.iter().for_each(|image| hash.update(image));
    hash.digest()
}
