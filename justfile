# Each recipe is a line or two over one tool; `just` alone lists them.

# On AWS the operator speaks TLS, which the local build leaves out.
operator_here := "cargo run --quiet -p operator --"
operator_on_aws := "cargo run --quiet -p operator --features tls --"

# A service is a package under services/ that has a template of its name in infra/; the bus goes before them, the others after.
services := `cd services && for name in *; do test ! -f "../infra/$name.yaml" || printf '%s ' "$name"; done`
others := `cd infra && for name in *.yaml; do name=${name%.yaml}; test "$name" = bus || test -d "../services/$name" || printf '%s ' "$name"; done`

_list:
    @just --list --unsorted

# Build and start the whole platform on this machine (`just dev --help` lists the flags)
dev *flags:
    cargo dev {{flags}}

# Every test
test:
    cargo test

# Search every interleaving of one order, deeply: `just model 4 20000000` allows four troubles and stops at so many states
model troubles="3" states="10000000":
    TROUBLES={{troubles}} STATES={{states}} cargo test --release --workspace --test quadrille -- --ignored --nocapture model::deep

# Load with release binaries on a platform of its own; I1 and I2 are checked afterwards (--help for more)
load *flags:
    cargo build --release --workspace --bins
    target/release/load {{flags}}

# What changed in the contracts since the last release, and whether that breaks a consumer
contracts:
    @cargo run --quiet -p contracts

# Write anew what is generated, after a change of an event type or of openapi.yaml, or for a new service: contracts/ and services/registry/
bless:
    cargo run --quiet -p contracts -- bless

# A service of your own, ready to run: `just new-service fraud --consumes order.created --produces fraud.cleared`
new-service name *flags:
    cargo run --quiet -p generator -- {{name}} {{flags}}

# Promise today's contracts for good, `just release-contracts 0.2.0`
release-contracts number:
    cargo run --quiet -p contracts -- release {{number}}

# Have a refused refund tried again, `just retry-compensation 018f2b9e-…`
retry-compensation order stage="local":
    @{{ if stage == "local" { operator_here } else { operator_on_aws } }} retry-compensation {{order}} --stage {{stage}}

# List the dead letters of a stage: age, event, order and reason
dlq stage="local":
    @{{ if stage == "local" { operator_here } else { operator_on_aws } }} dlq --stage {{stage}}

# List the orders that wait: FAILED ones, which need an operator, and those with an overdue step
waiting stage="local":
    @{{ if stage == "local" { operator_here } else { operator_on_aws } }} waiting --stage {{stage}}

# Send dead letters back and show what becomes of each, `just redrive local-quadrille-payments-events-dlq --order 018f2b9e-…`
redrive queue *flags:
    @{{ if queue =~ "^local-" { operator_here } else { operator_on_aws } }} redrive {{queue}} {{flags}}

# Remind every silent step that will be overdue within so many seconds, instead of waiting for it
sweep ahead="0" stage="local":
    @{{ if stage == "local" { operator_here } else { operator_on_aws } }} sweep --ahead {{ahead}} --stage {{stage}}

# What CI runs
ci:
    .ci/run

# Format, lint, and check dependencies (needs cargo-deny)
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    cargo deny check

# Build for Lambda (needs cargo-lambda)
build:
    cargo lambda build --profile lambda --arm64 {{prepend("-p ", services)}} --features {{replace(append("/tls", services), " ", ",")}}

# Deploy a stage; `bucket` takes the packaged code, PROVIDER_KEY is the payment provider's secret key, CARRIER_URL and CARRIER_KEY the carrier's, ALARM_TOPIC the ARN of a topic that wakes an operator (optional), TOKEN_ISSUER the OpenID Connect issuer
deploy bucket stage="dev": build
    for stack in bus {{services}}{{others}}; do \
        aws cloudformation package --template-file infra/$stack.yaml --s3-bucket {{bucket}} --output-template-file target/lambda/$stack.yaml && \
        aws cloudformation deploy --template-file target/lambda/$stack.yaml --stack-name {{stage}}-quadrille-$stack --capabilities CAPABILITY_IAM --no-fail-on-empty-changeset \
            --parameter-overrides Stage={{stage}} $([ $stack = payments ] && echo ProviderKey="${PROVIDER_KEY:?the payment provider secret key}") \
            $([ $stack = fulfillment ] && echo CarrierUrl="${CARRIER_URL:?where the carrier answers}" CarrierKey="${CARRIER_KEY:?the carrier secret key}") \
            $(grep -q '^  AlarmTopic:' infra/$stack.yaml && echo AlarmTopic="${ALARM_TOPIC:-}") \
            $([ $stack = api ] && echo TokenIssuer="${TOKEN_ISSUER:?the OpenID Connect issuer of the tokens}") || exit 1; \
    done
