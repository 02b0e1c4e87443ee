// Command icscf runs an Interrogating-CSCF.
//
//	icscf --config icscf.yaml [--check] [--pid-file FILE]
package main

import (
	"os"

	"github.com/gocscf/gocscf/ims/icscf"
	"github.com/gocscf/gocscf/ims/node"
)

func main() {
	cfg := icscf.DefaultConfig()
	os.Exit(node.Program{
		Name: "icscf", Config: &cfg, Common: &cfg.Common, Check: cfg.Check, Explain: cfg.Explain,
		New: func(d node.Deps) (node.Service, error) { return icscf.New(cfg, icscf.Deps{Deps: d}) },
	}.Main(os.Args[1:], os.Stdout, os.Stderr))
}
