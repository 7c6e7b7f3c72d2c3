//! Which streams may run beside a running stream: the table for the chain n0 <- ... <- n6, cell by cell, as QEMU 10.0.2
//! answered; and that both orders of two streams differ exactly where the running one's filter lies in the range.

mod support;

use support::Run;

const CHAIN: &str = "n0 <- n1 <- n2 <- n3 <- n4 <- n5 <- n6";
const FILTER: &str = "#block17";

/// The answer to a second stream beside a stream of `first`; arguments as `n4 base-node=n1`.
fn answer(first: &str, second: &str) -> Result<(), String> {
    let mut run = Run::open(CHAIN);
    let start = |job: &str, stream: &str| format!("> 1 block-stream job-id={job} device={stream}\n");
    let goes = |job: &str| format!("! {job} created\n! {job} running\n< 1 ok\n");
    run.play(&format!("{}{}", start("one", first), goes("one"))).expect("the first stream is alone");
    run.play(&start("two", second)).expect("sending is always fine");
    let refusals = (0..7).map(|n| format!("n{n}")).chain([FILTER.to_owned()]);
    for node in refusals {
        let mut trial = run.model.clone();
        let text = format!("Node '{node}' is busy: block device is in use by block job: stream");
        let reply = format!(r#"{{"error":{{"class":"GenericError","desc":"{text}"}}}}"#);
        if trial.observe(&model::Observation::Reply { client: 1, text: &reply }).is_ok() {
            return Err(node);
        }
    }
    run.play(&goes("two")).expect("what is not refused is accepted");
    Ok(())
}

#[test]
fn streams_beside_a_stream_into_n4_from_above_n1() {
    // Second stream; the busy node of its refusal, or nothing if it is accepted.
    let table = [
        ("n6 base-node=n5", ""),
        ("n6 base-node=n4", FILTER),
        ("n6 bottom=n5", ""),
        ("n6 bottom=n4", FILTER),
        ("n5 base-node=n4", FILTER),
        ("n5 base-node=n3", FILTER),
        ("n4 base-node=n1", "n4"),
        ("n4 base-node=n3", "n4"),
        ("n3 base-node=n1", "n3"),
        ("n3 base-node=n2", "n3"),
        ("n2 base-node=n0", "n2"),
        ("n2 base-node=n1", "n2"),
        ("n1 base-node=n0", ""),
        ("n1", ""),
        ("n0", ""),
    ];
    for (second, busy) in table {
        let expected = if busy.is_empty() { Ok(()) } else { Err(busy.to_owned()) };
        assert_eq!(answer("n4 base-node=n1", second), expected, "stream {second}");
    }
}

#[test]
fn adjacent_streams_are_accepted_in_one_order_and_refused_in_the_other() {
    // The filter of the lower stream lies above its target, inside the range of the upper one.
    assert_eq!(answer("n2", "n4 base-node=n2"), Err(FILTER.to_owned()));
    assert_eq!(answer("n4 base-node=n2", "n2"), Ok(()));
    // With `bottom`, both orders are fine.
    assert_eq!(answer("n2", "n4 bottom=n3"), Ok(()));
    assert_eq!(answer("n4 bottom=n3", "n2"), Ok(()));
}

#[test]
fn a_no_op_stream_holds_its_target_all_the_same() {
    assert_eq!(answer("n4 base-node=n3", "n4 base-node=n1"), Err("n4".to_owned()));
    assert_eq!(answer("n4 base-node=n3", "n3"), Ok(()));
}
