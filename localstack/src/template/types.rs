//! The resource types that the local stack runs, one row each: which property names a resource, what `Ref` and
//! `GetAtt` give, which values are implemented, and where its properties go in the model.

use super::declared::Declared;
use super::names::{self, Names};
use super::refused::Refused;
use super::resources::{Authorizer, Model, Role};

pub struct ResourceType {
    /// `AWS::SQS::Queue`
    pub name: &'static str,
    /// The property that names a resource; without one CloudFormation makes a name up.
    pub name_property: Option<&'static str>,
    attributes: &'static [(&'static str, Attribute)],
    /// Properties, by dotted path, of which the local stack implements some values only.
    only: &'static [(&'static str, &'static [&'static str])],
    load: Load,
}

type Attribute = fn(&Identity<'_>) -> String;
type Load = fn(&mut Model, &Declared<'_>) -> Result<(), Refused>;

/// What a resource's attributes are made of.
pub struct Identity<'a> {
    pub names: &'a Names,
    pub name: &'a str,
    /// The property `EventBusName`; empty where there is none.
    pub bus: &'a str,
}

/// The rows. `Ref` gives the resource's name where a row does not say otherwise. Attributes follow the section
/// "Return values" of each type's page in the CloudFormation reference.
static TYPES: [ResourceType; 26] = [
    row("AWS::ApiGatewayV2::Api", |model, it| it.push(&mut model.apis))
        .named("Name")
        .attributes(&[("ApiEndpoint", |it| it.names.api.clone())])
        .only(&[("ProtocolType", &["HTTP"])]),
    row("AWS::ApiGatewayV2::Authorizer", authorizer)
        .named("Name")
        .only(&[("AuthorizerType", &["JWT"]), ("IdentitySource", &["$request.header.Authorization"])]),
    row("AWS::ApiGatewayV2::Integration", integration)
        .only(&[("IntegrationType", &["AWS_PROXY"]), ("PayloadFormatVersion", &["2.0"])]),
    row("AWS::ApiGatewayV2::Route", |model, it| it.push(&mut model.routes))
        .only(&[("AuthorizationType", &["NONE", "JWT"])]),
    row("AWS::ApiGatewayV2::Stage", |model, it| it.push(&mut model.api_stages))
        .only(&[("StageName", &["$default"])]),
    row("AWS::CloudWatch::Alarm", |model, it| it.push(&mut model.alarms)).named("AlarmName").only(&[
        ("ComparisonOperator", &["GreaterThanThreshold", "LessThanThreshold"]),
        ("Statistic", &["Sum", "Maximum"]),
        ("ExtendedStatistic", &["p99"]),
        ("TreatMissingData", &["breaching", "notBreaching"]),
    ]),
    row("AWS::CloudWatch::Dashboard", |model, it| it.push(&mut model.dashboards)).named("DashboardName"),
    row("AWS::DynamoDB::Table", |model, it| it.push(&mut model.tables)).named("TableName").attributes(&[
        ("Arn", |it| names::table_arn(it.name)),
        ("StreamArn", |it| names::stream_arn(it.name)),
    ]),
    row("AWS::Events::Archive", |model, it| it.push(&mut model.archives)).named("ArchiveName"),
    row("AWS::Events::EventBus", |model, it| it.push(&mut model.buses))
        .named("Name")
        .attributes(&[("Arn", |it| names::bus_arn(it.name))]),
    row("AWS::Events::Rule", |model, it| it.push(&mut model.rules))
        .named("Name")
        .attributes(&[("Arn", |it| names::rule_arn(it.bus, it.name))]),
    row("AWS::IAM::Role", role).named("RoleName").attributes(&[("Arn", |it| names::role_arn(it.name))]),
    row("AWS::Lambda::EventInvokeConfig", |model, it| it.push(&mut model.invoke_configs))
        .only(&[("Qualifier", &["$LATEST"])]),
    row("AWS::Lambda::EventSourceMapping", mapping).only(&[
        ("FunctionResponseTypes", &["ReportBatchItemFailures"]),
        ("StartingPosition", &["TRIM_HORIZON"]),
    ]),
    row("AWS::Lambda::Function", |model, it| it.push(&mut model.functions))
        .named("FunctionName")
        .attributes(&[("Arn", |it| names::function_arn(it.name))])
        .only(&[("Runtime", &["provided.al2023"]), ("TracingConfig.Mode", &["Active", "PassThrough"])]),
    row("AWS::Lambda::Permission", |model, it| it.push(&mut model.permissions)),
    row("AWS::Logs::LogGroup", |model, it| it.push(&mut model.log_groups))
        .named("LogGroupName")
        .attributes(&[("Arn", |it| names::log_group_arn(it.name))]),
    row("AWS::Logs::QueryDefinition", |model, it| it.push(&mut model.queries)).named("Name"),
    row("AWS::Pipes::Pipe", |model, it| it.push(&mut model.pipes)).named("Name").only(&[
        ("SourceParameters.DynamoDBStreamParameters.StartingPosition", &["TRIM_HORIZON"]),
        ("SourceParameters.DynamoDBStreamParameters.OnPartialBatchItemFailure", &["AUTOMATIC_BISECT"]),
        ("LogConfiguration.Level", &["OFF", "ERROR"]),
    ]),
    row("AWS::SNS::Subscription", |model, it| it.push(&mut model.subscriptions))
        .only(&[("Protocol", &["sqs"])]),
    // Another key than SNS's own would need permissions of KMS, which the local stack does not have.
    row("AWS::SNS::Topic", |model, it| it.push(&mut model.topics))
        .named("TopicName")
        .attributes(&[
            ("Ref", |it| names::arn("sns", it.name)),
            ("TopicArn", |it| names::arn("sns", it.name)),
        ])
        .only(&[("KmsMasterKeyId", &["alias/aws/sns"])]),
    row("AWS::SQS::Queue", |model, it| it.push(&mut model.queues)).named("QueueName").attributes(&[
        ("Arn", |it| names::queue_arn(it.name)),
        ("Ref", |it| names::queue_url(&it.names.endpoint, it.name)),
        ("QueueUrl", |it| names::queue_url(&it.names.endpoint, it.name)),
        ("QueueName", |it| it.name.to_owned()),
    ]),
    row("AWS::SQS::QueuePolicy", |model, it| it.push(&mut model.queue_policies)),
    row("AWS::Scheduler::Schedule", |model, it| it.push(&mut model.schedules))
        .named("Name")
        .only(&[("FlexibleTimeWindow.Mode", &["OFF"])]),
    row("AWS::SecretsManager::Secret", |model, it| it.push(&mut model.secrets))
        .named("Name")
        .attributes(&[("Ref", |it| names::secret_arn(it.name)), ("Id", |it| names::secret_arn(it.name))]),
    row("AWS::StepFunctions::StateMachine", |model, it| it.push(&mut model.machines))
        .named("StateMachineName")
        .attributes(&[
            ("Ref", |it| names::state_machine_arn(it.name)),
            ("Arn", |it| names::state_machine_arn(it.name)),
        ])
        .only(&[("StateMachineType", &["STANDARD"])]),
];

fn authorizer(model: &mut Model, it: &Declared<'_>) -> Result<(), Refused> {
    let authorizer: Authorizer = it.typed()?;
    model.authorizers.insert(authorizer.name.clone(), authorizer);
    Ok(())
}

fn integration(model: &mut Model, it: &Declared<'_>) -> Result<(), Refused> {
    model.integrations.insert(it.generated_name(), it.typed()?);
    Ok(())
}

/// A queue's mapping and a stream's have different properties.
fn mapping(model: &mut Model, it: &Declared<'_>) -> Result<(), Refused> {
    let source = it.properties["EventSourceArn"].as_str().unwrap_or_default();
    match names::table_of_stream(source) {
        Some(_) => it.push(&mut model.stream_mappings),
        None => it.push(&mut model.mappings),
    }
}

fn role(model: &mut Model, it: &Declared<'_>) -> Result<(), Refused> {
    let role: Role = it.typed()?;
    let name = role.role_name.clone().unwrap_or_else(|| it.generated_name());
    model.roles.insert(names::role_arn(&name), role);
    Ok(())
}

/// A row without a name property, attributes and restrictions.
const fn row(name: &'static str, load: Load) -> ResourceType {
    ResourceType { name, name_property: None, attributes: &[], only: &[], load }
}

impl ResourceType {
    const fn named(self, property: &'static str) -> Self {
        Self { name_property: Some(property), ..self }
    }

    const fn attributes(self, attributes: &'static [(&'static str, Attribute)]) -> Self {
        Self { attributes, ..self }
    }

    const fn only(self, only: &'static [(&'static str, &'static [&'static str])]) -> Self {
        Self { only, ..self }
    }

    /// The row of a type; `None` for a type that is not implemented.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        TYPES.iter().find(|row| row.name == name)
    }

    /// The value of `Ref` or of an attribute; `None` for an attribute that is not implemented.
    #[must_use]
    pub fn attribute(&self, attribute: &str, identity: &Identity<'_>) -> Option<String> {
        match self.attributes.iter().find(|(name, _)| *name == attribute) {
            Some((_, value)) => Some(value(identity)),
            None => (attribute == "Ref").then(|| identity.name.to_owned()),
        }
    }

    /// Types a resource's properties and places them in the model.
    ///
    /// # Errors
    /// [`Refused`] for a property that is unknown, missing, or of another type, and for a value that the local
    /// stack does not implement.
    pub fn load(&self, model: &mut Model, declared: &Declared<'_>) -> Result<(), Refused> {
        (self.load)(model, declared)?;
        self.only.iter().try_for_each(|(path, implemented)| declared.only(path, implemented))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_has_one_row() {
        assert!(TYPES.windows(2).all(|rows| rows[0].name < rows[1].name));
    }
}
