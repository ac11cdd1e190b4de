//! TLS connections to TURN and STUN servers: trusted authorities, and the errors of a handshake in words. APIs are checked with
//! the service's own client.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use url::Url;

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
    of_rustls(error).unwrap_or_else(|| format!("the connection broke in the handshake ({})", error.kind()))
}

/// The error of rustls that caused this one, in words. `None` if another cause did.
pub(super) fn of_rustls(error: &(dyn Error + 'static)) -> Option<String> {
    let fault = std::iter::successors(Some(error), |&error| error.source()).find_map(|error| {
        // An I/O error skips the error that it contains in its list of sources.
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        error.downcast_ref().or_else(|| inner?.downcast_ref::<rustls::Error>())
    })?;
    Some(match fault {
        rustls::Error::InvalidCertificate(fault) => of_certificate(fault),
        other => other.to_string(),
    })
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

/// A host as sockets and certificates need it: an IPv6 address without brackets.
pub(super) fn host_of(url: &Url) -> &str {
    url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']')
}

#[cfg(test)]
mod tests {
    use super::*;

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
