//! What must be true after everything stopped, and at the end of a run.

use super::guest::{Request, shown};
use crate::command::Command;
use crate::command::editing::Editing;
use crate::command::plan::{JobType, Work};
use crate::content::{GARBAGE, SECTOR_BYTES};
use crate::graph::{ImageId, JobId};
use crate::law::{Broken, LawId};
use crate::observation::CrashKind;
use crate::rule::Rule;
use crate::step::state::{Phase, State};

impl State {
    pub(super) fn crashed(&mut self, kind: CrashKind) {
        if self.jobs.iter().any(|job| job.is_at_work()) {
            self.count(LawId::CrashWhileRunning);
        }
        let busy: Vec<JobType> =
            self.jobs.iter().filter(|job| job.is_at_work()).map(|job| job.plan.job_type()).collect();
        for job_type in busy {
            match job_type {
                JobType::Stream => {}
                JobType::Commit | JobType::ActiveCommit => self.count(LawId::CrashWhileCommitting),
                JobType::Mirror | JobType::Backup => self.count(LawId::CrashWhileCopying),
            }
        }
        if self.jobs.iter().any(|job| job.ended && job.failure.is_none()) {
            self.count(LawId::CrashAfterCompletion);
        }
        self.phase = Phase::Crashed(kind);
        // A job may have been rewriting its header; so may a command of its own that changes one.
        let pending: Vec<JobId> =
            self.live_jobs().filter(|id| !self.job(*id).edited && self.may_have_ended(*id)).collect();
        for id in pending {
            self.finalizing(id);
            self.cut_off_unflushed(id);
        }
        self.lost_copies_show_below();
        let asked: Vec<Editing> = self.unanswered_edits().cloned().collect();
        for editing in asked.into_iter().filter(|_| self.allows(Rule::HeaderChangeCutOff)).collect::<Vec<_>>()
        {
            self.header_change_failed(&editing);
        }
        self.requests.clear();
    }

    pub(super) fn recovered(
        &mut self,
        file: &str,
        values: &[u64],
        chain: &[&str],
        check_corruptions: u64,
    ) -> Result<(), Broken> {
        let is_sound = check_corruptions == 0 || self.may_be_corrupt(file);
        self.hold(LawId::NoCorruption, is_sound, |state| {
            format!("{file} {}: the check found {check_corruptions} corruptions", state.when())
        })?;
        let opening = self.opening();
        let Some(image) = opening.find(file) else {
            return Err(self.broken(LawId::ChainOnDisk, format!("{file} is no image of this run")));
        };
        let links: Vec<Option<ImageId>> = chain.iter().map(|file| opening.find(file)).collect();
        self.headers_fit(image, chain)?;
        // A header may rightly name another chain than the one that was opened. Then nothing is promised, unless it
        // is a job that rewrote it: the new chain must show what the old one did.
        let same_view = (0..links.len()).all(|index| {
            let below = links.get(index + 1).copied().flatten();
            links[index].is_some_and(|layer| {
                self.views.layer(layer).below == below || self.is_rewired_by_a_job(layer, below)
            })
        });
        if !same_view {
            return Ok(());
        }
        self.survives(image, values)
    }

    /// A clean end leaves what a crash may leave, and nothing that is lost for ever.
    pub(super) fn closed(
        &mut self,
        file: &str,
        values: &[u64],
        chain: &[&str],
        check: (u64, u64),
    ) -> Result<(), Broken> {
        let (corruptions, leaks) = check;
        // A write that failed may have left its cluster counted.
        let may_leak = !self.faults.is_empty() && self.allows(Rule::LeakAfterFault) || self.marred.leaks;
        if !may_leak {
            self.hold(LawId::NoLeak, leaks == 0, |_| {
                format!("{file}: the check found {leaks} leaked clusters")
            })?;
        }
        if self.faults.is_empty() {
            self.views_are_flushed();
        }
        self.recovered(file, values, chain, corruptions)
    }

    /// An image that nobody can read: whatever happened, its header must lead to files that are there.
    pub(super) fn unreadable(&mut self, file: &str, why: &str) -> Result<(), Broken> {
        let image = self.opening().find(file);
        let is_right = image.is_some_and(|image| self.may_be_torn(image) || self.comes_back(image));
        self.hold(LawId::ChainOnDisk, is_right, |_| why.to_owned())
    }

    /// Whether headers may lead from an image to one that leads back to itself: an operator has put an image into a chain
    /// whose header names what stands above.
    fn comes_back(&self, image: ImageId) -> bool {
        let below_all = |image: ImageId| {
            let mut found = Vec::new();
            let mut open = vec![image];
            while let Some(image) = open.pop() {
                let facts = &self.images[usize::from(image.0)];
                let named = facts.headers.iter().flatten();
                let below = named.filter_map(|header| self.opening().find_header(&facts.file, header));
                let new: Vec<ImageId> = below.filter(|below| !found.contains(below)).collect();
                found.extend(&new);
                open.extend(new);
            }
            found
        };
        let below = below_all(image);
        below.iter().any(|image| below_all(*image).contains(image))
    }

    /// Whether a job that was about to end puts `layer` on `below`.
    fn is_rewired_by_a_job(&self, layer: ImageId, below: Option<ImageId>) -> bool {
        self.live_jobs().filter(|id| self.may_have_ended(*id)).any(|id| {
            let headers = self.next_headers(id);
            let base = match &self.job(id).plan.work {
                Work::Stream(span) => self.graph.stream_base(span),
                Work::Commit(span) => Some(span.base),
                _ => None,
            };
            let base = base.and_then(|base| self.graph.unfiltered(base));
            let is_target = headers.iter().any(|(image, _)| *image == layer);
            is_target && base.and_then(|base| self.layer_of(&self.graph, base)) == below
        })
    }

    /// When an image is read by the next process.
    fn when(&self) -> &'static str {
        if matches!(self.phase, Phase::Crashed(_)) { "after the crash" } else { "after a clean end" }
    }

    /// Every header names the backing it had, or the one a job was writing.
    fn headers_fit(&mut self, image: ImageId, chain: &[&str]) -> Result<(), Broken> {
        self.count(LawId::ChainOnDisk);
        let mut overlay = image;
        for (index, file) in chain.iter().enumerate() {
            let opening = self.opening();
            let Some(found) = opening.find(file) else { return Ok(()) };
            if index == 0 && found != image {
                let what = format!("the chain of {} starts with {file}", self.file(image));
                return Err(self.broken(LawId::ChainOnDisk, what));
            }
            if index > 0 && !self.may_name(overlay, Some(found)) {
                let what = format!("the header of {} names {file}", self.file(overlay));
                return Err(self.broken(LawId::ChainOnDisk, self.headers_text(overlay, what)));
            }
            overlay = found;
        }
        if !self.may_name(overlay, None) {
            let what = format!("the header of {} names no backing", self.file(overlay));
            return Err(self.broken(LawId::ChainOnDisk, self.headers_text(overlay, what)));
        }
        Ok(())
    }

    fn may_name(&self, overlay: ImageId, below: Option<ImageId>) -> bool {
        let opening = self.opening();
        let facts = &self.images[usize::from(overlay.0)];
        facts.headers.iter().chain(self.headers_of_before(overlay)).any(|header| match header {
            None => below.is_none(),
            Some(header) => opening.find_header(&facts.file, header) == below,
        })
    }

    fn headers_text(&self, overlay: ImageId, what: String) -> String {
        let headers = &self.images[usize::from(overlay.0)].headers;
        let names: Vec<&str> =
            headers.iter().map(|header| header.as_deref().unwrap_or("no backing")).collect();
        format!("{what}, expected {}", names.join(" or "))
    }

    fn survives(&mut self, image: ImageId, values: &[u64]) -> Result<(), Broken> {
        let streamed = self.streamed[usize::from(image.0)];
        let law = if streamed { LawId::ChainOnDisk } else { LawId::FlushedSurvives };
        self.count(LawId::FlushedSurvives);
        let sectors = self.views.layer(image).sectors() as usize;
        if values.len() < self.shortest_length(image) {
            let what = format!("{} has {sectors} sectors and showed {}", self.file(image), values.len());
            return Err(self.broken(law, what));
        }
        // Whoever makes an image shorter has given up what lies behind its end, before the new length is on the disk.
        let kept = self.asked_lengths(image).fold(u32::MAX, u32::min);
        let is_early = self.allows(Rule::GivenUpEarly);
        let is_given_up = |sector: u32, value: u64| is_early && sector >= kept && value == 0;
        let wrong = (0u32..).zip(&values[..sectors.min(values.len())]).find(|(sector, value)| {
            let may_survive = self.views.may_survive(image, *sector, **value);
            let is_garbage = **value == GARBAGE && !self.views.holds_anything;
            let is_wrong = is_garbage || !may_survive && !is_given_up(*sector, **value);
            is_wrong && !self.may_be_reused(image, *sector, **value)
        });
        let Some((sector, value)) = wrong else { return Ok(()) };
        let expected = shown(&self.views.survivors(image, sector));
        let what = format!(
            "sector {sector} of {} {}: expected {expected}, found {}",
            self.file(image),
            self.when(),
            shown(&[*value])
        );
        Err(self.broken(law, what))
    }

    /// The shortest an image may be, in sectors: less than it is to be, while somebody makes it longer or shorter.
    pub(super) fn shortest_length(&self, image: ImageId) -> usize {
        let now = self.views.layer(image).sectors();
        let grown_from = self.shortest[usize::from(image.0)];
        if !self.allows(Rule::ShorterMeanwhile) {
            return now as usize;
        }
        let lengths = self.asked_lengths(image).chain(grown_from).chain(self.forgotten_lengths(image));
        lengths.fold(now, u32::min) as usize
    }

    /// The lengths, in sectors, that unanswered commands would give an image.
    fn asked_lengths(&self, image: ImageId) -> impl Iterator<Item = u32> {
        self.unanswered_edits().filter_map(move |editing| {
            let Editing::Resize { node, bytes, .. } = editing else { return None };
            let node = self.graph.find(node)?;
            let sectors = u32::try_from(u64::try_from(*bytes).ok()? / SECTOR_BYTES).ok()?;
            (self.layer_of(&self.graph, node) == Some(image)).then_some(sectors)
        })
    }

    fn unanswered_edits(&self) -> impl Iterator<Item = &Editing> {
        self.clients.iter().flat_map(|client| &client.pending).filter_map(|pending| match pending.command() {
            Ok(Command::Edit(editing)) => Some(&**editing),
            _ => None,
        })
    }

    fn file(&self, image: ImageId) -> &str {
        &self.images[usize::from(image.0)].file
    }

    pub(super) fn over(&mut self) -> Result<(), Broken> {
        let stopped = matches!(self.phase, Phase::Crashed(_) | Phase::Quitting);
        self.phase = Phase::Over;
        if stopped {
            return Ok(());
        }
        let stuck = self.jobs.iter().find(|job| job.is_live() && !job.waits_for_operator());
        let stuck = stuck.map(|job| job.line());
        self.hold(LawId::JobsEnd, stuck.is_none(), |_| {
            format!("still there: {}", stuck.unwrap_or_default())
        })?;
        let unanswered = self.clients.iter().find_map(|client| client.stuck());
        self.hold(LawId::CommandsAnswered, unanswered.is_none(), |_| unanswered.unwrap_or_default())?;
        let endless = self.requests.first().map(Request::line);
        self.hold(LawId::RequestsEnd, endless.is_none(), |_| endless.unwrap_or_default())
    }
}
