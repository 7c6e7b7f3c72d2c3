//! What campaigns run in earnest: the world, the model's laws, and the places where a script is written.

use crate::oracle::{goals, laws};
use crate::world;
use midstream::campaign::Subject;
use midstream::coverage::Law;
use midstream::world::struck::SORTS;
use model::law::LawId;
use std::sync::LazyLock;

/// The slot of a command.
const COMMAND: &str = "client # command #";
/// Whatever can be left out of a run: commands, guest requests, faults, the crash, content of images.
const SLOTS: &[&str] = &[COMMAND, "guest # lane # request #", "fault #", "crash", "layer # region #"];

static MODEL_LAWS: LazyLock<Vec<Law>> = LazyLock::new(|| {
    let laws = laws().map(|law| Law { name: law.name(), is_goal: false });
    let of_model = goals().map(LawId::name);
    let goals = of_model.chain(SORTS.into_iter().map(|(_, goal)| goal));
    laws.chain(goals.map(|name| Law { name, is_goal: true })).collect()
});

/// The engine in its world, before the model.
pub fn subject() -> Subject<'static> {
    Subject { run: &world::run, laws: &MODEL_LAWS, slots: SLOTS, command: COMMAND }
}

#[cfg(test)]
mod tests {
    use super::*;
    use midstream::strategy::of_seed;
    use midstream::trace::Trace;
    use std::collections::BTreeSet;

    // A slot that the workload renamed would silently stop being left out.
    #[test]
    fn every_slot_is_a_place_the_world_asks_for() {
        let asked: BTreeSet<&str> =
            (1..=100).flat_map(|seed| subject().quiet(of_seed(seed)).tape).map(|d| d.at().name).collect();
        for slot in SLOTS {
            assert!(asked.contains(slot), "{slot} is not among {asked:?}");
        }
    }

    #[test]
    fn every_point_of_the_world_can_be_written_to_a_trace() {
        for seed in 1..=100 {
            let outcome = subject().quiet(of_seed(seed));
            let trace = Trace::of(&outcome, Some(seed));
            assert_eq!(Trace::parse(&trace.to_text()).expect("our own text").choices, outcome.tape);
        }
    }

    #[test]
    fn there_is_one_count_for_every_law_and_goal() {
        let outcome = subject().quiet(of_seed(1));
        let count = |is_goal| subject().laws.iter().filter(|law| law.is_goal == is_goal).count();
        assert_eq!((outcome.laws_checked.len(), outcome.goals_reached.len()), (count(false), count(true)));
    }
}
