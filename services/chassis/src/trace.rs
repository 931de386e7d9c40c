//! W3C trace context: the trace that a request began, and the span of each piece of work in it. Span ids derive from what the
//! work is about, as the events' ids do: a reaction that is repeated is the same span.
//!
//! <https://www.w3.org/TR/trace-context/#traceparent-header>

use events::EventId;
use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

/// Where a piece of work stands: its trace, its span, and whether it is sampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// Never zero.
    pub trace: u128,
    /// Never zero.
    pub span: u64,
    /// The lowest bit: sampled.
    pub flags: u8,
}

/// Why a text is no trace context.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected 00-<32 hex>-<16 hex>-<2 hex>, neither id zero")]
pub struct NoTraceContext;

impl TraceContext {
    /// The span of a request, in the client's trace where it sent one, else in a trace of its own.
    #[must_use]
    pub fn of_request(correlation_id: Uuid, client: Option<Self>) -> Self {
        let root = Self { trace: correlation_id.as_u128().max(1), span: low(correlation_id), flags: 1 };
        client.map_or(root, |client| Self { span: root.span, ..client })
    }

    /// The span of a service's reaction to an event.
    #[must_use]
    pub fn of_reaction(self, service: &str, event: EventId) -> Self {
        self.child(Uuid::new_v5(&event.0, service.as_bytes()))
    }

    /// Whether it is to be collected.
    #[must_use]
    pub const fn is_sampled(self) -> bool {
        self.flags & 1 == 1
    }

    /// The span that belongs to an id.
    #[must_use]
    pub fn child(self, id: Uuid) -> Self {
        Self { span: low(id), ..self }
    }
}

/// The low half of a UUID: of version 7 its random part, of version 5 a part of its hash.
fn low(id: Uuid) -> u64 {
    id.as_u64_pair().1.max(1)
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace, self.span, self.flags)
    }
}

impl FromStr for TraceContext {
    type Err = NoTraceContext;

    fn from_str(text: &str) -> Result<Self, NoTraceContext> {
        let legal = |c: u8| c == b'-' || matches!(c, b'0'..=b'9' | b'a'..=b'f');
        let parts: Vec<&str> = text.split('-').collect();
        let [version, trace, span, flags] = parts.as_slice() else { return Err(NoTraceContext) };
        let lengths = [version.len(), trace.len(), span.len(), flags.len()];
        if lengths != [2, 32, 16, 2] || *version != "00" || !text.bytes().all(legal) {
            return Err(NoTraceContext);
        }
        let context = Self {
            trace: u128::from_str_radix(trace, 16).map_err(|_| NoTraceContext)?,
            span: u64::from_str_radix(span, 16).map_err(|_| NoTraceContext)?,
            flags: u8::from_str_radix(flags, 16).map_err(|_| NoTraceContext)?,
        };
        if context.trace == 0 || context.span == 0 { Err(NoTraceContext) } else { Ok(context) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_context_is_read_back() {
        assert_eq!(TEXT.parse::<TraceContext>().unwrap().to_string(), TEXT);
        for wrong in [
            "",
            "00",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
        ] {
            assert_eq!(wrong.parse::<TraceContext>(), Err(NoTraceContext), "{wrong}");
        }
    }

    /// Guards: a request stays in its client's trace, and each service's reaction is a span of its own, always the same one.
    #[test]
    fn every_reaction_has_a_span_of_its_own() {
        let client: TraceContext = TEXT.parse().unwrap();
        let request = TraceContext::of_request(Uuid::from_u128(7), Some(client));
        assert_eq!((request.trace, request.span, request.flags), (client.trace, 7, 1));
        assert_eq!(TraceContext::of_request(Uuid::from_u128(7), None).trace, 7);
        let event = EventId(Uuid::from_u128(9));
        let (orders, payments) =
            (request.of_reaction("orders", event), request.of_reaction("payments", event));
        assert_ne!(orders.span, payments.span);
        assert_eq!(orders, request.of_reaction("orders", event));
        assert_ne!(orders.span, request.of_reaction("orders", EventId(Uuid::from_u128(10))).span);
    }
}
