//! Every part of the platform, connected to the others as the templates declare.

use super::checks;
use super::data_folder::DataFolder;
use super::limits;
use super::options::{Options, Urls};
use crate::aws::apigateway::Gateway;
use crate::aws::dynamodb::Database;
use crate::aws::endpoint::Endpoint;
use crate::aws::eventbridge::bus::{self, Buses};
use crate::aws::eventbridge::pipes::Pipe;
use crate::aws::eventbridge::pipes_api::Pipes;
use crate::aws::eventbridge::replays::Replays;
use crate::aws::iam::Iam;
use crate::aws::lambda::asynchronous;
use crate::aws::lambda::{Account, Function, Functions, Poller, Sandbox, Watchdog};
use crate::aws::lambda_api::Mappings;
use crate::aws::scheduler::{self, Schedule};
use crate::aws::secretsmanager::Secrets;
use crate::aws::sns::Topics;
use crate::aws::sqs::Queues;
use crate::aws::sqs::moves::Moves;
use crate::aws::stepfunctions::{Setup, StateMachines};
use crate::aws::streams::{self, StreamMapping, shard, switch};
use crate::aws::{
    apigateway, cloudformation, cloudwatch, eventbridge, lambda_api, logs, sns, sqs, stepfunctions,
};
use crate::faults::{Fault, Faults, Targets};
use crate::outside::simulators::Simulators;
use crate::outside::token_issuer::TokenIssuer;
use crate::support::meter::Meter;
use crate::template::names;
use crate::template::resources::{self, Model};
use anyhow::{Context, Result};
use chrono::Utc;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What the parts are made from.
pub struct Plan<'a> {
    pub options: &'a Options,
    pub urls: &'a Urls,
    pub model: &'a Model,
    pub data: &'a DataFolder,
    pub meter: &'a Meter,
}

pub struct Parts {
    pub queues: Queues,
    pub functions: Functions,
    pub pollers: Vec<Poller>,
    pub schedules: Vec<Schedule>,
    pub machines: StateMachines,
    pub simulators: Simulators,
    pub fan_out: FanOut,
    pub gateway: Arc<Gateway>,
    pub endpoint: Arc<Endpoint>,
    pub watchdog: Watchdog,
}

/// What runs functions, and the queues that feed them.
struct Compute {
    queues: Queues,
    iam: Iam,
    functions: Functions,
    schedules: Vec<Schedule>,
    machines: StateMachines,
    watchdog: Watchdog,
}

/// What carries events, and the parties outside.
struct Messaging {
    buses: Buses,
    replays: Replays,
    simulators: Simulators,
    topics: Topics,
    fan_out: FanOut,
}

/// What reads the tables' streams.
#[derive(Clone, Default)]
pub struct FanOut {
    pub pipes: Vec<Arc<Pipe>>,
    pub mappings: Vec<Arc<StreamMapping>>,
}

impl FanOut {
    /// Whether every record of every stream is settled.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.pipes.iter().all(|pipe| pipe.is_idle()) && self.mappings.iter().all(|mapping| mapping.is_idle())
    }
}

impl Parts {
    /// # Errors
    /// When a template declares what is not implemented, a resource names one that no template declares, a permission
    /// is missing, or what is kept in the data folder cannot be read.
    pub fn connect(plan: &Plan<'_>) -> Result<Self> {
        let Plan { options, urls, model, data, meter } = *plan;
        data.database.metered_by(meter);
        let faults = dial(model, &data.database, &options.faults)?;
        let Compute { queues, iam, functions, schedules, machines, watchdog } =
            Compute::connect(plan, &faults)?;
        let Messaging { buses, replays, simulators, topics, fan_out } =
            Messaging::connect(plan, &faults, &queues, &machines, &functions)?;
        let issuer = TokenIssuer::open(options.kept(), &urls.issuer(), options.issuer)?;
        let gateway =
            Arc::new(Gateway::new(model, &functions, &issuer, (&data.logs, meter, &options.terminal))?);
        let since = Utc::now().timestamp_millis();
        let shared = Arc::new(model.clone());
        let time_scale = options.time_scale;
        let connections =
            asynchronous::Connections { functions: &functions, queues: &queues, iam: &iam, time_scale };
        let events = asynchronous::of_all(model, &connections)?;
        let groups = logs::Groups::new(model, &data.logs);
        let endpoint = Arc::new(Endpoint {
            dynamodb: data.database.clone(),
            streams: streams::api::Service::new(&data.database, &shared, since),
            sqs: sqs::Service {
                queues: queues.clone(),
                policies: model.queue_policies.clone(),
                moves: Moves::default(),
                endpoint: urls.endpoint.clone(),
            },
            events: eventbridge::Service { buses, replays, model: Arc::clone(&shared), since },
            pipes: Pipes(fan_out.pipes.clone()),
            scheduler: scheduler::api::Service { model: Arc::clone(&shared), since },
            secrets: Secrets::open(options.secrets(), &model.secrets, options.kept())?,
            iam,
            lambda: lambda_api::Service {
                functions: functions.clone(),
                model: Arc::clone(&shared),
                mappings: Mappings { streams: fan_out.mappings.clone(), queues: model.mappings.clone() },
                events,
                logs: data.logs.clone(),
                since,
            },
            states: stepfunctions::Service { machines: machines.clone(), since },
            sns: sns::Service { topics, model: Arc::clone(&shared) },
            logs: logs::Service { groups: groups.clone(), model: Arc::clone(&shared), since },
            cloudwatch: cloudwatch::Service::new(cloudwatch::Watched {
                groups,
                model: Arc::clone(&shared),
                queues: queues.clone(),
                machines: machines.clone(),
                since,
                begun: if options.in_memory { since } else { 0 },
            }),
            cloudformation: cloudformation::Service { model: Arc::clone(&shared), since },
            apis: apigateway::api::Service { model: shared, url: urls.api.clone(), since },
            faults,
            meter: meter.clone(),
            issuer,
        });
        let poller = |mapping| Poller::new(mapping, &queues, &functions, options.time_scale);
        let pollers = model.mappings.iter().map(poller).collect::<Result<_>>()?;
        Ok(Self {
            queues,
            functions,
            pollers,
            schedules,
            machines,
            simulators,
            fan_out,
            gateway,
            endpoint,
            watchdog,
        })
    }
}

impl Messaging {
    fn connect(
        plan: &Plan<'_>,
        faults: &Faults,
        queues: &Queues,
        machines: &StateMachines,
        functions: &Functions,
    ) -> Result<Self> {
        let Plan { options, model, meter, data: DataFolder { database, journal, positions, .. }, .. } = *plan;
        let connections = bus::Connections { queues, machines, journal, faults, meter };
        let buses = Buses::start(model, &connections)?;
        let replays = Replays::open(&buses, journal);
        let simulators = Simulators::new(journal, faults, options.time_scale);
        let topics = Topics::start((&model.topics, &model.subscriptions), queues, journal, meter)?;
        let connections = shard::Connections {
            database,
            queues,
            journal,
            positions,
            switches: &journal.records(switch::PREFIX),
            faults,
            time_scale: options.time_scale,
        };
        let fan_out = FanOut::connect(model, &buses, functions, &connections)?;
        Ok(Self { buses, replays, simulators, topics, fan_out })
    }
}

impl Compute {
    fn connect(plan: &Plan<'_>, faults: &Faults) -> Result<Self> {
        let Plan { options, urls, model, meter, data: DataFolder { journal, logs, .. } } = *plan;
        let queues = Queues::start(&model.queues, journal)?;
        let iam = Iam::new(&model.roles)?;
        limits::check(model)?;
        checks::check(model, &iam)?;
        let watchdog = Watchdog::start()?;
        let sandbox = Sandbox {
            runtime_api: urls.runtime_api.clone(),
            endpoint: urls.endpoint.clone(),
            binaries: options.binaries.clone(),
            logs: logs.clone(),
            mode: options.lambda,
            group: watchdog.group(),
            faults: faults.clone(),
            meter: meter.clone(),
        };
        let account = Account::new(options.account_concurrency, &model.functions)?;
        let function = |declared: &resources::Function| {
            Function::new(declared, &iam.issue_key(&declared.role), &sandbox, &account)
        };
        let functions: Vec<Function> = model.functions.iter().map(function).collect::<Result<_>>()?;
        let functions: Functions = functions.into_iter().collect();
        let time_scale = options.time_scale;
        let connections =
            asynchronous::Connections { functions: &functions, queues: &queues, iam: &iam, time_scale };
        let schedules = scheduler::schedules(model, &connections)?;
        let setup = Setup { functions: &functions, infra: &options.infra, time_scale, journal, meter };
        let machines = StateMachines::new(&model.machines, &setup)?;
        checks::check_machines(model, &iam, &machines)?;
        Ok(Self { queues, iam, functions, schedules, machines, watchdog })
    }
}

/// The names under which the readers of streams are stopped: a pipe's own, a mapping's function's.
fn streams(model: &Model) -> BTreeSet<String> {
    let mappings = model.stream_mappings.iter().map(|mapping| names::last_part(&mapping.function_name));
    let pipes = model.pipes.iter().map(|pipe| pipe.name.as_str());
    pipes.chain(mappings).map(str::to_owned).collect()
}

/// The fault dial, with the faults that are set from the start.
fn dial(model: &Model, database: &Database, set: &[Fault]) -> Result<Faults> {
    let events = model.rules.iter().filter_map(|rule| rule.event_pattern["detail-type"].as_array()).flatten();
    // The bus sends to no FIFO queue: a fault there would be ignored.
    let standard = model.queues.iter().filter(|queue| queue.fifo_queue.is_none());
    let dial = Faults::new(Targets {
        queues: standard.map(|queue| queue.queue_name.clone()).collect(),
        functions: model.functions.iter().map(|function| function.function_name.clone()).collect(),
        tables: model.tables.iter().map(|table| table.table_name.clone()).collect(),
        streams: streams(model),
        events: events.filter_map(|kind| kind.as_str().map(str::to_owned)).collect(),
    });
    let dial = dial.of(database.to_fault());
    set.iter().try_for_each(|fault| dial.set(fault.clone()))?;
    Ok(dial)
}

impl FanOut {
    fn connect(
        model: &Model,
        buses: &Buses,
        functions: &Functions,
        connections: &shard::Connections<'_>,
    ) -> Result<Self> {
        let pipe = |declared: &resources::Pipe| {
            let pipe = Pipe::new(declared, buses, functions, connections).map(Arc::new);
            pipe.with_context(|| format!("pipe {}", declared.name))
        };
        let mapping = |declared: &resources::StreamMapping| {
            let mapping = StreamMapping::new(declared, functions, connections).map(Arc::new);
            mapping.with_context(|| format!("the mapping of {}", declared.function_name))
        };
        Ok(Self {
            pipes: model.pipes.iter().map(pipe).collect::<Result<_>>()?,
            mappings: model.stream_mappings.iter().map(mapping).collect::<Result<_>>()?,
        })
    }
}
