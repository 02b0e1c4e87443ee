// Package bench measures what a registration (TS 24.229 5.1.1), a call and a
// MESSAGE cost in the three functions, with the testbed's HSS behind them and
// phones that do nothing but write prepared text and compute AKA. It is all
// tests:
//
//	go test -run '^$' -bench . -benchmem ./testbed/bench
//
// Names are procedure/network/load. The network is memory (package memnet) or
// loopback (kernel sockets); the load is one phone at a time, or a closed loop of
// many. ns/op is the time that passes. cpu-ns/op is user and system time of the
// whole process, so it has the HSS and the phones in it: what the phones take is
// measured by BenchmarkPhones, where a socket that answers stands in place of the
// core. Shares of the functions are in a profile, whose samples are labelled:
//
//	go test -run '^$' -bench Registration/memory/many -cpuprofile cpu.out ./testbed/bench
//	go tool pprof -tags cpu.out
//	go tool pprof -top -tagfocus function=scscf cpu.out
//
// The services log warnings only; -args -log info makes them log, into nothing,
// what they log by default.
package bench
