//! A small SMTP server that keeps what it gets, and refuses on demand (RFC 5321). It takes any login.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use quoted_printable::ParseMode;
use tokio::{
    io::{self, AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::AbortHandle,
    time::timeout,
};

use crate::deadline::ALLOWED;

/// A mail server on the loopback address.
#[derive(Debug)]
pub struct MailServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: AbortHandle,
}

#[derive(Debug)]
struct Shared {
    mails: watch::Sender<Vec<TestMail>>,
    recipients: watch::Sender<usize>,
    /// The answers to commands, where they are not the usual ones.
    answers: Mutex<HashMap<&'static str, &'static str>>,
}

/// A mail that the server took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestMail {
    /// Recipient of the envelope.
    pub to: String,
    /// The headers as they came, unfolded, a line each.
    pub headers: Vec<String>,
    /// The text, decoded.
    pub text: String,
}

impl MailServer {
    /// A server that takes every mail, on the present tokio runtime.
    ///
    /// # Panics
    /// When there is no free port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.unwrap_or_else(|error| panic!("no free port: {error}"));
        let address = listener.local_addr().unwrap_or_else(|error| panic!("no address: {error}"));
        let (mails, recipients) = (watch::Sender::new(Vec::new()), watch::Sender::new(0));
        let shared = Arc::new(Shared { mails, recipients, answers: Mutex::default() });
        let task = tokio::spawn(serve(listener, Arc::clone(&shared))).abort_handle();
        Self { address, shared, task }
    }

    /// Its URL, as in `SMTP_URL`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("smtp://{}", self.address)
    }

    /// Answers every recipient like this from now on: `451 later`. `None` takes them.
    pub fn refuse(&self, answer: Option<&'static str>) {
        self.answer("RCPT", answer);
    }

    /// Answers a command like this from now on, or `.`, the end of a mail, which is kept all the same. `None` is the usual answer.
    pub fn answer(&self, command: &'static str, answer: Option<&'static str>) {
        let mut answers = self.shared.answers.lock().unwrap_or_else(PoisonError::into_inner);
        match answer {
            Some(answer) => answers.insert(command, answer),
            None => answers.remove(command),
        };
    }

    /// The mails that came so far.
    #[must_use]
    pub fn mails(&self) -> Vec<TestMail> {
        self.shared.mails.borrow().clone()
    }

    /// Number of recipients that were named so far, taken or refused.
    #[must_use]
    pub fn recipients(&self) -> usize {
        *self.shared.recipients.borrow()
    }

    /// Waits until so many mails have come, and returns the last of them.
    ///
    /// # Panics
    /// When they do not come.
    pub async fn wait_for_mail(&self, count: usize) -> TestMail {
        let mut mails = self.shared.mails.subscribe();
        let waiting = timeout(ALLOWED, mails.wait_for(|mails| mails.len() >= count)).await;
        match waiting {
            Ok(Ok(mails)) => mails[count - 1].clone(),
            _ => panic!("{} of {count} mails came", self.mails().len()),
        }
    }

    /// Waits until so many recipients were named.
    ///
    /// # Panics
    /// When they are not.
    pub async fn wait_for_recipients(&self, count: usize) {
        let mut recipients = self.shared.recipients.subscribe();
        let waiting = timeout(ALLOWED, recipients.wait_for(|named| *named >= count)).await;
        assert!(waiting.is_ok(), "{} of {count} recipients were named", self.recipients());
    }
}

impl Shared {
    /// The answer to a command, which is usually this one.
    fn answer(&self, command: &str, usual: &'static str) -> &'static str {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.get(command).copied().unwrap_or(usual)
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl TestMail {
    /// The value of a header; empty if there is none of this name.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        let lines = self.headers.iter().filter_map(|line| line.split_once(": "));
        lines
            .filter(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
            .next()
            .unwrap_or_default()
    }

    /// The only link in the text.
    ///
    /// # Panics
    /// When there is none, or more than one.
    #[must_use]
    pub fn link(&self) -> &str {
        let links: Vec<&str> = self.text.split_whitespace().filter(|word| word.contains("://")).collect();
        match links.as_slice() {
            [link] => link,
            _ => panic!("{} links in: {}", links.len(), self.text),
        }
    }

    /// The token in the link.
    ///
    /// # Panics
    /// When it has none.
    #[must_use]
    pub fn token(&self) -> &str {
        match self.link().split_once("?token=") {
            Some((_, token)) => token,
            None => panic!("no token in the link of: {}", self.text),
        }
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(converse(stream, Arc::clone(&shared)));
    }
}

/// One connection. A client that goes away is the test's business.
async fn converse(stream: TcpStream, shared: Arc<Shared>) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut lines = BufReader::new(reader).lines();
    writer.write_all(b"220 test server\r\n").await?;
    let mut to = String::new();
    while let Some(line) = lines.next_line().await? {
        let verb = line.split(' ').next().unwrap_or_default().to_ascii_uppercase();
        let answer = match verb.as_str() {
            "EHLO" | "HELO" => {
                shared.answer("EHLO", "250-test server\r\n250-8BITMIME\r\n250-AUTH PLAIN\r\n250 SMTPUTF8")
            }
            "AUTH" => "235 fine",
            "MAIL" => shared.answer("MAIL", "250 fine"),
            "RSET" | "NOOP" => "250 fine",
            "RCPT" => {
                to = line.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
                shared.recipients.send_modify(|count| *count += 1);
                shared.answer("RCPT", "250 fine")
            }
            "DATA" if shared.answer("DATA", "354 go on") != "354 go on" => shared.answer("DATA", "354 go on"),
            "DATA" => {
                writer.write_all(b"354 go on\r\n").await?;
                let mut content = Vec::new();
                while let Some(line) = lines.next_line().await?.filter(|line| line != ".") {
                    content.push(line.strip_prefix('.').map_or(line.clone(), str::to_owned));
                }
                let mail = read(&to, &content);
                shared.mails.send_modify(|mails| mails.push(mail));
                shared.answer(".", "250 taken")
            }
            "QUIT" => {
                writer.write_all(b"221 bye\r\n").await?;
                return Ok(());
            }
            _ => "502 not here",
        };
        writer.write_all(format!("{answer}\r\n").as_bytes()).await?;
    }
    Ok(())
}

/// A mail of one part.
fn read(to: &str, content: &[String]) -> TestMail {
    let split = content.iter().position(String::is_empty).unwrap_or(content.len());
    let (head, body) = content.split_at(split);
    let mut headers: Vec<String> = Vec::new();
    for line in head {
        match headers.last_mut() {
            Some(last) if line.starts_with([' ', '\t']) => last.push_str(line),
            _ => headers.push(line.clone()),
        }
    }
    let mut mail = TestMail { to: to.to_owned(), headers, text: body.join("\r\n").trim_start().to_owned() };
    let decoded = match mail.header("Content-Transfer-Encoding") {
        "base64" => STANDARD.decode(body.concat()).ok(),
        "quoted-printable" => quoted_printable::decode(&mail.text, ParseMode::Strict).ok(),
        _ => None,
    };
    if let Some(text) = decoded.and_then(|bytes| String::from_utf8(bytes).ok()) {
        mail.text = text;
    }
    mail
}
