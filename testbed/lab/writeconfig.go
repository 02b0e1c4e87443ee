package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/template"

	"github.com/gocscf/gocscf/ims/uri"
)

// WriteConfig describes the files that `testbed lab --write-config` writes.
type WriteConfig struct {
	Dir    string
	Force  bool // write over existing files
	Domain string
	// Where the services listen, HOST:PORT. A name is looked up by each service when it
	// starts.
	PCSCF, ICSCF, SCSCF, HSS string
	IPsec                    string // none or required
}

// configFiles are written in this order.
var configFiles = [...]string{"pcscf.yaml", "icscf.yaml", "scscf.yaml", "hss.yaml", "subscribers.yaml"}

// Write writes the files. It writes none if one exists and Force is not set.
func (w WriteConfig) Write() ([]string, error) {
	v, err := w.values()
	if err != nil {
		return nil, &FlagError{err}
	}
	if err := os.MkdirAll(w.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("making the directory: %w", err)
	}
	var paths []string
	for _, name := range configFiles {
		path := filepath.Join(w.Dir, name)
		if _, err := os.Stat(path); err == nil && !w.Force {
			return nil, fmt.Errorf("%s exists: --force writes over it", path)
		} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("looking at %s: %w", path, err)
		}
		paths = append(paths, path)
	}
	for i, name := range configFiles {
		var b strings.Builder
		if err := configTemplates.ExecuteTemplate(&b, name, v); err != nil {
			return nil, fmt.Errorf("writing %s: %w", name, err)
		}
		// Subscribers hold keys: nobody else needs to read them. The P-CSCF in a
		// container is a root that reads only what everybody may.
		mode := fs.FileMode(0o644)
		if name == "subscribers.yaml" {
			mode = 0o600
		}
		if err := os.WriteFile(paths[i], []byte(b.String()), mode); err != nil {
			return nil, fmt.Errorf("writing the configuration: %w", err)
		}
	}
	return paths, nil
}

// FlagError is a flag that cannot be used.
type FlagError struct{ Err error }

func (e *FlagError) Error() string { return e.Err.Error() }

func (e *FlagError) Unwrap() error { return e.Err }

// ExitCode is that of bad flags.
func (e *FlagError) ExitCode() int { return 2 }

// values are what the templates show.
type values struct {
	Domain, IPsec                  string
	Gm, Mw, I, S, HSS              address
	HTTPP, HTTPI, HTTPS, HTTPH     string
	AliceIMPI, BobIMPI             string
	AliceIMPU, BobIMPU             string
	AliceTel, BobTel               string
	AliceK, AliceOPc, BobK, BobOPc string
}

func (w WriteConfig) values() (values, error) {
	v := values{Domain: w.Domain, IPsec: w.IPsec}
	if w.Domain == "" {
		return v, errors.New("--domain is empty: the home network's domain name")
	}
	if w.IPsec != "none" && w.IPsec != "required" {
		return v, fmt.Errorf("--ipsec is %q: it must be none or required", w.IPsec)
	}
	for _, a := range []struct {
		flag, text string
		to         *address
	}{{"--pcscf", w.PCSCF, &v.Gm}, {"--icscf", w.ICSCF, &v.I}, {"--scscf", w.SCSCF, &v.S}, {"--hss", w.HSS, &v.HSS}} {
		var err error
		if *a.to, err = parseAddress(a.text); err != nil {
			return v, fmt.Errorf("%s is %q: want an IP address or a name, and a port, for instance 127.0.0.1:5060", a.flag, a.text)
		}
	}
	v.Mw = mwBeside(v.Gm, v.I, v.S, v.HSS)
	v.HTTPP, v.HTTPI, v.HTTPS, v.HTTPH = httpBeside(v.Gm), httpBeside(v.I), httpBeside(v.S), httpBeside(v.HSS)
	subs := DemoSubscribers(w.Domain)
	v.AliceIMPI, v.BobIMPI = subs[0].IMPI, subs[1].IMPI
	v.AliceIMPU, v.BobIMPU = subs[0].IMPUs[0], subs[1].IMPUs[0]
	v.AliceTel, v.BobTel = subs[0].IMPUs[1], subs[1].IMPUs[1]
	v.AliceK, v.AliceOPc, v.BobK, v.BobOPc = aliceK, aliceOPc, bobK, bobOPc
	return v, nil
}

// address is an IP address or a name, with a port.
type address struct {
	Host string
	Port uint16
}

func parseAddress(s string) (address, error) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return address{}, fmt.Errorf("reading an address: %w", err)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err == nil && n == 0 {
		err = errors.New("the port is 0")
	}
	if _, bad := netip.ParseAddr(host); err == nil && bad != nil {
		var u uri.URI
		if u, err = uri.Parse("sip:" + host); err == nil && u.Host != host {
			err = errors.New("the name is none")
		}
	}
	return address{host, uint16(n)}, err
}

func (a address) String() string { return net.JoinHostPort(a.Host, strconv.Itoa(int(a.Port))) }

// IsName reports whether a has to be looked up.
func (a address) IsName() bool {
	_, err := netip.ParseAddr(a.Host)
	return err != nil
}

// mwBeside is the P-CSCF's port towards the core: the next one on its address
// that no other service has.
func mwBeside(gm address, others ...address) address {
	for port := gm.Port + 1; ; port++ {
		if mw := (address{gm.Host, port}); !slices.Contains(others, mw) {
			return mw
		}
	}
}

// httpBeside is where a service shows metrics and health: on loopback, 4000 ports
// above its own.
func httpBeside(a address) string {
	host := "127.0.0.1"
	if ip, err := netip.ParseAddr(a.Host); err == nil && ip.IsLoopback() {
		host = a.Host
	}
	return net.JoinHostPort(host, strconv.Itoa(int(uint16(uint32(a.Port)+4000))))
}

var configTemplates = template.Must(template.New("").Parse(`
{{define "pcscf.yaml"}}# P-CSCF: what phones talk to. Run: pcscf --config pcscf.yaml
domain: {{.Domain}}
listen:
  gm: "{{.Gm}}"   # towards phones, UDP and TCP
  mw: "{{.Mw}}"   # towards the core; Path carries it
icscf: "{{.I}}"      # entry point of the home network
# trusted: [192.0.2.0/24]      # who may be the core at mw: needed where phones reach mw
{{- if .S.IsName}}
hosts: {"{{.S.Host}}": "{{.S}}"} # Service-Route names it; looked up at the start
{{- end}}
ipsec: {policy: {{.IPsec}}}
http: "{{.HTTPP}}"     # /metrics /healthz /readyz /debug/trace
log: {level: info, format: console}
{{end}}
{{define "icscf.yaml"}}# I-CSCF: asks the HSS which S-CSCF serves a user. Run: icscf --config icscf.yaml
domain: {{.Domain}}
listen: "{{.I}}"
scscfs:                      # to choose from for users who have none yet
  - name: "sip:{{.S}}"
{{- if .S.IsName}}
hosts: {"{{.S.Host}}": "{{.S}}"} # looked up at the start
{{- end}}
diameter:
  peers:
    - address: "{{.HSS}}"   # the HSS, over TCP
http: "{{.HTTPI}}"
log: {level: info, format: console}
{{end}}
{{define "scscf.yaml"}}# S-CSCF: authenticates, registers, routes by filter criteria. Run: scscf --config scscf.yaml
domain: {{.Domain}}
listen: "{{.S}}"
name: "sip:{{.S}}"   # as the HSS stores it and the I-CSCF routes to it
icscf: "{{.I}}"           # where calls to users of the domain go
{{- if eq .IPsec "none"}}
aka_without_ipsec: true          # phones answer challenges in clear: for labs
{{- end}}
expires: {min: 60s, default: 1h, max: 1h}
diameter:
  peers:
    - address: "{{.HSS}}"
http: "{{.HTTPS}}"
log: {level: info, format: console}
{{end}}
{{define "hss.yaml"}}# HSS of the testbed: Cx over TCP. Run: testbed hss --config hss.yaml
domain: {{.Domain}}
listen: "{{.HSS}}"
subscribers: subscribers.yaml
http: "{{.HTTPH}}"
log: {level: info, format: console}
{{end}}
{{define "subscribers.yaml"}}# The SIMs that the HSS knows. Keys are hexadecimal and quoted.
subscribers:
  - impi: {{.AliceIMPI}}
    impus: ["{{.AliceIMPU}}", "{{.AliceTel}}"]
    k: "{{.AliceK}}"
    opc: "{{.AliceOPc}}"
  - impi: {{.BobIMPI}}
    impus: ["{{.BobIMPU}}", "{{.BobTel}}"]
    k: "{{.BobK}}"
    opc: "{{.BobOPc}}"
{{end}}
`))
