//! Packages as the registry takes them: each says what it is, names a version of each of ours that it needs, and holds all
//! that its library and its programs are compiled from.

use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Packages that are for this workspace alone.
const UNPUBLISHED: [&str; 2] = ["midstream-benches", "midstream-tests"];

struct Package {
    name: String,
    folder: PathBuf,
    manifest: Value,
}

impl Package {
    fn text(&self, field: &str) -> &str {
        self.manifest[field].as_str().unwrap_or_else(|| panic!("{} has no {field}", self.name))
    }

    fn is_published(&self) -> bool {
        self.manifest["publish"].is_null()
    }
}

fn packages() -> Vec<Package> {
    let mut metadata = Command::new(env!("CARGO"));
    metadata.args(["metadata", "--no-deps", "--offline", "--format-version", "1"]);
    let answer = metadata.current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("cargo runs");
    assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
    let mut metadata: Value = serde_json::from_slice(&answer.stdout).expect("JSON");
    let package = |manifest: Value| Package {
        name: manifest["name"].as_str().expect("a name").to_owned(),
        folder: Path::new(manifest["manifest_path"].as_str().expect("a path")).with_file_name(""),
        manifest,
    };
    let Value::Array(all) = metadata["packages"].take() else { panic!("no packages") };
    all.into_iter().map(package).collect()
}

#[test]
fn every_package_says_what_it_is() {
    let packages = packages();
    let kept: Vec<&str> = packages.iter().filter(|p| !p.is_published()).map(|p| &*p.name).collect();
    assert_eq!(BTreeSet::from_iter(kept), BTreeSet::from(UNPUBLISHED), "not published");
    for package in packages.iter().filter(|package| package.is_published()) {
        let Package { name, folder, manifest } = package;
        assert!(name.starts_with("midstream-"), "the registry has a crate `{name}`, which is not ours");
        assert!((20..=140).contains(&package.text("description").len()), "{name} says hardly what it is");
        for licence in package.text("license").split(" OR ") {
            let file = format!("LICENSE-{}", licence.trim_end_matches("-2.0").to_uppercase());
            assert!(folder.join(&file).exists(), "{name} comes without {file}");
        }
        if let Some(readme) = manifest["readme"].as_str() {
            assert!(folder.join(readme).exists(), "{name} has no {readme}");
        }
    }
}

#[test]
fn what_a_package_needs_of_ours_has_a_version() {
    let packages = packages();
    for package in packages.iter().filter(|package| package.is_published()) {
        let dependencies = package.manifest["dependencies"].as_array().expect("a list");
        for needed in dependencies.iter().filter(|needed| needed["path"].is_string()) {
            let (name, version) = (needed["name"].as_str().expect("a name"), &needed["req"]);
            let ours = packages.iter().find(|ours| ours.name == name).expect("one of the workspace");
            assert!(ours.is_published(), "{} needs {name}, which is not published", package.name);
            assert_eq!(version, &format!("^{}", ours.text("version")), "{} needs {name}", package.name);
        }
    }
}

/// What stands in quotes after each `mark` of a line.
fn named<'a>(line: &'a str, mark: &'a str) -> impl Iterator<Item = &'a str> {
    line.split(mark).skip(1).filter_map(|rest| rest.split('"').next())
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for path in
        fs::read_dir(folder).expect("a folder of the workspace").map(|entry| entry.expect("it").path())
    {
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn nothing_that_a_package_is_compiled_from_lies_outside_of_it() {
    let mut count = 0;
    for package in packages().iter().filter(|package| package.is_published()) {
        let folder = package.folder.canonicalize().expect("it is there");
        let mut found = Vec::new();
        sources(&folder.join("src"), &mut found);
        for source in found {
            let text = fs::read_to_string(&source).expect("sources are UTF-8");
            // A page whose examples are tested is not part of the package.
            for line in text.lines().filter(|line| !line.starts_with("#[doc = ")) {
                let marks = ["include_str!(\"", "include_bytes!(\"", "#[path = \""];
                for name in marks.iter().flat_map(|mark| named(line, mark)) {
                    let path = source.with_file_name(name).canonicalize();
                    let path = path.unwrap_or_else(|error| panic!("{}: {name}: {error}", source.display()));
                    assert!(path.starts_with(&folder), "{} needs {}", source.display(), path.display());
                    count += 1;
                }
            }
        }
    }
    assert!(count >= 3, "hardly any file is included");
}
