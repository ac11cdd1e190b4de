//! How other services are reached: which authorities are trusted, and through which proxy.

use crate::support::prelude::*;

/// The source of a credential that a broker with these settings mints.
async fn source(cloudflare: &FakeCloudflare, settings: &[(&str, &str)]) -> String {
    broker_at(cloudflare, settings).await.mint().await.json()["source"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_service_with_a_certificate_of_ca_file_is_trusted() {
    let cloudflare = FakeCloudflare::start().await;
    let server = TlsServer::start(&cloudflare.base_url()).await;
    let base = format!("https://localhost:{}", server.port);
    let base = ("CLOUDFLARE_API_BASE", base.as_str());
    assert_eq!(source(&cloudflare, &[base]).await, "stun");
    assert_eq!(source(&cloudflare, &[base, ("CA_FILE", AUTHORITY)]).await, "cloudflare");
}

#[tokio::test]
async fn requests_go_through_https_proxy_but_not_to_hosts_of_no_proxy_and_this_machine() {
    let cloudflare = FakeCloudflare::start().await;
    let server = TlsServer::start(&cloudflare.base_url()).await;
    let here = format!("https://localhost:{}", server.port);
    for (base, except, expected, is_proxied) in [
        ("https://provider.example", "", "cloudflare", true),
        ("https://provider.example", "other.example", "cloudflare", true),
        // Without the proxy it has no address.
        ("https://provider.example", ".example", "stun", false),
        (&here, "", "cloudflare", false),
    ] {
        let proxy = TlsServer::start(&cloudflare.base_url()).await;
        let url = format!("http://ann:secret@127.0.0.1:{}", proxy.port);
        let settings = [
            ("CLOUDFLARE_API_BASE", base),
            ("CA_FILE", AUTHORITY),
            ("HTTPS_PROXY", url.as_str()),
            ("NO_PROXY", except),
        ];
        assert_eq!(source(&cloudflare, &settings).await, expected, "{base} {except}");
        let connects = proxy.connects();
        assert_eq!(!connects.is_empty(), is_proxied, "{base} {except}");
        for head in connects {
            assert!(head.starts_with("CONNECT provider.example:443 HTTP/1.1\r\n"), "{head}");
            assert!(head.to_ascii_lowercase().contains("proxy-authorization: basic "), "{head}");
        }
    }
}
