// Package node holds what every gocscf service has: a strict YAML
// configuration, logs, metrics, health and readiness, the trace stream over
// HTTP, signals and exit codes. The three functions and the testbed's services
// are built on it; it knows nothing of what they do.
package node
