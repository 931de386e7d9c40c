//! Every service, found in the folders: each package below `services/` that has a template of its name in `infra/`.
//! Written by `just bless`; do not edit.

pub use fulfillment;
pub use inventory;
pub use notifications;
pub use orders;
pub use payments;
pub use rewards;

use events::catalogue::Subscription;

/// Hands the services to the macro `$then`: of each the crate and, by its usual name, the reactor, then a comma.
#[macro_export]
macro_rules! for_each_service {
    ($then:ident) => {
        $then! {
            fulfillment Fulfillment,
            inventory Inventory,
            notifications Notifications,
            orders Orders,
            payments Payments,
            rewards Rewards,
        }
    };
}

macro_rules! tables {
    ($($service:ident $reactor:ident,)*) => {
        /// The names of the services, in the order of the alphabet.
        pub const SERVICES: &[&str] = &[$(stringify!($service)),*];

        /// What each service consumes.
        pub const CONSUMES: &[(&str, &[Subscription])] =
            &[$((stringify!($service), $service::subscriptions::CONSUMES)),*];
    };
}

for_each_service!(tables);
