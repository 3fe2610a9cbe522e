//! Who may know whom: I1, and the edges to HTTP (I2) and to the database (I3).

use crate::{
    rule::Rule,
    source::{Source, has_word},
    workspace::{Kind, Member, Workspace, member},
};

/// The domain crates, those to come included.
pub const DOMAINS: [&str; 9] =
    ["identity", "credits", "sessions", "usage", "files", "billing", "webhooks", "idempotency", "chat"];

const DATABASE_CLIENTS: [&str; 6] =
    ["diesel", "diesel-async", "diesel_migrations", "tokio-postgres", "sqlx", "postgres"];

#[test]
fn i1_no_domain_knows_another_and_nobody_looks_up() {
    let rule = Rule {
        name: "I1",
        says: "a domain crate never depends on another domain crate, and no crate on one above it",
        because: "a domain can then be read, tested and changed alone; what two domains must do together is a flow in \
            crates/flows",
    };
    rule.is_kept(&forbidden_edges(&Workspace::get().members));
}

#[test]
fn i2_http_stays_in_web_and_the_gateway() {
    let rule = Rule {
        name: "I2",
        says: "actix is used in crates/web and bins/gateway only, and only there the status of an answer is decided",
        because: "domains serve other ways in too (MCP, commands, other services); they say what kind of failure it is \
            (kernel::Kind), and the catalogue of error codes has a status for it",
    };
    let workspace = Workspace::get();
    let mut breaches = http_dependencies(&workspace.members);
    for source in workspace.production() {
        breaches.extend(http_in(source, &workspace.members));
    }
    rule.is_kept(&breaches);
}

#[test]
fn i3_only_pg_and_domains_depend_on_a_database_client() {
    let rule = Rule {
        name: "I3",
        says: "kernel, web, flows and the gateway do not depend on diesel or another database client",
        because: "whoever can write SQL sooner or later does, past the rules of the domain that owns the table",
    };
    rule.is_kept(&database_dependencies(&Workspace::get().members));
}

fn forbidden_edges(members: &[Member]) -> Vec<String> {
    let mut breaches = Vec::new();
    for from in members {
        let Some(known) = layer(&from.name) else {
            breaches.push(format!(
                "{} has no place in the map: decide who may know it (tests/tidy/edges.rs and docs/architecture.md)",
                from.name
            ));
            continue;
        };
        for dependency in &from.dependencies {
            let Some(to) = layer(&dependency.name) else { continue };
            if dependency.name == from.name || may_know(known, to, dependency.kind) {
                continue;
            }
            let part = if dependency.kind == Kind::Dev { "the tests of " } else { "" };
            breaches.push(format!("{part}{} must not know {}", from.name, dependency.name));
        }
    }
    breaches
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layer {
    Kernel,
    Pg,
    LocalPostgres,
    Domain,
    Web,
    Flows,
    Client,
    Gateway,
    Testkit,
}

/// Where a crate of ours stands; nothing for crates of others.
fn layer(name: &str) -> Option<Layer> {
    Some(match name {
        "kernel" => Layer::Kernel,
        "pg" => Layer::Pg,
        "local-postgres" => Layer::LocalPostgres,
        "web" => Layer::Web,
        "flows" => Layer::Flows,
        "client" => Layer::Client,
        "gateway" => Layer::Gateway,
        "testkit" => Layer::Testkit,
        name if DOMAINS.contains(&name) => Layer::Domain,
        _ => return None,
    })
}

fn may_know(from: Layer, to: Layer, kind: Kind) -> bool {
    use Layer::{Client, Domain, Flows, Gateway, Kernel, LocalPostgres, Pg, Testkit, Web};
    let in_tests = [Testkit, LocalPostgres, Pg, Kernel];
    let known: &[Layer] = match from {
        Kernel | LocalPostgres => &[],
        Pg | Web => &[Kernel],
        Domain => &[Kernel, Pg],
        Flows => &[Kernel, Pg, Domain],
        Client => &[Kernel, Domain],
        Gateway => &[Kernel, Web, Pg, LocalPostgres, Domain, Flows],
        Testkit => &[Kernel, Web, Pg, LocalPostgres, Domain, Flows, Client, Gateway],
    };
    known.contains(&to) || (kind == Kind::Dev && in_tests.contains(&to))
}

fn http_dependencies(members: &[Member]) -> Vec<String> {
    let mut breaches = Vec::new();
    for member in members.iter().filter(|member| !serves_http(&member.name)) {
        for dependency in &member.dependencies {
            if dependency.name.starts_with("actix") {
                breaches.push(format!("{} depends on {}", member.name, dependency.name));
            }
        }
    }
    breaches
}

/// A crate that calls others over HTTP reads their statuses; nobody else has a use for one.
fn http_in(source: &Source, members: &[Member]) -> Vec<String> {
    let owner = members.iter().find(|member| source.path.starts_with(&format!("{}/", member.dir)));
    let Some(owner) = owner.filter(|owner| !serves_http(&owner.name)) else {
        return Vec::new();
    };
    let words: &[&str] =
        if owner.needs("reqwest") { &["HttpResponse"] } else { &["HttpResponse", "StatusCode"] };
    source
        .lines()
        .filter_map(|(line, code)| {
            let word = words.iter().find(|word| has_word(code, word))?;
            Some(format!("{} speaks of {word}", source.at(line)))
        })
        .collect()
}

fn serves_http(name: &str) -> bool {
    matches!(layer(name), Some(Layer::Web | Layer::Gateway | Layer::Testkit))
}

fn database_dependencies(members: &[Member]) -> Vec<String> {
    let mut breaches = Vec::new();
    for member in members {
        if matches!(layer(&member.name), Some(Layer::Pg | Layer::Domain | Layer::Testkit)) {
            continue;
        }
        for client in DATABASE_CLIENTS.iter().filter(|client| member.needs(client)) {
            breaches.push(format!("{} depends on {client}", member.name));
        }
    }
    breaches
}

#[test]
fn sideways_and_upward_edges_are_found() {
    for (name, dependency) in [
        ("credits", "usage"),
        ("credits", "dev:usage"),
        ("kernel", "pg"),
        ("pg", "credits"),
        ("flows", "gateway"),
        ("client", "pg"),
        ("usage", "testkit"),
        ("usage", "flows"),
        ("gateway", "testkit"),
        ("web", "pg"),
        ("web", "identity"),
        ("credits", "web"),
    ] {
        let breaches = forbidden_edges(&[member(name, &[dependency])]);
        assert_eq!(breaches.len(), 1, "{name} -> {dependency}");
    }
    for (name, dependency) in [
        ("credits", "pg"),
        ("credits", "dev:testkit"),
        ("flows", "credits"),
        ("gateway", "flows"),
        ("gateway", "web"),
        ("web", "kernel"),
        ("testkit", "gateway"),
        ("kernel", "serde"),
    ] {
        assert_eq!(forbidden_edges(&[member(name, &[dependency])]), [""; 0], "{name} -> {dependency}");
    }
    assert!(forbidden_edges(&[member("newcomer", &[])])[0].contains("no place"));
}

#[test]
fn http_and_database_outside_their_crates_are_found() {
    let members = [
        member("credits", &["actix-web", "diesel"]),
        member("gateway", &["actix-web"]),
        member("web", &["actix-http"]),
        member("flows", &["diesel-async", "dev:diesel"]),
        member("chat", &["reqwest"]),
    ];
    assert_eq!(http_dependencies(&members), ["credits depends on actix-web"]);
    assert_eq!(database_dependencies(&members), ["flows depends on diesel-async"]);
    let status = "fn status() -> StatusCode { StatusCode::OK }";
    let found = |path: &str| http_in(&Source::new(path, status), &members).len();
    assert_eq!(found("crates/credits/src/error.rs"), 1);
    assert_eq!(found("crates/chat/src/upstream.rs"), 0);
    assert_eq!(found("crates/gateway/src/error.rs"), 0);
}
