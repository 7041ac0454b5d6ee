//! Where pages are served.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// A host and port, or a socket in the file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HttpAddress {
    /// `HOST:PORT`; port 0 picks a free one.
    Tcp(String),
    /// A path.
    Unix(PathBuf),
}

/// A text is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no address to listen on: write HOST:PORT, a port of this machine, or unix:/PATH")]
pub struct InvalidHttpAddress(String);

impl FromStr for HttpAddress {
    type Err = InvalidHttpAddress;

    /// `HOST:PORT`; `:PORT` or `PORT`, which are of 127.0.0.1; `unix:/PATH`
    /// or `unix:///PATH`.
    fn from_str(text: &str) -> Result<Self, InvalidHttpAddress> {
        let invalid = || InvalidHttpAddress(text.to_owned());
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return match path.starts_with('/') && path.len() > 1 {
                true => Ok(Self::Unix(path.into())),
                false => Err(invalid()),
            };
        }
        let plain = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
        let (host, port) = plain.rsplit_once(':').unwrap_or(("", plain));
        port.parse::<u16>().map_err(|_| invalid())?;
        match host {
            "" => Ok(Self::Tcp(format!("127.0.0.1:{port}"))),
            host if host.contains(['/', ' ']) => Err(invalid()),
            host => Ok(Self::Tcp(format!("{host}:{port}"))),
        }
    }
}

impl fmt::Display for HttpAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(place) => write!(f, "http://{place}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
