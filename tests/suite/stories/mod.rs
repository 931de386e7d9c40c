//! What the system promises, as stories. Each is told once and runs on two benches: on memory stores, where everything
//! follows from a seed and takes milliseconds, and on the real platform, with real binaries, templates and simulators.
//!
//! | file | the story |
//! |---|---|
//! | `outcomes` | every way in which an order can end |
//! | `market` | one order of every kind at the same time, in peace and in trouble |
//! | `cancelling` | a cancellation that overtakes, and one that comes too late |
//! | `charging` | declines, lost answers, and refunds that the provider refuses |
//! | `shipping` | carriers that refuse, fail for a moment, or stay away |
//! | `losses` | events that never arrive |

pub mod cancelling;
pub mod charging;
mod checks;
pub mod losses;
pub mod market;
pub mod outcomes;
pub mod shipping;

pub use checks::{check_history, invariants};

use serde_json::Value;

/// The order, paid with this method.
pub fn paid_with(method: &str, mut order: Value) -> Value {
    order["payment_method"] = method.into();
    order
}

/// Makes a test of each story and bench. A story `in_peace` shares one platform with others; a story `in_trouble` gets
/// one of its own.
macro_rules! stories {
    ($($place:ident: $module:ident { $($story:ident,)* })*) => {
        mod in_memory {
            $($(
                #[test]
                fn $story() {
                    crate::platform::run(super::$module::$story(&mut crate::world::World::new()));
                }
            )*)*
        }

        mod on_the_platform {
            $($(
                #[test]
                fn $story() {
                    crate::platform::$place(stringify!($story), async |platform| {
                        super::$module::$story(&mut { platform }).await;
                    });
                }
            )*)*
        }
    };
}

stories! {
    in_peace: outcomes {
        an_order_is_reserved_charged_confirmed_and_shipped,
        a_declined_payment_is_compensated_and_the_stock_is_back,
        too_large_an_order_is_cancelled_and_says_why,
        a_second_line_that_is_short_leaves_the_first_untouched,
        what_no_carrier_takes_is_given_back,
    }
    in_trouble: market {
        every_event_twice,
        every_event_after_its_successors,
    }
    in_peace: cancelling {
        a_cancellation_at_any_moment,
    }
    in_trouble: cancelling {
        a_cancellation_that_overtakes_its_order,
        what_comes_after_the_cancellation_is_undone,
    }
    in_trouble: charging {
        a_decline_stays_one,
        a_lost_answer_is_one_capture,
        a_charge_that_is_never_answered_is_voided,
        a_refund_refused_three_times_is_made_at_the_fourth,
        a_refund_refused_for_good_is_made_when_an_operator_asks,
    }
    in_peace: shipping {
        a_carrier_that_fails_for_a_moment_is_called_again,
        a_carrier_that_stays_away_is_given_up,
    }
    in_trouble: losses {
        a_pipe_stands_still_and_an_event_is_lost,
    }
}
