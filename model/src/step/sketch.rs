//! A number that states which are equal have in common: whether two may be equal, it shows without comparing them.

use std::cell::OnceCell;

use crate::command::record::Job;
use crate::graph::{Graph, NodeId};
use crate::step::state::State;

/// A state that is compared with others, and its sketch. What commands may be answered is in no sketch, and may change.
pub(crate) struct Sketched {
    pub state: State,
    sketch: Sketch,
}

impl Sketched {
    pub fn of(state: State) -> Sketched {
        Sketched { sketch: Sketch::of(&state), state }
    }

    /// Whether both states are the same.
    pub fn is(&self, other: &Sketched) -> bool {
        self.looks_like(other) && self.state == other.state
    }

    /// Whether it is the same as another state, and allows all that the other one does.
    pub fn covers(&self, other: &Sketched) -> bool {
        self.looks_like(other) && self.state.covers(&other.state)
    }

    /// What equal states have in common beside data.
    pub fn of_control(&self) -> u64 {
        self.sketch.of_control
    }

    fn looks_like(&self, other: &Sketched) -> bool {
        self.sketch.of_control == other.sketch.of_control
            && (self.state.views.is(&other.state.views) || self.of_views() == other.of_views())
    }

    fn of_views(&self) -> u64 {
        *self.sketch.of_views.get_or_init(|| self.state.views.sketch())
    }
}

/// Made of what silent steps change, so that most states which are not equal have different ones.
struct Sketch {
    of_control: u64,
    /// Worked out only where control is the same.
    of_views: OnceCell<u64>,
}

impl Sketch {
    fn of(state: &State) -> Sketch {
        let mut sketch = Sketch { of_control: 0, of_views: OnceCell::new() };
        state.jobs.iter().for_each(|job| sketch.add_job(job));
        for client in &state.clients {
            sketch.add(client.pending.len() as u64);
            let front = client.pending.front();
            sketch.add(front.map_or(0, |front| 1 + front.progress as u64));
        }
        for request in &state.requests {
            let (image, before) = request.place();
            sketch.add(image.map_or(0, |image| 1 + u64::from(image.0)) << 32 | before as u64);
        }
        sketch.add_graph(&state.graph);
        sketch
    }

    fn add(&mut self, number: u64) {
        // An odd number without a pattern: every bit of what was added moves others.
        self.of_control = (self.of_control ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }

    fn add_job(&mut self, job: &Job) {
        let flags = [
            job.edited,
            job.restored,
            job.ended,
            job.paused,
            job.drained,
            job.cancelled,
            job.complete_asked,
            job.finalize_asked,
            job.dismiss_asked,
            job.is_doomed(),
        ];
        let bits = flags.into_iter().fold(job.status as u64, |bits, flag| bits << 1 | u64::from(flag));
        self.add(bits);
        self.add(job.speed as u64);
    }

    fn add_graph(&mut self, graph: &Graph) {
        let link = |child: Option<NodeId>| child.map_or(0, |child| 1 + u64::from(child.0));
        for (id, node) in graph.alive() {
            let links = [node.file, node.backing, node.target]
                .into_iter()
                .fold(0, |all, child| all << 17 ^ link(child));
            let flags = u64::from(node.read_only) << 1 | u64::from(node.by_monitor);
            self.add(links ^ flags << 56 ^ u64::from(id.0) << 58);
        }
        for user in &graph.users {
            self.add(u64::from(user.node.0));
        }
        self.add(graph.blockers.len() as u64);
        self.add(graph.frozen.len() as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::{Change, SECTOR_BYTES};
    use crate::graph::ImageId;
    use crate::observation::{Format, ImageSetup};

    /// A state in which these requests have written one value each: request, sector, value.
    fn written(requests: &[(u64, u32, u64)]) -> Sketched {
        let image = ImageSetup {
            file: "base".into(),
            format: Format::Raw,
            size_bytes: 8 * SECTOR_BYTES,
            cluster_bytes: SECTOR_BYTES,
            bitmaps: false,
            subclusters: false,
            backing: None,
            own: Vec::new(),
        };
        let mut state = State::new(&[image]);
        for (request, sector, value) in requests {
            state.views.begin(ImageId(0), *sector, &Change::Values(&[*value]), *request, 1);
        }
        Sketched::of(state)
    }

    #[test]
    fn states_that_are_equal_look_alike_in_whatever_order_they_came_about() {
        let (one, other) = (written(&[(1, 3, 7), (2, 5, 8)]), written(&[(2, 5, 8), (1, 3, 7)]));
        assert_eq!(one.state, other.state);
        assert!(one.is(&other));
        assert!(one.covers(&other));
    }

    #[test]
    fn states_that_differ_in_a_value_do_not_look_alike() {
        let one = written(&[(1, 3, 7), (2, 5, 8)]);
        assert!(!one.looks_like(&written(&[(1, 3, 7), (2, 5, 9)])));
        assert!(!one.looks_like(&written(&[(1, 3, 7)])));
    }
}
