//! Every resource type and property that the local stack knows, typed. A property that is not here is
//! refused by name.
//!
//! Some properties have no meaning on one machine (encryption at rest, backups, retention of logs, deletion
//! protection, CPU architecture, descriptions). They are typed and checked like the others and change
//! nothing; their fields carry no documentation beyond their AWS name.
#![allow(missing_docs, reason = "the fields are AWS's own property names, documented by CloudFormation")]

use super::Refused;
use super::names;
use super::resolve::{Resource, Template};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The resource types that the local stack runs.
pub const TYPES: [&str; 22] = [
    "AWS::ApiGatewayV2::Api",
    "AWS::ApiGatewayV2::Authorizer",
    "AWS::ApiGatewayV2::Integration",
    "AWS::ApiGatewayV2::Route",
    "AWS::ApiGatewayV2::Stage",
    "AWS::CloudWatch::Alarm",
    "AWS::DynamoDB::Table",
    "AWS::Events::Archive",
    "AWS::Events::EventBus",
    "AWS::Events::Rule",
    "AWS::IAM::Role",
    "AWS::Lambda::EventSourceMapping",
    "AWS::Lambda::Function",
    "AWS::Lambda::Permission",
    "AWS::Logs::LogGroup",
    "AWS::Pipes::Pipe",
    "AWS::SNS::Topic",
    "AWS::SQS::Queue",
    "AWS::SQS::QueuePolicy",
    "AWS::Scheduler::Schedule",
    "AWS::SecretsManager::Secret",
    "AWS::StepFunctions::StateMachine",
];

/// The property that names a resource of this type.
#[must_use]
pub fn name_property(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "AWS::CloudWatch::Alarm" => "AlarmName",
        "AWS::DynamoDB::Table" => "TableName",
        "AWS::SNS::Topic" => "TopicName",
        "AWS::SQS::Queue" => "QueueName",
        "AWS::Lambda::Function" => "FunctionName",
        "AWS::Logs::LogGroup" => "LogGroupName",
        "AWS::Events::Archive" => "ArchiveName",
        "AWS::IAM::Role" => "RoleName",
        "AWS::StepFunctions::StateMachine" => "StateMachineName",
        "AWS::Events::EventBus"
        | "AWS::Events::Rule"
        | "AWS::Pipes::Pipe"
        | "AWS::Scheduler::Schedule"
        | "AWS::ApiGatewayV2::Api"
        | "AWS::ApiGatewayV2::Authorizer"
        | "AWS::SecretsManager::Secret" => "Name",
        _ => return None,
    })
}

macro_rules! properties {
    ($($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident : $type:ty),* $(,)? })*) => {
        $(
            $(#[$meta])*
            #[derive(Clone, Debug, Deserialize)]
            #[serde(rename_all = "PascalCase", deny_unknown_fields)]
            pub struct $name { $($(#[$field_meta])* pub $field: $type),* }
        )*
    };
}

properties! {
    /// <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-resource-dynamodb-table.html>
    Table {
        table_name: String,
        billing_mode: String,
        deletion_protection_enabled: Option<bool>,
        attribute_definitions: Value,
        key_schema: Value,
        global_secondary_indexes: Option<Value>,
        stream_specification: Option<StreamSpecification>,
        time_to_live_specification: Option<TimeToLive>,
        point_in_time_recovery_specification: Option<PointInTimeRecovery>,
        #[serde(rename = "SSESpecification")]
        sse_specification: Option<SseSpecification>,
    }
    StreamSpecification { stream_view_type: String }
    TimeToLive { attribute_name: String, enabled: bool }
    PointInTimeRecovery { point_in_time_recovery_enabled: bool }
    SseSpecification { #[serde(rename = "SSEEnabled")] sse_enabled: bool }

    /// <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-resource-sqs-queue.html>
    Queue {
        queue_name: String,
        visibility_timeout: Option<u32>,
        message_retention_period: Option<u32>,
        redrive_policy: Option<RedrivePolicy>,
        sqs_managed_sse_enabled: Option<bool>,
    }
    QueuePolicy { queues: Vec<String>, policy_document: Value }

    /// <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-resource-sns-topic.html>
    Topic { topic_name: String, fifo_topic: Option<bool>, content_based_deduplication: Option<bool> }

    /// <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-resource-cloudwatch-alarm.html>
    Alarm {
        alarm_name: String,
        alarm_description: Option<String>,
        namespace: String,
        metric_name: String,
        dimensions: Vec<Dimension>,
        statistic: String,
        period: u32,
        evaluation_periods: u32,
        threshold: u32,
        comparison_operator: String,
        treat_missing_data: Option<String>,
        alarm_actions: Option<Vec<String>>,
    }
    Dimension { name: String, value: String }

    EventBus { name: String }
    /// <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-resource-events-archive.html>
    Archive {
        archive_name: String,
        source_arn: String,
        retention_days: Option<u32>,
        event_pattern: Option<Value>,
    }
    /// <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-resource-events-rule.html>
    Rule {
        name: String,
        description: Option<String>,
        event_bus_name: String,
        event_pattern: Value,
        targets: Vec<Target>,
    }
    Target {
        id: String,
        arn: String,
        role_arn: Option<String>,
        input_path: Option<String>,
        retry_policy: Option<RetryPolicy>,
        dead_letter_config: Option<DeadLetterConfig>,
    }
    RetryPolicy { maximum_retry_attempts: Option<u32>, maximum_event_age_in_seconds: Option<u32> }
    DeadLetterConfig { arn: String }

    /// <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-resource-pipes-pipe.html>
    Pipe {
        name: String,
        role_arn: String,
        source: String,
        source_parameters: PipeSource,
        target: String,
        target_parameters: PipeTarget,
        log_configuration: Option<PipeLogs>,
    }
    PipeSource {
        #[serde(rename = "DynamoDBStreamParameters")]
        stream: StreamParameters,
        filter_criteria: Option<FilterCriteria>,
    }
    StreamParameters {
        starting_position: String,
        batch_size: Option<u32>,
        maximum_retry_attempts: Option<i32>,
        maximum_record_age_in_seconds: Option<i32>,
        on_partial_batch_item_failure: Option<String>,
        dead_letter_config: Option<DeadLetterConfig>,
    }
    FilterCriteria { filters: Vec<Filter> }
    Filter { pattern: String }
    PipeTarget {
        #[serde(rename = "EventBridgeEventBusParameters")]
        bus: BusParameters,
        input_template: Option<String>,
    }
    BusParameters {
        detail_type: Option<String>,
        source: Option<String>,
        time: Option<String>,
        resources: Option<Vec<String>>,
    }
    PipeLogs { level: String, cloudwatch_logs_log_destination: LogDestination }
    LogDestination { log_group_arn: String }

    /// <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-resource-lambda-function.html>
    Function {
        function_name: String,
        description: Option<String>,
        runtime: String,
        architectures: Option<Vec<String>>,
        code: String,
        handler: String,
        memory_size: Option<u32>,
        timeout: Option<u32>,
        role: String,
        environment: Option<Environment>,
        logging_config: Option<LoggingConfig>,
        dead_letter_config: Option<DeadLetterTarget>,
    }
    DeadLetterTarget { target_arn: String }
    Environment { variables: BTreeMap<String, String> }
    LoggingConfig { log_group: String }
    /// <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-resource-lambda-eventsourcemapping.html>
    EventSourceMapping {
        event_source_arn: String,
        function_name: String,
        batch_size: Option<u32>,
        function_response_types: Option<Vec<String>>,
    }
    /// <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-resource-scheduler-schedule.html>
    Schedule {
        name: String,
        description: Option<String>,
        schedule_expression: String,
        flexible_time_window: FlexibleTimeWindow,
        target: ScheduleTarget,
    }
    FlexibleTimeWindow { mode: String }
    ScheduleTarget {
        arn: String,
        role_arn: String,
        input: Option<String>,
        retry_policy: Option<RetryPolicy>,
        dead_letter_config: Option<DeadLetterConfig>,
    }
    Permission { action: String, function_name: String, principal: String, source_account: Option<String> }
    LogGroup { log_group_name: String, retention_in_days: Option<u32> }

    Role {
        role_name: Option<String>,
        assume_role_policy_document: Value,
        policies: Option<Vec<Policy>>,
    }
    Policy { policy_name: String, policy_document: Value }

    /// <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-resource-secretsmanager-secret.html>
    Secret {
        name: String,
        description: Option<String>,
        secret_string: Option<String>,
        generate_secret_string: Option<GenerateSecretString>,
    }
    GenerateSecretString { password_length: Option<u32>, exclude_punctuation: bool }

    /// <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-resource-stepfunctions-statemachine.html>
    StateMachine {
        state_machine_name: String,
        state_machine_type: String,
        #[serde(rename = "DefinitionS3Location")]
        definition_s3_location: String,
        definition_substitutions: Option<BTreeMap<String, String>>,
        role_arn: String,
        logging_configuration: Option<Value>,
    }

    /// <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-resource-apigatewayv2-api.html>
    Api { name: String, protocol_type: String, cors_configuration: Option<Cors> }
    Cors {
        allow_origins: Vec<String>,
        allow_methods: Vec<String>,
        allow_headers: Vec<String>,
        expose_headers: Vec<String>,
        max_age: u32,
    }
    Stage {
        api_id: String,
        stage_name: String,
        auto_deploy: Option<bool>,
        default_route_settings: Option<RouteSettings>,
    }
    RouteSettings { throttling_rate_limit: u64, throttling_burst_limit: u64 }
    /// <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-resource-apigatewayv2-authorizer.html>
    Authorizer {
        api_id: String,
        name: String,
        authorizer_type: String,
        identity_source: Vec<String>,
        jwt_configuration: JwtConfiguration,
    }
    JwtConfiguration { issuer: String, audience: Vec<String> }
    Integration {
        api_id: String,
        integration_type: String,
        payload_format_version: String,
        timeout_in_millis: Option<u64>,
        integration_uri: String,
    }
    Route {
        api_id: String,
        route_key: String,
        target: String,
        authorization_type: Option<String>,
        authorizer_id: Option<String>,
        authorization_scopes: Option<Vec<String>>,
    }
}

/// SQS spells the members of this one in lower camel case.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RedrivePolicy {
    pub dead_letter_target_arn: String,
    pub max_receive_count: u32,
}

/// Everything that the templates declare.
#[derive(Clone, Debug, Default)]
pub struct Model {
    pub tables: Vec<Table>,
    pub queues: Vec<Queue>,
    pub queue_policies: Vec<QueuePolicy>,
    pub alarms: Vec<Alarm>,
    pub topics: Vec<Topic>,
    pub schedules: Vec<Schedule>,
    pub buses: Vec<EventBus>,
    pub archives: Vec<Archive>,
    pub rules: Vec<Rule>,
    pub pipes: Vec<Pipe>,
    pub functions: Vec<Function>,
    pub mappings: Vec<EventSourceMapping>,
    pub permissions: Vec<Permission>,
    /// Roles by ARN.
    pub roles: BTreeMap<String, Role>,
    pub secrets: Vec<Secret>,
    pub machines: Vec<StateMachine>,
    pub apis: Vec<Api>,
    pub api_stages: Vec<Stage>,
    /// Authorizers by id.
    pub authorizers: BTreeMap<String, Authorizer>,
    /// Integrations by id.
    pub integrations: BTreeMap<String, Integration>,
    pub routes: Vec<Route>,
}

impl Model {
    /// Types a resource's properties and takes it in.
    ///
    /// # Errors
    /// [`Refused`] for a property that is unknown, missing, or of another type, and for a value that the
    /// local stack does not implement.
    pub fn add(
        &mut self,
        template: &Template<'_>,
        logical: &str,
        resource: &Resource,
        properties: Value,
    ) -> Result<(), Refused> {
        let at = At { template, logical, resource };
        let physical = format!("{}-{logical}", template.stack);
        match resource.kind.as_str() {
            "AWS::DynamoDB::Table" => self.tables.push(at.typed(properties)?),
            "AWS::SQS::Queue" => self.queues.push(at.typed(properties)?),
            "AWS::SQS::QueuePolicy" => self.queue_policies.push(at.typed(properties)?),
            "AWS::CloudWatch::Alarm" => self.alarms.push(at.typed(properties)?),
            "AWS::Scheduler::Schedule" => self.schedules.push(at.schedule(properties)?),
            "AWS::SNS::Topic" => self.topics.push(at.typed(properties)?),
            "AWS::Events::EventBus" => self.buses.push(at.typed(properties)?),
            "AWS::Events::Archive" => self.archives.push(at.typed(properties)?),
            "AWS::Events::Rule" => self.rules.push(at.typed(properties)?),
            "AWS::Pipes::Pipe" => self.pipes.push(at.pipe(properties)?),
            "AWS::Lambda::Function" => self.functions.push(at.function(properties)?),
            "AWS::Lambda::EventSourceMapping" => self.mappings.push(at.mapping(properties)?),
            "AWS::Lambda::Permission" => self.permissions.push(at.typed(properties)?),
            "AWS::Logs::LogGroup" => drop(at.typed::<LogGroup>(properties)?),
            "AWS::IAM::Role" => {
                let role: Role = at.typed(properties)?;
                let name = role.role_name.clone().unwrap_or(physical);
                self.roles.insert(names::role_arn(&name), role);
            }
            "AWS::SecretsManager::Secret" => self.secrets.push(at.typed(properties)?),
            "AWS::StepFunctions::StateMachine" => self.machines.push(at.machine(properties)?),
            "AWS::ApiGatewayV2::Api" => self.apis.push(at.api(properties)?),
            "AWS::ApiGatewayV2::Stage" => self.api_stages.push(at.stage(properties)?),
            "AWS::ApiGatewayV2::Authorizer" => {
                let authorizer = at.authorizer(properties)?;
                self.authorizers.insert(authorizer.name.clone(), authorizer);
            }
            "AWS::ApiGatewayV2::Integration" => {
                self.integrations.insert(physical, at.integration(properties)?);
            }
            "AWS::ApiGatewayV2::Route" => self.routes.push(at.route(properties)?),
            other => return Err(at.refused(&[], format!("{other} is not implemented by the local stack"))),
        }
        Ok(())
    }
}

/// Where a resource stands, for errors.
struct At<'a> {
    template: &'a Template<'a>,
    logical: &'a str,
    resource: &'a Resource,
}

impl At<'_> {
    fn refused(&self, path: &[String], reason: impl Into<String>) -> Refused {
        let line = Template::line_of(self.resource, path);
        let at = std::iter::once(self.logical).chain(path.iter().map(String::as_str)).collect::<Vec<_>>();
        self.template.refused(line, &at.join("."), reason)
    }

    fn typed<T: for<'de> Deserialize<'de>>(&self, properties: Value) -> Result<T, Refused> {
        let properties = if properties.is_null() { Value::Object(Map::new()) } else { properties };
        serde_path_to_error::deserialize(properties).map_err(|error| {
            let mut path: Vec<String> = error.path().iter().map(ToString::to_string).collect();
            let reason = error.inner().to_string();
            // serde's path ends at the mapping; the property itself stands in its message.
            if let Some(name) = reason.strip_prefix("unknown field `").and_then(|rest| rest.split('`').next())
            {
                if path.last().is_none_or(|last| last != name) {
                    path.push(name.to_owned());
                }
                let reason = format!("there is no such property ({reason})");
                return self.refused(&path, reason);
            }
            self.refused(&path, reason)
        })
    }

    /// Refuses a value other than the ones the local stack behaves like.
    fn only(&self, path: &[&str], value: &str, known: &[&str]) -> Result<(), Refused> {
        if known.contains(&value) {
            return Ok(());
        }
        let path: Vec<String> = path.iter().map(|part| (*part).to_owned()).collect();
        let reason = format!("{value:?} is not implemented by the local stack, only {}", known.join(", "));
        Err(self.refused(&path, reason))
    }

    fn pipe(&self, properties: Value) -> Result<Pipe, Refused> {
        let pipe: Pipe = self.typed(properties)?;
        let stream = &pipe.source_parameters.stream;
        let path = ["SourceParameters", "DynamoDBStreamParameters", "StartingPosition"];
        self.only(&path, &stream.starting_position, &["TRIM_HORIZON"])?;
        if let Some(mode) = &stream.on_partial_batch_item_failure {
            let path = ["SourceParameters", "DynamoDBStreamParameters", "OnPartialBatchItemFailure"];
            self.only(&path, mode, &["AUTOMATIC_BISECT"])?;
        }
        Ok(pipe)
    }

    fn function(&self, properties: Value) -> Result<Function, Refused> {
        let function: Function = self.typed(properties)?;
        self.only(&["Runtime"], &function.runtime, &["provided.al2023"])?;
        Ok(function)
    }

    fn mapping(&self, properties: Value) -> Result<EventSourceMapping, Refused> {
        let mapping: EventSourceMapping = self.typed(properties)?;
        for kind in mapping.function_response_types.iter().flatten() {
            self.only(&["FunctionResponseTypes"], kind, &["ReportBatchItemFailures"])?;
        }
        Ok(mapping)
    }

    fn schedule(&self, properties: Value) -> Result<Schedule, Refused> {
        let schedule: Schedule = self.typed(properties)?;
        self.only(&["FlexibleTimeWindow", "Mode"], &schedule.flexible_time_window.mode, &["OFF"])?;
        Ok(schedule)
    }

    fn machine(&self, properties: Value) -> Result<StateMachine, Refused> {
        let machine: StateMachine = self.typed(properties)?;
        self.only(&["StateMachineType"], &machine.state_machine_type, &["STANDARD"])?;
        Ok(machine)
    }

    fn api(&self, properties: Value) -> Result<Api, Refused> {
        let api: Api = self.typed(properties)?;
        self.only(&["ProtocolType"], &api.protocol_type, &["HTTP"])?;
        Ok(api)
    }

    fn stage(&self, properties: Value) -> Result<Stage, Refused> {
        let stage: Stage = self.typed(properties)?;
        self.only(&["StageName"], &stage.stage_name, &["$default"])?;
        Ok(stage)
    }

    fn authorizer(&self, properties: Value) -> Result<Authorizer, Refused> {
        let authorizer: Authorizer = self.typed(properties)?;
        self.only(&["AuthorizerType"], &authorizer.authorizer_type, &["JWT"])?;
        for source in &authorizer.identity_source {
            self.only(&["IdentitySource"], source, &["$request.header.Authorization"])?;
        }
        Ok(authorizer)
    }

    fn route(&self, properties: Value) -> Result<Route, Refused> {
        let route: Route = self.typed(properties)?;
        let kind = route.authorization_type.as_deref().unwrap_or("NONE");
        self.only(&["AuthorizationType"], kind, &["NONE", "JWT"])?;
        Ok(route)
    }

    fn integration(&self, properties: Value) -> Result<Integration, Refused> {
        let integration: Integration = self.typed(properties)?;
        self.only(&["IntegrationType"], &integration.integration_type, &["AWS_PROXY"])?;
        self.only(&["PayloadFormatVersion"], &integration.payload_format_version, &["2.0"])?;
        Ok(integration)
    }
}
