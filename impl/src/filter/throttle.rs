//! Requests that wait for the limits of their group.
//!
//! Requests of one direction pass in the order they came. A drain lets all of them pass at once, as in QEMU, and so does
//! the end.

use crate::object::Object;
use crate::sync::either;
use crate::sync::ending::Ending;
use crate::sync::gate::Gate;
use crate::sync::range_lock::Mode;
use crate::throttle::group::Direction;
use seam::Host;
use std::sync::Arc;

/// A node's membership in a group.
#[derive(Debug)]
pub struct Member {
    /// The group, held so that it is in use.
    pub group: Arc<Object>,
    /// The world, for its clock.
    pub host: Arc<dyn Host>,
    /// When everybody is to hurry.
    pub gate: Arc<Gate>,
    /// From then on everybody passes.
    pub ending: Ending,
}

impl Member {
    /// Waits until the group lets a request of `len` bytes pass.
    pub async fn pass(&self, direction: Direction, len: u64) {
        let Object::ThrottleGroup(group) = &*self.group else {
            panic!("a throttle node stands on an object that is no throttle group")
        };
        let lane = direction as u64;
        let _turn = group.turns.acquire(lane, lane + 1, Mode::Exclusive).await;
        loop {
            let seen = self.gate.presses();
            let now = self.host.now();
            let start = group.next_start(direction, now);
            if start <= now || self.gate.is_pressed() || self.ending.has_begun() {
                group.pour(direction, len, now);
                return;
            }
            let hurried = either(self.gate.pressed_since(seen), self.ending.begun());
            either(self.host.sleep_until(start), hurried).await;
        }
    }
}
