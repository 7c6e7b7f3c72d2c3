//! What the environment says about a check: how many runs, from which seed, for how long, or which trace.

use std::env;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What a check goes by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Settings {
    pub(super) seed: u64,
    pub(super) runs: u64,
    pub(super) time: Option<Duration>,
    pub(super) trace: Option<PathBuf>,
}

impl Settings {
    /// As the caller wants it, and as the variables of the environment that `of` reads change it.
    pub(super) fn new(runs: u64, of: impl Fn(&str) -> Option<String>) -> Result<Settings, String> {
        // What a CI system sets to nothing is not set.
        let of = |name: &str| of(name).filter(|text| !text.is_empty());
        let number = |name: &str| match of(name) {
            None => Ok(None),
            Some(text) => match text.parse::<u64>() {
                Ok(number) => Ok(Some(number)),
                Err(_) => Err(format!("{name} is `{text}`, which is no number")),
            },
        };
        let time = number("MIDSTREAM_SECONDS")?.map(Duration::from_secs);
        // Who gives a time and no number of runs wants as many as there is time for.
        let runs = number("MIDSTREAM_RUNS")?.unwrap_or(if time.is_some() { u64::MAX } else { runs });
        let seed = number("MIDSTREAM_SEED")?.unwrap_or(1);
        Ok(Settings { seed, runs, time, trace: of("MIDSTREAM_TRACE").map(PathBuf::from) })
    }

    pub(super) fn of_environment(runs: u64) -> Result<Settings, String> {
        Settings::new(runs, |name| env::var(name).ok())
    }
}

/// Where traces go: `midstream` below the target folder that this test was built into, or below the present folder.
pub(super) fn trace_folder() -> PathBuf {
    let program = env::current_exe().unwrap_or_default();
    let target = program.ancestors().find(|folder| folder.join("CACHEDIR.TAG").is_file());
    target.unwrap_or(Path::new("target")).join("midstream")
}

/// The test that is running, if that can be known: cargo's runner names the thread after it, nextest the environment.
pub(super) fn test_name() -> Option<String> {
    let thread = std::thread::current();
    let of_thread = thread.name().filter(|name| *name != "main").map(str::to_owned);
    of_thread.or_else(|| env::var("NEXTEST_TEST_NAME").ok())
}

/// How to run it again, and it alone.
pub(super) fn command() -> String {
    let package = env::var("CARGO_PKG_NAME").map_or_else(|_| String::new(), |name| format!(" -p {name}"));
    match test_name() {
        Some(name) => format!("cargo test{package} -- --exact {name}"),
        None => match env::current_exe().ok().as_deref().and_then(Path::file_name) {
            Some(program) if is_example() => format!("cargo run{package} --example {}", program.display()),
            _ => format!("cargo test{package}"),
        },
    }
}

fn is_example() -> bool {
    env::current_exe()
        .is_ok_and(|program| program.parent().is_some_and(|folder| folder.ends_with("examples")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(runs: u64, set: &[(&str, &str)]) -> Result<Settings, String> {
        Settings::new(runs, |name| {
            set.iter().find(|(at, _)| *at == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_environment_overrides_the_test() {
        let plain = Settings { seed: 1, runs: 100, time: None, trace: None };
        assert_eq!(settings(100, &[]), Ok(plain.clone()));
        assert_eq!(settings(100, &[("MIDSTREAM_SECONDS", ""), ("MIDSTREAM_TRACE", "")]), Ok(plain.clone()));
        let set = [("MIDSTREAM_SEED", "7"), ("MIDSTREAM_RUNS", "1"), ("MIDSTREAM_TRACE", "a.json")];
        let trace = Some(PathBuf::from("a.json"));
        assert_eq!(settings(100, &set), Ok(Settings { seed: 7, runs: 1, trace, ..plain.clone() }));
        let time = Some(Duration::from_secs(60));
        assert_eq!(
            settings(100, &[("MIDSTREAM_SECONDS", "60")]),
            Ok(Settings { runs: u64::MAX, time, ..plain })
        );
    }

    #[test]
    fn what_is_no_number_is_refused_by_name() {
        let refused = settings(1, &[("MIDSTREAM_RUNS", "many")]);
        assert_eq!(refused, Err("MIDSTREAM_RUNS is `many`, which is no number".to_owned()));
    }
}
