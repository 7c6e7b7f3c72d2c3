//! Names of tasks.

use super::*;

#[test]
fn spawned_tasks_get_stable_names_that_never_repeat() {
    let host = SimHost::default();
    for name in ["job j3 3", "job j3 3", "writeback", "job stream 12"] {
        host.spawn(name, Box::pin(std::future::ready(())));
    }
    let names: Vec<String> = host.core().spawned.iter().map(|s| s.0.to_string()).collect();
    assert_eq!(names, ["job 3", "job 3 run 1", "task 0", "job 12"]);
    let points: Vec<Point> = host.core().spawned.iter().map(|s| s.0).collect();
    let labels: Vec<String> = points.into_iter().map(|point| host.label(point)).collect();
    assert_eq!(labels, ["job j3", "job j3", "writeback", "job stream"]);
    assert_eq!(host.label(Point::new("guest # lane #", [1, 0, 0])), "g1.0");
}
