//! The authorities whose certificates are trusted, for every outgoing connection: those that are part of the program, the system's, and
//! those of `CA_FILE`.

use std::fmt::Display;
use std::path::Path;
use std::sync::LazyLock;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// Where systems keep their authorities: Debian and Alpine, Red Hat, others.
const SYSTEM_FILES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// The authorities that are part of the program, so that an image without files of authorities works, and the system's. They are read once,
/// because that takes milliseconds. A file that is missing or cannot be read adds nothing.
static ROOTS: LazyLock<RootCertStore> = LazyLock::new(|| {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned());
    let files = SYSTEM_FILES.iter().filter_map(|file| CertificateDer::pem_file_iter(file).ok());
    roots.add_parsable_certificates(files.flatten().flatten());
    roots
});

/// The authorities that are trusted besides those of the program and of the system.
#[derive(Clone, Debug)]
pub struct Trust(RootCertStore);

impl Trust {
    /// No further authorities.
    pub const COMMON: Self = Self(RootCertStore { roots: Vec::new() });

    /// The authorities of a PEM file. The error names the file.
    pub fn of_file(file: &Path) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        let bad = |error: &dyn Display| format!("{}: {error}", file.display());
        for certificate in CertificateDer::pem_file_iter(file).map_err(|error| bad(&error))? {
            roots.add(certificate.map_err(|error| bad(&error))?).map_err(|error| bad(&error))?;
        }
        if roots.is_empty() {
            return Err(bad(&"it contains no PEM certificate"));
        }
        Ok(Self(roots))
    }

    /// The settings of a TLS client that verifies servers by these authorities, those of the program and those of the system.
    pub fn client(&self) -> ClientConfig {
        // An error means that a provider is already installed, as in a test process with many brokers.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut roots = ROOTS.clone();
        roots.extend(self.0.roots.iter().cloned());
        ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()
    }
}

/// The words of an error. TLS ends some with a name of Rust's, such as `invalid peer certificate: UnknownIssuer`.
pub fn in_words(error: &str) -> String {
    let (start, name) = error.rsplit_once(' ').unwrap_or_default();
    if !["certificate:", "alert:", "incompatible:", "of type"].iter().any(|end| start.ends_with(end)) {
        return error.to_owned();
    }
    // The innermost of several.
    let name = name.rsplit('(').next().unwrap_or(name).trim_end_matches(')');
    let word = |text: String, c: char| {
        text + if c.is_uppercase() { " " } else { "" } + &c.to_lowercase().to_string()
    };
    name.chars().fold(start.to_owned(), word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::{AlertDescription, Error};

    #[test]
    fn errors_of_tls_are_words() {
        let alert = Error::AlertReceived(AlertDescription::HandshakeFailure).to_string();
        assert_eq!(in_words(&alert), "received fatal alert: handshake failure");
        assert_eq!(in_words(&Error::DecryptError.to_string()), "cannot decrypt peer's message");
        let inner = "invalid peer certificate: Other(OtherError(CaUsedAsEndEntity))";
        assert_eq!(in_words(inner), "invalid peer certificate: ca used as end entity");
    }

    #[test]
    fn every_authority_of_the_program_is_usable() {
        let mut roots = RootCertStore::empty();
        let all = webpki_root_certs::TLS_SERVER_ROOT_CERTS;
        assert_eq!(roots.add_parsable_certificates(all.iter().cloned()), (all.len(), 0));
        assert!(ROOTS.len() >= all.len());
    }

    #[test]
    fn a_file_without_certificates_is_refused_by_name() {
        let refused = |file| Trust::of_file(Path::new(file)).err();
        assert!(refused("Cargo.toml").is_some_and(|error| error.starts_with("Cargo.toml: ")));
        assert!(refused("/no/such/file").is_some());
    }
}
