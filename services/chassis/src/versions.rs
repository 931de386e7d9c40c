//! Events of versions that a service does not know. A breaking change is a new version, published beside the old one; a
//! service that has not followed yet acknowledges the new one, because it gets the old one too.

use crate::failure::Failure;
use crate::inbox::{self, Verdict};
use crate::ports::Ports;
use crate::store::{AggregateId, Store};
use events::catalogue::{self, Standing};
use events::{Envelope, Metadata};

/// The verdict on an event of an unknown newer version; none for an event that the service has to read.
///
/// # Errors
/// [`Failure::Poison`] for a newer version that is published beside none that the service knows: reading it as an older one
/// would be a guess, and acknowledging it would lose it. Else a [`Failure`] when the store does not answer.
pub async fn pass_over<S: Store>(
    ports: &Ports<S>,
    service: &str,
    envelope: &Envelope,
    id: &AggregateId,
) -> Result<Option<Verdict>, Failure> {
    let metadata @ Metadata { kind, version, .. } = &envelope.metadata;
    match catalogue::standing(&catalogue::entries(), service, kind, *version) {
        Standing::ToBeRead => Ok(None),
        Standing::Newer => inbox::settle(ports, metadata, id, Verdict::NewerVersion).await.map(Some),
        Standing::NewerAlone => {
            let failure = Failure::Poison(format!(
                "{kind} v{version} is newer than {service} knows, and no version that it knows is published beside it"
            ));
            inbox::note_failure(ports, metadata, &failure).await;
            Err(failure)
        }
    }
}
