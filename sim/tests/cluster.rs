//! The manifests of `docs/cluster`: they are what their engines read, and start parts that together are one campaign. And two
//! parts as processes: what they leave is merged, and a part that gets SIGTERM leaves what it has.

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn docs(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/cluster").join(name);
    fs::read_to_string(path).expect("a manifest")
}

fn yaml(name: &str) -> Value {
    serde_saphyr::from_str(&docs(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn midstream() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_midstream"));
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    command
}

fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    midstream().args(arguments).envs(variables.iter().copied()).output().expect("the program starts")
}

/// The value behind an option.
fn after<'a>(arguments: &'a [&str], option: &str) -> &'a str {
    let at =
        arguments.iter().position(|argument| *argument == option).unwrap_or_else(|| panic!("no {option}"));
    arguments[at + 1]
}

/// Whether the program takes a command line: it is refused for its part alone, before anything runs.
fn is_taken(arguments: &[&str]) {
    let mut arguments = arguments.to_vec();
    let at = arguments.iter().position(|argument| *argument == "--shard").expect("a part");
    arguments[at + 1] = "env";
    let none = ["SLURM_ARRAY_TASK_ID", "JOB_COMPLETION_INDEX", "HQ_TASK_ID", "AWS_BATCH_JOB_ARRAY_INDEX"];
    let folder = tempfile::tempdir().expect("a scratch folder");
    let mut command = midstream();
    for name in none {
        command.env_remove(name);
    }
    for option in ["--out", "--result"] {
        if let Some(at) = arguments.iter().position(|argument| *argument == option) {
            arguments[at + 1] = folder.path().to_str().expect("a plain name");
        }
    }
    let output = command.args(&arguments).output().expect("the program starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("--shard: none of SLURM_ARRAY_TASK_ID"), "{said}");
}

#[test]
fn the_indexed_job_starts_as_many_parts_as_its_campaign_has() {
    let job = yaml("kubernetes.yaml");
    assert_eq!((job["apiVersion"].as_str(), job["kind"].as_str()), (Some("batch/v1"), Some("Job")));
    assert_eq!(job["spec"]["completionMode"], "Indexed");
    let parts = job["spec"]["completions"].as_u64().expect("a number");
    let pod = &job["spec"]["template"]["spec"];
    assert_eq!(pod["restartPolicy"], "Never");
    let container = &pod["containers"][0];
    let arguments: Vec<&str> =
        container["args"].as_array().expect("a list").iter().map(|a| a.as_str().expect("a text")).collect();
    assert_eq!(after(&arguments, "--shard"), format!("env/{parts}"));
    is_taken(&arguments);
    let rule = &job["spec"]["podFailurePolicy"]["rules"][0]["onExitCodes"];
    assert_eq!(rule["containerName"], container["name"]);
    let volume = container["volumeMounts"][0]["name"].as_str();
    assert_eq!(volume, pod["volumes"][0]["name"].as_str());
    assert!(
        after(&arguments, "--result")
            .starts_with(container["volumeMounts"][0]["mountPath"].as_str().expect("a path"))
    );
}

#[test]
fn the_matrix_has_every_part_and_one_job_that_merges_them() {
    let workflow = yaml("github-actions.yaml");
    let (part, merge) = (&workflow["jobs"]["part"], &workflow["jobs"]["merge"]);
    let parts: Vec<u64> = part["strategy"]["matrix"]["part"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(Value::as_u64)
        .collect();
    assert!(parts.iter().copied().eq(0..parts.len() as u64), "{parts:?}");
    let of = |job: &Value| -> String {
        let steps = job["steps"].as_array().expect("steps").iter();
        steps.filter_map(|step| step["run"].as_str()).collect()
    };
    let line = of(part).replace("${{ github.run_id }}", "7");
    let line = line.strip_prefix("cargo midstream ").expect("our alias").to_owned();
    let arguments: Vec<&str> = line.split(' ').filter(|word| !["${{", "}}/8"].contains(word)).collect();
    assert_eq!(after(&arguments, "--shard"), "matrix.part", "{line}");
    assert!(line.contains(&format!("}}}}/{}", parts.len())), "{line}");
    is_taken(&arguments);
    assert_eq!(merge["needs"], "part");
    assert!(of(merge).starts_with("cargo midstream merge parts"), "{}", of(merge));
}

#[test]
fn the_array_and_the_script_are_read_by_who_runs_them() {
    for (program, arguments, script) in
        [("bash", &["-n"][..], "slurm.sh"), ("python3", &["-m", "py_compile"], "on_hyperqueue.py")]
    {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let copy = folder.path().join(script);
        fs::write(&copy, docs(script)).expect("writable");
        let Ok(status) = Command::new(program).args(arguments).arg(&copy).status() else { continue };
        assert!(status.success(), "{script}");
    }
    let array = docs("slurm.sh");
    assert!(array.contains("#SBATCH --array=0-63\n") && array.contains("--shard env "), "{array}");
}

fn leave(part: u64, of: u64, folder: &Path) -> Output {
    let (result, out) = (folder.join("result"), folder.join("traces"));
    let [result, out] = [&result, &out].map(|path| path.to_str().expect("a plain name"));
    let arguments =
        ["fuzz", "--seed", "1", "--runs", "40", "--jobs", "1", "--out", out, "--result", result, "--shard"];
    let of = of.to_string();
    let asked = format!("env/{of}");
    run(&[&arguments[..], &[&asked]].concat(), &[("HQ_TASK_ID", &part.to_string())])
}

#[test]
fn parts_that_the_environment_numbers_are_one_campaign_when_they_are_merged() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    for part in 0..3 {
        let output = leave(part, 3, folder.path());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        assert!(said.contains(&format!("part {part}/3 (by HyperQueue: HQ_TASK_ID)")), "{said}");
    }
    let [result, merged] = ["result", "merged"].map(|name| folder.path().join(name).display().to_string());
    let output = run(&["merge", &result, "--out", &merged, "--json"], &[]);
    let parts: Value = serde_json::from_slice(&output.stdout).expect("a line of JSON");
    let whole = run(&["fuzz", "--seed", "1", "--runs", "40", "--json", "--out", &merged], &[]);
    let whole: Value = serde_json::from_slice(&whole.stdout).expect("a line of JSON");
    assert_eq!(parts["totals"]["runs"], 40);
    assert_eq!(parts["totals"]["history_hash"], whole["history_hash"]);
    assert_eq!(parts["totals"]["steps"], whole["steps"]);
    assert_eq!(parts["totals"]["goals"], whole["goals"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    for file in ["index.html", "junit.xml", "merged.json"] {
        assert!(PathBuf::from(&merged).join(file).exists(), "{file}");
    }
    let again = run(&["merge", &merged, &result, &merged, "--out", &merged, "--json"], &[]);
    assert_eq!(output.stdout, again.stdout, "a part counts once");
}

// The signal comes once the campaign has begun: its first line of progress says so.
#[test]
fn a_part_that_gets_sigterm_leaves_what_it_has() {
    use std::io::{BufRead, BufReader};
    let folder = tempfile::tempdir().expect("a scratch folder");
    let path = folder.path().to_str().expect("a plain name");
    let mut part = midstream()
        .args([
            "fuzz",
            "--seed",
            "1",
            "--seconds",
            "600",
            "--jobs",
            "1",
            "--shard",
            "1/3",
            "--json",
            "--json-events",
        ])
        .args(["--out", path, "--result", path])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let mut lines = BufReader::new(part.stdout.take().expect("it is piped")).lines();
    let first = lines.next().expect("a line").expect("text");
    assert!(first.contains("\"event\":\"progress\""), "{first}");
    let sent = Command::new("kill").args(["-TERM", &part.id().to_string()]).status().expect("kill is there");
    assert!(sent.success());
    let last = lines.map(|line| line.expect("text")).last().expect("the totals");
    let totals: Value = serde_json::from_str(&last).expect("JSON");
    assert_eq!(part.wait().expect("it ends").code(), Some(5));
    assert_eq!(totals["ended_early"], true);
    let merged = folder.path().join("merged");
    let output = run(&["merge", path, "--out", merged.to_str().expect("a plain name"), "--json"], &[]);
    assert_eq!(output.status.code(), Some(5));
    let merged: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(merged["totals"]["runs"], totals["runs"]);
    let missing = merged["missing"].to_string();
    assert!(missing.contains("parts 0, 2 of 3 have left nothing"), "{missing}");
    assert!(missing.contains("part 1/3 from seed 1 was ended early"), "{missing}");
}
