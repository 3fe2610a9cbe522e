//! Verification of a server's certificate, by libpq's rules rather than those of browsers.
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
        SubjectPublicKeyInfoDer, TrustAnchor, UnixTime,
    },
    server::ParsedCertificate,
};
use x509_cert::{
    Certificate, Version,
    der::{
        Decode as _, Encode as _,
        oid::{
            ObjectIdentifier,
            db::{
                rfc4519::COMMON_NAME,
                rfc5280::{
                    ID_CE_BASIC_CONSTRAINTS, ID_CE_CERTIFICATE_POLICIES, ID_CE_CRL_DISTRIBUTION_POINTS,
                    ID_CE_EXT_KEY_USAGE, ID_CE_INHIBIT_ANY_POLICY, ID_CE_KEY_USAGE, ID_CE_NAME_CONSTRAINTS,
                    ID_CE_POLICY_CONSTRAINTS, ID_CE_POLICY_MAPPINGS, ID_CE_SUBJECT_ALT_NAME,
                    ID_KP_SERVER_AUTH,
                },
            },
        },
    },
    ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAltName, name::GeneralName},
    spki::AlgorithmIdentifierOwned,
};

/// Amount of data that is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Check {
    /// Only that the server has the key of its certificate.
    Nothing,
    /// The certificate is one of the roots, or signed by one.
    Chain,
    /// And it is for the host that was asked for.
    ChainAndName,
}

/// A certificate of `sslrootcert`, or of the system.
#[derive(Debug)]
pub(super) struct Known {
    der: CertificateDer<'static>,
    certificate: Certificate,
    /// The trust anchor of an authority for webpki; none if it may sign no certificate of a server.
    authority: Option<TrustAnchor<'static>>,
}

#[derive(Debug)]
pub(super) struct Verifier {
    check: Check,
    known: Vec<Known>,
    algorithms: WebPkiSupportedAlgorithms,
}

/// Extensions that OpenSSL knows where they are critical.
const KNOWN_EXTENSIONS: [ObjectIdentifier; 10] = [
    ID_CE_BASIC_CONSTRAINTS,
    ID_CE_CERTIFICATE_POLICIES,
    ID_CE_CRL_DISTRIBUTION_POINTS,
    ID_CE_EXT_KEY_USAGE,
    ID_CE_INHIBIT_ANY_POLICY,
    ID_CE_KEY_USAGE,
    ID_CE_NAME_CONSTRAINTS,
    ID_CE_POLICY_CONSTRAINTS,
    ID_CE_POLICY_MAPPINGS,
    ID_CE_SUBJECT_ALT_NAME,
];

/// Longest way from the certificate of a server to that of an authority, where webpki does not look for it.
const ISSUERS_MAX: usize = 4;

impl Known {
    /// None if it cannot be read.
    pub(super) fn read(der: CertificateDer<'static>) -> Option<Self> {
        let certificate = parse(&der).ok()?;
        let mut roots = RootCertStore::empty();
        let authority = may_sign(&certificate) && roots.add(der.clone()).is_ok();
        Some(Self { der, authority: roots.roots.pop().filter(|_| authority), certificate })
    }

    fn authority_at(&self, now: UnixTime) -> Option<&TrustAnchor<'static>> {
        let in_time = check_time(&self.certificate, now).is_ok();
        self.authority.as_ref().filter(|_| in_time)
    }

    fn is_issuer_of(&self, certificate: &Certificate) -> bool {
        self.certificate.tbs_certificate.subject == certificate.tbs_certificate.issuer
    }
}

impl Verifier {
    pub(super) fn new(check: Check, known: Vec<Known>, algorithms: WebPkiSupportedAlgorithms) -> Self {
        Self { check, known, algorithms }
    }

    /// Returns whether a known self-signed certificate is that of the server or of an authority above it.
    ///
    /// Same rule as OpenSSL without `X509_V_FLAG_PARTIAL_CHAIN`: other known certificates only lead there.
    fn check_chain(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let certificate = parse(end_entity)?;
        if is_self_issued(&certificate) && self.known.iter().any(|known| known.der == *end_entity) {
            check_time(&certificate, now)?;
            return check_use(&certificate);
        }
        let may_sign = |der: &&CertificateDer<'_>| parse(der).is_ok_and(|certificate| may_sign(&certificate));
        let mut between: Vec<_> = intermediates.iter().filter(may_sign).cloned().collect();
        let mut roots = RootCertStore::empty();
        for known in &self.known {
            match known.authority_at(now) {
                Some(authority) if is_self_issued(&known.certificate) => roots.roots.push(authority.clone()),
                Some(_) => between.push(known.der.clone()),
                None => {}
            }
        }
        let verified = ParsedCertificate::try_from(end_entity).and_then(|parsed| {
            let algorithms = self.algorithms.all;
            verify_server_cert_signed_by_trust_anchor(&parsed, &roots, &between, now, algorithms)
        });
        if let Err(error) = verified
            && !(self.is_for_own_rules(&certificate, now) && self.is_signed(&certificate, now, ISSUERS_MAX))
        {
            return Err(self.untimely(&certificate, now).unwrap_or(error));
        }
        check_use(&certificate)
    }

    /// Returns whether webpki refuses what OpenSSL accepts: a certificate of version 1, or that of an authority, as a server's.
    fn is_for_own_rules(&self, certificate: &Certificate, now: UnixTime) -> bool {
        let is_authority = basic_constraints(certificate).is_ok_and(|found| found == Some(true));
        (certificate.tbs_certificate.version == Version::V1 || is_authority)
            && check_time(certificate, now).is_ok()
    }

    /// Returns whether the signatures of known certificates lead to a self-signed one.
    fn is_signed(&self, certificate: &Certificate, now: UnixTime, issuers_left: usize) -> bool {
        let Some(left) = issuers_left.checked_sub(1) else {
            return false;
        };
        self.known.iter().any(|known| {
            known.is_issuer_of(certificate)
                // Names are constrained in ways that only webpki knows.
                && known.authority_at(now).is_some_and(|authority| authority.name_constraints.is_none())
                && self.signed_by(&known.certificate, certificate).unwrap_or(false)
                && (is_self_issued(&known.certificate) || self.is_signed(&known.certificate, now, left))
        })
    }

    /// The reason why the known issuer of a certificate does not count, if that is its time.
    fn untimely(&self, certificate: &Certificate, now: UnixTime) -> Option<Error> {
        let mut issuers = self.known.iter().filter(|known| known.is_issuer_of(certificate));
        issuers.find_map(|known| check_time(&known.certificate, now).err())
    }

    fn signed_by(&self, signer: &Certificate, certificate: &Certificate) -> Result<bool, Error> {
        let signed = certificate.tbs_certificate.to_der().map_err(|_| bad_encoding())?;
        let signature = certificate.signature.raw_bytes();
        let algorithm = identifier(&certificate.signature_algorithm)?;
        let mut candidates = self.algorithms.all.iter().copied();
        Ok(candidates.any(|candidate| {
            is(candidate.signature_alg_id(), &algorithm)
                && verify(candidate, signer, &signed, signature).unwrap_or(false)
        }))
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

/// Returns whether the common name, the first if there are several, is that of the host. A star stands for one label, as for libpq.
fn has_common_name(certificate: &Certificate, host: &str) -> bool {
    let attributes = certificate.tbs_certificate.subject.0.iter();
    let name = attributes
        .flat_map(|names| names.0.iter())
        .find(|attribute| attribute.oid == COMMON_NAME)
        .and_then(|attribute| std::str::from_utf8(attribute.value.value()).ok());
    name.is_some_and(|name| {
        name.eq_ignore_ascii_case(host)
            || name.strip_prefix("*.").is_some_and(|domain| {
                host.split_once('.')
                    .is_some_and(|(label, rest)| !label.is_empty() && rest.eq_ignore_ascii_case(domain))
            })
    })
}

fn is_self_issued(certificate: &Certificate) -> bool {
    certificate.tbs_certificate.subject == certificate.tbs_certificate.issuer
}

/// Returns whether the certificate is that of an authority, if it states it.
fn basic_constraints(certificate: &Certificate) -> Result<Option<bool>, Error> {
    let found = certificate.tbs_certificate.get::<BasicConstraints>();
    let found = found.map_err(|_| bad_encoding())?;
    Ok(found.map(|(_, constraints)| constraints.ca))
}

fn key_usage(certificate: &Certificate) -> Result<Option<KeyUsage>, Error> {
    let found = certificate.tbs_certificate.get::<KeyUsage>();
    Ok(found.map_err(|_| bad_encoding())?.map(|(_, usage)| usage))
}

/// Returns whether it may be in the chain of a server: by its purposes, and by having no critical extension that OpenSSL does
/// not know.
fn is_for_servers(certificate: &Certificate) -> bool {
    let extensions = certificate.tbs_certificate.extensions.iter().flatten();
    let mut critical = extensions.filter(|extension| extension.critical);
    if critical.any(|extension| !KNOWN_EXTENSIONS.contains(&extension.extn_id)) {
        return false;
    }
    match certificate.tbs_certificate.get::<ExtendedKeyUsage>() {
        Ok(Some((_, uses))) => uses.0.contains(&ID_KP_SERVER_AUTH),
        Ok(None) => true,
        Err(_) => false,
    }
}

/// Returns whether it may sign certificates of servers, by OpenSSL's rules. Without basic constraints one of version 1 may that
/// signed itself, and one whose key is for it.
fn may_sign(certificate: &Certificate) -> bool {
    let Ok(usage) = key_usage(certificate) else {
        return false;
    };
    let is_authority = match basic_constraints(certificate) {
        Ok(Some(is_authority)) => is_authority,
        Ok(None) => {
            let is_first_version = certificate.tbs_certificate.version == Version::V1;
            usage.is_some() || (is_first_version && is_self_issued(certificate))
        }
        Err(_) => false,
    };
    is_authority && usage.is_none_or(|usage| usage.key_cert_sign()) && is_for_servers(certificate)
}

/// Refuses a certificate that is not for a server.
fn check_use(certificate: &Certificate) -> Result<(), Error> {
    let fits = key_usage(certificate)?
        .is_none_or(|usage| usage.digital_signature() || usage.key_encipherment() || usage.key_agreement());
    if fits && is_for_servers(certificate) { Ok(()) } else { Err(CertificateError::InvalidPurpose.into()) }
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

#[cfg(test)]
mod tests;
