# Everything here is a short name for a command that also works without make.
FUZZTIME   ?= 20s
BENCH      ?= .
BENCHTIME  ?= 1s
BENCHCOUNT ?= 1
FUZZ       ?= .
ATTACK_FOR ?= 30m
FLOOD_FOR  ?= 20s
SOAK_FOR   ?= 45m
SUBSCRIBERS ?= 50000

.PHONY: help build test race lint bench bench-peers fuzz fuzz-log attack flood chaos soak memory integration conformance notices images ci clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## compile everything; the programs go to bin/
	go build ./...
	@for p in $$(go list -f '{{if eq .Name "main"}}{{.ImportPath}}{{end}}' ./...); do echo "bin/$${p##*/}"; go build -o bin/ "$$p"; done

test: ## run the tests that need nothing but Go
	go test ./...

race: ## run them under the race detector
	go test -race ./...

lint: bin/golangci-lint ## run the linter (built once from tools/go.mod)
	bin/golangci-lint run --allow-parallel-runners ./...

bench: ## run the benchmarks (BENCH=regexp BENCHTIME=1s BENCHCOUNT=1); benchstat reads what it writes
	@go test -run '^$$' -bench '$(BENCH)' -benchtime $(BENCHTIME) -count $(BENCHCOUNT) -benchmem ./...

bench-peers: ## measure Kamailio and ours side by side, under 30 minutes (QUICK=1: under 5; CHECK=1: saturation alone, and ratios in bounds); docs/performance/peers.md
	go build -o bin/ ./cmd/pcscf ./cmd/icscf ./cmd/scscf ./testbed
	go -C tools build -o ../bin/ ./floor ./benchpeers
	bin/benchpeers $(if $(QUICK),-quick) $(if $(CHECK),-check)

fuzz: ## run each fuzz target in turn (FUZZTIME=20s each)
	.ci/fuzz $(FUZZTIME)

fuzz-log: ## the same for those that match FUZZ=regexp, and add up what was done in docs/performance/fuzz.md
	.ci/fuzz log $(FUZZTIME) '$(FUZZ)'

attack: build ## start the services and bend registrations and calls (ATTACK_FOR=30m)
	bin/testbed attack mutate --for $(ATTACK_FOR)

chaos: build ## break a core under load, one fault after the other, and say what each costs (some 6 minutes)
	bin/testbed chaos

soak: build ## load a core at half its capacity, faults one after the other, all counters reconciled (SOAK_FOR=45m)
	bin/testbed soak --for $(SOAK_FOR) --phones 2000 --rate 0 --json docs/performance/soak.json --plot docs/performance/soak.svg

memory: ## what a registered subscriber takes, in clear and with SA sets (SUBSCRIBERS=50000, over half an hour; 10000 take a third)
	go test -tags integration -run TestMemory -v -timeout 90m ./testbed/lab -subscribers $(SUBSCRIBERS) -settled 60s

flood: build ## start the services and flood them in many ways, without and with IPsec (FLOOD_FOR=20s each)
	bin/testbed attack flood --for $(FLOOD_FOR)
	bin/testbed attack flood --for $(FLOOD_FOR) --ipsec user

integration: ## run all tests with those that need the packages of .ci/packages
	go test -tags integration ./...

conformance: ## write what the tests show into docs/conformance.md, and the floors into .golangci.yml
	go test ./testbed/conformance -update

notices: ## write the third-party notices of a release to dist/
	@mkdir -p dist
	go -C tools run ./notices -C .. > dist/THIRD_PARTY_NOTICES

images: ## build the container images of docker-compose.yml (see docs/docker.md)
	CGO_ENABLED=0 GOOS=linux go build -trimpath -o bin/docker/ ./cmd/pcscf ./cmd/icscf ./cmd/scscf ./testbed
	docker compose build

ci: ## run what CI runs
	.ci/run

clean: ## remove what make built
	rm -rf bin dist

bin/golangci-lint: tools/go.mod
	go -C tools build -o ../bin/golangci-lint github.com/golangci/golangci-lint/v2/cmd/golangci-lint
