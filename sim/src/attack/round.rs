//! One round: inputs of one kind against one fresh daemon, or for a reader; and what came of it.

use super::finding::{ABORT, Finding, LATE, MEMORY};
use super::material::Material;
use super::victim::Victim;
use super::{Kind, apart, guests, monitor, opened, servers};
use crate::live::target::Target;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::Duration;

/// Nobody else waits longer for an answer.
const LATE_AFTER: Duration = Duration::from_secs(5);
/// So much more than the budget a daemon may hold: its program, its threads, and what clients make it hold.
pub const BEYOND_BUDGET_BYTES: u64 = 64 << 20;

/// Whom rounds are played against.
#[derive(Debug)]
pub(super) struct Ring<'a> {
    pub(super) target: &'a Target,
    pub(super) command: &'a Path,
    pub(super) material: &'a Material,
    pub(super) budget: u64,
}

/// A round, looked back on.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Played {
    /// Inputs that were sent or read.
    pub inputs: u64,
    /// Answers on the other monitor.
    pub answers: u64,
    /// The longest of them.
    pub longest: Duration,
    /// The most that the daemon or the reader held.
    pub peak_bytes: u64,
    /// The verdict and what was seen.
    pub wrong: Option<(String, String)>,
}

impl Ring<'_> {
    /// Plays one. Fails if no daemon can be started at all.
    pub(super) fn play(&self, kind: Kind, inputs: &[Vec<u8>]) -> Result<Played, String> {
        let played = match kind.is_for_daemon() {
            true => self.attack(kind, inputs)?,
            false => apart::read(self.command, self.target, kind, inputs)?,
        };
        Ok(played.held_to(self.budget + BEYOND_BUDGET_BYTES))
    }

    fn attack(&self, kind: Kind, inputs: &[Vec<u8>]) -> Result<Played, String> {
        let victim = Victim::start(&self.target.binary, self.budget, &self.material.files())?;
        let sent = match kind {
            Kind::QmpBytes => monitor::bytes(&victim, inputs),
            Kind::QmpCommands => monitor::commands(&victim, inputs),
            Kind::NbdBytes | Kind::NbdRequests => guests::streams(&victim, inputs),
            Kind::NbdServers => servers::servers(&victim, inputs),
            _ => opened::images(&victim, inputs),
        };
        let by_signal = inputs.first().is_some_and(|first| first.len() % 2 == 1);
        let ended = victim.end(by_signal);
        let (watched, longest) = (ended.watched, ended.watched.longest);
        let wrong = match (ended.wrong, watched.lost, &sent) {
            (Some(wrong), _, _) => Some((ABORT, wrong)),
            (None, Some(lost), _) => Some((LATE, format!("the other monitor: {lost}"))),
            (None, None, Err(why)) => Some((ABORT, why.clone())),
            _ if longest > LATE_AFTER => {
                Some((LATE, format!("the other monitor waited {:.1} s", longest.as_secs_f64())))
            }
            _ => None,
        };
        Ok(Played {
            inputs: sent.unwrap_or(inputs.len()) as u64,
            answers: watched.answers,
            longest,
            peak_bytes: ended.peak_bytes,
            wrong: wrong.map(|(verdict, detail)| (verdict.to_owned(), detail)),
        })
    }

    /// A finding with as few inputs as still show it: one alone, or a half again and again.
    pub(super) fn smallest(&self, kind: Kind, inputs: Vec<Vec<u8>>, wrong: (String, String)) -> Finding {
        let (mut inputs, mut wrong) = (inputs, wrong);
        let again = |inputs: &[Vec<u8>], verdict: &str| {
            let played = self.play(kind, inputs).ok()?;
            played.wrong.filter(|(same, _)| same == verdict)
        };
        while inputs.len() > 1 {
            let (first, second) = inputs.split_at(inputs.len() / 2);
            let half =
                [second, first].into_iter().find_map(|half| Some((half.to_vec(), again(half, &wrong.0)?)));
            let Some(found) = half else { break };
            (inputs, wrong) = found;
        }
        if inputs.len() <= ALONE_MAX {
            let alone = inputs
                .iter()
                .find_map(|one| Some((one.clone(), again(std::slice::from_ref(one), &wrong.0)?)));
            if let Some((one, found)) = alone {
                (inputs, wrong) = (vec![one], found);
            }
        }
        Finding { kind, verdict: wrong.0, detail: wrong.1, inputs }
    }
}

impl Played {
    /// Nothing else was wrong, but it held more than it may.
    fn held_to(mut self, bytes_max: u64) -> Played {
        if self.wrong.is_none() && self.peak_bytes > bytes_max {
            let detail = format!("it held {} of at most {} MiB", self.peak_bytes >> 20, bytes_max >> 20);
            self.wrong = Some((MEMORY.to_owned(), detail));
        }
        self
    }
}

/// So few inputs are each tried alone.
const ALONE_MAX: usize = 12;
