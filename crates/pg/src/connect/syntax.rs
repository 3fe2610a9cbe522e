//! The two forms of a connection string, as libpq reads them: a URL, and a list of `name=value`.
//!
//! The result is a list of parameters; where one occurs twice, the last one counts. A `+` is a plus sign in both forms.

use super::options::UrlFault;

/// Parameters in the order in which they stand.
pub(super) type Pairs = Vec<(String, String)>;

const FORM: &str = "is not a URL such as postgresql://user:password@host/database";

/// Reads either form.
pub(super) fn parse(text: &str) -> Result<Pairs, UrlFault> {
    let rest = ["postgresql://", "postgres://"].iter().find_map(|scheme| text.strip_prefix(scheme));
    match rest {
        Some(rest) => parse_url(rest),
        None => parse_list(text),
    }
}

/// `user:password@host:port,host:port/database?name=value&name=value`, every part optional.
fn parse_url(rest: &str) -> Result<Pairs, UrlFault> {
    let mut pairs = Pairs::new();
    // A question mark may stand in a password, so credentials end at the first @ before the first slash.
    let path_begins = rest.find('/').unwrap_or(rest.len());
    let credentials = rest.find('@').filter(|at| *at < path_begins);
    let rest = match credentials {
        Some(at) => {
            let (user, password) = split_at_char(&rest[..at], ':');
            push(&mut pairs, "user", decode(user, "the user")?);
            if let Some(password) = password {
                push(&mut pairs, "password", decode(password, "the password")?);
            }
            &rest[at + 1..]
        }
        None => rest,
    };
    let (before_query, query) = split_at_char(rest, '?');
    let (hosts, database) = split_at_char(before_query, '/');
    // Parts of a password must not end up as a host or a database in a message.
    if hosts.contains('@') {
        return Err(UrlFault::new(
            "has more than one @ before the host: in a user or password it is written %40",
        ));
    }
    if credentials.is_none() && database.is_some_and(|database| database.contains('@')) {
        return Err(UrlFault::new(
            "has a / before the first @: in a user or password it is written %2F, and an @ in a database name %40",
        ));
    }
    add_hosts(&mut pairs, hosts)?;
    if let Some(database) = database {
        push(&mut pairs, "dbname", decode(database, "the database name")?);
    }
    if let Some(query) = query {
        add_query(&mut pairs, query)?;
    }
    Ok(pairs)
}

/// The hosts and the ports as two lists of equal length, as the parameters `host` and `port` are written.
fn add_hosts(pairs: &mut Pairs, text: &str) -> Result<(), UrlFault> {
    if text.is_empty() {
        return Ok(());
    }
    let (mut hosts, mut ports) = (Vec::new(), Vec::new());
    for entry in text.split(',') {
        let (host, port) = match entry.strip_prefix('[') {
            Some(address) => {
                let (address, rest) = split_at_char(address, ']');
                let port = rest.and_then(|rest| match rest.strip_prefix(':') {
                    Some(port) => Some(port),
                    None => rest.is_empty().then_some(""),
                });
                let port = port.ok_or_else(|| {
                    UrlFault::new("has an address that begins with [ and is not [address] or [address]:port")
                })?;
                (address, port)
            }
            None => {
                let (host, port) = split_at_char(entry, ':');
                (host, port.unwrap_or_default())
            }
        };
        hosts.push(decode(host, "a host")?);
        ports.push(decode(port, "a port")?);
    }
    push(pairs, "host", hosts.join(","));
    push(pairs, "port", ports.join(","));
    Ok(())
}

fn add_query(pairs: &mut Pairs, query: &str) -> Result<(), UrlFault> {
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = split_at_char(pair, '=');
        let name = decode(name, "the name of a parameter")?;
        let Some(value) = value else {
            return Err(UrlFault::new(format!("has no value for {}", shown_name(&name))));
        };
        let value = decode(value, &shown_name(&name))?;
        // As JDBC writes it.
        match (name.as_str(), value.as_str()) {
            ("ssl", "true") => push(pairs, "sslmode", "require".to_owned()),
            _ => push(pairs, &name, value),
        }
    }
    Ok(())
}

/// `name=value name='a value'`, with a backslash before what is meant literally.
fn parse_list(text: &str) -> Result<Pairs, UrlFault> {
    let mut pairs = Pairs::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (name, value) = split_at_char(rest, '=');
        let name = name.trim_end();
        let value = value.ok_or_else(|| UrlFault::new(FORM))?.trim_start();
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') {
            return Err(UrlFault::new(FORM));
        }
        let (value, after) =
            list_value(value).ok_or_else(|| UrlFault::new(format!("has no closing quote for {name}")))?;
        push(&mut pairs, name, value);
        rest = after.trim_start();
    }
    if pairs.is_empty() {
        return Err(UrlFault::new(FORM));
    }
    Ok(pairs)
}

/// The value at the beginning of `text`, and what comes after; none without its closing quote.
fn list_value(text: &str) -> Option<(String, &str)> {
    let (quoted, text) = match text.strip_prefix('\'') {
        Some(inner) => (true, inner),
        None => (false, text),
    };
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            '\'' if quoted => return Some((value, &text[at + 1..])),
            _ if !quoted && character.is_ascii_whitespace() => return Some((value, &text[at..])),
            _ => value.push(character),
        }
    }
    (!quoted).then_some((value, ""))
}

/// Percent-decodes a part; a stray `%` is an error as for libpq, and not a percent sign.
fn decode(text: &str, part: &str) -> Result<String, UrlFault> {
    let mut after_percent = text.split('%').skip(1);
    let escaped = |piece: &str| {
        piece
            .as_bytes()
            .get(..2)
            .is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit) && digits != b"00")
    };
    if !after_percent.all(escaped) {
        return Err(UrlFault::new(format!(
            "has a % in {part} without two hexadecimal digits after it: a percent sign is written %25"
        )));
    }
    percent_encoding::percent_decode_str(text)
        .decode_utf8()
        .map(Into::into)
        .map_err(|_| UrlFault::new(format!("has bytes in {part} that are not UTF-8")))
}

/// A parameter's name for a message: only what looks like one, in case that part of a password stands in its place.
pub(super) fn shown_name(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if !name.is_empty() && name.len() <= 40 && name.bytes().all(plain) {
        name.to_owned()
    } else {
        "a parameter".to_owned()
    }
}

fn push(pairs: &mut Pairs, name: &str, value: String) {
    pairs.push((name.to_owned(), value));
}

/// Parts before and after the first `at`.
fn split_at_char(text: &str, at: char) -> (&str, Option<&str>) {
    match text.split_once(at) {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    }
}
