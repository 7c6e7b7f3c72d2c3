//! What the judge believed, in tables: each graph, each list of jobs, each kind of sector once.

use super::data::{Cell, Graph, Node, Page, User, Way};
use midstream::content::{GARBAGE, Tag, name_in, named};
use model::judge::belief::{Belief, NodeBelief, SectorBelief};
use model::{Judge, Observation};
use std::collections::BTreeMap;

/// So many sectors of an image are shown.
pub(super) const SECTORS_MAX: u32 = 2048;
/// So many ways to one observation are shown.
const WAYS_SHOWN_MAX: usize = 12;
/// A text of a way is at most so long.
const REFUSAL_CHARS_MAX: usize = 600;

/// The tables under construction.
#[derive(Default)]
pub(super) struct Tables {
    cells: BTreeMap<Cell, usize>,
    /// By image: what is believed of each sector.
    sectors: Vec<Vec<SectorBelief>>,
}

impl Tables {
    /// What changed of all images since last time: image, sector, cell.
    pub fn changes(&mut self, judge: &Judge, page: &mut Page) -> Vec<(u16, u32, usize)> {
        let images = judge.image_files().count() as u16;
        let mut changes = Vec::new();
        for image in 0..images {
            let new = judge.sector_beliefs(image, SECTORS_MAX);
            if self.sectors.len() <= usize::from(image) {
                self.sectors.push(Vec::new());
            }
            let old = std::mem::take(&mut self.sectors[usize::from(image)]);
            for (sector, (belief, at)) in new.iter().zip(0u32..).map(|(belief, at)| (at, (belief, at))) {
                if old.get(at as usize) != Some(belief) {
                    changes.push((image, sector, self.cell(belief, sector, page)));
                }
            }
            self.sectors[usize::from(image)] = new;
        }
        changes
    }

    fn cell(&mut self, belief: &SectorBelief, sector: u32, page: &mut Page) -> usize {
        let name = |value: &Tag| value_name(*value, u64::from(sector));
        let names = |values: &[Tag]| values.iter().map(name).collect::<Vec<_>>();
        let survivors = (belief.readable != belief.survivors).then(|| names(&belief.survivors));
        let own = belief.is_own.map_or(2, u8::from);
        let cell = Cell { o: own, r: names(&belief.readable), s: survivors };
        *self.cells.entry(cell).or_insert_with_key(|cell| {
            page.cells.push(cell.clone());
            page.cells.len() - 1
        })
    }
}

/// A value as readers of a sector know it; one that a quirk allows to be anything has a word, too.
pub(super) fn value_name(value: Tag, sector: u64) -> String {
    if value == GARBAGE - 1 { "anything".to_owned() } else { name_in(value, Some(sector)) }
}

/// The index of the graph that the judge's first state has now.
pub(super) fn graph(belief: &Belief, page: &mut Page) -> usize {
    let user = |user: &model::judge::belief::UserBelief| User {
        name: user.name.clone(),
        node: user.node,
        w: user.is_writer,
    };
    let graph = Graph {
        nodes: belief.nodes.iter().map(node).collect(),
        users: belief.users.iter().map(user).collect(),
    };
    index_of(&mut page.graphs, graph)
}

fn node(node: &NodeBelief) -> Node {
    let to = node.children.iter().map(|child| (child.role, child.node, child.frozen_by.clone()));
    Node {
        id: node.id,
        name: node.name.clone(),
        driver: node.driver,
        filter: node.is_filter,
        ro: node.is_read_only,
        image: node.image,
        to: to.collect(),
        held: node.held.clone(),
    }
}

/// The index of the jobs and of what else is under way.
pub(super) fn jobs(belief: &Belief, page: &mut Page) -> usize {
    let lines = belief.jobs.iter().chain(&belief.under_way).cloned().collect();
    index_of(&mut page.jobs, lines)
}

/// The index of the ways to an observation, if there is more than one or one is refused.
pub(super) fn ways(judge: &Judge, observation: &Observation<'_>, page: &mut Page) -> Option<usize> {
    let ways = judge.ways(observation);
    if ways.len() < 2 && ways.iter().all(|way| way.refused.is_none()) {
        return None;
    }
    let short = |text: String| text.chars().take(REFUSAL_CHARS_MAX).collect::<String>();
    let shown = ways.into_iter().take(WAYS_SHOWN_MAX).map(|way| Way {
        from: way.state,
        steps: way.steps,
        no: way.refused.map(|why| short(named(&why))),
    });
    let shown = shown.collect();
    Some(index_of(&mut page.ways, shown))
}

/// The place of something in a table, which gets it if it is new. What was used last is most likely the same again.
fn index_of<T: PartialEq>(table: &mut Vec<T>, new: T) -> usize {
    match table.iter().rposition(|old| *old == new) {
        Some(known) => known,
        None => {
            table.push(new);
            table.len() - 1
        }
    }
}
