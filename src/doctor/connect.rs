//! Connections: the addresses of host names, trusted authorities, errors of TLS in words, and one HTTPS request to each API.
//! Its name, the connection and TLS are tested by that request, and this machine's clock by the header `Date` of the response.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Client;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use url::Url;

use super::finding::{Check, Verdict, fail, ok, warn};
use super::report::Progress;
use crate::clock::Clock;
use crate::http_client::{CallError, date};
use turn_ledger::Timestamp;

/// The time limit for one name. The system's resolver gives up after 5 s per server.
const LOOKUP_MAX: Duration = Duration::from_secs(8);
/// Above this, times in responses are visibly wrong.
const WARN_ABOVE: Duration = Duration::from_secs(5);
/// Above this, coturn credentials expire early or late, and signatures are refused.
const FAIL_ABOVE: Duration = Duration::from_secs(60);
/// A date is truncated to the second. In milliseconds.
const HALF_SECOND: u64 = 500;

/// The addresses of the names that were looked up, each once.
#[derive(Debug, Default)]
pub(super) struct Names(BTreeMap<String, Vec<IpAddr>>);

/// How much depends on a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// A configured source does not work without it.
    Required,
    /// Only the fallback needs it.
    Fallback,
}

impl Names {
    /// Looks a host up, unless it is an address or was looked up before.
    pub(super) async fn look_up<W: Write>(
        &mut self,
        host: &str,
        need: Need,
        clock: &dyn Clock,
        progress: &mut Progress<W>,
    ) {
        if self.0.contains_key(host) {
            return;
        }
        let resolve = async {
            let found = timeout(LOOKUP_MAX, lookup_host((host, 0))).await.ok().and_then(Result::ok);
            let mut addresses: Vec<IpAddr> = Vec::new();
            for address in found.into_iter().flatten().map(|socket| socket.ip()) {
                if !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
            (judge_name(host, &addresses, need), addresses)
        };
        let addresses = match host.parse() {
            Ok(address) => vec![address],
            Err(_) => progress.check(clock, (Check::Dns, host), resolve).await,
        };
        self.0.insert(host.to_owned(), addresses);
    }

    /// The addresses of a host that was looked up.
    pub(super) fn addresses(&self, host: &str) -> &[IpAddr] {
        self.0.get(host).map(Vec::as_slice).unwrap_or_default()
    }
}

fn judge_name(host: &str, addresses: &[IpAddr], need: Need) -> Verdict {
    let list: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    let seen = "the name has no address, or the resolver does not answer";
    let remedy = format!("check the spelling of {host}, and this machine's DNS with `getent hosts {host}`");
    match need {
        _ if !list.is_empty() => ok(list.join(", ")),
        Need::Required => fail(seen, remedy),
        Need::Fallback => warn(seen, remedy),
    }
}

/// The authorities that are trusted at relays. APIs are checked with the service's own client.
#[derive(Clone)]
pub(super) struct Trust(TlsConnector);

impl Trust {
    /// The built-in authorities, as in the service, and those of a PEM file. Fails if the file cannot be used.
    pub(super) fn new(file: Option<&Path>) -> Result<Self, String> {
        let mut roots = built_in();
        if let Some(file) = file {
            let count = roots.len();
            let bad = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
            for certificate in CertificateDer::pem_file_iter(file).map_err(|error| bad(&error))? {
                roots.add(certificate.map_err(|error| bad(&error))?).map_err(|error| bad(&error))?;
            }
            if roots.len() == count {
                return Err(bad(&"it contains no PEM certificate"));
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring has cipher suites for these versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    /// Performs the handshake on an open connection. The error is in words.
    pub(super) async fn handshake(
        &self,
        host: &str,
        socket: TcpStream,
    ) -> Result<TlsStream<TcpStream>, String> {
        let name = ServerName::try_from(host.to_owned());
        let name = name.map_err(|_| format!("{host} is not a valid name in a certificate"))?;
        self.0.connect(name, socket).await.map_err(|error| in_words(&error))
    }
}

fn built_in() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned());
    roots
}

/// The error of rustls in words, or the kind of the I/O error.
fn in_words(error: &std::io::Error) -> String {
    of_rustls(error).unwrap_or_else(|| format!("the connection broke in the handshake ({})", error.kind()))
}

/// The error of rustls that caused this one, in words. `None` if another cause did.
fn of_rustls(error: &(dyn Error + 'static)) -> Option<String> {
    use CertificateError as Fault;
    let fault = std::iter::successors(Some(error), |&error| error.source()).find_map(|error| {
        // An I/O error skips the error that it contains in its list of sources.
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        error.downcast_ref().or_else(|| inner?.downcast_ref::<rustls::Error>())
    })?;
    let rustls::Error::InvalidCertificate(fault) = fault else { return Some(fault.to_string()) };
    let text = match fault {
        Fault::UnknownIssuer => {
            "the authority of the certificate is not known here (self-signed, an incomplete chain, or a proxy)"
        }
        Fault::Expired | Fault::ExpiredContext { .. } => {
            "the certificate has expired (or this machine's clock is wrong)"
        }
        Fault::NotValidYet | Fault::NotValidYetContext { .. } => {
            "the certificate is not valid yet (or this machine's clock is wrong)"
        }
        Fault::NotValidForName | Fault::NotValidForNameContext { .. } => {
            "the certificate is for another name"
        }
        other => return Some(format!("the certificate is invalid: {other}")),
    };
    Some(text.to_owned())
}

/// A host as sockets and certificates need it: an IPv6 address without brackets.
pub(super) fn host_of(url: &Url) -> &str {
    url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']')
}

/// Connects to an API as the service would. `variable` sets its URL. Also returns the verdict about this machine's clock, if the
/// response has a date.
pub(super) async fn api(
    url: &Url,
    variable: &str,
    client: &Client,
    clock: &dyn Clock,
) -> (Verdict, Option<Verdict>) {
    let (host, before) = (host_of(url), clock.now());
    let mut root = url.clone();
    // A path may do something, and the path of a webhook is a secret.
    root.set_path("/");
    root.set_query(None);
    match client.head(root).send().await {
        Ok(answer) => {
            let ours = before.plus_millis(clock.now().millis_since(before) / 2);
            let skew =
                date(answer.headers()).map(|theirs| judge_clock(host, theirs.plus_millis(HALF_SECOND), ours));
            let is_tls = url.scheme() == "https";
            (
                ok(if is_tls { "it answers over TLS" } else { "it answers; the URL is http, without TLS" }),
                skew,
            )
        }
        Err(error) => (unreached(host, error, variable), None),
    }
}

fn unreached(host: &str, error: reqwest::Error, variable: &str) -> Verdict {
    if let Some(fault) = of_rustls(&error) {
        let remedy = format!("bypass a proxy that intercepts TLS, check the clock, and check {variable}");
        return fail(fault, remedy);
    }
    fail(
        CallError::from(error).to_string(),
        format!("check {variable}, DNS, and the firewall between here and {host}; HTTPS_PROXY is ignored"),
    )
}

fn judge_clock(host: &str, theirs: Timestamp, ours: Timestamp) -> Verdict {
    let (ahead, behind) = (ours.since(theirs), theirs.since(ours));
    let (off, word) = if ahead >= behind { (ahead, "ahead of") } else { (behind, "behind") };
    let seen = format!("this machine's clock is {} s {word} {host}", off.as_secs());
    let remedy = "set the clock by NTP (systemd-timesyncd, chrony), then restart the service";
    match off {
        _ if off <= WARN_ABOVE => ok(format!("within {} s of {host}", WARN_ABOVE.as_secs())),
        _ if off <= FAIL_ABOVE => warn(seen, remedy),
        _ => fail(seen, remedy),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::State;
    use super::super::report::OutputFormat;
    use super::*;
    use crate::clock::SystemClock;

    #[test]
    fn a_name_without_an_address_is_a_failure_unless_only_the_fallback_needs_it() {
        assert_eq!(judge_name("a.example", &[], Need::Required).state, State::Fail);
        assert_eq!(judge_name("a.example", &[], Need::Fallback).state, State::Warn);
        let addresses = ["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
        assert_eq!(judge_name("a.example", &addresses, Need::Required).seen, "192.0.2.1, 2001:db8::1");
    }

    #[tokio::test]
    async fn an_address_is_not_looked_up_and_not_reported() {
        let (mut names, mut progress) = (Names::default(), Progress::new(Vec::new(), OutputFormat::Json));
        for host in ["127.0.0.1", "::1", "127.0.0.1"] {
            names.look_up(host, Need::Required, &SystemClock, &mut progress).await;
            assert_eq!(names.addresses(host), [host.parse::<IpAddr>().unwrap()]);
        }
        assert!(names.addresses("never.asked").is_empty());
        assert!(progress.finish().findings.is_empty());
    }

    #[test]
    fn every_built_in_authority_is_usable() {
        assert_eq!(built_in().len(), webpki_root_certs::TLS_SERVER_ROOT_CERTS.len());
    }

    #[test]
    fn an_ipv6_host_is_read_without_brackets() {
        assert_eq!(host_of(&Url::parse("https://[2001:db8::1]:8443/x").unwrap()), "2001:db8::1");
        assert_eq!(host_of(&Url::parse("https://a.example/x").unwrap()), "a.example");
    }

    #[test]
    fn a_file_without_certificates_is_refused_by_name() {
        let error = Trust::new(Some(Path::new("Cargo.toml"))).err().unwrap();
        assert!(error.starts_with("Cargo.toml: "), "{error}");
        assert!(Trust::new(Some(Path::new("/no/such/file"))).is_err());
    }

    #[test]
    fn each_certificate_error_has_its_own_words() {
        for (fault, words) in [
            (CertificateError::UnknownIssuer, "not known here"),
            (CertificateError::Expired, "has expired"),
            (CertificateError::NotValidForName, "another name"),
            (CertificateError::Revoked, "is invalid"),
        ] {
            let error = std::io::Error::other(rustls::Error::InvalidCertificate(fault));
            assert!(in_words(&error).contains(words), "{}", in_words(&error));
        }
    }

    const NOON: Timestamp = Timestamp::from_millis(1_736_942_400_000);

    #[test]
    fn up_to_five_seconds_are_ok_up_to_a_minute_a_warning_and_more_a_failure() {
        let at = |millis: i64| Timestamp::from_millis(NOON.as_millis() + millis);
        for (millis, state) in [
            (0, State::Ok),
            (5_000, State::Ok),
            (5_001, State::Warn),
            (60_000, State::Warn),
            (60_001, State::Fail),
        ] {
            for (ours, word) in [(at(millis), "ahead of"), (at(-millis), "behind")] {
                let found = judge_clock("a.example", NOON, ours);
                assert_eq!(found.state, state, "{millis}");
                assert!(state == State::Ok || found.seen.contains(word), "{found:?}");
            }
        }
    }
}
