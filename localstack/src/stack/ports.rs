//! The four ports of a stack, all on loopback.

use super::options::{Options, Urls};
use anyhow::{Context, Result, bail};
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use tokio::net::{TcpListener, TcpSocket};
use uuid::Uuid;

/// How many connections may wait to be accepted. Every environment of every function opens several in its first moment, and one that
/// finds no place tries again after a second.
const BACKLOG: u32 = 4096;

pub struct Ports {
    pub api: TcpListener,
    pub aws: TcpListener,
    pub simulators: TcpListener,
    pub runtime_api: TcpListener,
    /// The first part of every path of the Runtime API. A page cannot guess it, and so cannot fetch an invocation away.
    pub secret: String,
}

impl Ports {
    /// # Errors
    /// When a port is taken; the text names the flag that changes it.
    pub fn open(options: &Options) -> Result<Self> {
        Ok(Self {
            api: listen(options.api_port, "the API", "--api-port")?,
            aws: listen(options.aws_port, "the AWS endpoint", "--aws-port")?,
            simulators: listen(options.provider_port, "the simulators", "--provider-port")?,
            runtime_api: listen(0, "the Lambda Runtime API", "")?,
            secret: Uuid::new_v4().simple().to_string(),
        })
    }

    /// # Errors
    /// When the operating system cannot name an address.
    pub fn urls(&self) -> Result<Urls> {
        Ok(Urls {
            api: url(&self.api)?,
            endpoint: url(&self.aws)?,
            simulators: url(&self.simulators)?,
            runtime_api: format!("{}/{}", self.runtime_api.local_addr()?, self.secret),
        })
    }
}

fn url(listener: &TcpListener) -> Result<String> {
    Ok(format!("http://{}", listener.local_addr()?))
}

fn listen(port: u16, what: &str, flag: &str) -> Result<TcpListener> {
    let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
    match bind(address) {
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            bail!("port {port} for {what} is in use; choose another with {flag} PORT")
        }
        bound => bound.with_context(|| format!("cannot listen on {address} for {what}")),
    }
}

fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    // Otherwise the connections of a stack that has just ended would hold its ports.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use futures_util::future::join_all;
    use std::time::Duration;
    use tokio::net::TcpStream;
    use tokio::time::timeout;

    /// More than the 128 that the standard library lets wait.
    const AT_ONCE: usize = 200;

    /// Guards: the backlog. With fewer places, some of these would try again after a second.
    #[tokio::test]
    async fn many_find_a_place_at_once() {
        let listener = listen(0, "a test", "").unwrap();
        let address = listener.local_addr().unwrap();
        let soon = Duration::from_millis(800);
        let connecting = (0..AT_ONCE).map(|_| timeout(soon, TcpStream::connect(address)));
        let refused = join_all(connecting).await.into_iter().filter(Result::is_err).count();
        assert_eq!(refused, 0);
    }
}
