//! The workspace as it is on disk: members with their dependencies, sources, migrations.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use serde::Deserialize;

use crate::source::Source;

/// One crate of the workspace.
#[derive(Debug, Clone)]
pub struct Member {
    pub name: String,
    /// Relative to the root: `crates/pg`.
    pub dir: String,
    pub dependencies: Vec<Dependency>,
}

/// What a crate says it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    pub name: String,
    pub kind: Kind,
}

/// Where it is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// In the crate itself or its build script.
    Normal,
    /// In its tests.
    Dev,
}

/// One folder of `migrations/<domain>/`.
#[derive(Debug, Clone)]
pub struct Folder {
    pub domain: String,
    pub name: String,
    /// `None` if the file is missing.
    pub up: Option<String>,
    pub down: Option<String>,
}

/// Everything the rules look at.
#[derive(Debug)]
pub struct Workspace {
    pub root: PathBuf,
    pub members: Vec<Member>,
    pub sources: Vec<Source>,
    /// In order of name, which is the order they run in.
    pub migrations: Vec<Folder>,
}

impl Workspace {
    /// The workspace this test belongs to.
    pub fn get() -> &'static Self {
        static WORKSPACE: OnceLock<Workspace> = OnceLock::new();
        WORKSPACE.get_or_init(|| {
            let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
            let root = root.canonicalize().unwrap();
            let members = members(&root);
            let mut sources = Vec::new();
            for member in &members {
                read_sources(&root, &root.join(&member.dir), &mut sources).unwrap();
            }
            let migrations = migrations(&root.join("migrations")).unwrap();
            Self { root, members, sources, migrations }
        })
    }

    /// Sources below `src/` of all crates, without those that only tests compile.
    pub fn production(&self) -> impl Iterator<Item = &Source> {
        self.sources.iter().filter(|source| source.is_production())
    }

    /// The text of a file, by its path from the root.
    pub fn read(&self, path: &str) -> io::Result<String> {
        fs::read_to_string(self.root.join(path))
    }
}

impl Member {
    /// Whether the crate itself, not only its tests, needs `name`.
    pub fn needs(&self, name: &str) -> bool {
        self.dependencies.iter().any(|dependency| dependency.kind == Kind::Normal && dependency.name == name)
    }
}

fn members(root: &Path) -> Vec<Member> {
    #[derive(Deserialize)]
    struct Metadata {
        packages: Vec<Package>,
    }
    #[derive(Deserialize)]
    struct Package {
        name: String,
        manifest_path: PathBuf,
        dependencies: Vec<Declared>,
    }
    #[derive(Deserialize)]
    struct Declared {
        name: String,
        kind: Option<String>,
    }
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root)
        .output()
        .unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo metadata failed: {complaint}");
    let metadata: Metadata = serde_json::from_slice(&output.stdout).unwrap();
    let member = |package: Package| Member {
        name: package.name,
        dir: relative(root, package.manifest_path.parent().unwrap()),
        dependencies: package
            .dependencies
            .into_iter()
            .map(|declared| Dependency {
                name: declared.name,
                kind: match declared.kind.as_deref() {
                    Some("dev") => Kind::Dev,
                    _ => Kind::Normal,
                },
            })
            .collect(),
    };
    metadata.packages.into_iter().map(member).collect()
}

fn read_sources(root: &Path, dir: &Path, sources: &mut Vec<Source>) -> io::Result<()> {
    for path in entries(dir)? {
        if path.is_dir() {
            read_sources(root, &path, sources)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            sources.push(Source::new(&relative(root, &path), &fs::read_to_string(&path)?));
        }
    }
    Ok(())
}

fn migrations(dir: &Path) -> io::Result<Vec<Folder>> {
    let mut found = Vec::new();
    for domain in entries(dir)? {
        for folder in entries(&domain)? {
            found.push(Folder {
                domain: name_of(&domain),
                name: name_of(&folder),
                up: fs::read_to_string(folder.join("up.sql")).ok(),
                down: fs::read_to_string(folder.join("down.sql")).ok(),
            });
        }
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}

fn entries(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths =
        fs::read_dir(dir)?.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

fn relative(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).display().to_string()
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

/// For tests of checkers: a crate in `crates/` with dependencies, those of its tests marked by `dev:`.
pub fn member(name: &str, dependencies: &[&str]) -> Member {
    Member {
        name: name.to_owned(),
        dir: format!("crates/{name}"),
        dependencies: dependencies
            .iter()
            .map(|text| match text.strip_prefix("dev:") {
                Some(name) => Dependency { name: name.to_owned(), kind: Kind::Dev },
                None => Dependency { name: (*text).to_owned(), kind: Kind::Normal },
            })
            .collect(),
    }
}

#[test]
fn the_workspace_is_found_and_read() {
    let workspace = Workspace::get();
    let pg = workspace.members.iter().find(|member| member.name == "pg").unwrap();
    assert_eq!(pg.dir, "crates/pg");
    assert!(pg.needs("diesel") && !pg.needs("testkit"));
    assert!(pg.dependencies.contains(&Dependency { name: "testkit".to_owned(), kind: Kind::Dev }));
    let here = "crates/testkit/tests/tidy/workspace.rs";
    assert!(workspace.sources.iter().any(|source| source.path == here));
    assert!(workspace.migrations.iter().all(|folder| folder.up.is_some()));
    assert!(workspace.migrations.len() >= 4);
}
