//! Certificates as `openssl` makes them, judged as by psql 15 with OpenSSL 3.0.

use std::{path::Path, process::Command, time::Duration};

use rustls::pki_types::pem::PemObject as _;
use tempfile::TempDir;

use super::*;

/// Certificates made by `openssl`, each valid for its days.
struct Certificates(TempDir);

/// The extensions of an authority.
const AUTHORITY: &str = "basicConstraints=critical,CA:TRUE";
const NO_AUTHORITY: &str = "basicConstraints=critical,CA:FALSE";
const NAME: &str = "subjectAltName=DNS:localhost";
const UNKNOWN: &str = "1.2.3.4=critical,ASN1:UTF8String:x";
const OF_CLIENTS: &str = "extendedKeyUsage=clientAuth";
const FOR_SIGNATURES: &str = "keyUsage=critical,keyCertSign";
const FOR_DATA: &str = "keyUsage=critical,digitalSignature";
const ELSEWHERE: &str = "nameConstraints=critical,permitted;DNS:example.com";

const DAYS: u64 = 1_000;

impl Certificates {
    /// Nothing, and the test is skipped, on a machine without `openssl`.
    fn new() -> Option<Self> {
        if testkit::find_program("openssl").is_none() {
            testkit::skip_without("openssl");
            return None;
        }
        Some(Self(tempfile::tempdir().unwrap()))
    }

    fn folder(&self) -> &Path {
        self.0.path()
    }

    fn openssl(&self, arguments: &str) {
        let mut command = Command::new("openssl");
        let run = command.args(arguments.split(' ')).current_dir(self.folder()).output().unwrap();
        let told = String::from_utf8_lossy(&run.stderr);
        assert!(run.status.success(), "openssl {arguments}: {told}");
    }

    fn request(&self, name: &str, common_name: &str) {
        self.openssl(&format!(
            "req -new -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256 -subj /CN={common_name} -out {name}.csr -keyout {name}.key"
        ));
    }

    /// Without extensions it is of version 1.
    fn sign(&self, name: &str, signer: &str, days: u64, extensions: &[&str]) {
        let mut arguments = format!("x509 -req -days {days} -in {name}.csr -out {name}.crt");
        if !extensions.is_empty() {
            std::fs::write(self.folder().join("extensions"), extensions.join("\n")).unwrap();
            arguments.push_str(" -extfile extensions");
        }
        arguments.push_str(&if name == signer {
            format!(" -signkey {name}.key")
        } else {
            format!(" -CA {signer}.crt -CAkey {signer}.key -CAcreateserial")
        });
        self.openssl(&arguments);
    }

    fn by_itself(&self, name: &str, common_name: &str, days: u64, extensions: &[&str]) {
        self.request(name, common_name);
        self.sign(name, name, days, extensions);
    }

    fn by(&self, signer: &str, name: &str, common_name: &str, extensions: &[&str]) {
        self.request(name, common_name);
        self.sign(name, signer, DAYS, extensions);
    }

    /// A root with these extensions, and the certificate of a server that it signed: `of-<name>`.
    fn root(&self, name: &str, extensions: &[&str]) {
        self.by_itself(name, "root", DAYS, extensions);
        self.by(name, &format!("of-{name}"), "localhost", &[NAME]);
    }

    /// An authority with these extensions below `root`, and the certificate of a server that it signed: `of-<name>`.
    fn between(&self, name: &str, extensions: &[&str]) {
        self.by("root", name, "between", extensions);
        self.by(name, &format!("of-{name}"), "localhost", &[NAME]);
    }

    fn read(&self, name: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(self.folder().join(format!("{name}.crt"))).unwrap()
    }

    /// Result for a server that sends these certificates, its own first.
    fn check(&self, sent: &[&str], known: &[&str], days_from_now: u64) -> Result<(), Error> {
        let known = known.iter().map(|name| Known::read(self.read(name)).unwrap());
        let algorithms = rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms;
        let verifier = Verifier::new(Check::Chain, known.collect(), algorithms);
        let sent: Vec<_> = sent.iter().map(|name| self.read(name)).collect();
        let (own, others) = sent.split_first().unwrap();
        let then = UnixTime::now().as_secs() + days_from_now * 86_400;
        verifier.check_chain(own, others, UnixTime::since_unix_epoch(Duration::from_secs(then)))
    }

    fn assert(&self, sent: &[&str], known: &[&str], is_accepted: bool) {
        let found = self.check(sent, known, 1);
        assert_eq!(found.is_ok(), is_accepted, "{sent:?} with {known:?}: {found:?}");
    }
}

#[test]
fn a_server_is_believed_by_its_own_certificate_as_psql_does() {
    let Some(made) = Certificates::new() else {
        return;
    };
    for (name, extensions, is_accepted) in [
        ("authority", &[AUTHORITY, NAME][..], true),
        ("leaf", &[NO_AUTHORITY, NAME], true),
        ("silent", &[NAME], true),
        ("first-version", &[], true),
        ("for-data", &[NO_AUTHORITY, FOR_DATA, NAME], true),
        ("for-signatures", &[AUTHORITY, FOR_SIGNATURES, NAME], false),
        ("of-clients", &[OF_CLIENTS, NAME], false),
        ("authority-of-clients", &[AUTHORITY, OF_CLIENTS, NAME], false),
        ("unknown", &[AUTHORITY, UNKNOWN, NAME], false),
    ] {
        made.by_itself(name, "localhost", DAYS, extensions);
        made.assert(&[name], &[name], is_accepted);
        let old = made.check(&[name], &[name], DAYS + 1).unwrap_err();
        assert_eq!(old, CertificateError::Expired.into(), "{name}");
    }
    made.assert(&["leaf"], &["authority"], false);

    // One that did not sign itself needs its authority, although it is named itself.
    made.by_itself("root", "root", DAYS, &[AUTHORITY]);
    for (name, extensions) in [("signed", &[NAME][..]), ("signed-of-first-version", &[])] {
        made.by("root", name, "localhost", extensions);
        made.assert(&[name], &[name], false);
        made.assert(&[name], &[name, "root"], true);
    }
}

#[test]
fn only_authorities_sign_for_others_as_for_psql() {
    let Some(made) = Certificates::new() else {
        return;
    };
    for (name, extensions, is_accepted) in [
        ("root", &[AUTHORITY][..], true),
        ("root-by-key", &[FOR_SIGNATURES], true),
        ("root-of-first-version", &[], true),
        ("leaf", &[NO_AUTHORITY], false),
        ("silent", &["subjectKeyIdentifier=hash"], false),
        ("for-data", &[AUTHORITY, FOR_DATA], false),
        ("of-clients", &[AUTHORITY, OF_CLIENTS], false),
        ("unknown", &[AUTHORITY, UNKNOWN], false),
        ("of-others", &[AUTHORITY, ELSEWHERE], false),
    ] {
        made.root(name, extensions);
        made.assert(&[&format!("of-{name}")], &[name], is_accepted);
    }
    for (name, extensions, is_accepted) in [
        ("between", &[AUTHORITY][..], true),
        ("leaf-between", &[NO_AUTHORITY], false),
        ("for-data-between", &[AUTHORITY, FOR_DATA], false),
        ("of-clients-between", &[AUTHORITY, OF_CLIENTS], false),
    ] {
        made.between(name, extensions);
        let server = format!("of-{name}");
        made.assert(&[&server, name], &["root"], is_accepted);
        made.assert(&[&server], &["root", name], is_accepted);
        // It leads to a root, and is none.
        made.assert(&[&server, name, "root"], &[name], false);
    }
    for (name, extensions, is_accepted) in [
        ("authority", &[AUTHORITY, NAME][..], true),
        ("for-keys", &["keyUsage=critical,keyEncipherment", NAME], true),
        ("for-signatures", &[FOR_SIGNATURES, NAME], false),
        ("server-of-clients", &[OF_CLIENTS, NAME], false),
        ("server-unknown", &[UNKNOWN, NAME], false),
        ("authority-unknown", &[AUTHORITY, UNKNOWN, NAME], false),
    ] {
        made.by("root", name, "localhost", extensions);
        made.assert(&[name], &["root"], is_accepted);
    }
    made.by("between", "server-of-first-version", "localhost", &[]);
    made.assert(&["server-of-first-version"], &["root", "between"], true);
    made.assert(&["server-of-first-version"], &["between"], false);
    made.by("of-others", "constrained", "localhost", &[]);
    made.assert(&["constrained"], &["of-others"], false);
}

#[test]
fn authorities_count_in_their_time() {
    let Some(made) = Certificates::new() else {
        return;
    };
    made.by_itself("root", "root", 10, &[AUTHORITY]);
    made.by("root", "between", "between", &[AUTHORITY]);
    made.by("root", "server", "localhost", &[NAME]);
    made.by("root", "of-first-version", "localhost", &[]);
    made.by("between", "server-below", "localhost", &[NAME]);
    let chains = [&["server"][..], &["of-first-version"], &["server-below", "between"]];
    for sent in chains {
        made.check(sent, &["root"], 9).unwrap();
        made.check(sent, &["root"], 11).unwrap_err();
    }
    let old = made.check(&["server"], &["root"], 11).unwrap_err();
    assert_eq!(old, CertificateError::Expired.into());

    // The same authority with a new certificate beside the old one.
    std::fs::copy(made.folder().join("root.csr"), made.folder().join("renewed.csr")).unwrap();
    std::fs::copy(made.folder().join("root.key"), made.folder().join("renewed.key")).unwrap();
    made.sign("renewed", "renewed", DAYS, &[AUTHORITY]);
    for sent in chains {
        made.check(sent, &["root", "renewed"], 11).unwrap();
        made.check(sent, &["renewed", "root"], 11).unwrap();
    }
}

#[test]
fn the_first_common_name_counts() {
    let Some(made) = Certificates::new() else {
        return;
    };
    made.by_itself("server", "db.example.com/CN=localhost", DAYS, &[]);
    let is_for = |host: &str| check_name(&made.read("server"), &host.try_into().unwrap()).is_ok();
    assert!(is_for("db.example.com") && !is_for("localhost"));
}

#[test]
fn the_certificates_of_the_system_can_be_read() {
    let found = rustls_native_certs::load_native_certs().certs;
    let unread = found.iter().filter(|der| Known::read((*der).clone()).is_none());
    assert_eq!(unread.count(), 0);
}
