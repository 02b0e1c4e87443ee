// Command pcscf runs a Proxy-CSCF.
//
//	pcscf --config pcscf.yaml [--check] [--pid-file FILE]
//	pcscf --config pcscf.yaml --explain IMPI [--json]
package main

import (
	"os"

	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ims/pcscf"
)

func main() {
	cfg := pcscf.DefaultConfig()
	os.Exit(node.Program{
		Name: "pcscf", Config: &cfg, Common: &cfg.Common, Check: cfg.Check, Explain: cfg.Explain,
		New:   func(d node.Deps) (node.Service, error) { return pcscf.New(cfg, pcscf.Deps{Deps: d}) },
		Admin: pcscf.Admin, Questions: pcscf.Questions(),
	}.Main(os.Args[1:], os.Stdout, os.Stderr))
}
