//! A campaign for each engine, level by level. Ends with 0 if nothing broke that is not on the page, 1 if something
//! did, 2 if it could not be judged.

use clap::Parser;
use midstream::campaign::{Plan, Seeds};
use midstream::seam::escape::lines;
use midstream_other_engines::engine::Engine;
use midstream_other_engines::findings;
use midstream_other_engines::level::Level;
use midstream_other_engines::page;
use std::fmt::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

/// Runs engines that others wrote in our world, and says what breaks that is not known.
#[derive(Parser)]
struct Options {
    /// For how long each engine runs.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// How many runs each level has at most: with a bound, a faster machine finds no more.
    #[arg(long, default_value_t = u64::MAX)]
    runs: u64,
    /// The seed of the first run of each level.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only this engine; without, those of others.
    #[arg(long)]
    engine: Option<Engine>,
    /// Only levels whose name has this in it.
    #[arg(long, default_value = "")]
    level: String,
    /// Write what is found to traces/new, and the page anew from the traces that are kept.
    #[arg(long)]
    write_page: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let engines = options.engine.map_or_else(|| Engine::OTHERS.to_vec(), |engine| vec![engine]);
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let jobs = (cores / engines.len()).max(1);
    // All at once: then the whole takes as long as one of them.
    let reported: Vec<Reported> = thread::scope(|scope| {
        let running: Vec<_> =
            engines.iter().map(|engine| scope.spawn(|| campaign(*engine, jobs, &options))).collect();
        running.into_iter().map(|engine| engine.join().expect("a campaign does not panic")).collect()
    });
    let mut code = 0;
    for reported in reported {
        println!("{}", reported.text);
        code = code.max(reported.code);
    }
    if options.write_page
        && let Err(why) = page::write()
    {
        eprintln!("the page was not written: {}", lines(&why));
        code = code.max(2);
    }
    ExitCode::from(code)
}

/// What a campaign has to say.
#[derive(Default)]
struct Reported {
    text: String,
    code: u8,
}

impl Reported {
    fn say(&mut self, line: impl fmt::Display) {
        writeln!(self.text, "{line}").expect("a string takes any text");
    }
}

/// All levels of one engine.
fn campaign(engine: Engine, jobs: usize, options: &Options) -> Reported {
    let levels: Vec<Level> =
        engine.levels().filter(|level| level.to_string().contains(&options.level)).collect();
    let plan = Plan {
        seeds: Seeds::From(options.seed),
        runs: options.runs,
        time: Some(Duration::from_secs(options.seconds) / levels.len().max(1) as u32),
        jobs,
        until_failure: false,
        ending_laws: Vec::new(),
        history: None,
    };
    let mut reported = Reported::default();
    reported.say(engine.name());
    let mut news: Vec<(Level, String)> = Vec::new();
    for level in levels {
        let totals = match engine.survey(level, &plan) {
            Ok(totals) => totals,
            Err(why) => {
                reported.say(format_args!("  {level}: {}", lines(&why.to_string())));
                reported.code = 2;
                continue;
            }
        };
        reported.say(format_args!("  {level}: {} runs", totals.runs));
        for (law, broken) in totals.broken {
            let known = findings::of(engine).filter(|finding| finding.explains(level, &law));
            let mut names: Vec<&str> = known.map(|finding| finding.name).collect();
            let is_reported =
                news.iter().any(|(easier, reported)| *reported == law && level.includes(*easier));
            if names.is_empty() {
                names.push(if is_reported { "NEW, as above" } else { "NEW" });
                reported.code = reported.code.max(1);
            }
            let (names, runs, seed) = (names.join(" or "), broken.runs, broken.seed);
            reported.say(format_args!("    {law}: in {runs} runs, from seed {seed} on: {names}"));
            if names == "NEW" {
                reported.say(explained(engine, level, seed, options.write_page));
                news.push((level, law));
            }
        }
    }
    reported
}

/// What is not known, made small.
fn explained(engine: Engine, level: Level, seed: u64, write: bool) -> String {
    let (failure, trace) = match engine.explain(level, seed) {
        Ok(found) => found,
        Err(why) => return lines(&why.to_string()).into_owned(),
    };
    if !write {
        return failure.to_string();
    }
    let name = format!("{engine:?}-{level}-{seed}.json").to_lowercase().replace(", ", "-").replace(' ', "-");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("traces/new").join(name);
    match trace.write(&path) {
        Ok(()) => format!("{failure}\ntrace   {}", path.display()),
        Err(why) => format!("{failure}\nno trace was left: {why}"),
    }
}
