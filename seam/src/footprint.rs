//! What one step of a task touches of what tasks share: how an explorer knows which steps need both orders.
//!
//! Only an exploration of every schedule asks for it; at any other time a note costs a look at one flag of the thread. A
//! layer notes what lies behind its locks: it gives each lock an [`Object`], and calls [`Object::touch`] where it reads or
//! changes what is behind it. Whoever notes *all* that its tasks share may say so
//! (`midstream::BlockLayer::NOTES_WHAT_IT_SHARES`); of a layer that does not, any two steps are taken to depend on each
//! other, which is sound, and slow.
//!
//! Disks, time and tasks of the host are noted by the host.

use std::cell::{Cell, RefCell};

/// How a step touches an object. Two touches commute if both read or both add.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Access {
    /// Looks at it.
    Read,
    /// Changes it without learning anything from it, and in a way whose order nobody can see: one more in a count.
    /// [`Object::add`] says how much.
    Add,
    /// Anything else.
    Write,
    /// A change after which only the value counts, not who made it, nor what was there before: see [`Object::set`].
    Set,
}

/// Something that tasks share. It is made with what it stands for, and dropped with it.
#[derive(Debug, PartialEq, Eq)]
pub struct Object(u64);

/// One touch: of the part `from..to` of an object.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Touch {
    /// Which object; the same in every run in which the same has happened before it was made.
    pub object: u64,
    /// How.
    pub access: Access,
    /// Where the touched part begins.
    pub from: u64,
    /// Where it ends.
    pub to: u64,
    /// Of an addition: how much. What is added and taken back again leaves nothing behind. Of what is set: to what.
    pub amount: u64,
    /// Whether what is there is known to the explorer by its value, and not only by who changed it when.
    pub by_value: bool,
}

/// What one step has touched, in its order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Footprint {
    /// The touches; of the same part of an object each kind at most once.
    pub touches: Vec<Touch>,
    /// What was learned by value: one number, mixed of all.
    pub learned: u64,
    /// Objects that are no more.
    pub gone: Vec<u64>,
}

/// What is noted on this thread.
#[derive(Copy, Clone, PartialEq, Eq)]
enum Noting {
    Nothing,
    /// Objects get their names.
    Names,
    All,
}

#[derive(Default)]
struct Notes {
    footprint: Footprint,
    /// What the names of new objects are made of.
    context: u64,
    made: u64,
}

thread_local! {
    static NOTING: Cell<Noting> = const { Cell::new(Noting::Nothing) };
    static NOTES: RefCell<Notes> = RefCell::default();
}

/// An object made while nobody takes notes. Two of them are one.
const UNKNOWN: u64 = 0;

impl Object {
    /// A new one. Whoever makes it has written it.
    pub fn new() -> Object {
        if NOTING.get() == Noting::Nothing {
            return Object(UNKNOWN);
        }
        let id = fresh();
        let object = Object(id);
        object.touch(Access::Write);
        object
    }

    /// All of it is touched.
    #[inline]
    pub fn touch(&self, access: Access) {
        self.touch_part(0, access, 0, u64::MAX);
    }

    /// Of its aspect with this number (below 16), the part `from..to` is touched. Aspects are apart from each other.
    #[inline]
    pub fn touch_part(&self, aspect: u64, access: Access, from: u64, to: u64) {
        if is_on() {
            note(Touch { object: self.0 | aspect, access, from, to, amount: 0, by_value: false });
        }
    }

    /// So much more of an aspect, in the part `from..to` of it; less is more of the complement.
    #[inline]
    pub fn add(&self, aspect: u64, amount: u64, from: u64, to: u64) {
        if is_on() {
            let object = self.0 | aspect;
            note(Touch { object, access: Access::Add, from, to, amount, by_value: false });
        }
    }

    /// From now on an aspect is known by this value, which says all that there is to know of it. Where orders of steps lead to
    /// the same value an explorer goes on from one of them, which it cannot after [`Access::Write`]: that is known by
    /// who did it when. An aspect that is set is changed in no other way.
    #[inline]
    pub fn set(&self, aspect: u64, value: u64) {
        if is_on() {
            let (object, from, to) = (self.0 | aspect, 0, u64::MAX);
            note(Touch { object, access: Access::Set, from, to, amount: value, by_value: false });
        }
    }
}

impl Default for Object {
    fn default() -> Object {
        Object::new()
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        if is_on() && self.0 != UNKNOWN {
            NOTES.with_borrow_mut(|notes| notes.footprint.gone.push(self.0));
        }
    }
}

/// Whether touches are noted on this thread.
#[inline]
pub fn is_on() -> bool {
    NOTING.get() == Noting::All
}

/// A name that is the same in every run in which the same has happened before.
pub fn fresh() -> u64 {
    NOTES.with_borrow_mut(|notes| {
        notes.made += 1;
        // The low bits are left for aspects.
        mixed(notes.context, notes.made) & !0xf
    })
}

/// Something was touched.
pub fn note(touch: Touch) {
    if !is_on() {
        return;
    }
    NOTES.with_borrow_mut(|notes| {
        let touches = &mut notes.footprint.touches;
        let same = |other: &&mut Touch| {
            (other.object, other.from, other.to, other.access)
                == (touch.object, touch.from, touch.to, touch.access)
        };
        match touches.iter_mut().find(same) {
            Some(other) if touch.access == Access::Set => other.amount = touch.amount,
            Some(other) => other.amount = other.amount.wrapping_add(touch.amount),
            None => touches.push(touch),
        }
    });
}

/// A value was learned of something that is known by value.
pub fn learn(value: u64) {
    if is_on() {
        NOTES.with_borrow_mut(|notes| notes.footprint.learned = mixed(notes.footprint.learned, value));
    }
}

/// For explorers: what is made from now on gets its name, and nothing else is noted: before the first step.
pub fn name_only(context: u64) {
    NOTING.set(Noting::Names);
    NOTES.with_borrow_mut(|notes| *notes = Notes { context, ..Notes::default() });
}

/// For explorers: a step begins, and what it makes is named after `context`.
pub fn begin(context: u64) {
    NOTING.set(Noting::All);
    NOTES.with_borrow_mut(|notes| *notes = Notes { context, ..Notes::default() });
}

/// For explorers: what was touched since the step began. No notes are taken until the next one begins.
pub fn end() -> Footprint {
    NOTING.set(Noting::Nothing);
    NOTES.with_borrow_mut(|notes| std::mem::take(&mut notes.footprint))
}

/// Two numbers as one, by multiplication and folding (as in wyhash, Wang Yi 2019).
pub fn mixed(a: u64, b: u64) -> u64 {
    let product = u128::from(a ^ 0x9e37_79b9_7f4a_7c15) * u128::from(b ^ 0xd6e8_feb8_6659_fd93);
    let folded = (product as u64) ^ ((product >> 64) as u64);
    folded.wrapping_mul(0xff51_afd7_ed55_8ccd) ^ (folded >> 32) ^ a.rotate_left(17)
}

impl Touch {
    /// Whether the order of the two may be seen.
    pub fn conflicts_with(&self, other: &Touch) -> bool {
        let commute =
            matches!((self.access, other.access), (Access::Read, Access::Read) | (Access::Add, Access::Add));
        self.object == other.object && !commute && self.from < other.to && other.from < self.to
    }
}

impl Footprint {
    /// Whether the order of two steps may be seen.
    pub fn conflicts_with(&self, other: &Footprint) -> bool {
        self.touches.iter().any(|touch| other.touches.iter().any(|met| touch.conflicts_with(met)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(work: impl FnOnce()) -> Footprint {
        begin(7);
        work();
        end()
    }

    #[test]
    fn nothing_is_noted_unless_somebody_asks() {
        let object = Object::new();
        object.touch(Access::Write);
        assert!(!is_on());
        assert_eq!(of(|| ()), Footprint::default());
    }

    #[test]
    fn reads_and_additions_commute_among_themselves_alone() {
        begin(1);
        let object = Object::new();
        end();
        let [read, add, write] =
            [Access::Read, Access::Add, Access::Write].map(|access| of(|| object.touch(access)));
        let commute = |a: &Footprint, b: &Footprint| !a.conflicts_with(b);
        assert!(commute(&read, &read) && commute(&add, &add));
        assert!(!commute(&read, &add) && !commute(&write, &write) && !commute(&write, &read));
        let set = of(|| object.set(0, 7));
        assert!(!commute(&set, &read) && !commute(&set, &set) && !commute(&set, &add));
    }

    #[test]
    fn of_what_a_step_sets_twice_the_last_value_counts() {
        begin(1);
        let object = Object::new();
        end();
        let twice = || [5, 3].into_iter().for_each(|value| object.set(0, value));
        assert_eq!(of(twice), of(|| object.set(0, 3)));
    }

    #[test]
    fn parts_that_do_not_meet_commute_and_so_do_aspects() {
        begin(1);
        let object = Object::new();
        end();
        let part = |aspect, from, to| of(|| object.touch_part(aspect, Access::Write, from, to));
        assert!(!part(0, 0, 8).conflicts_with(&part(0, 8, 16)));
        assert!(part(0, 0, 9).conflicts_with(&part(0, 8, 16)));
        assert!(!part(0, 0, 8).conflicts_with(&part(1, 0, 8)));
    }

    #[test]
    fn an_object_has_the_same_name_whenever_the_same_came_before_it() {
        let made = |context| {
            begin(context);
            let ids = [Object::new(), Object::new()].map(|object| object.0);
            end();
            ids
        };
        assert_eq!(made(5), made(5));
        assert_ne!(made(5), made(6));
        assert_ne!(made(5)[0], made(5)[1]);
    }
}
