//! Rooms are the files and folders right below a crate's `src`. Who uses whom is a table in ARCHITECTURE.md, and nobody
//! uses a room that uses it: the folder listing, read from the top of the table, is the architecture.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The crates that have rooms worth a table.
const CRATES: [&str; 4] = ["model", "midstream", "impl", "sim"];

/// The rooms of a crate, and which others each uses.
type Arrows = BTreeMap<String, BTreeSet<String>>;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every module of a crate but programs and the crate's own root: its path below `src`, and its text.
fn modules(src: &Path) -> Vec<(Vec<String>, String)> {
    let mut folders = vec![src.to_owned()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder of the workspace") {
            let path: PathBuf = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let module = path.with_extension("");
                let parts = module.strip_prefix(src).expect("below src").iter();
                let parts: Vec<String> = parts.map(|part| part.to_string_lossy().into_owned()).collect();
                found.push((parts, fs::read_to_string(&path).expect("sources are UTF-8")));
            }
        }
    }
    let is_tests =
        |module: &[String]| found.iter().any(|(parent, text)| declares_as_tests(parent, text, module));
    let tests: Vec<Vec<String>> =
        found.iter().map(|(parts, _)| parts.clone()).filter(|parts| is_tests(parts)).collect();
    found.retain(|(parts, _)| !["lib", "main", "bin"].contains(&parts[0].as_str()) && !tests.contains(parts));
    found.sort();
    found
}

/// Whether a module is there for tests alone, by what its parent says.
fn declares_as_tests(parent: &[String], text: &str, module: &[String]) -> bool {
    let Some((name, above)) = module.split_last() else { return false };
    above == parent && text.contains(&format!("#[cfg(test)]\nmod {name};"))
}

/// A module's code: no comments, no tests.
fn code(text: &str) -> String {
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// The identifier that a text starts with.
fn identifier(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

/// The first names of a use tree: of `a::b`, `a`; of `{a::{b, c}, d}`, `a` and `d`.
fn first_names(tree: &str) -> Vec<&str> {
    let Some(group) = tree.strip_prefix('{') else { return vec![identifier(tree)] };
    let (mut names, mut depth, mut is_start) = (Vec::new(), 0, true);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => is_start = true,
            c if is_start && !c.is_whitespace() => {
                names.push(identifier(&group[at..]));
                is_start = false;
            }
            _ => {}
        }
    }
    names
}

/// What a module of this depth names right below the root of its crate.
fn named_at_root(code: &str, depth: usize) -> Vec<&str> {
    let mut named = Vec::new();
    for (at, _) in code.match_indices("crate::").filter(|(at, _)| is_path_start(code, *at)) {
        named.extend(first_names(&code[at + "crate::".len()..]));
    }
    for (at, _) in code.match_indices("super::").filter(|(at, _)| is_path_start(code, *at)) {
        let mut rest = &code[at..];
        let mut up = 0;
        while let Some(above) = rest.strip_prefix("super::") {
            (rest, up) = (above, up + 1);
        }
        if up == depth {
            named.extend(first_names(rest));
        }
    }
    named
}

/// Whether no path goes on here.
fn is_path_start(code: &str, at: usize) -> bool {
    !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':' || c == '$')
}

fn arrows(folder: &str) -> Arrows {
    let modules = modules(&root().join(folder).join("src"));
    let rooms: BTreeSet<String> = modules.iter().map(|(parts, _)| parts[0].clone()).collect();
    assert!(rooms.len() > 3, "{folder} has hardly any rooms");
    let mut arrows: Arrows = rooms.iter().map(|room| (room.clone(), BTreeSet::new())).collect();
    for (parts, text) in &modules {
        let code = code(text);
        let used = named_at_root(&code, parts.len()).into_iter().filter(|name| rooms.contains(*name));
        let uses = arrows.get_mut(&parts[0]).expect("every module has its room");
        uses.extend(used.filter(|name| **name != *parts[0]).map(str::to_owned));
    }
    arrows
}

/// The rooms in an order in which each comes before those that it uses, or those that use each other.
fn from_the_top(arrows: &Arrows) -> Result<Vec<&str>, Vec<&str>> {
    let mut left: Vec<&str> = arrows.keys().map(String::as_str).collect();
    let mut order = Vec::new();
    while !left.is_empty() {
        let is_used = |room: &str| left.iter().any(|other| arrows[*other].contains(room));
        let (used, free): (Vec<&str>, Vec<&str>) = left.iter().copied().partition(|room| is_used(room));
        if free.is_empty() {
            return Err(used);
        }
        order.extend(free);
        left = used;
    }
    Ok(order)
}

/// The table as ARCHITECTURE.md has it.
fn table(arrows: &Arrows, order: &[&str]) -> String {
    let mut table = String::from("| room | uses |\n|---|---|\n");
    for room in order {
        let uses: Vec<&str> = order.iter().copied().filter(|other| arrows[*room].contains(*other)).collect();
        table += &format!("| {room} | {} |\n", uses.join(", "));
    }
    table
}

#[test]
fn no_room_uses_one_that_uses_it() {
    for folder in CRATES {
        let arrows = arrows(folder);
        if let Err(cycle) = from_the_top(&arrows) {
            let of = |room: &&str| format!("{room} uses {:?}", arrows[*room]);
            let cycle: Vec<String> = cycle.iter().map(of).collect();
            panic!("{folder}: rooms use each other:\n{}", cycle.join("\n"));
        }
    }
}

#[test]
fn the_architecture_has_every_arrow() {
    let document = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("the document");
    for folder in CRATES {
        let arrows = arrows(folder);
        let table = table(&arrows, &from_the_top(&arrows).expect("another test reports cycles"));
        let (start, end) = (format!("<!-- rooms of {folder} -->\n"), "<!-- end -->");
        let there = document.split_once(&start).and_then(|(_, after)| after.split_once(end));
        let (there, _) = there.unwrap_or_else(|| panic!("ARCHITECTURE.md has no rooms of {folder}"));
        assert_eq!(
            there.trim(),
            table.trim(),
            "the rooms of {folder} in ARCHITECTURE.md; they are:\n{table}"
        );
    }
}

#[test]
fn an_arrow_is_seen_however_it_is_written() {
    let named = |code: &str, depth| named_at_root(code, depth).join(" ");
    assert_eq!(named("use crate::a::b;", 1), "a");
    assert_eq!(named("use crate::{a::{b, c}, d};\nfn f() { crate::e::g() }", 2), "a d e");
    assert_eq!(named("use super::a::b;", 1), "a");
    assert_eq!(named("use super::{a, b::c};", 1), "a b");
    assert_eq!(named("use super::a;", 2), "", "a neighbour in the same room");
    assert_eq!(named("use super::super::a;", 2), "a");
    assert_eq!(named("$crate::a; supercrate::b", 1), "");
    assert_eq!(code("//! crate::a\nuse crate::b;\n#[cfg(test)]\nuse crate::c;"), "use crate::b;");
}

#[test]
fn a_cycle_is_found() {
    let uses = |of: &[&str]| of.iter().map(|room| (*room).to_owned()).collect::<BTreeSet<String>>();
    let mut arrows = Arrows::from([
        ("a".to_owned(), uses(&["b"])),
        ("b".to_owned(), uses(&["c"])),
        ("c".to_owned(), uses(&[])),
    ]);
    assert_eq!(from_the_top(&arrows), Ok(vec!["a", "b", "c"]));
    arrows.get_mut("c").expect("it is there").insert("b".to_owned());
    assert_eq!(from_the_top(&arrows), Err(vec!["b", "c"]));
}
