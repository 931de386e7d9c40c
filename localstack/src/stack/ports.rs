//! The four ports of a stack, all on loopback.

use super::options::{Options, Urls};
use anyhow::{Context, Result, bail};
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use tokio::net::TcpListener;
use uuid::Uuid;

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
    pub async fn open(options: &Options) -> Result<Self> {
        Ok(Self {
            api: listen(options.api_port, "the API", "--api-port").await?,
            aws: listen(options.aws_port, "the AWS endpoint", "--aws-port").await?,
            simulators: listen(options.provider_port, "the simulators", "--provider-port").await?,
            runtime_api: listen(0, "the Lambda Runtime API", "").await?,
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

async fn listen(port: u16, what: &str, flag: &str) -> Result<TcpListener> {
    let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
    match TcpListener::bind(address).await {
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            bail!("port {port} for {what} is in use; choose another with {flag} PORT")
        }
        bound => bound.with_context(|| format!("cannot listen on {address} for {what}")),
    }
}
