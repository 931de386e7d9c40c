//! The AWS services that the templates use, each under AWS's own name.

pub mod apigateway;
pub mod cloudformation;
pub mod cloudwatch;
pub mod dynamodb;
pub mod endpoint;
pub mod eventbridge;
pub mod iam;
pub mod lambda;
pub mod lambda_api;
pub mod logs;
pub mod protocol;
pub mod resource_policies;
pub mod scheduler;
pub mod secretsmanager;
pub mod sns;
pub mod sqs;
pub mod stepfunctions;
pub mod streams;
pub mod sts;
