//! Errors on demand: rules that an event arms and a request sets off.
//!
//! An event puts the rules that wait for it in this state in the place of those armed before. A request of the right
//! kind that touches a rule's sector then fails with the rule's error, and goes on failing unless the rule strikes
//! `once`. State begins at 1; `set-state` rules change it, after all rules of the event have been looked at.

use crate::permission::Set;
use crate::sync::shim::Mutex;
use seam::debug_event::DebugEvent;
use seam::{Errno, IoResult};

/// What a request does, as rules distinguish kinds.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum IoType {
    Read,
    Write,
    WriteZeroes,
    Discard,
    Flush,
    BlockStatus,
}

/// The words, each at the place of its kind.
pub(crate) static IO_TYPE_WORDS: [&str; 6] =
    ["read", "write", "write-zeroes", "discard", "flush", "block-status"];

/// Without `iotype` a rule strikes all that moves data.
const EVERY_IO_TYPE: u8 = 0b1_1111;

/// `inject-error`, as the operator said it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InjectError {
    /// `event`, by its word.
    pub event: String,
    /// `state`; 0 is any.
    pub state: i64,
    /// `iotype`, by its word.
    pub iotype: Option<String>,
    /// `errno`.
    pub errno: i64,
    /// `sector`.
    pub sector: Option<i64>,
    /// `once`.
    pub once: bool,
    /// `immediately`: the request does not wait a moment before it fails.
    pub immediately: bool,
}

/// `set-state`, as the operator said it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SetState {
    /// `event`, by its word.
    pub event: String,
    /// `state`; 0 is any.
    pub state: i64,
    /// `new_state`.
    pub new_state: i64,
}

/// The rules of one node, and how far they are.
#[derive(Debug)]
pub struct Blkdebug {
    present: Mutex<Present>,
    /// `take-child-perms`: taken of the child in any case.
    pub taken: Set,
    /// `unshare-child-perms`: never left to others.
    pub unshared: Set,
}

#[derive(Debug)]
struct Present {
    state: i64,
    /// Armed, the latest first.
    armed: Vec<usize>,
    errors: Vec<ErrorRule>,
    changes: Vec<SetState>,
}

#[derive(Debug)]
struct ErrorRule {
    said: InjectError,
    io_types: u8,
    offset: Option<i128>,
    /// A rule that struck once is gone.
    is_spent: bool,
}

impl Blkdebug {
    /// Rules in the operator's order; those of the event `none` are armed at once.
    pub fn new(errors: Vec<InjectError>, changes: Vec<SetState>, taken: Set, unshared: Set) -> Blkdebug {
        let errors = errors.into_iter().map(ErrorRule::new).collect();
        let present = Present { state: 1, armed: Vec::new(), errors, changes };
        let blkdebug = Blkdebug { present: Mutex::new(present), taken, unshared };
        blkdebug.observe(DebugEvent::None);
        blkdebug
    }

    /// An event has come.
    pub fn observe(&self, event: DebugEvent) {
        let mut present = self.present.lock();
        let present = &mut *present;
        let state = present.state;
        let counts = |rule_event: &str, rule_state: i64| {
            event.is_called(rule_event) && (rule_state == 0 || rule_state == state)
        };
        let mut fired = false;
        // The last rule named is the first one looked at.
        for (i, rule) in present.errors.iter().enumerate().rev() {
            if !rule.is_spent && counts(&rule.said.event, rule.said.state) {
                if !std::mem::replace(&mut fired, true) {
                    present.armed.clear();
                }
                present.armed.insert(0, i);
            }
        }
        for change in present.changes.iter().rev() {
            if counts(&change.event, change.state) {
                present.state = change.new_state;
            }
        }
    }

    /// Refuses a request that an armed rule is for.
    pub fn admit(&self, kind: IoType, offset: u64, len: u64) -> IoResult<()> {
        let mut present = self.present.lock();
        let present = &mut *present;
        let strikes = |rule: &&usize| present.errors[**rule].strikes(kind, offset, len);
        let Some(struck) = present.armed.iter().find(strikes).copied() else {
            return Ok(());
        };
        let rule = &mut present.errors[struck];
        let Some(errno) = i32::try_from(rule.said.errno).ok().filter(|errno| *errno != 0) else {
            return Ok(());
        };
        if rule.said.once {
            rule.is_spent = true;
            present.armed.retain(|armed| *armed != struck);
        }
        Err(Errno(errno.saturating_abs()))
    }
}

impl ErrorRule {
    fn new(said: InjectError) -> ErrorRule {
        let named = |word: &String| IO_TYPE_WORDS.iter().position(|io_type| *io_type == *word);
        let io_types = said.iotype.as_ref().and_then(named).map_or(EVERY_IO_TYPE, |io_type| 1 << io_type);
        let offset = said.sector.filter(|sector| *sector != -1).map(|sector| i128::from(sector) * 512);
        ErrorRule { said, io_types, offset, is_spent: false }
    }

    fn strikes(&self, kind: IoType, offset: u64, len: u64) -> bool {
        let start = i128::from(offset);
        let is_there = |at: i128| start <= at && at < start + i128::from(len);
        self.io_types & (1 << kind as u8) != 0 && self.offset.is_none_or(is_there)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blkdebug(errors: Vec<InjectError>, changes: Vec<SetState>) -> Blkdebug {
        Blkdebug::new(errors, changes, Set::NONE, Set::NONE)
    }

    fn rule(event: &str) -> InjectError {
        InjectError {
            event: event.to_owned(),
            state: 0,
            iotype: None,
            errno: 5,
            sector: None,
            once: false,
            immediately: false,
        }
    }

    #[test]
    fn a_rule_waits_for_its_event_and_then_strikes_for_ever() {
        let rules = blkdebug(vec![rule("read_aio")], Vec::new());
        assert_eq!(rules.admit(IoType::Read, 0, 512), Ok(()));
        rules.observe(DebugEvent::WriteAio);
        assert_eq!(rules.admit(IoType::Read, 0, 512), Ok(()));
        rules.observe(DebugEvent::ReadAio);
        for kind in [IoType::Write, IoType::Read, IoType::Flush] {
            assert_eq!(rules.admit(kind, 0, 512), Err(Errno::EIO), "{kind:?}");
        }
        assert_eq!(rules.admit(IoType::BlockStatus, 0, 512), Ok(()));
    }

    #[test]
    fn a_rule_that_strikes_once_never_comes_back() {
        let rules = blkdebug(vec![InjectError { once: true, ..rule("read_aio") }], Vec::new());
        rules.observe(DebugEvent::ReadAio);
        assert_eq!(rules.admit(IoType::Read, 0, 512), Err(Errno::EIO));
        rules.observe(DebugEvent::ReadAio);
        assert_eq!(rules.admit(IoType::Read, 0, 512), Ok(()));
    }

    #[test]
    fn a_rule_of_no_event_is_armed_at_once_and_keeps_to_its_sector_and_kind() {
        let only =
            InjectError { iotype: Some("write".to_owned()), sector: Some(2), errno: 28, ..rule("none") };
        let rules = blkdebug(vec![only], Vec::new());
        assert_eq!(rules.admit(IoType::Write, 0, 1024), Ok(()));
        assert_eq!(rules.admit(IoType::Write, 0, 1025), Err(Errno::ENOSPC));
        assert_eq!(rules.admit(IoType::Write, 1536, 512), Ok(()));
        assert_eq!(rules.admit(IoType::Read, 1024, 512), Ok(()));
        assert_eq!(rules.admit(IoType::Write, 1024, 0), Ok(()));
    }

    // The second read of an image: the first one changes the state, the rule waits for that state.
    #[test]
    fn states_count_events() {
        let second = InjectError { state: 2, ..rule("read_aio") };
        let step = SetState { event: "read_aio".to_owned(), state: 1, new_state: 2 };
        let rules = blkdebug(vec![second], vec![step]);
        rules.observe(DebugEvent::ReadAio);
        assert_eq!(rules.admit(IoType::Read, 0, 512), Ok(()));
        rules.observe(DebugEvent::ReadAio);
        assert_eq!(rules.admit(IoType::Read, 0, 512), Err(Errno::EIO));
    }

    // What an event arms takes the place of what was armed.
    #[test]
    fn the_latest_event_decides_what_is_armed() {
        let write = InjectError { errno: 28, ..rule("write_aio") };
        let rules = blkdebug(vec![rule("read_aio"), write], Vec::new());
        rules.observe(DebugEvent::ReadAio);
        rules.observe(DebugEvent::WriteAio);
        assert_eq!(rules.admit(IoType::Read, 0, 512), Err(Errno::ENOSPC));
    }
}
