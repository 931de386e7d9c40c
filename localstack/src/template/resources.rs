//! The properties of every resource type that the local stack knows. A property that is not here is refused by name.
//!
//! Some properties have no meaning on one machine (encryption at rest, backups, retention of logs, deletion
//! protection, CPU architecture, descriptions, X-Ray). They are typed and checked like the others and change nothing. The
//! fields are CloudFormation's own property names.

use super::stack::Stack;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

macro_rules! properties {
    ($($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident : $type:ty),* $(,)? })*) => {
        $(
            $(#[$meta])*
            #[derive(Clone, Debug, Deserialize, Serialize)]
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
        fifo_queue: Option<bool>,
        content_based_deduplication: Option<bool>,
    }
    QueuePolicy { queues: Vec<String>, policy_document: Value }

    /// <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-resource-sns-topic.html>
    Topic {
        topic_name: String,
        fifo_topic: Option<bool>,
        content_based_deduplication: Option<bool>,
        kms_master_key_id: Option<String>,
    }
    /// <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-resource-sns-subscription.html>
    Subscription {
        topic_arn: String,
        protocol: String,
        endpoint: String,
        raw_message_delivery: Option<bool>,
        redrive_policy: Option<Undelivered>,
    }

    /// <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-resource-cloudwatch-alarm.html>
    Alarm {
        alarm_name: String,
        alarm_description: Option<String>,
        namespace: Option<String>,
        metric_name: Option<String>,
        #[serde(default)]
        dimensions: Vec<Dimension>,
        statistic: Option<String>,
        extended_statistic: Option<String>,
        period: Option<u32>,
        #[serde(default)]
        metrics: Vec<MetricQuery>,
        evaluation_periods: u32,
        datapoints_to_alarm: Option<u32>,
        threshold: u32,
        comparison_operator: String,
        treat_missing_data: Option<String>,
        alarm_actions: Option<Vec<String>>,
    }
    /// One series of an alarm that computes: a metric, or an expression over the others.
    MetricQuery {
        id: String,
        expression: Option<String>,
        label: Option<String>,
        metric_stat: Option<MetricStat>,
        return_data: Option<bool>,
    }
    MetricStat { metric: WatchedMetric, period: u32, stat: String }
    WatchedMetric { namespace: String, metric_name: String, dimensions: Vec<Dimension> }
    /// <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-resource-cloudwatch-dashboard.html>
    Dashboard { dashboard_name: String, dashboard_body: String }
    /// <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-resource-logs-querydefinition.html>
    QueryDefinition { name: String, query_string: String, log_group_names: Vec<String> }
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
        enrichment: String,
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
        reserved_concurrent_executions: Option<u32>,
        tracing_config: Option<TracingConfig>,
    }
    TracingConfig { mode: String }
    /// <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-resource-lambda-eventinvokeconfig.html>
    EventInvokeConfig {
        function_name: String,
        qualifier: String,
        maximum_event_age_in_seconds: Option<u32>,
        maximum_retry_attempts: Option<u32>,
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
        scaling_config: Option<ScalingConfig>,
    }
    ScalingConfig { maximum_concurrency: u32 }
    /// The same type for a table's stream, which has other properties.
    StreamMapping {
        event_source_arn: String,
        function_name: String,
        starting_position: String,
        batch_size: Option<u32>,
        maximum_retry_attempts: Option<i32>,
        maximum_record_age_in_seconds: Option<i32>,
        bisect_batch_on_function_error: Option<bool>,
        function_response_types: Option<Vec<String>>,
        filter_criteria: Option<FilterCriteria>,
        destination_config: Option<DestinationConfig>,
    }
    DestinationConfig { on_failure: OnFailure }
    OnFailure { destination: String }
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
    Permission {
        action: String,
        function_name: String,
        principal: String,
        source_account: Option<String>,
        source_arn: Option<String>,
    }
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
        tracing_configuration: Option<TracingConfiguration>,
    }
    TracingConfiguration { enabled: bool }

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
        /// By route key. CloudFormation types it as JSON: its members are those of `DefaultRouteSettings`.
        route_settings: Option<BTreeMap<String, RouteSettings>>,
        access_log_settings: Option<AccessLogSettings>,
    }
    AccessLogSettings { destination_arn: String, format: String }
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
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RedrivePolicy {
    pub dead_letter_target_arn: String,
    pub max_receive_count: u32,
}

/// Where SNS puts what it cannot deliver to a subscription.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Undelivered {
    pub dead_letter_target_arn: String,
}

/// Everything that the templates declare.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// One of each template.
    pub stacks: Vec<Stack>,
    pub tables: Vec<Table>,
    pub queues: Vec<Queue>,
    pub queue_policies: Vec<QueuePolicy>,
    pub alarms: Vec<Alarm>,
    pub dashboards: Vec<Dashboard>,
    pub queries: Vec<QueryDefinition>,
    pub topics: Vec<Topic>,
    pub subscriptions: Vec<Subscription>,
    pub schedules: Vec<Schedule>,
    pub buses: Vec<EventBus>,
    pub archives: Vec<Archive>,
    pub rules: Vec<Rule>,
    pub pipes: Vec<Pipe>,
    pub functions: Vec<Function>,
    /// Of queues.
    pub mappings: Vec<EventSourceMapping>,
    /// Of tables' streams.
    pub stream_mappings: Vec<StreamMapping>,
    pub invoke_configs: Vec<EventInvokeConfig>,
    pub permissions: Vec<Permission>,
    /// Roles by ARN.
    pub roles: BTreeMap<String, Role>,
    pub secrets: Vec<Secret>,
    pub machines: Vec<StateMachine>,
    pub apis: Vec<Api>,
    pub api_stages: Vec<Stage>,
    pub log_groups: Vec<LogGroup>,
    /// Authorizers by id.
    pub authorizers: BTreeMap<String, Authorizer>,
    /// Integrations by id.
    pub integrations: BTreeMap<String, Integration>,
    pub routes: Vec<Route>,
}
