//! Opening one connection: TLS where the server is remote, and the settings every session has.

use std::sync::Arc;

use diesel_async::AsyncPgConnection;
use rustls::{ClientConfig, RootCertStore, pki_types::CertificateDer, pki_types::pem::PemObject};
use tokio_postgres::{
    CancelToken, Config, NoTls,
    config::{Host, SslMode},
};
use tokio_postgres_rustls::MakeRustlsConnect;
use url::Url;

use crate::{DbError, pool::PoolSettings, session::Session};

/// How to reach the server, read from a `postgresql://` URL once.
#[derive(Clone)]
pub(crate) struct Target {
    config: Config,
    tls: Option<MakeRustlsConnect>,
    pub(crate) session: Session,
}

impl Target {
    /// Reads the URL.
    ///
    /// TLS: towards a unix socket or a loopback address none unless `sslmode` asks for it; towards any other host it is
    /// required, with the server's certificate verified against the system's roots or `sslrootcert`. `sslmode=disable`
    /// turns it off; `verify-ca` and `verify-full` mean the same as `require`, which always verifies here.
    pub(crate) fn parse(settings: &PoolSettings) -> Result<Self, DbError> {
        let (address, sslmode, root_file) = split_tls_options(&settings.url)?;
        let mut config: Config = address
            .parse()
            .map_err(|error| DbError::Connect(Box::new(error)))?;
        config.application_name(&settings.application_name);
        config.connect_timeout(settings.connect_timeout);
        config.keepalives_idle(std::time::Duration::from_secs(60));
        let mode = match sslmode.as_deref() {
            Some("disable") => SslMode::Disable,
            Some("allow" | "prefer") => SslMode::Prefer,
            Some("require" | "verify-ca" | "verify-full") => SslMode::Require,
            None if is_local(&config) => SslMode::Disable,
            None => SslMode::Require,
            Some(other) => return Err(DbError::Connect(format!("sslmode {other} is not known").into())),
        };
        config.ssl_mode(mode);
        let tls = match mode {
            SslMode::Disable => None,
            _ => Some(MakeRustlsConnect::new(tls_config(root_file.as_deref())?)),
        };
        Ok(Self {
            config,
            tls,
            session: Session::new(settings),
        })
    }

    /// The same server with the sessions of other settings.
    pub(crate) fn with(&self, settings: &PoolSettings) -> Self {
        Self {
            session: self.session.with(settings),
            ..self.clone()
        }
    }

    /// Opens a connection. The task that drives it runs on the tokio runtime this is called on.
    pub(crate) async fn connect(&self) -> Result<AsyncPgConnection, DbError> {
        let failed = |error: tokio_postgres::Error| DbError::Connect(Box::new(error));
        let set_up = |error: diesel::ConnectionError| DbError::Connect(Box::new(error));
        let mut connection = if let Some(tls) = &self.tls {
            let (client, driver) = self.config.connect(tls.clone()).await.map_err(failed)?;
            self.session.note_version(driver.parameter("server_version"));
            AsyncPgConnection::try_from_client_and_connection(client, driver)
                .await
                .map_err(set_up)?
        } else {
            let (client, driver) = self.config.connect(NoTls).await.map_err(failed)?;
            self.session.note_version(driver.parameter("server_version"));
            AsyncPgConnection::try_from_client_and_connection(client, driver)
                .await
                .map_err(set_up)?
        };
        self.session
            .begin_on(&mut connection)
            .await
            .map_err(|error| DbError::Connect(Box::new(error)))?;
        Ok(connection)
    }

    /// Asks the server, on a connection of its own, to stop the statement that `token` stands for.
    pub(crate) async fn cancel(&self, token: &CancelToken) -> Result<(), tokio_postgres::Error> {
        match &self.tls {
            Some(tls) => token.cancel_query(tls.clone()).await,
            None => token.cancel_query(NoTls).await,
        }
    }
}

/// tokio-postgres knows neither `sslrootcert` nor the `verify-*` modes, so they are taken out of the URL here.
fn split_tls_options(text: &str) -> Result<(String, Option<String>, Option<String>), DbError> {
    let mut url = Url::parse(text).map_err(|error| DbError::Connect(Box::new(error)))?;
    if !matches!(url.scheme(), "postgres" | "postgresql") {
        return Err(DbError::Connect(
            "the database URL must begin with postgresql://".into(),
        ));
    }
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let find = |name: &str| {
        pairs
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.clone())
    };
    let (mode, root) = (find("sslmode"), find("sslrootcert"));
    let rest: Vec<_> = pairs
        .into_iter()
        .filter(|(key, _)| key != "sslmode" && key != "sslrootcert")
        .collect();
    if rest.is_empty() {
        url.set_query(None);
    } else {
        url.query_pairs_mut().clear().extend_pairs(rest);
    }
    Ok((url.to_string(), mode, root))
}

fn is_local(config: &Config) -> bool {
    config.get_hosts().iter().all(|host| match host {
        Host::Tcp(name) => {
            name == "localhost"
                || name
                    .parse::<std::net::IpAddr>()
                    .is_ok_and(|address| address.is_loopback())
        }
        #[cfg(unix)]
        Host::Unix(_) => true,
    })
}

fn tls_config(root_file: Option<&str>) -> Result<ClientConfig, DbError> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = root_file {
        let failed =
            |error: String| DbError::Connect(format!("sslrootcert {path} cannot be used: {error}").into());
        for certificate in CertificateDer::pem_file_iter(path).map_err(|error| failed(error.to_string()))? {
            let certificate = certificate.map_err(|error| failed(error.to_string()))?;
            roots
                .add(certificate)
                .map_err(|error| failed(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(failed("it holds no certificate".to_owned()));
        }
    } else {
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| DbError::Connect(Box::new(error)))?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(url: &str) -> SslMode {
        Target::parse(&PoolSettings::new(url))
            .map(|target| target.config.get_ssl_mode())
            .unwrap()
    }

    #[test]
    fn remote_servers_need_tls_unless_it_is_turned_off() {
        assert_eq!(mode("postgresql://u@%2Ftmp%2Fx/db"), SslMode::Disable);
        assert_eq!(mode("postgresql://u@localhost/db"), SslMode::Disable);
        assert_eq!(mode("postgresql://u@127.0.0.1:5433/db"), SslMode::Disable);
        assert_eq!(mode("postgresql://u@db.example.com/db"), SslMode::Require);
        assert_eq!(
            mode("postgresql://u@db.example.com/db?sslmode=disable"),
            SslMode::Disable
        );
        assert_eq!(
            mode("postgresql://u@localhost/db?sslmode=verify-full&target_session_attrs=any"),
            SslMode::Require
        );
    }

    #[test]
    fn unusable_urls_are_refused() {
        for url in [
            "mysql://u@localhost/db",
            "no url",
            "postgresql://u@localhost/db?sslmode=maybe",
        ] {
            assert!(Target::parse(&PoolSettings::new(url)).is_err(), "{url}");
        }
    }
}
