//! The authorities whose certificates are trusted where TLS is not HTTPS.

use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// Where systems keep their authorities: Debian and Alpine, Red Hat, others.
const SYSTEM_FILES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// Trusted authorities.
#[derive(Clone, Debug)]
pub struct Trust(RootCertStore);

impl Trust {
    /// Those that are part of the program, so that an image without files of authorities works.
    pub fn built_in() -> Self {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned());
        Self(roots)
    }

    /// Adds those of the system. A file that is missing or cannot be read adds nothing.
    #[must_use]
    pub fn with_system(mut self) -> Self {
        let files = SYSTEM_FILES.iter().filter_map(|file| CertificateDer::pem_file_iter(file).ok());
        self.0.add_parsable_certificates(files.flatten().flatten());
        self
    }

    /// Adds those of a PEM file. The error names the file.
    pub fn with_file(mut self, file: &Path) -> Result<Self, String> {
        let count = self.0.len();
        let bad = |error: &dyn Display| format!("{}: {error}", file.display());
        for certificate in CertificateDer::pem_file_iter(file).map_err(|error| bad(&error))? {
            self.0.add(certificate.map_err(|error| bad(&error))?).map_err(|error| bad(&error))?;
        }
        if self.0.len() == count {
            return Err(bad(&"it contains no PEM certificate"));
        }
        Ok(self)
    }

    /// Verifies servers by these authorities.
    pub fn client(self) -> Arc<ClientConfig> {
        // An error means that a provider is already installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Arc::new(ClientConfig::builder().with_root_certificates(self.0).with_no_client_auth())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_authority_is_usable() {
        assert_eq!(Trust::built_in().0.len(), webpki_root_certs::TLS_SERVER_ROOT_CERTS.len());
    }

    #[test]
    fn a_file_without_certificates_is_refused_by_name() {
        let refused = |file| Trust::built_in().with_file(Path::new(file)).err();
        assert!(refused("Cargo.toml").is_some_and(|error| error.starts_with("Cargo.toml: ")));
        assert!(refused("/no/such/file").is_some());
    }
}
