# Each recipe is a line or two over one tool; `just` alone lists them.

_list:
    @just --list --unsorted

# Build and start the whole platform on this machine (`just dev --help` lists the flags)
dev *flags:
    cargo dev {{flags}}

# Every test
test:
    cargo test

# Load with release binaries on a platform of its own; I1 and I2 are checked afterwards (--help for more)
load *flags:
    cargo build --release --workspace --bins
    target/release/load {{flags}}

# What changed in the contracts since the last release, and whether anybody is broken by it
contracts:
    @cargo run --quiet -p tests --bin contracts

# Write what is generated in contracts/ anew after a change of an event type or of openapi.yaml
bless:
    cargo run --quiet -p tests --bin contracts -- bless

# Promise today's contracts for good, `just release-contracts 0.2.0`
release-contracts number:
    cargo run --quiet -p tests --bin contracts -- release {{number}}

# Have a refused refund tried again, `just retry-compensation 018f2b9e-…` (AWS CLI; against the local stack with AWS_ENDPOINT_URL)
retry-compensation order stage="local":
    aws lambda invoke --function-name {{stage}}-payments-compensator --cli-binary-format raw-in-base64-out \
        --payload '{"task": "Retry", "order_id": "{{order}}"}' /dev/stdout

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
    cargo lambda build --profile lambda --arm64 -p orders -p inventory -p payments -p rewards --features orders/tls,inventory/tls,payments/tls,rewards/tls

# Deploy a stage; `bucket` takes the packaged code, PROVIDER_KEY is the payment provider's secret key, TOKEN_ISSUER the OpenID Connect issuer
deploy bucket stage="dev": build
    for stack in bus orders inventory payments rewards api; do \
        aws cloudformation package --template-file infra/$stack.yaml --s3-bucket {{bucket}} --output-template-file target/lambda/$stack.yaml && \
        aws cloudformation deploy --template-file target/lambda/$stack.yaml --stack-name {{stage}}-quadrille-$stack --capabilities CAPABILITY_IAM --no-fail-on-empty-changeset \
            --parameter-overrides Stage={{stage}} $([ $stack = payments ] && echo ProviderKey="${PROVIDER_KEY:?the payment provider secret key}") \
            $([ $stack = api ] && echo TokenIssuer="${TOKEN_ISSUER:?the OpenID Connect issuer of the tokens}") || exit 1; \
    done
