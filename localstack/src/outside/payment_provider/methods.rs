//! The test methods: Stripe's own, and those of the simulator.
//!
//! <https://docs.stripe.com/testing>

use super::objects::End;
use super::refusal::Refusal;

/// How a payment method behaves when it is charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    Succeeds,
    /// The bank declines, with this code.
    Declines(&'static str),
    /// The bank wants its customer to authenticate.
    RequiresAction,
    /// Nothing is done and nothing is answered.
    NeverAnswers,
    Fails,
    /// It is charged, and the first answer is lost.
    LosesItsAnswer,
    /// It declines the first intent of an order, and would pay a second one.
    DeclinesOnce,
}

impl Behaviour {
    /// How a test method behaves; none for one that Stripe does not know and that is none of the simulator's own.
    #[must_use]
    pub fn of(token: &str) -> Option<Self> {
        Some(match token {
            "pm_card_visa" | "pm_card_mastercard" | "pm_card_pendingRefund" | "pm_card_refundFail" => {
                Self::Succeeds
            }
            "pm_sim_refund_refused"
            | "pm_sim_refund_refused_3_times"
            | "pm_sim_refund_pending_then_failed" => Self::Succeeds,
            "pm_card_visa_chargeDeclined" | "pm_card_chargeDeclined" | "pm_card_chargeCustomerFail" => {
                Self::Declines("generic_decline")
            }
            "pm_card_visa_chargeDeclinedInsufficientFunds" | "pm_card_chargeDeclinedInsufficientFunds" => {
                Self::Declines("insufficient_funds")
            }
            "pm_card_visa_chargeDeclinedLostCard" => Self::Declines("lost_card"),
            "pm_card_visa_chargeDeclinedStolenCard" => Self::Declines("stolen_card"),
            "pm_card_chargeDeclinedFraudulent" => Self::Declines("fraudulent"),
            "pm_card_chargeDeclinedExpiredCard" => Self::Declines("expired_card"),
            "pm_card_chargeDeclinedIncorrectCvc" => Self::Declines("incorrect_cvc"),
            "pm_card_chargeDeclinedProcessingError" => Self::Declines("processing_error"),
            "pm_card_authenticationRequired" | "pm_card_threeDSecure2Required" => Self::RequiresAction,
            "pm_sim_timeout" => Self::NeverAnswers,
            "pm_sim_error" => Self::Fails,
            "pm_sim_lost_answer" => Self::LosesItsAnswer,
            "pm_sim_declines_once" => Self::DeclinesOnce,
            _ => return None,
        })
    }

    /// The refusal of a card that Stripe verifies before it attaches it.
    #[must_use]
    pub fn verified(token: &str) -> Option<Refusal> {
        match Self::of(token)? {
            Self::Declines(code) if token != "pm_card_chargeCustomerFail" => Some(declined(code)),
            _ => None,
        }
    }
}

/// How the refund of a charge of a test method ends.
#[must_use]
pub fn refund_end(token: &str) -> End {
    match token {
        "pm_card_pendingRefund" => End::Arrives,
        "pm_sim_refund_pending_then_failed" => End::Fails,
        "pm_card_refundFail" => End::Returned,
        _ => End::Succeeded,
    }
}

/// How many refunds a test method refuses before it makes one.
#[must_use]
pub fn refused_refunds(token: &str) -> u32 {
    match token {
        "pm_sim_refund_refused" => 4,
        "pm_sim_refund_refused_3_times" => 3,
        _ => 0,
    }
}

/// The refusal of a bank.
#[must_use]
pub fn declined(decline_code: &str) -> Refusal {
    let (code, message) = match decline_code {
        "insufficient_funds" => ("card_declined", "Your card has insufficient funds."),
        "expired_card" => ("expired_card", "Your card has expired."),
        "incorrect_cvc" => ("incorrect_cvc", "Your card's security code is incorrect."),
        "processing_error" => {
            ("processing_error", "An error occurred while processing your card. Try again in a little bit.")
        }
        _ => ("card_declined", "Your card was declined."),
    };
    Refusal::card(code, decline_code, message)
}
