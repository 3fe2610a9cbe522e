//! One route table (I9).

use crate::{rule::Rule, source::Source, workspace::Workspace};

const ROUTES: &str = "bins/gateway/src/http/routes/";
const TABLE: &str = "bins/gateway/src/http/routes.rs";
/// What actix registers a handler with.
const REGISTRATIONS: [&str; 13] = [
    ".route(",
    "web::resource(",
    "web::scope(",
    "web::get(",
    "web::post(",
    "web::put(",
    "web::patch(",
    "web::delete(",
    "#[get(",
    "#[post(",
    "#[put(",
    "#[patch(",
    "#[delete(",
];

const RULE: Rule = Rule {
    name: "I9",
    says: "every route is in one route table with its access rule, and a test walks that table",
    because: "a route that is registered elsewhere has no access rule that anyone checks; its file has `handle` and \
        `doc`, and routes.rs names it",
};

#[test]
fn i9_one_file_registers_routes() {
    let files: Vec<String> = Workspace::get().production().filter_map(registers).collect();
    RULE.is_kept(&all_but_one(files));
}

#[test]
fn i9_every_route_is_in_the_table() {
    let workspace = Workspace::get();
    let table = workspace.sources.iter().find(|source| source.path == TABLE);
    let table = table.map(|source| source.code.as_str()).unwrap_or_default();
    let breaches: Vec<String> =
        workspace.production().flat_map(|source| missing_from(table, source)).collect();
    RULE.is_kept(&breaches);
}

#[test]
fn i9_a_test_walks_the_table() {
    RULE.is_kept(&unwalked(&Workspace::get().sources));
}

fn registers(source: &Source) -> Option<String> {
    let serves_http = ["bins/gateway/", "crates/web/"].iter().any(|place| source.path.starts_with(place));
    let found = REGISTRATIONS.iter().find(|call| source.code.contains(*call));
    found.filter(|_| serves_http).map(|call| format!("{} registers with {call}", source.path))
}

fn all_but_one(files: Vec<String>) -> Vec<String> {
    if files.len() > 1 { files } else { Vec::new() }
}

fn missing_from(table: &str, source: &Source) -> Vec<String> {
    let Some(place) = source.path.strip_prefix(ROUTES).and_then(|path| path.strip_suffix(".rs")) else {
        return Vec::new();
    };
    let module = place.replace('/', "::");
    let names_a_route =
        |signature: &str| signature.split_whitespace().collect::<String>().ends_with("->Route");
    source
        .functions()
        .into_iter()
        .filter(|function| function.name == "handle" || names_a_route(function.signature))
        .map(|function| (function.line, format!("{module}::{}", function.name)))
        .filter(|(_, path)| !table.contains(&format!(" {path},")))
        .map(|(line, path)| format!("{}: {path} is not in the table", source.at(line)))
        .collect()
}

fn unwalked(sources: &[Source]) -> Vec<String> {
    let walks = |source: &&Source| {
        !source.is_production()
            && source.path.starts_with("bins/gateway/tests/")
            && source.code.contains("table()")
    };
    match sources.iter().find(walks) {
        Some(_) => Vec::new(),
        None => vec!["no test below bins/gateway/tests/ goes through routes::table()".to_owned()],
    }
}

#[test]
fn routes_outside_the_table_are_found() {
    let server = Source::new("crates/web/src/server.rs", "web::resource(path).route(r)");
    let stray = Source::new("bins/gateway/src/stray.rs", "#[get(\"/x\")] async fn x() {}");
    let files: Vec<String> = [&server, &stray].into_iter().filter_map(registers).collect();
    assert_eq!(all_but_one(files.clone()).len(), 2);
    assert_eq!(all_but_one(files[..1].to_vec()), [""; 0]);
    assert_eq!(registers(&Source::new("crates/x/src/y.rs", "a.route(b)")), None);

    let endpoint = Source::new(
        "bins/gateway/src/http/routes/users/me.rs",
        "pub async fn handle(call: Call) -> Result<Reply, ApiError> { todo() } fn other() -> u8 { 1 }",
    );
    assert_eq!(missing_from("GET \"/me\" => users::me::handle,", &endpoint), [""; 0]);
    let missing = ["bins/gateway/src/http/routes/users/me.rs:1: users::me::handle is not in the table"];
    for table in ["", "GET \"/me\" => users::me::handler,", "GET \"/me\" => other_users::me::handle,"] {
        assert_eq!(missing_from(table, &endpoint), missing);
    }
    let stray = Source::new("bins/gateway/src/http/routes/a.rs", "fn hidden() -> Route { todo() }");
    assert_eq!(missing_from("", &stray).len(), 1);
    assert_eq!(unwalked(&[endpoint]).len(), 1);
    let walker = Source::new("bins/gateway/tests/access.rs", "for route in table() {}");
    assert_eq!(unwalked(&[walker]), [""; 0]);
}
