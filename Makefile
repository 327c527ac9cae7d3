# What a person types. Anything longer than a line is a script in deploy/.
.DEFAULT_GOAL := help
.PHONY: help demo test lint fmt unit bench profile sqlx-prepare clean-services

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## a sample insurer with its campaigns, on private servers (ONCE=1: end by itself; MESSAGES=n)
	@ONCE='$(ONCE)' MESSAGES='$(MESSAGES)' deploy/demo.sh

test: ## everything: formatting, lints, dependencies, all tests, on private servers
	@deploy/test.sh

lint: ## formatting, clippy and the dependency rules
	@deploy/lint.sh

fmt: ## format the code
	cargo fmt --all

unit: ## the tests that need no server
	SQLX_OFFLINE=true cargo test --workspace --lib --bins

bench: ## what single functions cost, on private servers (BENCH=name FILTER=text)
	@BENCH='$(BENCH)' deploy/bench.sh $(if $(FILTER),'$(FILTER)')

profile: ## flame graphs of a campaign under load (RECIPIENTS=n SCENARIO=name SAMPLED=seconds)
	@RECIPIENTS='$(RECIPIENTS)' SCENARIO='$(SCENARIO)' SAMPLED='$(SAMPLED)' deploy/profile.sh

sqlx-prepare: ## after a change to a query or migration: renew .sqlx
	@deploy/sqlx-prepare.sh

clean-services: ## stop the private servers of this checkout and delete their data
	@for name in services demo test bench prepare; do deploy/services.sh down --wipe --dir .fanfare/$$name || exit; done
