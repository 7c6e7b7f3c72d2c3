//! What is judged where the world ends without warning, or might have.

use super::Oracle;
use crate::recovery::Recovered;
use midstream::history::observed::Observed;
use midstream::world::crash::Ending;
use model::CrashKind;

impl Oracle {
    /// The world has ended without warning.
    pub fn crashed(&self, ending: Ending) {
        self.observe(Observed::Crash { kind: kind_of(ending) });
        self.inner().recording.forget_all();
    }

    /// Whether no law would break if the world had ended so just now, and this were what is left.
    pub fn would_survive(&self, ending: Ending, all: &[Recovered]) -> bool {
        let (now, step) = self.moment();
        let mut inner = self.inner();
        if !inner.recording.is_judged() {
            return true;
        }
        self.observe_strikes(&mut inner, now, step);
        let mut judge = inner.judge.clone();
        let mut survives = |observed: Observed| observed.show(|seen| judge.observe(seen)).is_ok();
        survives(Observed::Crash { kind: kind_of(ending) })
            && all.iter().cloned().all(|recovered| survives(seen_after_crash(recovered)))
            && (0..).zip(all).all(|(image, recovered)| inner.beside.recovered(image, recovered).is_none())
    }

    /// What a file shows to the next process after a crash.
    pub fn recovered(&self, image: usize, recovered: Recovered) {
        let damage = recovered.damage.clone();
        let wrong = self.inner().beside.recovered(image, &recovered);
        self.report_damage(seen_after_crash(recovered), &damage);
        self.break_law_by(wrong);
    }
}

fn kind_of(ending: Ending) -> CrashKind {
    match ending {
        Ending::Kill => CrashKind::Kill,
        Ending::PowerCut => CrashKind::PowerCut,
    }
}

/// What the next process finds in a file after a crash.
fn seen_after_crash(recovered: Recovered) -> Observed {
    let file = recovered.file.clone();
    recovered.found().map_or_else(|why| Observed::Unreadable { file, why }, Observed::Recovered)
}
