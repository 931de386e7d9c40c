//! Which calls of EventBridge there are.
//!
//! <https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_Operations.html>

use super::service::Service;
use super::{
    archives_api as archives, buses_api as buses, put_events, replays_api as replays, rules_api as rules,
    rules_shown_api as shown,
};
use crate::aws::protocol::operations::{Operations, Run};

pub static OPERATIONS: &Operations<Service> = &[
    ("CancelReplay", Run::Later(|events, call| Box::pin(replays::cancel(&events.replays, call)))),
    ("DeleteRule", Run::Now(|events, call| rules::delete_rule(&events.buses, call))),
    ("DescribeArchive", Run::Now(archives::describe)),
    ("DescribeEventBus", Run::Now(buses::describe)),
    ("DescribeReplay", Run::Now(|events, call| replays::describe(&events.replays, call))),
    ("DescribeRule", Run::Now(shown::describe)),
    ("ListArchives", Run::Now(archives::list)),
    ("ListEventBuses", Run::Now(buses::list)),
    ("ListReplays", Run::Now(|events, call| replays::list(&events.replays, call))),
    ("ListRuleNamesByTarget", Run::Now(shown::list_names_by_target)),
    ("ListRules", Run::Now(shown::list)),
    ("ListTargetsByRule", Run::Now(shown::list_targets)),
    ("PutEvents", Run::Later(|events, call| Box::pin(put_events::put_events(&events.buses, call)))),
    ("PutRule", Run::Now(|events, call| rules::put_rule(&events.buses, call))),
    ("PutTargets", Run::Now(|events, call| rules::put_targets(&events.buses, call))),
    ("RemoveTargets", Run::Now(|events, call| rules::remove_targets(&events.buses, call))),
    ("StartReplay", Run::Later(|events, call| Box::pin(replays::start(&events.replays, call)))),
    ("TestEventPattern", Run::Now(shown::test_pattern)),
];
