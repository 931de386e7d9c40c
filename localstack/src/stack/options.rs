//! The options of a stack, and the parameters that its templates get.

use crate::aws::lambda::Mode;
use crate::faults::Fault;
use crate::outside::carrier;
use crate::outside::token_issuer::{self, Dialect};
use crate::template::names::{self, Names};
use crate::template::{self, resources::Model};
use crate::terminal::Terminal;
use anyhow::Result;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The secrets that no template declares, because an operator creates them (`just secrets`): the parameter that gets the
/// ARN, the end of the name, and the text that the simulators accept.
const SECRETS: [(&str, &str, &str); 2] = [
    ("ProviderSecretArn", "payments-provider", "sk_test_simulator"),
    ("CarrierSecretArn", "fulfillment-carrier", "ck_test_simulator"),
];

#[derive(Clone, Debug)]
pub struct Options {
    /// The folder with the templates.
    pub infra: PathBuf,
    /// The folder with the service binaries.
    pub binaries: PathBuf,
    /// The folder for tables, queues and logs.
    pub data: PathBuf,
    /// Keeps tables and queues in memory only; logs still go to `data`.
    pub in_memory: bool,
    /// Deletes what `data` holds.
    pub fresh: bool,
    /// Lists the first products, unless `data` says that they were.
    pub seed: bool,
    /// 0 for any free port.
    pub api_port: u16,
    /// 0 for any free port.
    pub aws_port: u16,
    /// 0 for any free port.
    pub provider_port: u16,
    pub stage: String,
    /// Allows every request without a token: the templates' parameter `Auth` is `none`.
    pub no_auth: bool,
    /// Whose tokens the local issuer writes.
    pub issuer: Dialect,
    /// Divides the waits of state machines and schedules, of messages and records whose function reported a failure, and the age
    /// of records, for tests that would otherwise last minutes.
    pub time_scale: u32,
    /// How functions are run.
    pub lambda: Mode,
    /// How many invocations may run at a time, of all functions together.
    pub account_concurrency: u32,
    /// Values of the templates' parameters, by name.
    pub parameters: BTreeMap<String, String>,
    /// The faults that are set from the start.
    pub faults: Vec<Fault>,
    /// Counts what AWS would bill.
    pub meter: bool,
    /// Shows requests, services and logs.
    pub terminal: Terminal,
}

/// Where the parts of a stack answer.
#[derive(Clone, Debug, Default)]
pub struct Urls {
    pub api: String,
    pub endpoint: String,
    pub simulators: String,
    /// Address of the Runtime API without a scheme, and the first part of its paths.
    pub runtime_api: String,
}

impl Urls {
    #[must_use]
    pub fn issuer(&self) -> String {
        format!("{}{}", self.endpoint, token_issuer::PATH)
    }

    #[must_use]
    pub fn names(&self) -> Names {
        Names { endpoint: self.endpoint.clone(), api: self.api.clone() }
    }
}

impl Options {
    /// The folder for what survives a restart; `None` for a stack in memory.
    #[must_use]
    pub fn kept(&self) -> Option<&Path> {
        (!self.in_memory).then_some(self.data.as_path())
    }

    /// What the templates declare, for a stack at these URLs.
    ///
    /// # Errors
    /// When a template is refused.
    pub fn model(&self, urls: &Urls) -> Result<Model> {
        self.model_with(urls, &urls.issuer())
    }

    fn model_with(&self, urls: &Urls, issuer: &str) -> Result<Model> {
        template::load(&self.infra, &urls.names(), &self.template_parameters(&urls.simulators, issuer))
    }

    fn template_parameters(&self, simulators: &str, issuer: &str) -> BTreeMap<String, String> {
        let carrier_url = format!("{simulators}{}", carrier::PATH);
        let pairs = [
            ("CarrierUrl", carrier_url.as_str()),
            ("Stage", self.stage.as_str()),
            ("ProviderUrl", simulators),
            ("FallbackPaymentMethod", "pm_card_visa"),
            ("Auth", if self.no_auth { "none" } else { "jwt" }),
        ];
        let mut parameters: BTreeMap<_, _> =
            pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        parameters.insert("TokenIssuer".into(), format!("{issuer}{}", self.issuer.path()));
        parameters.extend(self.issuer.parameters().into_iter().map(|(name, value)| (name.to_owned(), value)));
        let arn = |(parameter, end, _): (&str, &str, &str)| {
            (parameter.to_owned(), names::secret_arn(&self.secret(end)))
        };
        parameters.extend(SECRETS.map(arn));
        parameters.extend(self.parameters.clone());
        parameters
    }

    fn secret(&self, end: &str) -> String {
        format!("{}-quadrille-{end}", self.stage)
    }

    /// The secrets that an operator created, by name.
    #[must_use]
    pub fn secrets(&self) -> BTreeMap<String, String> {
        SECRETS.map(|(_, end, text)| (self.secret(end), text.to_owned())).into()
    }
}

/// The service binaries that the templates name: the last part of each function's code.
///
/// # Errors
/// When a template is refused.
pub fn binaries(options: &Options) -> Result<BTreeSet<String>> {
    let model = options.model_with(&Urls::default(), "")?;
    Ok(model.functions.iter().map(|function| names::last_part(&function.code).to_owned()).collect())
}
