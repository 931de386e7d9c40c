//! Every service, found in the folders: each package below `services/` that has a template of its name in `infra/`.
//! Written by `just bless`; do not edit.

pub use fulfillment;
pub use inventory;
pub use notifications;
pub use orders;
pub use payments;
pub use rewards;
pub use sales;

use events::catalogue::Subscription;

/// Hands the services to the macro `$then`: the crate of each, then a comma.
#[macro_export]
macro_rules! for_each_service {
    ($then:ident) => {
        $then! {
            fulfillment,
            inventory,
            notifications,
            orders,
            payments,
            rewards,
            sales,
        }
    };
}

macro_rules! tables {
    ($($service:ident,)*) => {
        /// The names of the services, in the order of the alphabet.
        pub const SERVICES: &[&str] = &[$(stringify!($service)),*];

        /// What each service consumes.
        pub const CONSUMES: &[(&str, &[Subscription])] =
            &[$((stringify!($service), $service::subscriptions::CONSUMES)),*];
    };
}

for_each_service!(tables);
