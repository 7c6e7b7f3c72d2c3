//! The releases of QEMU that the specification knows, and how their languages differ.
//!
//! Texts and classes of errors are data of the specification by release. What is *wrong* in some of them is not: that is
//! a [`crate::Quirk`], which names the releases that have it.

/// A release of QEMU, in order of age.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Release {
    /// 10.0.2, whose language our engine speaks.
    V10_0_2,
    /// 10.0.13, the last of its branch that was looked into.
    V10_0_13,
    /// 11.1.3.
    V11_1_3,
}

impl Release {
    /// Every release, oldest first.
    pub const ALL: [Release; 3] = [Release::V10_0_2, Release::V10_0_13, Release::V11_1_3];
    /// The newest one.
    pub const NEWEST: Release = Release::V11_1_3;

    /// Its number: major, minor, micro.
    pub const fn number(self) -> [u64; 3] {
        match self {
            Release::V10_0_2 => [10, 0, 2],
            Release::V10_0_13 => [10, 0, 13],
            Release::V11_1_3 => [11, 1, 3],
        }
    }

    /// Its number as QEMU writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Release::V10_0_2 => "10.0.2",
            Release::V10_0_13 => "10.0.13",
            Release::V11_1_3 => "11.1.3",
        }
    }

    /// The one by which a daemon of this number is judged: itself if it is known; else the newest one of its branch, and
    /// of an unknown branch the newest of all.
    pub fn nearest(number: [u64; 3]) -> Release {
        let is_of_branch = |release: &&Release| release.number()[..2] == number[..2];
        let exact = Release::ALL.iter().find(|release| release.number() == number);
        *exact.or_else(|| Release::ALL.iter().rfind(is_of_branch)).unwrap_or(&Release::NEWEST)
    }

    /// The place of a mistake stands before the text of a JSON error: `2:25: JSON parse error, expecting key`.
    pub(crate) fn places_json_errors(self) -> bool {
        self >= Release::V11_1_3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_numbers_and_in_order() {
        for release in Release::ALL {
            let number = release.number().map(|part| part.to_string()).join(".");
            assert_eq!(number, release.name());
        }
        assert!(Release::ALL.is_sorted_by_key(|release| release.number()));
        assert_eq!(Release::ALL.last(), Some(&Release::NEWEST));
    }

    #[test]
    fn an_unknown_release_is_judged_by_its_branch_or_by_the_newest() {
        assert_eq!(Release::nearest([10, 0, 2]), Release::V10_0_2);
        assert_eq!(Release::nearest([10, 0, 20]), Release::V10_0_13);
        assert_eq!(Release::nearest([11, 1, 50]), Release::V11_1_3);
        assert_eq!(Release::nearest([12, 0, 0]), Release::NEWEST);
        assert_eq!(Release::nearest([9, 2, 0]), Release::NEWEST);
    }
}
