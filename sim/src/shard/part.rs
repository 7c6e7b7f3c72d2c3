//! Which part of a campaign a process is: said on its command line, or by the scheduler that started it.

use std::fmt;

/// No campaign has more parts.
pub const PARTS_MAX: u64 = 1 << 20;

/// Whose environment says which of several alike processes this is: the variable of its number, that of the lowest number,
/// and that of how many there are. Those that have none of the latter two count from 0 and leave out how many.
const SCHEDULERS: [(&str, &str, Option<&str>, Option<&str>); 4] = [
    ("Slurm", "SLURM_ARRAY_TASK_ID", Some("SLURM_ARRAY_TASK_MIN"), Some("SLURM_ARRAY_TASK_COUNT")),
    ("Kubernetes", "JOB_COMPLETION_INDEX", None, None),
    ("HyperQueue", "HQ_TASK_ID", None, None),
    ("AWS Batch", "AWS_BATCH_JOB_ARRAY_INDEX", None, None),
];

/// A part of a campaign.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Part {
    /// Its number, from 0.
    pub index: u64,
    /// How many there are.
    pub of: u64,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

/// What a command line says of the part.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Asked {
    /// This one.
    Named(Part),
    /// The scheduler knows; perhaps all but how many there are.
    Environment(Option<u64>),
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Asked::Named(part) => part.fmt(f),
            Asked::Environment(None) => write!(f, "env"),
            Asked::Environment(Some(of)) => write!(f, "env/{of}"),
        }
    }
}

impl Asked {
    /// `3/64`, `env` or `env/64`.
    pub fn parse(text: &str) -> Result<Asked, String> {
        let (index, of) = match text.split_once('/') {
            Some((index, of)) => (index, Some(number(of)?)),
            None => (text, None),
        };
        match (index, of) {
            ("env", of) => Ok(Asked::Environment(of)),
            (index, Some(of)) => Part::new(number(index)?, of).map(Asked::Named),
            _ => Err("neither I/N nor `env` nor `env/N`".to_owned()),
        }
    }

    /// The part, and the scheduler that said so, with its variable.
    pub fn part(self, variable: impl Fn(&str) -> Option<String>) -> Result<(Part, Option<String>), String> {
        let of = match self {
            Asked::Named(part) => return Ok((part, None)),
            Asked::Environment(of) => of,
        };
        let set = |scheduler: &&(&str, &str, Option<&str>, Option<&str>)| variable(scheduler.1).is_some();
        let Some((name, index, lowest, count)) = SCHEDULERS.iter().find(set) else {
            let names: Vec<&str> = SCHEDULERS.iter().map(|(_, variable, ..)| *variable).collect();
            return Err(format!("none of {} is set", names.join(", ")));
        };
        let read = |of: &str| variable(of).map(|text| number(&text).map_err(|why| format!("{of}: {why}")));
        let counted = count.and_then(read).transpose()?;
        let lowest = lowest.and_then(read).transpose()?.unwrap_or(0);
        let at = read(index).expect("it was looked up")?;
        let of = of
            .or(counted)
            .ok_or_else(|| format!("{name} does not say how many parts there are: --shard env/N"))?;
        let at = at.checked_sub(lowest).ok_or_else(|| format!("{index} is below the lowest, {lowest}"))?;
        let part = Part::new(at, of).map_err(|why| format!("{index}: {why}"))?;
        Ok((part, Some(format!("{name}: {index}"))))
    }
}

impl Part {
    /// Refuses what is no part.
    pub fn new(index: u64, of: u64) -> Result<Part, String> {
        if !(1..=PARTS_MAX).contains(&of) {
            return Err(format!("a campaign has 1 to {PARTS_MAX} parts, not {of}"));
        }
        if index >= of {
            return Err(format!("parts are counted from 0: of {of} there is no part {index}"));
        }
        Ok(Part { index, of })
    }

    /// How many of a campaign's runs are its own.
    pub fn share(self, runs: u64) -> u64 {
        runs.saturating_sub(self.index).div_ceil(self.of)
    }
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("`{text}` is no number"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn of(asked: &str, variables: &[(&str, &str)]) -> Result<(Part, Option<String>), String> {
        let variables: BTreeMap<&str, &str> = variables.iter().copied().collect();
        Asked::parse(asked)?.part(|name| variables.get(name).map(|value| (*value).to_owned()))
    }

    #[test]
    fn a_scheduler_says_which_part_it_is() {
        let slurm =
            [("SLURM_ARRAY_TASK_ID", "7"), ("SLURM_ARRAY_TASK_MIN", "1"), ("SLURM_ARRAY_TASK_COUNT", "64")];
        let said = Some("Slurm: SLURM_ARRAY_TASK_ID".to_owned());
        assert_eq!(of("env", &slurm), Ok((Part { index: 6, of: 64 }, said)));
        let said = Some("Kubernetes: JOB_COMPLETION_INDEX".to_owned());
        assert_eq!(of("env/4", &[("JOB_COMPLETION_INDEX", "3")]), Ok((Part { index: 3, of: 4 }, said)));
        assert_eq!(of("3/4", &slurm), Ok((Part { index: 3, of: 4 }, None)));
        for (asked, variables) in [
            ("env", &[("HQ_TASK_ID", "3")][..]),
            ("env/4", &[("HQ_TASK_ID", "4")]),
            ("env/4", &[("HQ_TASK_ID", "many")]),
            ("env/4", &[]),
            ("4/4", &[]),
            ("0/0", &[]),
            ("3", &[]),
        ] {
            assert!(of(asked, variables).is_err(), "{asked} {variables:?}");
        }
    }

    proptest! {
        #[test]
        fn the_shares_of_all_parts_are_all_runs(runs in 0u64..10_000, of in 1u64..200) {
            let parts = (0..of).map(|index| Part::new(index, of).expect("a part").share(runs));
            prop_assert_eq!(parts.sum::<u64>(), runs);
        }
    }
}
