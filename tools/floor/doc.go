// Command floor measures what P-, I- and S-CSCF cannot do without: three processes
// that receive and send the messages of a registration (TS 24.229 5.1.1), a call or
// a MESSAGE, over the same hops and transports, of the same lengths, with the same
// exchanges with an HSS, and do nothing else. Nothing is parsed: what a message is
// stands in its first octets, and whoever receives one sends those that the core
// sends because of it (messages.json, held against the core by TestFloor in
// testbed/bench, which also writes it).
//
//	go -C tools run ./floor bench --what registration --rate 200 --seconds 10
//	go -C tools run ./floor bench --what call --busy 40 --json
//
// Phones and HSS are in the process that measures. The three roles are children of
// it, pinned to one CPU, itself to another.
package main
