//! How every client is configured: region, credentials, endpoint, timeouts and retries.

pub use aws_config::SdkConfig;

use aws_config::{
    BehaviorVersion, Region,
    retry::RetryConfig,
    stalled_stream_protection::StalledStreamProtectionConfig,
    timeout::{TimeoutConfig, TimeoutConfigBuilder},
};
use aws_sdk_dynamodb::config::{Credentials, ProvideCredentials, SharedCredentialsProvider};
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use chassis::Failure;
use std::error::Error;
use std::fmt::Debug;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long one attempt of one call may take. DynamoDB answers in milliseconds; what takes longer is lost.
const ATTEMPT: Duration = Duration::from_secs(2);
const CONNECT: Duration = Duration::from_secs(1);
const ATTEMPTS: u32 = 3;
/// How long a call may take with all its attempts. A reactor has five seconds: when a table hangs, it can still say so.
const CALL: Duration = Duration::from_secs(4);
/// The most that the first pause between two attempts lasts. The loop above repeats what is throttled, with its own pauses.
const BACKOFF: Duration = Duration::from_millis(50);

/// How long an operator waits for one attempt: a queue may take its time to say that it has no message.
const OPERATORS_ATTEMPT: Duration = Duration::from_secs(5);

/// Region, credentials, endpoint, timeouts and retries, from the environment as Lambda sets it.
pub async fn sdk_config() -> SdkConfig {
    config(TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT).operation_timeout(CALL)).await
}

async fn config(timeouts: TimeoutConfigBuilder) -> SdkConfig {
    aws_config::defaults(BehaviorVersion::latest())
        .http_client(http_client())
        .timeout_config(timeouts.connect_timeout(CONNECT).build())
        // Answers are small and arrive whole; watching their throughput costs more than reading them.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS).with_initial_backoff(BACKOFF))
        .load()
        .await
}

/// An SDK error in a line that people can read: the service's own code and message, or the chain of what went wrong on
/// the way to it.
pub(crate) fn in_a_line<E, R>(error: &SdkError<E, R>) -> String
where
    E: ProvideErrorMetadata + Error + 'static,
    R: Debug,
{
    match (error.code(), error.message()) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        _ => chain(error),
    }
}

/// The failure of an operator's call: what the service understood and refused is refused again.
pub(crate) fn refused<E, R>(error: &SdkError<E, R>) -> Failure
where
    E: ProvideErrorMetadata + Error + 'static,
    R: Debug,
{
    let text = in_a_line(error);
    if error.code().is_some() { Failure::Poison(text) } else { Failure::Transient(text) }
}

fn chain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(deeper) = cause {
        line = format!("{line}: {deeper}");
        cause = deeper.source();
    }
    line
}

/// Where the local stack answers by default.
const LOCAL: &str = "http://127.0.0.1:4566";

/// Why an operator cannot work on a stage, and what helps.
#[derive(Debug, thiserror::Error)]
pub enum Unreachable {
    /// The stage `local`, and no local stack.
    #[error(
        "nothing answers at {0}: the local stack does not run; `cargo dev` starts it, and AWS_ENDPOINT_URL names another address"
    )]
    NoLocalStack(String),
    /// An endpoint that the SDK would leave aside without a sound, for another one.
    #[error("AWS_ENDPOINT_URL: {0:?} is no address such as http://127.0.0.1:4566")]
    NoAddress(String),
    /// A stage on AWS, and no region.
    #[error("no region: set AWS_REGION, or run `aws configure`")]
    NoRegion,
    /// A stage on AWS, and no credentials.
    #[error(
        "no credentials ({0}): run `aws sso login`, `aws login` or `aws configure`, and name another profile in AWS_PROFILE"
    )]
    NoCredentials(String),
    /// A stage on AWS, and a build for the local stack.
    #[error("this build speaks no TLS: build it with `cargo build -p operator --features tls`")]
    NoTls,
}

/// As [`sdk_config`], for an operator, who has more time: the stage `local` is the local stack at its usual address, unless the
/// environment names another endpoint, and has credentials of its own. Every other stage has those of the AWS CLI.
///
/// # Errors
/// [`Unreachable`], before the first call: an SDK's own error would not name what helps.
pub async fn operators_config(stage: &str) -> Result<SdkConfig, Unreachable> {
    if let Some(text) = std::env::var("AWS_ENDPOINT_URL").ok().filter(|text| !is_address(text)) {
        return Err(Unreachable::NoAddress(text));
    }
    let config = config(TimeoutConfig::builder().operation_attempt_timeout(OPERATORS_ATTEMPT)).await;
    if stage != "local" {
        return with_credentials(config).await;
    }
    let endpoint = config.endpoint_url().unwrap_or(LOCAL).to_owned();
    if !listens(&endpoint).await {
        return Err(Unreachable::NoLocalStack(endpoint));
    }
    let region = config.region().cloned().unwrap_or(Region::new("us-east-1"));
    let key = Credentials::new("local", "local", None, None, "the local stack");
    let key = SharedCredentialsProvider::new(key);
    Ok(config.into_builder().endpoint_url(endpoint).region(region).credentials_provider(key).build())
}

/// Whether a text has the scheme and the host that the SDK wants.
fn is_address(text: &str) -> bool {
    let uri = text.parse::<hyper::Uri>().ok();
    uri.is_some_and(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some())
}

/// Whether anything listens at an address.
async fn listens(endpoint: &str) -> bool {
    let host = endpoint.split("://").last().unwrap_or_default().trim_end_matches('/');
    matches!(timeout(CONNECT, TcpStream::connect(host)).await, Ok(Ok(_)))
}

/// Looks for region and credentials once, as the calls will.
async fn with_credentials(config: SdkConfig) -> Result<SdkConfig, Unreachable> {
    let is_plain = config.endpoint_url().is_some_and(|url| url.starts_with("http://"));
    if !is_plain && cfg!(not(feature = "tls")) {
        return Err(Unreachable::NoTls);
    }
    if config.region().is_none() {
        return Err(Unreachable::NoRegion);
    }
    let missing = || Unreachable::NoCredentials("none are configured".into());
    let provider = config.credentials_provider().ok_or_else(missing)?;
    match provider.provide_credentials().await {
        Ok(_) => Ok(config),
        // Each provider of the chain says so of itself, on a line of its own.
        Err(error) if error.to_string().contains("not enabled") => Err(missing()),
        Err(error) => {
            let why = chain(&error);
            Err(Unreachable::NoCredentials(why.split_whitespace().collect::<Vec<_>>().join(" ")))
        }
    }
}

#[cfg(feature = "tls")]
fn http_client() -> aws_smithy_runtime_api::client::http::SharedHttpClient {
    use aws_smithy_http_client::{Builder, tls};
    let provider = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::AwsLc);
    Builder::new().tls_provider(provider).build_https()
}

#[cfg(not(feature = "tls"))]
fn http_client() -> aws_smithy_runtime_api::client::http::SharedHttpClient {
    aws_smithy_http_client::Builder::new().build_http()
}
