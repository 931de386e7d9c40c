//! Charges: what becomes of a confirmed intent.
//!
//! <https://docs.stripe.com/api/payment_intents/confirm>, <https://docs.stripe.com/api/charges>

use super::form::Form;
use super::methods::{Behaviour, declined};
use super::objects::{Charge, Intent, Kinds, Status};
use super::refusal::Refusal;
use super::state::{Account, Outcome};

const AUTHENTICATION_REQUIRED: &str = "authentication_required";

/// How an intent is to be confirmed.
#[derive(Clone, Debug)]
pub(super) struct Confirmation {
    /// What the bank wants from its customer is a decline.
    error_on_requires_action: Option<bool>,
    /// The customer is not there.
    off_session: Option<bool>,
    return_url: Option<String>,
}

impl Confirmation {
    /// # Errors
    /// The refusal of an ill-typed parameter.
    pub(super) fn read(form: &mut Form) -> Result<Self, Refusal> {
        let error_on_requires_action = form.flag("error_on_requires_action")?;
        let choices = ["true", "false", "one_off", "recurring"];
        let off_session = form.choice("off_session", &choices)?.map(|value| value != "false");
        Ok(Self { error_on_requires_action, off_session, return_url: form.text("return_url")? })
    }

    /// The first of its parameters that the call names.
    pub(super) fn first_named(&self) -> Option<&'static str> {
        let named = [
            ("error_on_requires_action", self.error_on_requires_action.is_some()),
            ("off_session", self.off_session.is_some()),
            ("return_url", self.return_url.is_some()),
        ];
        named.into_iter().find(|(_, is_named)| *is_named).map(|(name, _)| name)
    }

    /// # Errors
    /// The refusal of a confirmation that does not fit the kinds of methods that the intent takes.
    pub(super) fn check(&self, kinds: &Kinds) -> Result<(), Refusal> {
        match kinds {
            Kinds::Dashboard { .. } if self.error_on_requires_action == Some(true) => {
                let name = "error_on_requires_action";
                let message = format!(
                    "The `{name}` parameter can't be used with PaymentIntents which use payment methods managed through \
                     the Dashboard."
                );
                Err(Refusal::state(None, message).about(name))
            }
            Kinds::Dashboard { with_redirects: true }
                if self.off_session != Some(true) && self.return_url.is_none() =>
            {
                let message = "This PaymentIntent is configured to accept payment methods enabled in your Dashboard. \
                               Because some of these payment methods might redirect your customer off of your page, you \
                               must provide a `return_url`.";
                Err(Refusal::state(None, message))
            }
            _ => Ok(()),
        }
    }
}

impl Account {
    /// Charges an intent's payment method.
    pub(super) fn charge(&mut self, id: &str, how: &Confirmation, is_lost: &mut bool) -> Outcome {
        let is_first = self.intent(id)?.calls <= 1;
        match self.behaviour(id)? {
            Behaviour::Fails => Err(Refusal::failed()),
            Behaviour::NeverAnswers => {
                *is_lost = true;
                Err(Refusal::failed().forgotten())
            }
            Behaviour::Declines(code) => self.decline(id, declined(code)),
            Behaviour::DeclinesOnce if self.is_only_try(id) => self.decline(id, declined("generic_decline")),
            Behaviour::RequiresAction => self.challenge(id, how),
            Behaviour::LosesItsAnswer => {
                *is_lost = is_first;
                self.capture(id)
            }
            Behaviour::Succeeds | Behaviour::DeclinesOnce => self.capture(id),
        }
    }

    fn behaviour(&mut self, id: &str) -> Result<Behaviour, Refusal> {
        let shown = self.shown(id, false)?;
        let customer = shown["customer"].as_str();
        let missing = || missing_method(customer);
        let method = self.method_of(id).ok_or_else(missing);
        let found = method.and_then(|method| {
            method.check_usable(customer)?;
            Behaviour::of(&method.token).ok_or_else(missing)
        });
        found.map_err(|refusal| refusal.showing(shown))
    }

    /// The bank wants its customer to authenticate.
    fn challenge(&mut self, id: &str, how: &Confirmation) -> Outcome {
        if how.error_on_requires_action == Some(true) {
            let message = "This payment required an authentication action to complete, but `error_on_requires_action` \
                           was set.";
            let refusal = Refusal::card(AUTHENTICATION_REQUIRED, "authentication_not_handled", message);
            return self.refuse(id, refusal);
        }
        if how.off_session == Some(true) {
            let message = "Your card was declined. This transaction requires authentication.";
            return self.refuse(id, Refusal::card(AUTHENTICATION_REQUIRED, AUTHENTICATION_REQUIRED, message));
        }
        let intent = self.intent(id)?;
        intent.status = Status::RequiresAction;
        intent.return_url.clone_from(&how.return_url);
        self.shown(id, false)
    }

    /// Whether no other intent of the same order was ever charged.
    fn is_only_try(&self, id: &str) -> bool {
        let order = self.intents.get(id).and_then(|intent| intent.metadata.get("order_id"));
        let same = |other: &&Intent| other.id != id && other.metadata.get("order_id") == order;
        self.intents.values().filter(same).all(|other| other.charges.is_empty())
    }

    /// A bank declines: there is a charge, and it has failed.
    fn decline(&mut self, id: &str, refusal: Refusal) -> Outcome {
        let charge = self.new_id("ch");
        let intent = self.intent(id)?;
        intent.charges.push(Charge { id: charge.clone(), amount: intent.amount, succeeded: false });
        self.refuse(id, refusal.charged(&charge))
    }

    /// The intent needs another payment method.
    fn refuse(&mut self, id: &str, refusal: Refusal) -> Outcome {
        let intent = self.intent(id)?;
        intent.status = Status::RequiresPaymentMethod;
        intent.payment_method = None;
        intent.last_error = Some(refusal.error().to_string());
        let shown = self.shown(id, false)?;
        Err(refusal.showing(shown))
    }

    fn capture(&mut self, id: &str) -> Outcome {
        let charge = self.new_id("ch");
        if let Some(method) = self.method_of(id) {
            method.is_used_up = method.customer.is_none();
        }
        let intent = self.intent(id)?;
        intent.charges.push(Charge { id: charge, amount: intent.amount, succeeded: true });
        intent.status = Status::Succeeded;
        intent.last_error = None;
        self.shown(id, false)
    }

    /// A charge and its intent.
    pub(super) fn charge_of(&self, id: &str) -> Option<(&Intent, &Charge)> {
        let mut intents = self.intents.values();
        intents.find_map(|intent| Some((intent, intent.charges.iter().find(|charge| charge.id == id)?)))
    }
}

fn missing_method(customer: Option<&str>) -> Refusal {
    let rest = match customer {
        None => "You can either update the PaymentIntent with a payment method and then confirm it again, or confirm it \
                 again directly with a payment method or ConfirmationToken."
            .to_owned(),
        Some(customer) => format!(
            "To confirm the PaymentIntent with {customer}, specify a payment method attached to this customer along with \
             the customer ID."
        ),
    };
    let message =
        format!("You cannot confirm this PaymentIntent because it's missing a payment method. {rest}");
    Refusal::unexpected(message)
}
