//! What a run was built from, as text: one line for each image, then the faults and the crash that were planned.

use crate::workload::image::{Cluster, Format, Image};
use crate::workload::scenario::Scenario;
use midstream::choice::Decision;
use midstream::strategy::replay::{Offer, strict};
use midstream::verdict::{Outcome, Verdict};
use midstream::world::crash::{Crash, Ending, Fate};
use midstream::world::fault::{Fault, Kind};
use std::fmt::Write;

/// Refcounts have 16 bits unless somebody wishes otherwise.
const USUAL_ORDER: u32 = 4;

/// The scenario that a choice log began with, or `None` if it began with something else.
pub fn scenario_of(tape: &[Decision]) -> Option<Scenario> {
    let mut drawn = None;
    // Only runs with every kind of job decide this.
    let (_, divergence) = strict(
        |mut choices| {
            drawn = Some(Scenario::draw(&mut choices));
            let mut outcome = Outcome::of(Verdict::Passed);
            outcome.tape = choices.into_tape();
            outcome
        },
        tape,
    );
    // What the choice log says beyond the scenario is the schedule.
    let fits = divergence.is_none_or(|divergence| divergence.offered == Offer::End);
    drawn.filter(|_| fits)
}

/// The chain from the base up, then what was planned to go wrong.
pub fn chain(scenario: &Scenario) -> String {
    let mut text = String::new();
    for (index, image) in scenario.images.iter().enumerate() {
        let line = image_line(scenario, index, image);
        writeln!(text, "{line}").expect("a string takes any text");
    }
    for fault in &scenario.faults {
        writeln!(text, "fault  {}", fault_text(fault, scenario)).expect("a string takes any text");
    }
    if let Some(crash) = &scenario.crash {
        writeln!(text, "crash  {}", crash_text(crash)).expect("a string takes any text");
    }
    text
}

fn image_line(scenario: &Scenario, index: usize, image: &Image) -> String {
    let format = match image.format {
        Format::Raw => "raw".to_owned(),
        Format::Qcow2 { version, .. } => format!("qcow2 v{version}"),
    };
    let backing = match image.backing {
        Some(below) => format!("on {}", scenario.node(below)),
        None => "base".to_owned(),
    };
    let mode = if scenario.is_read_only(index) { "read-only" } else { "writable" };
    let content: String = image.clusters.iter().copied().map(letter).collect();
    let refcounts = match image.format {
        Format::Qcow2 { refcount_order, .. } if refcount_order != USUAL_ORDER => {
            format!("  {}-bit refcounts", 1u32 << refcount_order)
        }
        _ => String::new(),
    };
    format!(
        "{:<3} {backing:<5} {mode:<9} {format:<8}  clusters of {:>4} {:>6} bytes  {content}{refcounts}",
        scenario.node(index),
        image.format.cluster_bytes(),
        image.size_bytes,
    )
}

/// The letter `Scenario::chain` reads.
fn letter(cluster: Cluster) -> char {
    match cluster {
        Cluster::Unallocated => '.',
        Cluster::Data => 'd',
        Cluster::Striped => 's',
        Cluster::Zero => '0',
        Cluster::ZeroAllocated => 'z',
        Cluster::ZeroData => '_',
    }
}

fn fault_text(fault: &Fault, scenario: &Scenario) -> String {
    let range = match fault.range {
        Some((from, to)) => format!(", at bytes {from} to {to}"),
        None => String::new(),
    };
    let leaves = match (fault.kind, fault.leaves) {
        (Kind::Write, Fate::Whole) => ", yet all of it lands",
        (Kind::Write, Fate::Torn(_)) => ", yet some sectors land",
        _ => "",
    };
    let path = scenario.images.get(fault.file as usize).map_or("?", |image| image.path.as_str());
    format!("{}{range}{leaves}", fault.text(path))
}

fn crash_text(crash: &Crash) -> String {
    let ending = match crash.ending {
        Ending::Kill => "the process is killed",
        Ending::PowerCut => "the power is cut",
    };
    format!("{ending} before step {} of the scripts", crash.step)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world;
    use midstream::strategy::of_seed;
    use midstream::toy;
    use midstream::verdict::Detail;
    use midstream::world::fault::Often;
    use seam::Errno;

    #[test]
    fn a_chain_is_drawn_in_the_letters_it_is_read_in() {
        let layers = ["d.s0z_", "......"];
        let text = chain(&Scenario::chain(&layers));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "n0  base  read-only qcow2 v3  clusters of 1024   6144 bytes  d.s0z_",
                "n1  on n0 writable  qcow2 v3  clusters of 1024   6144 bytes  ......",
            ]
        );
    }

    #[test]
    fn planned_faults_and_the_crash_stand_below_the_chain() {
        let mut scenario = Scenario::chain(&["d", "."]);
        let (kind, often, range) = (Kind::Write, Often::Once, Some((0, 512)));
        scenario.faults.push(Fault {
            file: 1,
            kind,
            after: 2,
            often,
            range,
            leaves: Fate::Torn(3),
            ..Fault::new(Errno::ENOSPC)
        });
        scenario.crash = Some(Crash { step: 34, ending: Ending::PowerCut });
        let text = chain(&scenario);
        let below: Vec<&str> = text.lines().skip(2).collect();
        let errno = Errno::ENOSPC;
        assert_eq!(
            below,
            [
                format!(
                    "fault  write of /n1.qcow2: {errno} after 2 that go well, once, at bytes 0 to 512, yet some sectors land"
                ),
                "crash  the power is cut before step 34 of the scripts".to_owned(),
            ]
        );
    }

    #[test]
    fn the_scenario_is_drawn_again_from_the_tape_of_its_run() {
        for seed in 1..20 {
            let outcome = world::run(of_seed(seed), Detail::Quiet);
            let expected = Scenario::draw(&mut of_seed(seed));
            assert_eq!(scenario_of(&outcome.tape), Some(expected), "seed {seed}");
        }
        assert_eq!(scenario_of(&toy::first_failure().1.tape), None, "another world");
    }
}
