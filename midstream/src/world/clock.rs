//! Virtual time: it moves only when the scheduler says so, from one alarm to the next.
//!
//! The same alarms serve two kinds of waiting: until a moment (`Nanos`) and until a step of the run (thinking).

use std::task::Waker;

/// Somebody's wish to be woken at a time.
#[derive(Debug)]
struct Alarm {
    id: u64,
    at: u64,
    waker: Option<Waker>,
}

/// Alarms by time, and among equals by age. A world has a handful, so a plain list is the fastest.
#[derive(Debug)]
pub struct Alarms {
    alarms: Vec<Alarm>,
    set: u64,
    /// When the next one rings; the far end of time if none does. Asked at every step, so it is kept.
    next: u64,
}

impl Default for Alarms {
    fn default() -> Self {
        Alarms { alarms: Vec::new(), set: 0, next: u64::MAX }
    }
}

impl Alarms {
    /// Sets an alarm and says its id.
    pub fn set(&mut self, at: u64) -> u64 {
        self.set += 1;
        self.alarms.push(Alarm { id: self.set, at, waker: None });
        self.next = self.next.min(at);
        self.set
    }

    /// Whether an alarm has rung; if it has not, `waker` is woken by it.
    pub fn has_rung(&mut self, id: u64, waker: &Waker) -> bool {
        let Some(alarm) = self.alarms.iter_mut().find(|a| a.id == id) else {
            return true;
        };
        match &mut alarm.waker {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
        false
    }

    /// Nobody waits for this one any more.
    pub fn drop_alarm(&mut self, id: u64) {
        let before = self.alarms.len();
        self.alarms.retain(|a| a.id != id);
        if self.alarms.len() < before {
            self.look_ahead();
        }
    }

    /// When the next one rings; the far end of time if none does.
    pub fn next(&self) -> u64 {
        self.next
    }

    fn look_ahead(&mut self) {
        self.next = self.alarms.iter().map(|a| a.at).min().unwrap_or(u64::MAX);
    }

    /// Takes the oldest alarm due at `now`. The caller wakes after it has released its locks.
    pub fn ring(&mut self, now: u64) -> Option<Option<Waker>> {
        let due = self.alarms.iter().enumerate().filter(|(_, a)| a.at <= now);
        let (index, _) = due.min_by_key(|(_, a)| (a.at, a.id))?;
        let rung = self.alarms.remove(index);
        self.look_ahead();
        Some(rung.waker)
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.alarms.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alarms_ring_in_order_of_time_and_then_of_age() {
        let mut alarms = Alarms::default();
        let late = alarms.set(9);
        let first = alarms.set(3);
        let second = alarms.set(3);
        assert_eq!(alarms.next(), 3);
        assert!(alarms.ring(2).is_none(), "nothing is due at 2");
        assert!(alarms.ring(3).is_some());
        assert!(alarms.has_rung(first, Waker::noop()));
        assert!(!alarms.has_rung(second, Waker::noop()));
        assert!(alarms.ring(3).is_some());
        assert!(alarms.ring(3).is_none());
        alarms.drop_alarm(late);
        assert!(alarms.is_empty());
    }
}
