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

# Have a refused refund tried again, `just retry-compensation 018f2b9e-…`
retry-compensation order stage="local":
    @{{ if stage == "local" { operator_here } else { operator_on_aws } }} retry-compensation "$1" --stage "$2"

# List the dead letters of a stage: age, event, order and reason
dlq stage="local":
    @{{ if stage == "local" { operator_here } else { operator_on_aws } }} dlq --stage "$1"

# List the orders that wait: FAILED ones, which need an operator, and those with an overdue step
waiting stage="local":
    @{{ if stage == "local" { operator_here } else { operator_on_aws } }} waiting --stage "$1"

# Send dead letters back and show what becomes of each, `just redrive local-quadrille-payments-events-dlq --order 018f2b9e-…`
redrive queue *flags:
    @{{ if queue =~ "^local-" { operator_here } else { operator_on_aws } }} redrive "$@"

# Publish events of the log once more, `just replay --order 018f2b9e-…`; with `--stage prod` at the end, on AWS
replay *flags:
    @{{ if flags =~ "--stage" { operator_on_aws } else { operator_here } }} replay "$@"

# Make a customer's addresses unreadable everywhere, `just forget --customer ada`; with `--stage prod` at the end, on AWS
forget *flags:
    @{{ if flags =~ "--stage" { operator_on_aws } else { operator_here } }} forget "$@"

# The pipes of a stage: `just pipes list`, `just pipes stop orders`, `just pipes start orders`; with `--stage prod` at the end, on AWS
pipes *flags:
    @{{ if flags =~ "--stage" { operator_on_aws } else { operator_here } }} pipes "$@"

# Remind every silent step that will be overdue within so many seconds, instead of waiting for it
sweep ahead="0" stage="local":
    @{{ if stage == "local" { operator_here } else { operator_on_aws } }} sweep --ahead "$1" --stage "$2"

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
