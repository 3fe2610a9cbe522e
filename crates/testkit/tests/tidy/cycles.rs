//! The files of a crate use each other in one direction, as their paths and `use` declarations show.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::{rule::Rule, source::Source, workspace::Workspace};

#[test]
fn files_of_a_crate_use_each_other_in_one_direction() {
    let rule = Rule {
        name: "cycles",
        says: "no file uses an item of another that uses an item of the first, directly or through others",
        because: "files of a cycle can only be understood together; move what both need into a file below both",
    };
    let workspace = Workspace::get();
    let breaches = workspace.members.iter().flat_map(|member| {
        let root = format!("{}/src/", member.dir);
        cycles(&root, workspace.production().filter(|source| source.path.starts_with(&root)))
    });
    rule.is_kept(&breaches.collect::<Vec<_>>());
}

/// `["crate", "pool", "Pool"]`.
type Names<'a> = Vec<&'a str>;

/// One file.
#[derive(Default)]
struct Module<'a> {
    defines: BTreeSet<&'a str>,
    /// Paths by the name they have here; `*` for all of a module.
    imports: Vec<(&'a str, Names<'a>)>,
    /// Without re-exports.
    uses: Vec<Names<'a>>,
}

/// By path: `crate::pool`.
type Modules<'a> = BTreeMap<String, Module<'a>>;

enum Found {
    Module(String),
    /// By the module that defines it.
    Item(String),
}

/// The shortest cycle through each file that has one, each once.
fn cycles<'a>(root: &str, sources: impl Iterator<Item = &'a Source>) -> Vec<String> {
    let named = |source: &Source| {
        let name = source.path.trim_start_matches(root).trim_end_matches(".rs").replace('/', "::");
        if name == "lib" { "crate".to_owned() } else { format!("crate::{name}") }
    };
    let mut modules: Modules<'_> = sources.map(|source| (named(source), read(&source.code))).collect();
    let files: BTreeSet<String> = modules.keys().cloned().collect();
    // A folder without a file of its name is an inline module.
    for file in &files {
        for (end, _) in file.match_indices("::") {
            modules.entry(file[..end].to_owned()).or_default();
        }
    }
    let used = |(name, module): (&String, &Module<'_>)| -> BTreeSet<String> {
        let owners = module.uses.iter().filter_map(|path| match resolve(&modules, name, path, 8)? {
            Found::Item(owner) => Some(file_of(&files, owner)).filter(|owner| owner != name),
            Found::Module(_) => None,
        });
        owners.collect()
    };
    let edges: BTreeMap<_, _> = modules.iter().map(|entry| (entry.0, used(entry))).collect();
    let mut found = BTreeMap::new();
    for start in edges.keys() {
        let (mut ways, mut seen) = (VecDeque::from([vec![*start]]), BTreeSet::new());
        while let Some(way) = ways.pop_front() {
            for next in way.last().into_iter().flat_map(|last| &edges[last]) {
                if next == *start {
                    let files: BTreeSet<_> = way.iter().copied().collect();
                    let text: String = way.iter().map(|file| format!("{file} -> ")).collect();
                    found.entry(files).or_insert(format!("{root}: {text}{start}"));
                    ways.clear();
                    break;
                }
                if seen.insert(next) {
                    ways.push_back([way.as_slice(), &[next]].concat());
                }
            }
        }
    }
    found.into_values().collect()
}

/// The file that has a module: its own, or that around an inline module.
fn file_of(files: &BTreeSet<String>, mut module: String) -> String {
    while !files.contains(&module)
        && let Some((around, _)) = module.rsplit_once("::")
    {
        module.truncate(around.len());
    }
    module
}

/// Follows a path from the module `here`. Nothing is found of other crates.
fn resolve(modules: &Modules<'_>, here: &str, path: &[&str], depth: usize) -> Option<Found> {
    let mut at = here.to_owned();
    for (index, name) in path.iter().enumerate() {
        match *name {
            "self" => {}
            "crate" => "crate".clone_into(&mut at),
            "super" => at = at.rsplit_once("::")?.0.to_owned(),
            _ => match look_up(modules, &at, name, index + 1 == path.len(), depth) {
                Some(Found::Module(module)) => at = module,
                // Made by a macro.
                None if index > 0 => return Some(Found::Item(at)),
                found => return found,
            },
        }
    }
    Some(Found::Module(at))
}

/// A name in a module. An item and a child may have the same: the last name of a path is the item.
fn look_up(modules: &Modules<'_>, here: &str, name: &str, is_last: bool, depth: usize) -> Option<Found> {
    let (depth, module) = (depth.checked_sub(1)?, modules.get(here)?);
    let child = format!("{here}::{name}");
    let child = modules.contains_key(&child).then_some(Found::Module(child));
    if child.is_some() && !is_last {
        return child;
    }
    if module.defines.contains(name) {
        return Some(Found::Item(here.to_owned()));
    }
    let imported = module.imports.iter().find_map(|(own_name, path)| match *own_name {
        "*" => match resolve(modules, here, path, depth)? {
            Found::Module(all) if all != here => look_up(modules, &all, name, is_last, depth),
            _ => None,
        },
        own_name => (own_name == name).then(|| resolve(modules, here, path, depth))?,
    });
    imported.or(child)
}

fn read(code: &str) -> Module<'_> {
    let tokens = tokens(code);
    let (mut module, mut at) = (Module::default(), 0);
    while at < tokens.len() {
        let before = at.checked_sub(1).map_or(";", |before| tokens[before]);
        let after = tokens.get(at + 1).copied().unwrap_or_default();
        match tokens[at] {
            "use" if after != "<" => {
                let length = tokens[at..].iter().position(|token| *token == ";").unwrap_or_default();
                let imports = imports(&tokens[at + 1..=at + length]);
                if !["pub", ")"].contains(&before) {
                    module.uses.extend(imports.iter().map(|(_, path)| path.clone()));
                }
                module.imports.extend(imports);
                at += length;
            }
            "mod" => at += 1,
            "fn" | "struct" | "enum" | "trait" | "type" | "const" | "static" => {
                module.defines.insert(after);
            }
            name if is_name(name) && ![".", "::", "'"].contains(&before) => {
                let more =
                    tokens[at + 1..].chunks_exact(2).take_while(|pair| pair[0] == "::" && is_name(pair[1]));
                let path: Names<'_> = [name].into_iter().chain(more.map(|pair| pair[1])).collect();
                at += 2 * (path.len() - 1);
                module.uses.push(path);
            }
            _ => {}
        }
        at += 1;
    }
    module
}

/// The leaves of the tree of a `use`, up to its semicolon, by the names that they get.
fn imports<'a>(tokens: &[&'a str]) -> Vec<(&'a str, Names<'a>)> {
    let (mut found, mut path, mut groups) = (Vec::new(), Names::new(), vec![0]);
    for token in tokens {
        match *token {
            "::" => {}
            "{" => groups.push(path.len()),
            "," | "}" | ";" => {
                if groups.last().is_some_and(|begin| path.len() > *begin) {
                    found.push(match path.as_slice() {
                        [of @ .., "as", name] => (*name, of.to_vec()),
                        [of @ .., "*"] => ("*", of.to_vec()),
                        [.., name, "self"] | [.., name] => (*name, path.clone()),
                        [] => continue,
                    });
                }
                if *token == "}" {
                    groups.pop();
                }
                path.truncate(groups.last().copied().unwrap_or_default());
            }
            name => path.push(name),
        }
    }
    found
}

/// Words, `::`, and all other characters one by one.
fn tokens(code: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = code.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = match rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len()) {
            0 if rest.starts_with("::") => 2,
            0 => first.len_utf8(),
            length => length,
        };
        found.push(&rest[..length]);
        rest = rest[length..].trim_start();
    }
    found
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

#[test]
fn cycles_are_found_through_imports_and_re_exports() {
    let found = |files: &[(&str, &str)]| {
        let source = |(path, code): &(&str, &str)| Source::new(&format!("crates/x/src/{path}.rs"), code);
        let sources: Vec<Source> = files.iter().map(source).collect();
        cycles("crates/x/src/", sources.iter())
    };
    let lib = ("lib", "mod a; mod b; pub use b::{B, c::C}; pub use a::*;");
    let b = ("b", "pub mod c; pub struct B(crate::A);");
    let c = ("b/c", "pub struct C;");
    assert_eq!(found(&[lib, ("a", "use crate::C; pub struct A(C);"), b, c]), [""; 0]);
    for a in [
        "use crate::B; pub struct A(B);",
        "use super::{b::{self, c}, C}; pub struct A(b::B);",
        "use crate::*; pub struct A(Vec<B>);",
        "use crate::b as other; pub struct A(other::B);",
        "pub use crate::b::B as Of; pub fn f(of: &Of) {} pub struct A;",
    ] {
        let cycle = ["crates/x/src/: crate::a -> crate::b -> crate::a"];
        assert_eq!(found(&[lib, ("a", a), b, c]), cycle, "{a}");
    }
    let child = [("b", "mod c; pub struct B; pub fn f(c: c::C) {}"), ("b/c", "pub struct C(super::B);")];
    assert_eq!(found(&child).len(), 1, "a child that uses its parent");

    let inline = [
        ("lib", "mod a; mod b { pub mod c; }"),
        ("a", "use crate::b::c::C; pub struct A(C);"),
        ("b/c", "pub struct C(super::super::a::A);"),
    ];
    assert_eq!(found(&inline), ["crates/x/src/: crate::a -> crate::b::c -> crate::a"], "an inline module");
}
