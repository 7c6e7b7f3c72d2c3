//! Makes a script shorter, for a reader, as long as it shows the defect.

use super::nodes::put_inside;
use super::shell::{bytes_of, size};
use super::translate::name_of_export;
use super::{Control, Repro, Shows, Step};
use serde_json::{Map, Value};

/// A change, of several by number; none if there are no more.
type Pass = fn(&Repro, usize) -> Option<Repro>;

/// Whole things before their parts.
const PASSES: [Pass; 8] = [
    without_an_image,
    plain,
    without_a_step,
    without_content,
    without_an_option,
    plainly_named,
    filled,
    read_at_a_round_place,
];

/// Those that cannot change what is right.
const HARMLESS: [Pass; 4] = [without_an_image, without_a_wait, plainly_named, without_discard];

/// Takes away whatever can go, until nothing can.
pub(super) fn shortest(mut repro: Repro, shows: &dyn Fn(&Repro) -> bool) -> Repro {
    loop {
        let before = repro.clone();
        let passes: &[Pass] = if repro.control == Control::Missing { &HARMLESS } else { &PASSES };
        passes.iter().for_each(|pass| greedily(&mut repro, *pass, shows));
        if repro == before {
            return repro;
        }
    }
}

/// Nodes without the options of one kind, all of them.
fn plain(repro: &Repro, at: usize) -> Option<Repro> {
    const USUAL: [&str; 3] = ["discard", "auto-read-only", "read-only"];
    let name = USUAL.get(at)?;
    let mut repro = repro.clone();
    repro.nodes.iter_mut().for_each(|options| take_everywhere(options, name));
    Some(repro)
}

fn take_everywhere(options: &mut Map<String, Value>, name: &str) {
    options.remove(name);
    options.values_mut().filter_map(Value::as_object_mut).for_each(|inner| take_everywhere(inner, name));
}

/// Tries the changes of one pass from the end to the beginning, and keeps each that still shows.
fn greedily(repro: &mut Repro, pass: Pass, shows: &dyn Fn(&Repro) -> bool) {
    let mut count = (0..).take_while(|at| pass(repro, *at).is_some()).count();
    while count > 0 {
        count -= 1;
        if let Some(shorter) = pass(repro, count)
            && shorter != *repro
            && shows(&shorter)
        {
            *repro = shorter;
        }
    }
}

/// No node passes on what guests discard.
fn without_discard(repro: &Repro, at: usize) -> Option<Repro> {
    let mut repro = repro.clone();
    repro.nodes.iter_mut().for_each(|options| take_everywhere(options, "discard"));
    (at == 0).then_some(repro)
}

/// One wait less.
fn without_a_wait(repro: &Repro, at: usize) -> Option<Repro> {
    let waits = repro.steps.iter().enumerate().filter(|(_, step)| **step == Step::Wait);
    let (place, _) = waits.into_iter().nth(at)?;
    let mut repro = repro.clone();
    drop(repro.steps.remove(place));
    Some(repro)
}

/// One step less. What is looked at last stays.
fn without_a_step(repro: &Repro, at: usize) -> Option<Repro> {
    let keeps_last = usize::from(matches!(repro.shows, Shows::GuestReads | Shows::Says(_)));
    // What is read back is what the last reader is held against.
    let is_control =
        |step: &Step| matches!(step, Step::Guest { commands, .. } if commands.contains(&repro.look));
    if at + keeps_last >= repro.steps.len() {
        return None;
    }
    if is_control(&repro.steps[at]) {
        return Some(repro.clone());
    }
    let mut repro = repro.clone();
    drop(repro.steps.remove(at));
    join_guests(&mut repro);
    put_inside(&mut repro);
    Some(repro)
}

/// Requests that follow each other at one export are one call.
fn join_guests(repro: &mut Repro) {
    let last = repro.steps.len().saturating_sub(usize::from(repro.shows == Shows::GuestReads));
    let mut at = 1;
    while at < last.min(repro.steps.len()) {
        let (before, after) = repro.steps.split_at_mut(at);
        if let (Some(Step::Guest { export, commands }), Some(Step::Guest { export: same, commands: more })) =
            (before.last_mut(), after.first_mut())
            && export == same
        {
            commands.append(more);
            drop(repro.steps.remove(at));
        } else {
            at += 1;
        }
    }
}

/// One image less, with the node of it, if nothing else names them.
fn without_an_image(repro: &Repro, at: usize) -> Option<Repro> {
    let file = repro.images.get(at)?.file.clone();
    let mut repro = repro.clone();
    repro
        .nodes
        .retain(|options| !Value::Object(options.clone()).to_string().contains(&format!("\"{file}\"")));
    drop(repro.images.remove(at));
    Some(repro)
}

/// One write into an image less.
fn without_content(repro: &Repro, at: usize) -> Option<Repro> {
    let mut repro = repro.clone();
    let mut left = at;
    for image in &mut repro.images {
        match image.content.len() + image.options.len() {
            count if left >= count => left -= count,
            _ if left >= image.content.len() => {
                drop(image.options.remove(left - image.content.len()));
                return Some(repro);
            }
            _ => {
                drop(image.content.remove(left));
                return Some(repro);
            }
        }
    }
    None
}

/// One option of a node or a command less.
fn without_an_option(repro: &Repro, at: usize) -> Option<Repro> {
    const NEEDED: [&str; 6] = ["driver", "node-name", "filename", "id", "execute", "type"];
    let mut repro = repro.clone();
    let mut left = at;
    let mut take = |options: &mut Map<String, Value>| take_option(options, &NEEDED, &mut left);
    let is_taken = repro.nodes.iter_mut().any(&mut take)
        || repro.steps.iter_mut().any(|step| match step {
            Step::Qmp(command) => command["arguments"].as_object_mut().is_some_and(&mut take),
            _ => false,
        });
    is_taken.then_some(repro)
}

/// Takes the option that stands at `left`, counted through objects within.
fn take_option(options: &mut Map<String, Value>, needed: &[&str], left: &mut usize) -> bool {
    let names: Vec<String> = options.keys().cloned().collect();
    for name in names {
        if let Some(inner) = options.get_mut(&name).and_then(Value::as_object_mut) {
            if take_option(inner, needed, left) {
                return true;
            }
            continue;
        }
        if needed.contains(&name.as_str()) {
            continue;
        }
        if *left == 0 {
            options.remove(&name);
            return true;
        }
        *left -= 1;
    }
    false
}

/// One image is written once, from its beginning to its end, where it was written here and there.
fn filled(repro: &Repro, at: usize) -> Option<Repro> {
    let mut repro = repro.clone();
    let image = repro.images.get_mut(at)?;
    let pattern = image.content.iter().find_map(|command| {
        let mut words = command.strip_prefix("write -P ")?.split(' ');
        words.next().filter(|pattern| *pattern != "0")
    });
    if let Some(pattern) = pattern {
        image.content = vec![format!("write -P {pattern} 0 {}", size(image.size_bytes))];
    }
    Some(repro)
}

/// What is looked at last is a whole cluster of the common size, at a place that is easy to read.
fn read_at_a_round_place(repro: &Repro, at: usize) -> Option<Repro> {
    const CLUSTER_BYTES: u64 = 64 << 10;
    let unit: u64 = *[CLUSTER_BYTES, 512 << 10, 1 << 20].get(at)?;
    let mut repro = repro.clone();
    let words: Vec<&str> = repro.look.split(' ').collect();
    let [read, option, pattern, from, _] = words[..] else { return None };
    let from = bytes_of(from)? / unit * unit;
    let look = format!("{read} {option} {pattern} {} {}", size(from), size(CLUSTER_BYTES));
    for step in &mut repro.steps {
        if let Step::Guest { commands, .. } = step {
            let old = commands.iter_mut().filter(|command| **command == repro.look);
            old.for_each(|command| command.clone_from(&look));
        }
    }
    repro.look = look;
    Some(repro)
}

/// An export goes by the name of its node.
fn plainly_named(repro: &Repro, at: usize) -> Option<Repro> {
    let mut repro = repro.clone();
    let is_named = |step: &&mut Step| matches!(step, Step::Qmp(c) if c["execute"] == "block-export-add" && c["arguments"].get("name").is_some());
    let Some(Step::Qmp(command)) = repro.steps.iter_mut().filter(is_named).nth(at) else { return None };
    let old = name_of_export(command).to_owned();
    command["arguments"].as_object_mut()?.remove("name");
    let new = name_of_export(command).to_owned();
    for step in &mut repro.steps {
        if let Step::Guest { export, .. } = step
            && *export == old
        {
            export.clone_from(&new);
        }
    }
    Some(repro)
}
