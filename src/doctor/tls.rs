//! The check of TLS connections: trusted authorities, handshake, certificate. APIs are checked with the roots of the
//! service. TURN and STUN servers may be checked with further roots.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use url::Url;

use super::certificate;
use super::finding::{Check, Finding, Remedy};
use crate::clock::Clock;
use turn_ledger::units::Timestamp;

/// The time limit for connecting, and for the handshake.
const STEP: Duration = Duration::from_secs(5);
/// Certificates are usually renewed earlier than this.
const DAYS_LEFT_MIN: u64 = 7;
const DAY: Duration = Duration::from_secs(86_400);

/// The trusted authorities.
#[derive(Clone)]
pub(super) struct Trust(TlsConnector);

/// Why the handshake failed, for operators.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct TlsError(String);

/// The file with further authorities cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{file}: {what}")]
pub struct CaError {
    file: String,
    what: String,
}

impl Trust {
    /// The built-in authorities, as in the service.
    pub(super) fn built_in() -> Self {
        Self::of(roots())
    }

    /// The built-in authorities and those of a PEM file.
    pub(super) fn with_file(file: &Path) -> Result<Self, CaError> {
        let bad = |what: String| CaError { file: file.display().to_string(), what };
        let mut roots = roots();
        let certificates = CertificateDer::pem_file_iter(file).map_err(|error| bad(error.to_string()))?;
        let mut count = 0;
        for certificate in certificates {
            let certificate = certificate.map_err(|error| bad(error.to_string()))?;
            roots.add(certificate).map_err(|error| bad(error.to_string()))?;
            count += 1;
        }
        if count == 0 { Err(bad("it contains no PEM certificate".into())) } else { Ok(Self::of(roots)) }
    }

    fn of(roots: RootCertStore) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring has cipher suites for these versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self(TlsConnector::from(Arc::new(config)))
    }

    /// Performs the handshake on an open connection.
    pub(super) async fn handshake(
        &self,
        host: &str,
        socket: TcpStream,
    ) -> Result<TlsStream<TcpStream>, TlsError> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| TlsError(format!("{host} is not a valid name in a certificate")))?;
        self.0.connect(name, socket).await.map_err(|error| TlsError(in_words(&error)))
    }
}

fn roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned());
    roots
}

/// The error of rustls in words, or the kind of the I/O error.
fn in_words(error: &std::io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidCertificate(fault)) => of_certificate(fault),
        Some(other) => other.to_string(),
        None => format!("the connection broke in the handshake ({})", error.kind()),
    }
}

fn of_certificate(fault: &CertificateError) -> String {
    match fault {
        CertificateError::UnknownIssuer => {
            "the authority of the certificate is not known here (self-signed, or a proxy intercepts TLS, or the chain is \
             incomplete)"
                .into()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the certificate has expired (or this machine's clock is wrong)".into()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the certificate is not valid yet (or this machine's clock is wrong)".into()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "the certificate is for another name".into()
        }
        other => format!("the certificate is invalid: {other}"),
    }
}

/// A server that the service connects to.
pub(super) struct Endpoint<'a> {
    /// The check that this is part of.
    pub(super) check: Check,
    pub(super) url: &'a Url,
    /// The variable that sets its URL.
    pub(super) variable: &'static str,
    /// The addresses of its name.
    pub(super) addresses: &'a [IpAddr],
}

/// Connects as the service would, and reads the certificate.
pub(super) async fn check(endpoint: &Endpoint<'_>, trust: &Trust, clock: &dyn Clock) -> Finding {
    let Endpoint { check, url, variable, addresses } = *endpoint;
    let host = host_of(url);
    if addresses.is_empty() {
        return Finding::skipped(check, host, "the name has no address: see dns");
    }
    let port = url.port_or_known_default().unwrap_or(443);
    let sockets: Vec<SocketAddr> = addresses.iter().map(|address| (*address, port).into()).collect();
    let began = clock.instant();
    let unreachable = |seen: String| unreachable(check, host, seen, variable);
    let socket = match timeout(STEP, TcpStream::connect(&sockets[..])).await {
        Ok(Ok(socket)) => socket,
        Ok(Err(error)) => return unreachable(format!("no connection: {}", error.kind())),
        Err(_) => return unreachable(format!("no connection within {} s", STEP.as_secs())),
    };
    if url.scheme() != "https" {
        return Finding::skipped(
            check,
            host,
            format!("connected; {variable} is http, so there is no TLS to check"),
        );
    }
    match timeout(STEP, trust.handshake(host, socket)).await {
        Ok(Ok(stream)) => {
            let (_, session) = stream.get_ref();
            let leaf = session.peer_certificates().and_then(|chain| chain.first());
            let expiry = leaf.and_then(|leaf| certificate::expiry(leaf));
            let took = clock.instant().saturating_duration_since(began);
            judge(check, host, expiry, clock.now()).after(took)
        }
        Ok(Err(error)) => Finding::fail(check, host, error.to_string(), Remedy::sure(remedy(variable))),
        Err(_) => unreachable(format!("no TLS handshake within {} s", STEP.as_secs())),
    }
}

/// A host as sockets and certificates need it: an IPv6 address without brackets.
pub(super) fn host_of(url: &Url) -> &str {
    url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']')
}

fn judge(check: Check, host: &str, expiry: Option<Timestamp>, now: Timestamp) -> Finding {
    let Some(expiry) = expiry else { return Finding::ok(check, host, "the certificate is valid") };
    let days = expiry.since(now).as_secs() / DAY.as_secs();
    let seen = format!("the certificate is valid for {days} more days");
    if days >= DAYS_LEFT_MIN {
        return Finding::ok(check, host, seen);
    }
    Finding::warn(check, host, seen, "renew it, or check that the server's operator renews it")
}

fn unreachable(check: Check, host: &str, seen: String, variable: &str) -> Finding {
    let remedy = format!(
        "allow connections from this machine to {host} (firewall, route), and check {variable}; HTTPS_PROXY is ignored"
    );
    Finding::fail(check, host, seen, Remedy::sure(remedy))
}

fn remedy(variable: &str) -> String {
    format!(
        "bypass a proxy that intercepts TLS, or set {variable} to the URL of a proxy that forwards requests; check \
         the clock; only authorities that are built into the program are trusted"
    )
}

#[cfg(test)]
mod tests {
    use super::super::finding::State;
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_736_942_400_000);

    #[test]
    fn a_certificate_that_expires_soon_is_a_warning() {
        let in_days = |days: u32| judge(Check::Tls, "a.example", Some(NOW.plus(DAY * days)), NOW);
        assert_eq!(in_days(6).state, State::Warn);
        assert_eq!(in_days(7).state, State::Ok);
        assert_eq!(in_days(80).seen, "the certificate is valid for 80 more days");
        assert_eq!(judge(Check::Tls, "a.example", None, NOW).state, State::Ok);
    }

    #[test]
    fn every_built_in_authority_is_usable() {
        assert_eq!(roots().len(), webpki_root_certs::TLS_SERVER_ROOT_CERTS.len());
    }

    #[test]
    fn an_ipv6_host_is_read_without_brackets() {
        assert_eq!(host_of(&Url::parse("https://[2001:db8::1]:8443/x").unwrap()), "2001:db8::1");
        assert_eq!(host_of(&Url::parse("https://a.example/x").unwrap()), "a.example");
    }

    #[test]
    fn a_file_without_certificates_is_refused_by_name() {
        let error = Trust::with_file(Path::new("Cargo.toml")).err().unwrap();
        assert!(error.to_string().starts_with("Cargo.toml: "), "{error}");
        assert!(Trust::with_file(Path::new("/no/such/file")).is_err());
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
}
