//! The HTTP client of the store: bounded in time, without redirects.

use object_store::{
    ClientConfigKey, ClientOptions,
    client::{HttpClient, HttpConnector},
};
use reqwest::redirect::Policy;
use url::{Host, Url};

use crate::objects::settings::S3Timeouts;

/// Makes clients for the library.
#[derive(Debug)]
pub(super) struct Client {
    timeouts: S3Timeouts,
    is_local: bool,
}

impl Client {
    pub(super) fn new(endpoint: &Url, timeouts: S3Timeouts) -> Self {
        let is_local = match endpoint.host() {
            Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        Self { timeouts, is_local }
    }
}

impl HttpConnector for Client {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let allows_http = options.get_config_value(&ClientConfigKey::AllowHttp).as_deref() == Some("true");
        let builder = reqwest::Client::builder()
            // A signature is for one address, so a redirect is a mistake of the configuration.
            .redirect(Policy::none())
            .connect_timeout(self.timeouts.connect)
            .read_timeout(self.timeouts.silence)
            .https_only(!allows_http)
            .user_agent("user-service");
        // A store on the internet may need the proxy of the network (`HTTPS_PROXY`, `NO_PROXY`); one on this machine is not.
        let builder = if self.is_local { builder.no_proxy() } else { builder };
        let client = builder
            .build()
            .map_err(|error| object_store::Error::Generic { store: "S3", source: Box::new(error) })?;
        Ok(HttpClient::new(client))
    }
}
