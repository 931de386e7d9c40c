# Each recipe is a line or two over one tool; `just` alone lists them.

# What a person gives a recipe reaches it as the shell's "$@". In {{…}} it would become a part of the shell's own text, with its
# blanks, its & and its $(…).
set positional-arguments

# On AWS the operator speaks TLS, which the local build leaves out.
operator_here := "cargo run --quiet -p operator --"
operator_on_aws := "cargo run --quiet -p operator --features tls --"

_list:
    @just --list --unsorted

# Build and start the whole platform on this machine (`just dev --help` lists the flags)
dev *flags:
    cargo dev "$@"

# Every test
test:
    cargo test

# Search every interleaving of one order, deeply: `just model 4 20000000` allows four troubles and stops at so many states
model troubles="3" states="10000000":
    TROUBLES="$1" STATES="$2" cargo test --release --workspace --test quadrille -- --ignored --nocapture model::deep

# Load with release binaries on a platform of its own; I1 and I2 are checked afterwards (--help for more)
load *flags:
    cargo build --release --workspace --bins
    target/release/load "$@"

# What AWS would bill for an order, by how it ends (--help for more)
report *flags:
    cargo run --quiet -p localstack -- report "$@"

# What changed in the contracts since the last release, and whether that breaks a consumer
contracts:
    @cargo run --quiet -p contracts

# Write anew what is generated, after a change of an event type or of openapi.yaml, or for a new service: contracts/ and services/registry/
bless:
    cargo run --quiet -p contracts -- bless

# A service of your own, ready to run: `just new-service fraud --consumes order.created --produces fraud.cleared`
new-service name *flags:
    cargo run --quiet -p generator -- "$@"

# Promise today's contracts for good, `just release-contracts 0.2.0`
release-contracts number:
    cargo run --quiet -p contracts -- release "$@"

# The operator's commands: with `--stage prod` at the end, on AWS; `just dlq --help` and so on for more.

# One order, `just order timeline 018f2b9e-…`: show, timeline, events, trace, cancel, retry-compensation
[no-exit-message]
order *flags:
    @{{ if flags =~ "--stage" { operator_on_aws } else { operator_here } }} order "$@"

# List orders, `just orders --status FAILED`: by status, customer or time
[no-exit-message]
orders *flags:
    @{{ if flags =~ "--stage" { operator_on_aws } else { operator_here } }} orders "$@"

# List the orders that wait: FAILED ones, which need an operator, and those with an overdue step
[no-exit-message]
waiting *flags:
    @{{ if flags =~ "--stage" { operator_on_aws } else { operator_here } }} waiting "$@"

# Remind every silent step now, `just sweep --ahead 3600`: also what will be overdue within so many seconds
[no-exit-message]
sweep *flags:
    @{{ if flags =~ "--stage" { operator_on_aws } else { operator_here } }} sweep "$@"

# Dead letters, `just dlq redrive payments-events-dlq --order 018f2b9e-…`: list, show, redrive, drop
[no-exit-message]
dlq *flags:
    @{{ if flags =~ "--stage" { operator_on_aws } else { operator_here } }} dlq "$@"

# Stock, `just stock show`: show, count
[no-exit-message]
stock *flags:
    @{{ if flags =~ "--stage" { operator_on_aws } else { operator_here } }} stock "$@"

# The circuit between payments and its provider, `just breaker show`: show, reset
[no-exit-message]
breaker *flags:
    @{{ if flags =~ "--stage" { operator_on_aws } else { operator_here } }} breaker "$@"

# Print each event as it comes, `just bus tail --order 018f2b9e-…`
[no-exit-message]
bus *flags:
    @{{ if flags =~ "--stage" { operator_on_aws } else { operator_here } }} bus "$@"

# Compare the tables with the events and with each other, `just audit`
[no-exit-message]
audit *flags:
    @{{ if flags =~ "--stage" { operator_on_aws } else { operator_here } }} audit "$@"

# Publish events again as they were, what a pipe lost: `just republish --subject 018f2b9e-…`
[no-exit-message]
republish *flags:
    @{{ if flags =~ "--stage" { operator_on_aws } else { operator_here } }} republish "$@"

# Build a projection anew from the log: `just rebuild --projection sales`, prices or admission
[no-exit-message]
rebuild *flags:
    @{{ if flags =~ "--stage" { operator_on_aws } else { operator_here } }} rebuild "$@"

# Make a customer's addresses unreadable everywhere, `just forget --customer ada`
[no-exit-message]
forget *flags:
    @{{ if flags =~ "--stage" { operator_on_aws } else { operator_here } }} forget "$@"

# The pipes of a stage, `just pipes stop orders`: list, stop, start
[no-exit-message]
pipes *flags:
    @{{ if flags =~ "--stage" { operator_on_aws } else { operator_here } }} pipes "$@"

# Publish events of the log once more, `just replay --order 018f2b9e-…`
[no-exit-message]
replay *flags:
    @{{ if flags =~ "--stage" { operator_on_aws } else { operator_here } }} replay "$@"

# What CI runs
ci:
    .ci/run

# Format, lint, and check dependencies (needs cargo-deny)
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    cargo deny check

# Build every service for Lambda on arm64, with pinned tools from PyPI; `just package orders` builds only that one
package *services:
    .ci/package/run "$@"

# Deploy a stage with what infra/stages/<stage>.env says; Name=Value counts more, `just deploy dev RequestRate=50`
deploy stage="dev" *settings:
    infra/deploy check "$@"
    .ci/package/run {{ if settings =~ "(^| )endpoint=." { "--here" } else { "" } }}
    infra/deploy deploy "$@"

# Create a stage's secrets, or give them new values: asks for them, or reads lines Name=Key from standard input
secrets stage *settings:
    infra/deploy secrets "$@"

# Show a stage's stacks: their state, the API's URL, the tables
outputs stage *settings:
    infra/deploy outputs "$@"

# Delete a stage's stacks, once its name is typed; tables, bus and archive remain
destroy stage *settings:
    infra/deploy destroy "$@"

# Give what `just destroy` left to new stacks; `just deploy` then completes them
adopt stage *settings:
    infra/deploy adopt "$@"

# Whether a stage works: an order through to FULFILLED, an event's shape on the bus, a preflight, a decline
smoke stage="local" *settings:
    infra/smoke "$@"
