//! The parameters of a connection string by name, with their values checked.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use socket2::TcpKeepalive;

use super::{
    options::{Address, Host, SslMode, Tcp, TlsOptions, UrlFault},
    syntax::{Pairs, shown_name},
};

/// Parameters that change nothing here, with the values that may be given; any value where there are none.
const WITHOUT_EFFECT: &[(&str, &[&str])] = &[
    ("client_encoding", &["UTF8", "utf8", "UTF-8", "utf-8", "auto"]),
    ("gssencmode", &["disable", "prefer"]),
    ("gssdelegation", &["0"]),
    ("gsslib", &[]),
    ("krbsrvname", &[]),
    ("max_protocol_version", &[]),
    ("min_protocol_version", &["3.0"]),
    ("replication", &["false", "off", "no", "0"]),
    ("sslcertmode", &["allow"]),
    ("sslcompression", &[]),
];

/// Parameters of libpq that promise something which would not be kept here.
const NOT_SUPPORTED: &[&str] = &[
    "oauth_client_id",
    "oauth_client_secret",
    "oauth_issuer",
    "oauth_scope",
    "passfile",
    "require_auth",
    "requirepeer",
    "scram_client_key",
    "scram_server_key",
    "service",
    "servicefile",
    "sslcrl",
    "sslcrldir",
    "sslkeylogfile",
    "sslpassword",
];

/// The last value of each name.
#[derive(Clone)]
pub(super) struct Parameters(BTreeMap<String, String>);

impl Parameters {
    pub(super) fn new(pairs: Pairs) -> Self {
        Self(pairs.into_iter().collect())
    }

    /// The parameters that were not taken.
    pub(super) fn rest(&self) -> impl Iterator<Item = (&String, &String)> {
        self.0.iter()
    }

    /// The value of a parameter. An empty one counts as not given.
    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name).filter(|value| !value.is_empty())
    }

    pub(super) fn hosts(&mut self) -> Result<Vec<Host>, UrlFault> {
        let (hosts, addresses) = (self.take("host"), self.take("hostaddr"));
        let list = |text: &Option<String>| -> Vec<String> {
            let entries = text.iter().flat_map(|text| text.split(','));
            entries.map(|entry| entry.trim().to_owned()).collect()
        };
        let (hosts, addresses) = (list(&hosts), list(&addresses));
        if !hosts.is_empty() && !addresses.is_empty() && hosts.len() != addresses.len() {
            return Err(UrlFault::new(format!(
                "has {} hosts and {} entries in hostaddr",
                hosts.len(),
                addresses.len()
            )));
        }
        let count = hosts.len().max(addresses.len()).max(1);
        let ports = list(&self.take("port"));
        if ports.len() > 1 && ports.len() != count {
            return Err(UrlFault::new(format!("has {} ports for {count} hosts", ports.len())));
        }
        (0..count)
            .map(|index| {
                let host = hosts.get(index).map(String::as_str).unwrap_or_default();
                let address = addresses.get(index).map(String::as_str).unwrap_or_default();
                let port = ports.get(index).or(ports.first()).map(String::as_str).unwrap_or_default();
                one_host(host, address, port)
            })
            .collect()
    }

    /// Without other wishes a dead peer of an idle connection is found after a minute, and unacknowledged data after half of
    /// one. Zero leaves the system's default.
    pub(super) fn tcp(&mut self) -> Result<Tcp, UrlFault> {
        let usual = Duration::from_secs(30);
        let given = |duration: Duration| Some(duration).filter(|duration| !duration.is_zero());
        let user_timeout = self.number("tcp_user_timeout")?;
        let user_timeout = user_timeout.map_or(usual, |ms| Duration::from_millis(ms.into()));
        let is_off = self.number("keepalives")? == Some(0);
        let mut keepalive = TcpKeepalive::new();
        if let Some(idle) = given(self.seconds("keepalives_idle")?.unwrap_or(usual)) {
            keepalive = keepalive.with_time(idle);
        }
        if let Some(interval) = given(self.seconds("keepalives_interval")?.unwrap_or(Duration::from_secs(10)))
        {
            keepalive = keepalive.with_interval(interval);
        }
        let (count, retries) = (self.number("keepalives_count")?, self.number("keepalives_retries")?);
        match count.or(retries).unwrap_or(3) {
            0 => {}
            count => keepalive = keepalive.with_retries(count),
        }
        Ok(Tcp { user_timeout: given(user_timeout), keepalive: (!is_off).then_some(keepalive) })
    }

    pub(super) fn tls(&mut self) -> Result<TlsOptions, UrlFault> {
        let mode = self.choice(
            "sslmode",
            &[
                ("disable", SslMode::Disable),
                ("allow", SslMode::Prefer),
                ("prefer", SslMode::Prefer),
                ("require", SslMode::Require),
                ("verify-ca", SslMode::VerifyCa),
                ("verify-full", SslMode::VerifyFull),
            ],
        )?;
        let versions = &[("TLSv1", 10), ("TLSv1.1", 11), ("TLSv1.2", 12), ("TLSv1.3", 13)];
        let lowest = self.choice("ssl_min_protocol_version", versions)?;
        let highest = self.choice("ssl_max_protocol_version", versions)?;
        let root = self.take("sslrootcert");
        if root.as_deref() == Some("system") && mode.is_some_and(|mode| mode != SslMode::VerifyFull) {
            return Err(UrlFault::new("has sslrootcert=system, which needs sslmode=verify-full"));
        }
        let (certificate, key) = (self.take("sslcert"), self.take("sslkey"));
        if certificate.is_some() != key.is_some() {
            return Err(UrlFault::new("has only one of sslcert and sslkey: a client certificate needs both"));
        }
        if highest.is_some_and(|highest| highest < 12 || lowest.is_some_and(|lowest| lowest > highest)) {
            return Err(UrlFault::new(
                "has an ssl_max_protocol_version that leaves no version: TLSv1.2 is the lowest here",
            ));
        }
        let direct = self.choice("sslnegotiation", &[("postgres", false), ("direct", true)])?;
        Ok(TlsOptions {
            mode,
            root,
            certificate,
            key,
            direct: direct.unwrap_or(false),
            without_sni: self.number("sslsni")? == Some(0),
            at_least_13: lowest == Some(13),
            at_most_12: highest == Some(12),
        })
    }

    pub(super) fn choice<T: Copy>(
        &mut self,
        name: &str,
        choices: &[(&str, T)],
    ) -> Result<Option<T>, UrlFault> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        let chosen = choices.iter().find(|(choice, _)| *choice == value);
        chosen.map(|(_, meaning)| Some(*meaning)).ok_or_else(|| {
            let names: Vec<_> = choices.iter().map(|(choice, _)| *choice).collect();
            UrlFault::new(format!("has a {name} that is none of {}", names.join(", ")))
        })
    }

    fn number(&mut self, name: &str) -> Result<Option<u32>, UrlFault> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        // libpq takes what is below zero for zero.
        let number = value.trim().parse::<i32>().map(|number| number.max(0));
        number
            .ok()
            .and_then(|number| u32::try_from(number).ok())
            .map(Some)
            .ok_or_else(|| UrlFault::new(format!("has a {name} that is not a whole number")))
    }

    pub(super) fn seconds(&mut self, name: &str) -> Result<Option<Duration>, UrlFault> {
        let number = self.number(name)?;
        Ok(number.map(|number| Duration::from_secs(number.into())))
    }

    pub(super) fn refuse_rest(mut self) -> Result<(), UrlFault> {
        for (name, values) in WITHOUT_EFFECT {
            if let Some(value) = self.take(name)
                && !values.is_empty()
                && !values.contains(&value.as_str())
            {
                let values = values.join(", ");
                return Err(UrlFault::new(format!("has a {name} that is none of {values}")));
            }
        }
        let left = self.0.iter().find(|(_, value)| !value.is_empty());
        match left.map(|(name, _)| name.as_str()) {
            None => Ok(()),
            Some(name) if NOT_SUPPORTED.contains(&name) => {
                Err(UrlFault::new(format!("has the parameter {name}, which is not supported")))
            }
            Some(name) => Err(UrlFault::new(format!("has an unknown parameter: {}", shown_name(name)))),
        }
    }
}

fn one_host(host: &str, address: &str, port: &str) -> Result<Host, UrlFault> {
    if host.starts_with('@') {
        return Err(UrlFault::new("names an abstract unix socket, which is not supported"));
    }
    let in_no_name = |character: char| {
        let in_no_folder = character.is_control();
        in_no_folder || !host.starts_with('/') && (character.is_whitespace() || character == '@')
    };
    if host.contains(in_no_name) {
        return Err(UrlFault::new("has a host with a character that no host has"));
    }
    let port = match port {
        "" => Some(5432),
        text => text.parse().ok().filter(|port| *port > 0),
    };
    let port = port.ok_or_else(|| {
        UrlFault::new(format!("has a port for the host {host:?} that is not a number from 1 to 65535"))
    })?;
    if !address.is_empty() && address.parse::<IpAddr>().is_err() {
        return Err(UrlFault::new("has a hostaddr that is not a numeric address"));
    }
    let place = match (host, address) {
        ("", "") => Address::Unix(default_socket_folder(port, Path::exists)),
        (_, "") if host.starts_with('/') => Address::Unix(host.into()),
        (_, "") => Address::Tcp(host.to_owned()),
        (_, _) => Address::Tcp(address.to_owned()),
    };
    let name = match (&place, host) {
        (Address::Unix(folder), "") => folder.display().to_string(),
        (Address::Tcp(address), "") => address.clone(),
        (_, host) => host.to_owned(),
    };
    Ok(Host { name, address: place, port })
}

/// The folder that distributions use, or that of PostgreSQL itself: libpq has the one of its build. Without a socket in either it
/// is the first, if it is there.
fn default_socket_folder(port: u16, exists: impl Fn(&Path) -> bool) -> PathBuf {
    let (usual, other) = (Path::new("/var/run/postgresql"), Path::new("/tmp"));
    let socket = format!(".s.PGSQL.{port}");
    let is_other = !exists(&usual.join(&socket)) && (exists(&other.join(&socket)) || !exists(usual));
    if is_other { other } else { usual }.to_path_buf()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_without_a_folder_is_looked_for_where_distributions_have_it_first() {
        let folder =
            |there: &[&str]| default_socket_folder(6000, |path| there.contains(&path.to_str().unwrap()));
        let (usual, socket) = ("/var/run/postgresql", "/var/run/postgresql/.s.PGSQL.6000");
        assert_eq!(folder(&[usual, socket, "/tmp/.s.PGSQL.6000"]), Path::new(usual));
        assert_eq!(folder(&[usual, "/tmp/.s.PGSQL.6000"]), Path::new("/tmp"));
        assert_eq!(folder(&[usual, "/tmp"]), Path::new(usual));
        assert_eq!(folder(&["/tmp"]), Path::new("/tmp"));
    }
}
