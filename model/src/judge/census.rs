//! How many states a judge kept: what a set of them costs.

/// How many states there were.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Census {
    /// Observations judged.
    pub observations: u64,
    /// States left after each of them, added up.
    pub states: u64,
    /// The most there ever were at once, silent steps included.
    pub states_max: u64,
}

impl Census {
    /// States left after an observation, in the mean.
    pub fn mean(&self) -> f64 {
        self.states as f64 / self.observations.max(1) as f64
    }

    /// Adds what another run counted.
    pub fn merge(&mut self, other: Census) {
        self.observations += other.observations;
        self.states += other.states;
        self.states_max = self.states_max.max(other.states_max);
    }
}
