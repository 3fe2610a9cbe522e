//! Whether a server's certificate is believed, by libpq's rules rather than those of browsers.
//!
//! webpki, below rustls, is made for the web: it refuses a certificate of an authority as that of a server, certificates of
//! version 1, and names that stand in the subject only. PostgreSQL servers have all of these, because `openssl req -x509`
//! and `openssl x509 -req` make them, and OpenSSL accepts them.

use rustls::{
    CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor, verify_server_name,
    },
    crypto::{
        WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
        verify_tls13_signature_with_raw_key,
    },
    pki_types::{
        AlgorithmIdentifier, CertificateDer, ServerName, SignatureVerificationAlgorithm,
        SubjectPublicKeyInfoDer, UnixTime,
    },
    server::ParsedCertificate,
};
use x509_cert::{
    Certificate, Version,
    der::{Decode as _, Encode as _, oid::db::rfc4519::COMMON_NAME},
    ext::pkix::{BasicConstraints, SubjectAltName, name::GeneralName},
    spki::AlgorithmIdentifierOwned,
};

/// How much is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Check {
    /// Only that the server has the key of its certificate.
    Nothing,
    /// The certificate is one of the roots, or signed by one.
    Chain,
    /// And it is for the host that was asked for.
    ChainAndName,
}

#[derive(Debug)]
pub(super) struct Verifier {
    check: Check,
    roots: RootCertStore,
    /// The roots as certificates, if they came from a file.
    certificates: Vec<CertificateDer<'static>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    pub(super) fn new(
        check: Check,
        roots: RootCertStore,
        certificates: Vec<CertificateDer<'static>>,
        algorithms: WebPkiSupportedAlgorithms,
    ) -> Self {
        Self { check, roots, certificates, algorithms }
    }

    /// Whether a root vouches for the certificate.
    fn check_chain(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        if self.certificates.iter().any(|known| known == end_entity) {
            return check_time(&parse(end_entity)?, now);
        }
        let verified = ParsedCertificate::try_from(end_entity).and_then(|parsed| {
            let algorithms = self.algorithms.all;
            verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, intermediates, now, algorithms)
        });
        match verified {
            Err(error) => self.check_version_1(end_entity, now).map_err(|_| error),
            Ok(()) => Ok(()),
        }
    }

    /// A certificate of version 1 has no extensions, so that there is nothing to check but its issuer's signature.
    fn check_version_1(&self, end_entity: &CertificateDer<'_>, now: UnixTime) -> Result<(), Error> {
        let certificate = parse(end_entity)?;
        if certificate.tbs_certificate.version != Version::V1 {
            return Err(CertificateError::UnknownIssuer.into());
        }
        check_time(&certificate, now)?;
        let signed = certificate.tbs_certificate.to_der().map_err(|_| bad_encoding())?;
        let signature = certificate.signature.raw_bytes();
        let algorithm = identifier(&certificate.signature_algorithm)?;
        for root in self.certificates.iter().filter_map(|root| parse(root).ok()) {
            if root.tbs_certificate.subject == certificate.tbs_certificate.issuer
                && check_time(&root, now).is_ok()
                && may_sign(&root)
                && self.signed_by(&root, &algorithm, &signed, signature)
            {
                return Ok(());
            }
        }
        Err(CertificateError::UnknownIssuer.into())
    }

    fn signed_by(&self, signer: &Certificate, algorithm: &[u8], signed: &[u8], signature: &[u8]) -> bool {
        let mut candidates = self.algorithms.all.iter().copied();
        candidates.any(|candidate| {
            is(candidate.signature_alg_id(), algorithm)
                && verify(candidate, signer, signed, signature).unwrap_or(false)
        })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.check != Check::Nothing {
            self.check_chain(end_entity, intermediates, now)?;
        }
        if self.check == Check::ChainAndName {
            check_name(end_entity, server_name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if ParsedCertificate::try_from(certificate).is_ok() {
            return verify_tls12_signature(message, certificate, signed, &self.algorithms);
        }
        let signer = parse(certificate)?;
        let mapping = self.algorithms.mapping.iter();
        let mut candidates = mapping
            .filter(|(scheme, _)| *scheme == signed.scheme)
            .flat_map(|(_, candidates)| candidates.iter().copied());
        if candidates
            .any(|candidate| verify(candidate, &signer, message, signed.signature()).unwrap_or(false))
        {
            Ok(HandshakeSignatureValid::assertion())
        } else {
            Err(CertificateError::BadSignature.into())
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if ParsedCertificate::try_from(certificate).is_ok() {
            return verify_tls13_signature(message, certificate, signed, &self.algorithms);
        }
        let key = SubjectPublicKeyInfoDer::from(public_key(certificate)?);
        verify_tls13_signature_with_raw_key(message, &key, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// The public key of a certificate, with its algorithm, in DER.
pub(super) fn public_key(certificate: &CertificateDer<'_>) -> Result<Vec<u8>, Error> {
    let key = parse(certificate)?.tbs_certificate.subject_public_key_info;
    key.to_der().map_err(|_| bad_encoding())
}

/// The name that a host is checked against: an alternative name, or the common name where there is none of that kind.
fn check_name(end_entity: &CertificateDer<'_>, host: &ServerName<'_>) -> Result<(), Error> {
    let refused = match ParsedCertificate::try_from(end_entity) {
        Ok(parsed) => match verify_server_name(&parsed, host) {
            Ok(()) => return Ok(()),
            Err(error) => error,
        },
        Err(_) => {
            CertificateError::NotValidForNameContext { expected: host.to_owned(), presented: Vec::new() }
                .into()
        }
    };
    let certificate = parse(end_entity)?;
    let alternative = certificate.tbs_certificate.get::<SubjectAltName>();
    let alternative = alternative.map_err(|_| bad_encoding())?;
    let alternative = alternative.map(|(_, names)| names.0).unwrap_or_default();
    let names: Vec<&str> = alternative.iter().filter_map(dns_name).collect();
    let has_address = alternative.iter().any(|name| matches!(name, GeneralName::IpAddress(_)));
    let (matches, by_common_name) = match host {
        // libpq accepts an address that is written as a name.
        ServerName::IpAddress(address) => {
            let address = std::net::IpAddr::from(*address).to_string();
            let named = names.contains(&address.as_str());
            (named, !named && !has_address && has_common_name(&certificate, &address))
        }
        ServerName::DnsName(name) => {
            (false, names.is_empty() && has_common_name(&certificate, name.as_ref()))
        }
        _ => (false, false),
    };
    if matches || by_common_name { Ok(()) } else { Err(refused) }
}

fn dns_name(name: &GeneralName) -> Option<&str> {
    match name {
        GeneralName::DnsName(name) => Some(name.as_str()),
        _ => None,
    }
}

/// Whether a common name is that of the host. A star stands for one label, as for libpq.
fn has_common_name(certificate: &Certificate, host: &str) -> bool {
    let attributes = certificate.tbs_certificate.subject.0.iter();
    let mut names = attributes
        .flat_map(|names| names.0.iter())
        .filter(|attribute| attribute.oid == COMMON_NAME)
        .filter_map(|attribute| std::str::from_utf8(attribute.value.value()).ok());
    names.any(|name| {
        name.eq_ignore_ascii_case(host)
            || name.strip_prefix("*.").is_some_and(|domain| {
                host.split_once('.')
                    .is_some_and(|(label, rest)| !label.is_empty() && rest.eq_ignore_ascii_case(domain))
            })
    })
}

/// Whether the certificate is that of an authority. Those of version 1 cannot say so.
fn may_sign(certificate: &Certificate) -> bool {
    match certificate.tbs_certificate.get::<BasicConstraints>() {
        Ok(Some((_, constraints))) => constraints.ca,
        Ok(None) => certificate.tbs_certificate.version == Version::V1,
        Err(_) => false,
    }
}

fn check_time(certificate: &Certificate, now: UnixTime) -> Result<(), Error> {
    let validity = &certificate.tbs_certificate.validity;
    if now.as_secs() < validity.not_before.to_unix_duration().as_secs() {
        Err(CertificateError::NotValidYet.into())
    } else if now.as_secs() > validity.not_after.to_unix_duration().as_secs() {
        Err(CertificateError::Expired.into())
    } else {
        Ok(())
    }
}

fn verify(
    algorithm: &dyn SignatureVerificationAlgorithm,
    signer: &Certificate,
    signed: &[u8],
    signature: &[u8],
) -> Result<bool, Error> {
    let key = &signer.tbs_certificate.subject_public_key_info;
    let fits = is(algorithm.public_key_alg_id(), &identifier(&key.algorithm)?);
    let bits = key.subject_public_key.raw_bytes();
    Ok(fits && algorithm.verify_signature(bits, signed, signature).is_ok())
}

fn is(known: AlgorithmIdentifier, found: &[u8]) -> bool {
    known.as_ref() == found
}

/// The content of an algorithm identifier, as `pki_types` has it: without the header of its sequence.
fn identifier(algorithm: &AlgorithmIdentifierOwned) -> Result<Vec<u8>, Error> {
    let mut content = algorithm.oid.to_der().map_err(|_| bad_encoding())?;
    if let Some(parameters) = &algorithm.parameters {
        content.extend(parameters.to_der().map_err(|_| bad_encoding())?);
    }
    Ok(content)
}

fn parse(certificate: &CertificateDer<'_>) -> Result<Certificate, Error> {
    Certificate::from_der(certificate).map_err(|_| bad_encoding())
}

fn bad_encoding() -> Error {
    CertificateError::BadEncoding.into()
}
