// Command scscf runs a Serving-CSCF.
//
//	scscf --config scscf.yaml [--check] [--pid-file FILE]
package main

import (
	"os"

	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ims/scscf"
)

func main() {
	cfg := scscf.DefaultConfig()
	os.Exit(node.Program{
		Name: "scscf", Config: &cfg, Common: &cfg.Common, Check: cfg.Check, Explain: cfg.Explain,
		New: func(d node.Deps) (node.Service, error) { return scscf.New(cfg, scscf.Deps{Deps: d}) },
	}.Main(os.Args[1:], os.Stdout, os.Stderr))
}
