//! `DATABASE_URL`. Each kind of fault has its own sentence. No sentence shows a part of the URL, because what was meant as a password
//! can be anywhere. Only names of options that are listed here are shown.

use std::fmt;

use tokio_postgres::config::{Host, SslMode};

use super::form::Formed;

const SCHEMES: [&str; 2] = ["postgres://", "postgresql://"];

/// How to connect, with the password. Its `Debug` form shows nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl(tokio_postgres::Config);

impl DatabaseUrl {
    /// Reads a URL, or says what was expected. TLS is off only if the URL says `sslmode=disable`, or if all hosts are sockets of the file
    /// system. With TLS, a certificate is always verified, so each other mode of the URL becomes `require`.
    pub fn parse(text: &str) -> Formed<Self> {
        let scheme = SCHEMES.iter().find(|scheme| text.starts_with(**scheme));
        let scheme = scheme.ok_or("expected a URL that begins with postgres://")?;
        check_encoding(&text[scheme.len()..])?;
        let text = text.replace("sslmode=verify-full", "sslmode=require");
        let mut config: tokio_postgres::Config = text.parse().map_err(|_| fault(&text))?;
        if config.get_hosts().is_empty() {
            return Err("expected a host, as in postgres://user:password@host/database".to_owned());
        }
        let is_local = config.get_hosts().iter().all(|host| matches!(host, Host::Unix(_)));
        config.ssl_mode(match config.get_ssl_mode() {
            SslMode::Disable => SslMode::Disable,
            _ if is_local => SslMode::Disable,
            _ => SslMode::Require,
        });
        Ok(Self(config))
    }

    /// Everything that a connection needs. It contains the password.
    pub fn expose(&self) -> &tokio_postgres::Config {
        &self.0
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Refuses characters that should be percent-encoded: the parser would take one for the end of the user, the password or the host.
fn check_encoding(behind_scheme: &str) -> Formed<()> {
    let end = behind_scheme.find(['/', '?', '#']).unwrap_or(behind_scheme.len());
    let (authority, rest) = behind_scheme.split_at(end);
    let is_code = |code: Option<&[u8]>| code.is_some_and(|code| code.iter().all(u8::is_ascii_hexdigit));
    let expected = if authority.matches('@').count() > 1 || rest.contains('@') {
        "one @, in front of the host: percent-encode the characters @ / ? # of user and password as %40 %2F %3F %23"
    } else if behind_scheme.contains(char::is_whitespace) {
        "no spaces: percent-encode each as %20"
    } else if rest.contains('#') {
        "no #: percent-encode it as %23"
    } else if !behind_scheme.split('%').skip(1).all(|behind| is_code(behind.as_bytes().get(..2))) {
        "two hexadecimal digits behind each %: percent-encode a % of the password as %25"
    } else {
        return Ok(());
    };
    Err(format!("expected {expected}"))
}

/// What is wrong with a URL that cannot be read: the first option that cannot be read, or else the part in front of the options.
fn fault(text: &str) -> String {
    let options = text.split_once('?').map_or("", |(_, options)| options).split('&').zip(1..);
    let is_bad =
        |option: &str| format!("{}host/?{option}", SCHEMES[0]).parse::<tokio_postgres::Config>().is_err();
    let mut bad = options.filter(|(option, _)| !option.is_empty() && is_bad(option));
    let Some((option, number)) = bad.next() else {
        return "expected user:password@host:port behind postgres://, with a port from 1 to 65535, and an IPv6 address in [brackets]"
            .to_owned();
    };
    let name = option.split_once('=').map_or(option, |(name, _)| name);
    match name {
        "sslmode" => "expected sslmode=disable, require or verify-full: a certificate is always verified, with the name of the host".to_owned(),
        "sslrootcert" => "expected no sslrootcert: name a file of authorities in CA_FILE".to_owned(),
        "ssl" => "expected sslmode=require or disable in place of ssl".to_owned(),
        "schema" | "currentSchema" | "search_path" => {
            format!("expected no {name}: set DATABASE_SCHEMA to the name of the schema")
        }
        "pgbouncer" => {
            "expected no pgbouncer: name the database itself or a pooler in session mode".to_owned()
        }
        "connection_limit" | "pool_timeout" | "socket_timeout" | "statement_cache_size" | "sslcert" | "sslkey" | "sslcrl" | "sslpassword"
        | "sslaccept" | "sslidentity" | "gssencmode" | "krbsrvname" | "passfile" | "service" | "require_auth" => {
            format!("expected no {name}: remove it, it has no meaning here")
        }
        "target_session_attrs" => "expected target_session_attrs=read-write or any".to_owned(),
        "connect_timeout" | "tcp_user_timeout" | "keepalives" | "keepalives_idle" | "keepalives_interval" | "keepalives_retries" => {
            format!("expected a whole number as {name}")
        }
        _ => format!("expected options that the broker knows, found another one at place {number} behind the ?: remove it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn tls_is_off_only_where_the_url_says_so_or_no_network_is_used() {
        let mode = |text: &str| DatabaseUrl::parse(text).unwrap().expose().get_ssl_mode();
        for (query, expected) in [
            ("", SslMode::Require),
            ("?sslmode=prefer", SslMode::Require),
            ("?sslmode=require", SslMode::Require),
            ("?sslmode=verify-full&channel_binding=require", SslMode::Require),
            ("?sslmode=disable", SslMode::Disable),
        ] {
            assert_eq!(mode(&format!("postgres://me@db.example/turn{query}")), expected, "{query}");
        }
        assert_eq!(mode("postgres://me@%2Frun%2Fpostgresql/turn"), SslMode::Disable);
    }

    #[test]
    fn a_password_is_what_it_was_before_it_was_encoded() {
        let url = DatabaseUrl::parse("postgres://me:a%40b%2Fc%3Fd%23e%25f%20g:$@db.example/turn").unwrap();
        assert_eq!(url.expose().get_password(), Some(&b"a@b/c?d#e%f g:$"[..]));
    }

    proptest! {
        #[test]
        fn no_sentence_contains_a_part_of_the_password(password in "[a=&?/#@:% ]{0,9}hush[a=&?/#@:% ]{0,9}", rest in "(@db/x)?(\\?a=b)?") {
            if let Err(expected) = DatabaseUrl::parse(&format!("postgres://me:{password}{rest}")) {
                prop_assert!(!expected.contains("hush"), "{expected}");
            }
        }
    }
}
