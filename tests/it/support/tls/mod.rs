//! A server with TLS in front of one without. It is a proxy for `https:` URLs, too: it answers `CONNECT`, and is then the server that was
//! asked for. Its certificate is for `provider.example`, `localhost` and 127.0.0.1.

use std::sync::{Arc, Mutex};

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// The authority of the certificate, which no system trusts. Only for tests, as the key: made by `openssl req` and `openssl x509`.
pub(crate) const AUTHORITY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/support/tls/ca.pem");
const CERTIFICATE: &[u8] = include_bytes!("server.pem");
const KEY: &[u8] = include_bytes!("server.pk8");

/// The server. It ends with the runtime of the test.
pub(crate) struct TlsServer {
    pub(crate) port: u16,
    connects: Arc<Mutex<Vec<String>>>,
}

impl TlsServer {
    /// Starts in front of the server at this `http:` URL.
    pub(crate) async fn start(plain: &str) -> Self {
        let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let connects = Arc::<Mutex<Vec<String>>>::default();
        let (seen, acceptor) = (Arc::clone(&connects), acceptor(&[]));
        let plain = plain.trim_start_matches("http://").to_owned();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket, acceptor.clone(), plain.clone(), Arc::clone(&seen)));
            }
        });
        Self { port, connects }
    }

    /// The heads of all `CONNECT` requests.
    pub(crate) fn connects(&self) -> Vec<String> {
        self.connects.lock().unwrap().clone()
    }
}

/// Accepts connections for one of these protocols; any, if there are none.
pub(crate) fn acceptor(protocols: &[&[u8]]) -> TlsAcceptor {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let certificate = CertificateDer::from_pem_slice(CERTIFICATE).unwrap();
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], PrivatePkcs8KeyDer::from(KEY).into())
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    TlsAcceptor::from(Arc::new(config))
}

async fn serve(
    mut socket: TcpStream,
    acceptor: TlsAcceptor,
    plain: String,
    connects: Arc<Mutex<Vec<String>>>,
) -> std::io::Result<()> {
    let mut first = [0];
    socket.peek(&mut first).await?;
    if first == *b"C" {
        let mut head = vec![];
        while !head.ends_with(b"\r\n\r\n") {
            head.push(socket.read_u8().await?);
        }
        connects.lock().unwrap().push(String::from_utf8(head).unwrap());
        socket.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
    }
    // A client that does not trust the certificate ends the handshake.
    let mut secure = acceptor.accept(socket).await?;
    copy_bidirectional(&mut secure, &mut TcpStream::connect(plain).await?).await.map(drop)
}
