//! Encryption as libpq does it, with rustls.
//!
//! Two defaults are safer than those of libpq: towards another machine encryption is required unless `sslmode` says
//! otherwise, and `require` verifies the server as `verify-full` does.

use std::{io, os::unix::fs::MetadataExt as _, sync::Arc};

use rustls::{
    ClientConfig, SupportedProtocolVersion,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    sign::{CertifiedKey, SingleCertAndKey},
    version::{TLS12, TLS13},
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect as _};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::either::Either;

use super::{
    certificates::{Check, Known, Verifier, public_key},
    options::{SslMode, TlsOptions},
    socket::Socket,
    url::DatabaseUrl,
};
use crate::DbError;

/// An encrypted stream, with what channel binding needs.
pub(super) type Encrypted = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;
/// A stream over which the protocol is spoken.
pub(super) type Transport = Either<Socket, Box<Encrypted>>;

/// Encryption of connections to a server.
#[derive(Clone)]
pub(super) struct Encryption {
    connector: Option<MakeRustlsConnect>,
    /// The server may decline.
    optional: bool,
    /// Without asking the server first.
    direct: bool,
}

/// Why a stream is not encrypted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsFault {
    #[error("the server does not offer TLS, and sslmode requires it")]
    NotOffered,
    #[error("the server answered with an error when it was asked for TLS")]
    Refused,
    #[error("the TLS handshake failed")]
    Handshake(#[source] io::Error),
    #[error("the connection broke while TLS was asked for")]
    Broken(#[from] io::Error),
}

impl Encryption {
    /// Reads the certificates that the URL names.
    pub(super) fn new(url: &DatabaseUrl) -> Result<Self, DbError> {
        let options = &url.tls;
        let mode = match options.mode {
            Some(mode) => mode,
            None if options.root.is_none() && url.is_local() => SslMode::Disable,
            None => SslMode::VerifyFull,
        };
        let check = match mode {
            SslMode::Disable => None,
            // Whoever can change what is sent could turn encryption off; verifying would only break honest servers.
            SslMode::Prefer if options.root.is_none() => Some(Check::Nothing),
            SslMode::Prefer | SslMode::VerifyCa => Some(Check::Chain),
            SslMode::Require | SslMode::VerifyFull => Some(Check::ChainAndName),
        };
        let connector = check.map(|check| configure(options, check)).transpose()?;
        Ok(Self {
            connector: connector.map(MakeRustlsConnect::new),
            optional: mode == SslMode::Prefer,
            direct: options.direct,
        })
    }

    #[cfg(test)]
    pub(super) fn is_on(&self) -> bool {
        self.connector.is_some() && !self.optional
    }

    /// The same with the files as they are now: certificates are renewed while a process runs.
    pub(super) fn renewed(&self, url: &DatabaseUrl) -> Result<Self, DbError> {
        let options = &url.tls;
        let is_file = |path: &String| path != "system";
        if options.certificate.is_some() || options.root.as_ref().is_some_and(is_file) {
            Self::new(url)
        } else {
            Ok(self.clone())
        }
    }

    /// Properties of a stream, for another stream to the same server.
    pub(super) fn settled(&self, stream: &Transport) -> Self {
        Self {
            connector: match stream {
                Either::Left(_) => None,
                Either::Right(_) => self.connector.clone(),
            },
            optional: false,
            direct: self.direct,
        }
    }

    /// The same for a server that has declined.
    pub(super) fn declined(&self) -> Option<Self> {
        (self.optional && self.connector.is_some()).then(|| Self { connector: None, ..self.clone() })
    }

    /// Encrypts a stream. A unix socket is left as it is, as libpq leaves it.
    pub(super) async fn apply(&self, mut socket: Socket, name: &str) -> Result<Transport, TlsFault> {
        let Some(connector) = self.connector.as_ref().filter(|_| matches!(socket, Either::Left(_))) else {
            return Ok(Either::Left(socket));
        };
        if !self.direct {
            socket.write_all(&SSL_REQUEST).await?;
            match socket.read_u8().await? {
                b'S' => {}
                b'N' if self.optional => return Ok(Either::Left(socket)),
                b'N' => return Err(TlsFault::NotOffered),
                _ => return Err(TlsFault::Refused),
            }
        }
        let mut connector = connector.clone();
        let Ok(connect) = MakeTlsConnect::<Socket>::make_tls_connect(&mut connector, name);
        let stream = connect.connect(socket).await.map_err(TlsFault::Handshake)?;
        Ok(Either::Right(Box::new(stream)))
    }
}

/// Length 8 and the code 80877103: "SSLRequest" in the protocol's description.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

fn configure(options: &TlsOptions, check: Check) -> Result<ClientConfig, DbError> {
    let versions: &[&SupportedProtocolVersion] = match (options.at_least_13, options.at_most_12) {
        (true, _) => &[&TLS13],
        (_, true) => &[&TLS12],
        _ => &[&TLS13, &TLS12],
    };
    let known = match options.root.as_deref() {
        None | Some("system") => known(rustls_native_certs::load_native_certs().certs),
        Some(path) => root_file(path)?,
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = Verifier::new(check, known, provider.signature_verification_algorithms);
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .map_err(|error| DbError::Connect(Box::new(error)))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match options.certificate.as_deref().zip(options.key.as_deref()) {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let shown = client_certificate(certificate, key, &provider)?;
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(shown)))
        }
    };
    config.enable_sni = !options.without_sni;
    if options.direct {
        config.alpn_protocols = vec![b"postgresql".to_vec()];
    }
    Ok(config)
}

/// Those that can be read: a store may hold an odd one among many.
fn known(certificates: Vec<CertificateDer<'static>>) -> Vec<Known> {
    certificates.into_iter().filter_map(Known::read).collect()
}

fn root_file(path: &str) -> Result<Vec<Known>, DbError> {
    let known = known(read_certificates("sslrootcert", path)?);
    if known.is_empty() {
        return Err(unusable("sslrootcert", path, &"none of its certificates can be read"));
    }
    Ok(known)
}

fn read_certificates(parameter: &str, path: &str) -> Result<Vec<CertificateDer<'static>>, DbError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = read.map_err(|error| unusable(parameter, path, &error))?;
    if certificates.is_empty() {
        return Err(unusable(parameter, path, &"it holds no certificate"));
    }
    Ok(certificates)
}

/// The certificate that a server is shown. rustls would refuse one of version 1, which is what `openssl x509 -req` makes.
fn client_certificate(
    certificate: &str,
    key: &str,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, DbError> {
    let certificates = read_certificates("sslcert", certificate)?;
    let signer = provider.key_provider.load_private_key(read_key(key)?);
    let signer = signer.map_err(|error| unusable("sslkey", key, &error))?;
    let public = certificates.first().map(public_key).transpose();
    let public = public.map_err(|error| unusable("sslcert", certificate, &error))?;
    if signer.public_key().is_some_and(|own| Some(own.as_ref()) != public.as_deref()) {
        return Err(unusable(
            "sslcert",
            certificate,
            &format!("sslkey {key} is the key of another certificate"),
        ));
    }
    Ok(CertifiedKey::new(certificates, signer))
}

/// Reads a key that, as for libpq, only its owner may read; one of root's may be readable by a group.
fn read_key(path: &str) -> Result<PrivateKeyDer<'static>, DbError> {
    let failed = |error: &dyn std::fmt::Display| unusable("sslkey", path, error);
    let found = std::fs::metadata(path).map_err(|error| failed(&error))?;
    let forbidden = if found.uid() == 0 { 0o037 } else { 0o077 };
    if !found.is_file() {
        return Err(failed(&"it is not a file"));
    }
    if found.mode() & forbidden != 0 {
        return Err(failed(
            &"others may read it: its mode must be 0600 or less, or 0640 or less if it belongs to root",
        ));
    }
    PrivateKeyDer::from_pem_file(path).map_err(|error| match error {
        rustls::pki_types::pem::Error::NoItemsFound => failed(&"it holds no private key without a password"),
        other => failed(&other),
    })
}

fn unusable(parameter: &str, path: &str, error: &dyn std::fmt::Display) -> DbError {
    DbError::Connect(format!("{parameter} {path} cannot be used: {error}").into())
}
