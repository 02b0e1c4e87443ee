// Command benchpeers measures Kamailio and this project's core side by side: the same
// machine, HSS, phones and work, in turn, several times. It prints a table with ratios
// and writes it as Markdown and JSON. docs/performance/peers.md tells what is measured.
//
// It starts what users start: the three services with their configurations, testbed
// hss and testbed load, Kamailio 5.6 with the configuration of testbed/interop, and the
// bare relays of tools/floor. Services are pinned to one processor, HSS and phones to
// another.
package main
