//go:build integration

package interop

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gocscf/gocscf/aka"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/trace"
	"github.com/gocscf/gocscf/ipsec"
	"github.com/gocscf/gocscf/ipsec/esp/netstack"
	"github.com/gocscf/gocscf/testbed/conformance"
	"github.com/gocscf/gocscf/testbed/lab"
	"github.com/gocscf/gocscf/testbed/ue"
)

// keyed is the phones' stack, and remembers the sets that were put into it.
type keyed struct {
	*netstack.Stack
	mu   sync.Mutex
	sets []ipsec.Set
}

func (k *keyed) Install(s *ipsec.Set) error {
	k.mu.Lock()
	k.sets = append(k.sets, *s)
	k.mu.Unlock()
	return k.Stack.Install(s)
}

// tsharkNames are Wireshark's for the algorithms of its table esp_sa.
var tsharkAlg = map[ipsec.Integrity]string{
	ipsec.NoIntegrity: "NULL", ipsec.HMACMD5: "HMAC-MD5-96 [RFC2403]", ipsec.HMACSHA1: "HMAC-SHA-1-96 [RFC2404]", ipsec.AESGMAC: "ANY 128 bit authentication [no checking]",
}

var tsharkEAlg = map[ipsec.Encryption]string{
	ipsec.NoEncryption: "NULL", ipsec.DESEDE3CBC: "TripleDES-CBC [RFC2451]", ipsec.AESCBC: "AES-CBC [RFC3602]", ipsec.AESGCM: "AES-GCM with 16 octet ICV [RFC4106]",
}

// keys are options that tell tshark the associations of the sets.
func (k *keyed) keys() (args []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for i := range k.sets {
		s := &k.sets[i]
		m := s.Material()
		enc := m.Encryption
		if s.Pair.EAlg == ipsec.AESGCM {
			enc = append(slices.Clone(enc), m.Salt[:]...)
		}
		hexed := func(b []byte) string {
			if len(b) == 0 {
				return ""
			}
			return fmt.Sprintf("0x%x", b)
		}
		in, out := s.In(), s.Out()
		for _, sa := range append(in[:], out[:]...) {
			args = append(args, "-o", fmt.Sprintf(`uat:esp_sa:"IPv4","*","*","0x%08x","%s","%s","%s","%s"`,
				sa.SPI, tsharkEAlg[s.Pair.EAlg], hexed(enc), tsharkAlg[s.Pair.Alg], hexed(m.Integrity)))
		}
	}
	return args
}

// TestTsharkReadsTheLab captures what a lab sends over the loopback interface. With
// the keys tshark decrypts every message of the registered phones, and finds none of
// them outside of ESP.
func TestTsharkReadsTheLab(t *testing.T) {
	conformance.Partly(t, "IP-01", "IP-12", "PO-01")
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		t.Fatalf("%v: install the packages of .ci/packages", err)
	}
	for _, c := range []struct {
		proto sip.Proto
		pair  ipsec.Pair
	}{
		{sip.UDP, ipsec.Pair{Alg: ipsec.HMACMD5, EAlg: ipsec.NoEncryption}},
		{sip.TCP, ipsec.Pair{Alg: ipsec.HMACSHA1, EAlg: ipsec.AESCBC}},
	} {
		t.Run(fmt.Sprint(c.proto, " ", c.pair), func(t *testing.T) { tsharkReads(t, tshark, c.proto, c.pair) })
	}
}

func tsharkReads(t *testing.T, tshark string, proto sip.Proto, pair ipsec.Pair) {
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	stream := &trace.Stream{}
	core, err := lab.StartCore(ctx, lab.CoreConfig{Domain: lab.DefaultDomain, Subscribers: lab.DemoSubscribers(lab.DefaultDomain), Stream: stream, IPsec: true})
	if err != nil {
		t.Fatal(err)
	}
	defer core.Stop()
	stack, err := lab.PhoneStack(lab.Loopback, core.P.ESPUDP())
	if err != nil {
		t.Fatal(err)
	}
	k := &keyed{Stack: stack}
	defer k.Close()

	file := filepath.Join(t.TempDir(), "lab.pcapng")
	stop := startCapture(ctx, t, tshark, file, fmt.Sprintf("host 127.0.0.1 and (port %d or port %d)", core.P.Gm().Port(), core.P.ESPUDP().Port()))
	sub := stream.Subscribe(1 << 14)

	var phones []*ue.Phone
	for i, s := range lab.DemoSubscribers(lab.DefaultDomain) {
		key, err1 := aka.ParseSecret(string(s.K))
		opc, err2 := aka.ParseSecret(string(s.OPc))
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		p, err := ue.New(ue.Config{
			Name: fmt.Sprint("phone", i), Local: lab.Loopback, PCSCF: core.P.Gm(), Domain: lab.DefaultDomain, IMPI: s.IMPI, IMPU: s.IMPUs[0],
			K: key, OPc: opc, Transport: proto, IPsec: "user", Stack: k, Offer: []ipsec.Pair{pair}, Trace: trace.Node{Stream: stream},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		if _, err := p.Register(ctx); err != nil {
			t.Fatal(err)
		}
		phones = append(phones, p)
	}
	call, err := phones[0].Call(ctx, phones[1].Registration().Default, ue.CallOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := call.Hangup(ctx); err != nil {
		t.Fatal(err)
	}
	if err := phones[1].Message(ctx, phones[0].Registration().Default, strings.Repeat("A message longer than a packet. ", 60)); err != nil {
		t.Fatal(err)
	}
	for _, p := range phones {
		if err := p.Deregister(ctx); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	sub.Close()

	// What the phones and the P-CSCF say that they have sent, by the first line's
	// first two words: the capture has each of them once, retransmissions too.
	sent := map[string]int{}
	for e := range sub.C() {
		if e.Kind == trace.SIP && e.Dir == trace.Out && strings.HasPrefix(e.Proto, trace.ESP) {
			sent[firstWords(string(e.Raw))]++
		}
	}
	decode := append([]string{
		"-n", "-r", file, "-o", "esp.enable_encryption_decode:TRUE", "-o", "esp.enable_authentication_check:TRUE",
		"-d", fmt.Sprintf("udp.port==%d,udpencap", core.P.ESPUDP().Port()),
		"-d", "udp.port==6100-6107,sip", "-d", "tcp.port==6100-6107,sip", "-d", fmt.Sprintf("udp.port==%d,sip", core.P.Gm().Port()), "-d", fmt.Sprintf("tcp.port==%d,sip", core.P.Gm().Port()),
	}, k.keys()...)
	read := func(args ...string) []string {
		cmd := exec.CommandContext(ctx, tshark, append(slices.Clone(decode), args...)...)
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("tshark: %v: %s", err, &stderr)
		}
		return strings.Split(strings.TrimRight(string(out), "\n"), "\n")
	}
	inESP := map[string]int{}
	for _, line := range read("-Y", "esp && sip", "-T", "fields", "-E", "aggregator=\x1f", "-e", "sip.Request-Line", "-e", "sip.Status-Line") {
		for l := range strings.FieldsFuncSeq(line, func(r rune) bool { return r == '\x1f' || r == '\t' }) {
			inESP[firstWords(l)]++
		}
	}
	delete(inESP, "")
	if !maps.Equal(inESP, sent) || sent["REGISTER sip:"+lab.DefaultDomain] == 0 || len(sent) < 12 {
		t.Errorf("tshark decrypts %v,\nsent were      %v", inESP, sent)
	}
	if bad := read("-Y", "esp.icv_bad == 1", "-T", "fields", "-e", "frame.number"); bad[0] != "" {
		t.Errorf("tshark finds the integrity of %d packets wrong", len(bad))
	}
	if good := read("-Y", "esp.icv_good == 1", "-T", "fields", "-e", "frame.number"); len(good) < len(sent) {
		t.Errorf("tshark has checked the integrity of %d packets", len(good))
	}
	for _, line := range read("-Y", "sip && !esp", "-T", "fields", "-e", "sip.Request-Line", "-e", "sip.Status-Line", "-e", "sip.auth.digest.response") {
		request, rest, _ := strings.Cut(line, "\t")
		status, response, _ := strings.Cut(rest, "\t")
		if f := firstWords(request + status); f != "REGISTER sip:"+lab.DefaultDomain && f != "SIP/2.0 401" || strings.Trim(response, "\"") != "" {
			t.Errorf("in clear: %q", line)
		}
	}
}

func firstWords(message string) string {
	words := strings.Fields(message)
	return strings.Join(words[:min(2, len(words))], " ")
}

// captureLag is how long the capture may be behind what is on the wire.
const captureLag = 500 * time.Millisecond

// awaitFile waits until the capture has begun its file: the kernel has the filter then.
func awaitFile(ctx context.Context, t *testing.T, file string) {
	t.Helper()
	for {
		if st, err := os.Stat(file); err == nil && st.Size() > 0 {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("tshark has not begun %s: may this user capture?", file)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// startCapture captures loopback traffic into file until the returned function is
// called.
func startCapture(ctx context.Context, t *testing.T, tshark, file, filter string) (stop func()) {
	t.Helper()
	cmd := exec.CommandContext(ctx, tshark, "-i", "lo", "-f", filter, "-w", file, "-q")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stderr)
	for lines.Scan() && !strings.Contains(lines.Text(), "Capturing on") {
	}
	rest := make(chan string, 1)
	go func() {
		var all strings.Builder
		for lines.Scan() {
			all.WriteString(lines.Text() + "\n")
		}
		rest <- all.String()
	}()
	awaitFile(ctx, t, file)
	return func() {
		time.Sleep(captureLag)
		if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		said := <-rest
		if err := cmd.Wait(); err != nil {
			t.Fatalf("tshark, capturing: %v: %s", err, said)
		}
	}
}
