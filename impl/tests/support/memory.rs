//! How much memory the test's process has held at most.

/// No hostile input may make us hold more.
const MIB_MAX: u64 = 200;

/// Asserts that this process, with everything in it, has never held more than 200 MiB.
#[track_caller]
pub fn assert_peak_is_bounded() {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux shows every process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux shows the peak");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number of KiB");
    println!("the peak is {} MiB", kib >> 10);
    assert!(kib >> 10 < MIB_MAX, "{} MiB were held at a time", kib >> 10);
}
