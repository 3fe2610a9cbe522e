//! How files begin, how long they are, what manifests say.

use crate::{
    rule::Rule,
    source::Source,
    workspace::{Member, Workspace},
};

const LINES_MAX: usize = 500;

#[test]
fn every_source_says_what_it_promises() {
    let rule = Rule {
        name: "headers",
        says: "every Rust file begins with `//!` and a sentence",
        because: "it tells what a reader may rely on before the code tells how",
    };
    let breaches: Vec<String> = Workspace::get().sources.iter().filter_map(headless).collect();
    rule.is_kept(&breaches);
}

#[test]
fn lints_are_expected_not_allowed() {
    let rule = Rule {
        name: "expect",
        says: "a lint is silenced by #[expect(lint, reason = \"..\")], never by #[allow]",
        because: "an expectation tells its reason, and complains when it is no longer needed",
    };
    let breaches: Vec<String> = Workspace::get().sources.iter().flat_map(allows).collect();
    rule.is_kept(&breaches);
}

#[test]
fn files_can_be_read_in_one_go() {
    let rule = Rule {
        name: "length",
        says: "a file has at most 500 lines, or says `//! Long because ..`",
        because: "a file has one subject, and its path tells which",
    };
    let breaches: Vec<String> = Workspace::get().sources.iter().filter_map(too_long).collect();
    rule.is_kept(&breaches);
}

#[test]
fn every_crate_has_a_readme_which_is_its_documentation() {
    let rule = Rule {
        name: "readme",
        says: "every crate in crates/ has a README.md that src/lib.rs includes as its documentation",
        because: "these crates are used by other services: what one owns and guarantees is told once, and its example \
            compiles",
    };
    let workspace = Workspace::get();
    let mut breaches = Vec::new();
    for member in workspace.members.iter().filter(|member| member.dir.starts_with("crates/")) {
        let readme = workspace.read(&format!("{}/README.md", member.dir)).ok();
        let lib = workspace.read(&format!("{}/src/lib.rs", member.dir)).ok();
        breaches.extend(undocumented(member, readme.as_deref(), lib.as_deref()));
    }
    rule.is_kept(&breaches);
}

#[test]
fn manifests_inherit_versions_and_lints() {
    let rule = Rule {
        name: "manifests",
        says: "a member takes its lints and the versions of its dependencies from the workspace",
        because: "two versions of one crate do not fit together, and a member without the lints is not checked",
    };
    let workspace = Workspace::get();
    let mut breaches = Vec::new();
    for member in &workspace.members {
        let path = format!("{}/Cargo.toml", member.dir);
        breaches.extend(own_ways(&path, &workspace.read(&path).unwrap()));
    }
    rule.is_kept(&breaches);
}

fn headless(source: &Source) -> Option<String> {
    let first = source.text.lines().next().unwrap_or_default();
    let says = first.strip_prefix("//!").is_some_and(|text| !text.trim().is_empty());
    (!says && !first.starts_with("#![doc = include_str!(")).then(|| source.path.clone())
}

fn allows(source: &Source) -> Vec<String> {
    let is_allow = |code: &str| code.contains("#[allow(") || code.contains("#![allow(");
    source.lines().filter(|(_, code)| is_allow(code)).map(|(line, _)| source.at(line)).collect()
}

fn too_long(source: &Source) -> Option<String> {
    let lines = source.text.lines().count();
    let reasoned = source.text.lines().any(|line| line.starts_with("//! Long because"));
    (lines > LINES_MAX && !reasoned).then(|| format!("{} has {lines} lines", source.path))
}

fn undocumented(member: &Member, readme: Option<&str>, lib: Option<&str>) -> Vec<String> {
    let mut breaches = Vec::new();
    if readme.is_none_or(|text| text.lines().count() < 5) {
        breaches.push(format!("{}/README.md is missing or says nothing", member.dir));
    }
    if lib.is_some_and(|text| !text.contains("#![doc = include_str!(\"../README.md\")]")) {
        breaches.push(format!("{}/src/lib.rs does not include README.md", member.dir));
    }
    breaches
}

fn own_ways(path: &str, manifest: &str) -> Vec<String> {
    let mut breaches = Vec::new();
    let (mut section, mut lints) = ("", false);
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            section = line;
        } else if section == "[lints]" && line == "workspace = true" {
            lints = true;
        } else if section.ends_with("dependencies]") && line.contains('=') && !line.starts_with('#') {
            let inherited = line.contains(".workspace = true") || line.contains("workspace = true");
            if !inherited {
                breaches.push(format!("{path}: {line}"));
            }
        }
    }
    if !lints {
        breaches.push(format!("{path} does not say [lints] workspace = true"));
    }
    breaches
}

#[test]
fn untidy_files_are_found() {
    let file = |text: &str| Source::new("crates/x/src/y.rs", text);
    assert!(headless(&file("use std::fs;")).is_some() && headless(&file("//!\n")).is_some());
    assert!(headless(&file("//! Says something.\n")).is_none());
    assert!(headless(&file("#![doc = include_str!(\"../README.md\")]\n")).is_none());

    assert_eq!(allows(&file("#[allow(dead_code)]\nfn x() {}")), ["crates/x/src/y.rs:1"]);
    assert_eq!(allows(&file("// #[allow(dead_code)]\n#![allow(x)]")), ["crates/x/src/y.rs:2"]);
    assert_eq!(allows(&file("#[expect(dead_code, reason = \"x\")]")), [""; 0]);

    assert!(too_long(&file(&"//! x\n".repeat(501))).is_some());
    assert!(too_long(&file(&"//! x\n".repeat(500))).is_none());
    let reasoned = format!("//! x\n//! Long because it is a table.\n{}", "\n".repeat(501));
    assert!(too_long(&file(&reasoned)).is_none());
}

#[test]
fn untidy_crates_are_found() {
    let member = crate::workspace::member("x", &[]);
    let readme = "# x\n\nOwns\nmuch\nof it";
    let lib = "#![doc = include_str!(\"../README.md\")]";
    assert_eq!(undocumented(&member, Some(readme), Some(lib)), [""; 0]);
    assert_eq!(undocumented(&member, Some("# x"), Some(lib)).len(), 1);
    assert_eq!(undocumented(&member, None, Some("//! own words")).len(), 2);

    let good = "[dependencies]\nserde.workspace = true\na = { workspace = true, optional = true }\n[lints]\nworkspace = true";
    assert_eq!(own_ways("Cargo.toml", good), [""; 0]);
    assert_eq!(own_ways("Cargo.toml", "[dev-dependencies]\nserde = \"1\"").len(), 2);
}
