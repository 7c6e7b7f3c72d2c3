//! A toy disk, judged while it works: what it does is what it promises.

use super::Run;
use model::data_only::Law;
use model::{CrashKind, Format, GuestOp};

/// A disk that does what it promises, in every way that the drawn numbers choose.
pub struct Toy {
    /// By sector: the values it has had since the durable one, which is first; the last is there now.
    pub sectors: Vec<Vec<u64>>,
    /// By sector: how many values were dropped from its front.
    pub dropped: Vec<usize>,
    open: Vec<Open>,
    pub run: Run,
    /// Every write has a value of its own.
    pub value: u64,
}

struct Open {
    request: u64,
    kind: Kind,
    at: usize,
    /// What a write brings, or what a read saw when it began.
    value: u64,
    /// Whether it has had its effect.
    is_done: bool,
    /// Of a flush: by sector, how many values came before the one that is there when it begins.
    before: Vec<usize>,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Kind {
    Write,
    Zeroes,
    Discard,
    Read,
    Flush,
}

impl Toy {
    fn new() -> Toy {
        Toy {
            sectors: vec![vec![0], vec![0], vec![0], vec![30]],
            dropped: vec![0; 4],
            open: Vec::new(),
            run: Run::new(Format::Raw, false),
            value: 100,
        }
    }

    pub fn now(&self, at: usize) -> u64 {
        *self.sectors[at].last().expect("a sector has a value")
    }

    fn step(&mut self, [what, at, pick]: [u8; 3]) -> Result<(), Law> {
        let at = usize::from(at) % 4;
        match what % 16 {
            0..=2 => self.begin(Kind::Write, at, pick),
            3 => self.begin(Kind::Zeroes, at, pick),
            4 => self.begin(Kind::Discard, at, pick),
            5..=7 => self.begin(Kind::Read, at, pick),
            8 => self.begin(Kind::Flush, at, pick),
            15 if pick.is_multiple_of(4) => return self.crash(pick),
            _ if self.open.is_empty() => {}
            _ => {
                let open = self.open.remove(usize::from(pick) % self.open.len());
                return self.end(open, pick);
            }
        }
        Ok(())
    }

    fn begin(&mut self, kind: Kind, at: usize, pick: u8) {
        self.value += 1;
        let sector = at as u64;
        let values = [self.value];
        let op = match kind {
            Kind::Write => GuestOp::Write { sector, values: &values, fua: false },
            Kind::Zeroes => GuestOp::WriteZeroes { sector, count: 1 },
            Kind::Discard => GuestOp::Discard { sector, count: 1 },
            Kind::Read => GuestOp::Read { sector, count: 1 },
            Kind::Flush => GuestOp::Flush,
        };
        let request = self.run.began(op);
        let value = match kind {
            Kind::Write => self.value,
            Kind::Read => self.now(at),
            _ => 0,
        };
        let before = (0..4).map(|at| self.dropped[at] + self.sectors[at].len() - 1).collect();
        // A write may have its effect at once, a read its values, long before anybody is answered.
        let is_done = pick.is_multiple_of(2) && !matches!(kind, Kind::Flush | Kind::Discard);
        if is_done && kind != Kind::Read {
            self.sectors[at].push(value);
        }
        self.open.push(Open { request, kind, at, value, is_done, before });
    }

    fn end(&mut self, open: Open, pick: u8) -> Result<(), Law> {
        let fails = pick.is_multiple_of(7);
        let answer = [if open.is_done { open.value } else { self.now(open.at) }];
        let result: Result<&[u64], &str> = match (fails, open.kind) {
            (true, _) => Err("Input/output error"),
            (false, Kind::Read) => Ok(&answer),
            (false, _) => Ok(&[]),
        };
        let has_effect = match open.kind {
            Kind::Read | Kind::Flush => false,
            Kind::Discard => pick.is_multiple_of(3),
            _ => !open.is_done && (!fails || pick.is_multiple_of(2)),
        };
        if has_effect {
            self.sectors[open.at].push(open.value);
        }
        if open.kind == Kind::Flush && !fails {
            for (at, before) in open.before.iter().enumerate() {
                let gone = before.saturating_sub(self.dropped[at]);
                self.sectors[at].drain(..gone);
                self.dropped[at] += gone;
            }
        }
        self.run.ended(open.request, result).map_err(|broken| broken.law)
    }

    /// Everything stops. What was under way may have happened; after a power cut each sector has any value since the
    /// durable one.
    pub fn crash(&mut self, pick: u8) -> Result<(), Law> {
        let is_power_cut = pick.is_multiple_of(8);
        for open in std::mem::take(&mut self.open) {
            let is_change = !matches!(open.kind, Kind::Read | Kind::Flush);
            if is_change && !open.is_done && pick.is_multiple_of(3) {
                self.sectors[open.at].push(open.value);
            }
        }
        self.run.crash(if is_power_cut { CrashKind::PowerCut } else { CrashKind::Kill });
        if is_power_cut {
            for (at, sector) in self.sectors.iter_mut().enumerate() {
                let survivor = sector[(usize::from(pick / 8) + at) % sector.len()];
                self.dropped[at] += sector.len();
                *sector = vec![survivor];
            }
        }
        let values = [0, 1, 2, 3].map(|at| self.now(at));
        self.run.recovered(&values)
    }

    pub fn end_all(&mut self) {
        for open in std::mem::take(&mut self.open) {
            self.end(open, 1).expect("a true disk ends what it began");
        }
    }

    pub fn live(steps: &[[u8; 3]]) -> Toy {
        let mut toy = Toy::new();
        for step in steps {
            assert_eq!(toy.step(*step), Ok(()), "{step:?}");
        }
        toy
    }
}
