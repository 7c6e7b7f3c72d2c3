//! The page about what live daemons do wrong: every quirk and every bucket, the worst first, on each release that was run.

use super::bucket::{Bucket, buckets};
use model::quirk::{About, QUIRKS};
use model::{Harm, Quirk};
use std::fmt::Write;

/// One known defect: a quirk, or what falls into a bucket.
#[derive(Clone, Debug)]
pub struct Defect {
    /// Its short name.
    pub name: &'static str,
    /// The name it has in the list that was known before, or nothing.
    pub id: &'static str,
    /// What it does to others.
    pub harm: Harm,
    /// The releases that are known to have it.
    pub releases: Vec<&'static str>,
    /// What is wrong, in a sentence.
    pub what: &'static str,
    /// What is right instead.
    pub right: &'static str,
    /// The function of QEMU that is at fault, if somebody has looked for it.
    pub fault: Option<&'static str>,
    /// Where it was reported, if somebody has looked for that.
    pub reported: Option<&'static str>,
    /// Its trace, by file name; nothing, if it has none.
    pub trace: &'static str,
    /// Its trace shows it at least once in so many times.
    pub tries: u32,
}

/// Every known defect: first what mars data and what is reported, then what ends or stops the daemon.
pub fn defects() -> impl Iterator<Item = Defect> {
    let of_quirk = |quirk: Quirk| {
        let About { name, id, harm, releases, what, right, trace, tries, .. } = quirk.about();
        let releases = releases.iter().map(|release| release.name()).collect();
        let (fault, reported) = (quirk.fault(), quirk.reported());
        Defect { name, id, harm, releases, what, right, fault, reported, trace, tries }
    };
    let of_bucket = |bucket: &'static Bucket| Defect {
        name: &bucket.name,
        id: bucket.id.as_deref().unwrap_or_default(),
        harm: bucket.harm,
        releases: bucket.versions.iter().map(String::as_str).collect(),
        what: &bucket.what,
        right: &bucket.right,
        fault: bucket.fault.as_deref(),
        reported: bucket.reported.as_deref(),
        trace: bucket.trace.as_deref().unwrap_or_default(),
        tries: bucket.tries,
    };
    QUIRKS.into_iter().map(of_quirk).chain(buckets().iter().map(of_bucket))
}

/// What a trace gave on one daemon: it failed so often, of so many times.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Tried {
    /// So often it failed as it is known to,
    pub shown: u32,
    /// of so many times.
    pub times: u32,
    /// It went well at least once.
    pub has_passed: bool,
}

/// A script that shows a defect.
#[derive(Clone, Debug)]
pub struct Script {
    /// Its file, below the page.
    pub file: String,
    /// Its text, if it is one for readers.
    pub short: Option<String>,
}

/// One known defect with what its trace gave on each daemon.
#[derive(Debug)]
pub struct Shown {
    /// Which.
    pub defect: Defect,
    /// The law that it breaks.
    pub law: String,
    /// By daemon.
    pub tried: Vec<Tried>,
    /// A script, if one shows it.
    pub script: Option<Script>,
    /// The file of a test for QEMU's own package, below the page, if there is one.
    pub iotest: Option<String>,
}

/// The whole page, of daemons of these releases.
pub fn page(releases: &[String], mut all: Vec<Shown>) -> String {
    all.sort_by_key(|shown| shown.defect.harm);
    let mut text = String::from("# What midstream finds in qemu-storage-daemon\n\n");
    text += "Generated from the traces in `traces/live` by `cargo midstream document`, which ran each of them on the releases \
        in the table; do not edit.\n\n\
        Each defect was found by the live campaign (`cargo midstream fuzz --target qemu`), which draws images, commands, guest \
        requests, injected errors and kills at random; nothing in the search is made for one of these cases. `shows`: the \
        trace broke the law again on that release, as often as stands there if not every time. `not seen`: it did not, in \
        as many tries as the trace may need; what depends on timing may be there all the same.\n\n\
        That behaviour is *wrong* is the judgement of our model, whose reason stands with each entry; an author of the \
        daemon may call some of it a limitation. The function *at fault* was found by reading 10.0, and nothing was changed there to \
        try it. *Not looked for* means just that.\n\n\
        A script of the short form needs qemu-img, qemu-io and qemu-storage-daemon of the release on the search path, and \
        ends with 1 if the defect shows. The full ones need python3 as well. A script of more than 20 lines is only linked. An \
        *iotest* is a test for QEMU's own package `iotests`, made from the same script: it fails where the defect is, below the \
        line that says what ought to be true, and passes where it is not. It was run by itself, with the package of 10.0.13 and the \
        tools of each release; `check` in QEMU's tree wants a file of its output beside it.\n\n";
    text += &table(releases, &all);
    all.iter().for_each(|shown| text += &section(shown));
    text
}

fn table(releases: &[String], all: &[Shown]) -> String {
    let columns = releases.iter().map(|release| format!(" {release} |")).collect::<String>();
    let mut text = format!("| defect | what it does |{columns} script |\n");
    writeln!(text, "|---|---|{}---|", "---|".repeat(releases.len())).expect("a string takes any text");
    for shown in all {
        let name = shown.defect.name;
        let cells = shown.tried.iter().map(|tried| format!(" {} |", cell(*tried))).collect::<String>();
        let script = shown.script.as_ref().map_or("-".to_owned(), |script| {
            let form = if script.short.is_some() { "short" } else { "full" };
            format!("[{form}]({})", script.file)
        });
        let script = match &shown.iotest {
            Some(file) => format!("{script}, [iotest]({file})"),
            None => script,
        };
        writeln!(text, "| [{}](#{name}) | {} |{cells} {script} |", title(&shown.defect), shown.defect.harm)
            .expect("a string takes any text");
    }
    text
}

fn cell(tried: Tried) -> String {
    match tried {
        Tried { times: 0, .. } => "cannot be tried".to_owned(),
        Tried { shown: 0, .. } => "not seen".to_owned(),
        Tried { shown, times, .. } if shown == times => "shows".to_owned(),
        Tried { shown, times, .. } => format!("shows ({shown} of {times})"),
    }
}

fn title(defect: &Defect) -> String {
    match defect.id {
        "" => defect.name.to_owned(),
        id => format!("{} ({id})", defect.name),
    }
}

/// No entry is longer: a script that would make it so is only named.
const ENTRY_LINES_MAX: usize = 30;

fn section(shown: &Shown) -> String {
    const NOT_LOOKED_FOR: &str = "not looked for";
    let known = &shown.defect;
    let mut lines = vec![
        format!("## <a id=\"{}\"></a>{}", known.name, title(known)),
        String::new(),
        format!("{}. Right instead: {}.", capital(known.what), known.right),
        String::new(),
        format!("- At fault: {}.", known.fault.unwrap_or(NOT_LOOKED_FOR)),
        format!("- Reported: {}.", known.reported.unwrap_or(NOT_LOOKED_FOR)),
        format!("- Law `{}`; its trace: `cargo midstream replay traces/live/{}`.", shown.law, known.trace),
    ];
    if let Some(Script { short: Some(script), .. }) = &shown.script {
        let script: Vec<&str> = script.lines().filter(|line| !line.starts_with('#')).collect();
        if lines.len() + 3 + script.len() <= ENTRY_LINES_MAX {
            lines.extend([String::new(), "```sh".to_owned()]);
            lines.extend(script.into_iter().map(str::to_owned));
            lines.push("```".to_owned());
        }
    }
    format!("\n{}\n", lines.join("\n"))
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().collect::<String>() + letters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_says_how_often() {
        let cells = [(0, 0), (0, 5), (2, 5), (5, 5)]
            .map(|(shown, times)| cell(Tried { shown, times, has_passed: false }));
        assert_eq!(cells, ["cannot be tried", "not seen", "shows (2 of 5)", "shows"]);
    }

    #[test]
    fn an_entry_fits_on_a_screen() {
        let lines = |count: usize| {
            let script = Script { file: String::new(), short: Some("a line\n".repeat(count)) };
            let defect = defects().next().expect("one is known");
            let law = String::new();
            let shown = Shown { defect, law, tried: Vec::new(), script: Some(script), iotest: None };
            section(&shown).trim().lines().count()
        };
        assert_eq!([lines(20), lines(21)], [ENTRY_LINES_MAX, 7]);
    }

    #[test]
    fn the_worst_is_first() {
        let shown = |defect: Defect| Shown {
            defect,
            law: String::new(),
            tried: Vec::new(),
            script: None,
            iotest: None,
        };
        let text = page(&[], defects().map(shown).collect());
        let place = |name: &str| text.find(&format!("[{name}")).expect("it is in the table");
        assert!(place("short-layer-memory") < place("mirror-progress"));
        assert!(place("no-flush") < place("empty-reopen-crash"));
    }
}
