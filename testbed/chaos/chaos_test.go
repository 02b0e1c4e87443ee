//go:build integration

package chaos

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// binaries builds the programs.
func binaries(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	out, err := exec.Command("go", "build", "-o", dir, "../../cmd/pcscf", "../../cmd/icscf", "../../cmd/scscf", "..").CombinedOutput()
	if err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	return dir
}

// TestFaults is the short form of `testbed chaos`: every fault for as long as it takes
// to be felt. No registered phone and no established call is lost but for what a
// restarted function held in memory alone, every failure lies in the window of a
// fault, each fault that is felt is named, and the core recovers from each.
func TestFaults(t *testing.T) {
	dir := t.TempDir()
	cfg := Config{Bin: binaries(t), Dir: dir, Phones: 24, Rate: 20, Hold: 1500 * time.Millisecond, Quiet: 1500 * time.Millisecond, Patience: 12 * time.Second, Say: t.Logf}
	r, err := Run(t.Context(), cfg, Faults())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%s", r.Table())
	for _, f := range r.Faulty() {
		t.Error(f)
	}
	if len(r.Outcomes) != len(Faults()) || r.All.Succeeded == 0 {
		t.Errorf("%d of %d faults have come, and %d attempts have succeeded", len(r.Outcomes), len(Faults()), r.All.Succeeded)
	}
	for _, o := range r.Outcomes {
		if o.Attempts == 0 {
			t.Errorf("%s: nothing was under way", o.Fault)
		}
		// Who is restarted has lost what was in its memory: a harness that does not see
		// that sees nothing.
		if (o.Fault == "scscf-dies" || o.Fault == "pcscf-dies" || o.Fault == "pcscf-stops") && (o.PhonesLost == 0 || o.Failed == 0 || o.Again == 0) {
			t.Errorf("%s: %d phones lost, %d attempts failed, %d phones registered anew", o.Fault, o.PhonesLost, o.Failed, o.Again)
		}
	}
	if t.Failed() {
		for _, name := range services {
			if b, err := os.ReadFile(dir + "/" + name + ".stderr"); err == nil {
				t.Logf("%s: %s", name, b)
			}
		}
	}
}

// TestFaultsBehindIPsec: the same for phones behind IPsec. What the restarted P-CSCF had
// in memory are their security associations too: they hear nothing any more, and come
// back with new ones.
func TestFaultsBehindIPsec(t *testing.T) {
	faults, err := byName([]string{"gm-doubles", "scscf-dies", "pcscf-dies"})
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		Bin: binaries(t), Dir: t.TempDir(), Phones: 24, Rate: 20, Hold: 1500 * time.Millisecond, Quiet: 1500 * time.Millisecond, Patience: 6 * time.Second,
		IPsec: true, Say: t.Logf,
	}
	r, err := Run(t.Context(), cfg, faults)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%s", r.Table())
	for _, f := range r.Faulty() {
		t.Error(f)
	}
	for _, o := range r.Outcomes {
		lost := o.Fault != "gm-doubles"
		// Some may be back by the time one looks.
		if o.Attempts == 0 || lost != (o.PhonesLost > o.Phones/2) || !lost && o.PhonesLost > 0 || lost != (o.Again > 0) {
			t.Errorf("%s: %d attempts, %d of %d phones lost, %d registered anew", o.Fault, o.Attempts, o.PhonesLost, o.Phones, o.Again)
		}
	}
	silent := 0
	for cause, n := range r.Outcomes[len(r.Outcomes)-1].Causes {
		if strings.HasSuffix(cause, ": no final answer") {
			silent += int(n)
		}
	}
	if r.IPsec != ipsecUser || silent == 0 {
		t.Errorf("IPsec is %s, and %d attempts heard nothing from the restarted P-CSCF", r.IPsec, silent)
	}
}

// TestSoak is the short form of `testbed soak`: 48 s of load with three faults.
// Every failure is explained, what phones, P-CSCF, S-CSCF and HSS count agrees, and
// when all have de-registered nothing is held for them.
func TestSoak(t *testing.T) {
	faults, err := byName([]string{"icscf-dies", "hss-freezes", "gm-loses"})
	if err != nil {
		t.Fatal(err)
	}
	// Phones that a fault kept from registering register at the pace of the mix, 2.7 a
	// second: all must have done so before the end, as none de-registers else.
	cfg := Config{Bin: binaries(t), Dir: t.TempDir(), Phones: 24, Rate: 20, Hold: 1500 * time.Millisecond, Quiet: 1500 * time.Millisecond, Patience: 12 * time.Second, Say: t.Logf}
	r, err := Soak(t.Context(), SoakConfig{Config: cfg, For: 48 * time.Second, Every: 500 * time.Millisecond, Warm: 5 * time.Second, Settle: 8 * time.Second}, faults)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%s", r.Table())
	for _, w := range r.Wrong {
		t.Error(w)
	}
	// A harness that counts nothing agrees with everything.
	if r.All.Failed == 0 || r.All.Succeeded < 200 || r.Outside.Attempts == 0 {
		t.Errorf("%d attempts failed, %d succeeded, %d lie outside of faults", r.All.Failed, r.All.Succeeded, r.Outside.Attempts)
	}
	for _, c := range r.Checks {
		if c.Spans == 0 || c.Phones == 0 || c.High-c.Low > c.Phones {
			t.Errorf("%s: %.0f and %.0f within %.0f to %.0f in %d spans say nothing", c.What, c.Phones, c.Service, c.Low, c.High, c.Spans)
		}
	}
	for _, l := range r.Levels {
		if l.Of == "goroutines" && l.Samples < fewest {
			t.Errorf("%s: %s: %d samples", l.Service, l.Of, l.Samples)
		}
	}
}
