package decisions_test

import (
	"bytes"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/fiorix/go-diameter/v4/diam"
	"github.com/fiorix/go-diameter/v4/diam/dict"
)

const childEnv = "GOCSCF_TEST_SHORT_DIAMETER_HEADER"

// A message length of 19 makes the library ask for 4 GiB. It asks in a process of
// its own, whose address space the kernel has closed 1 GiB above what it has.
func TestGoDiameterAllocatesFourGigabytes(t *testing.T) {
	if os.Getenv(childEnv) != "" {
		readInLittleMemory(t)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestGoDiameterAllocatesFourGigabytes$")
	cmd.Env = append(os.Environ(), childEnv+"=1")
	out, _ := cmd.CombinedOutput()
	// The runtime words its end differently under the race detector.
	if !bytes.Contains(out, []byte("fatal error: ")) || !bytes.Contains(out, []byte("diam.(*Message).readBody")) {
		mended(t, "0002", "4 GiB for a message length under 20")
		t.Logf("the process said: %.500s", out)
	}
}

func readInLittleMemory(t *testing.T) {
	b := wrongLength(capabilities(t))
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.ParseUint(strings.Fields(string(statm))[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	size := pages*uint64(os.Getpagesize()) + 1<<30
	if err := syscall.Setrlimit(syscall.RLIMIT_AS, &syscall.Rlimit{Cur: size, Max: size}); err != nil {
		t.Fatal(err)
	}
	_, _ = diam.ReadMessage(bytes.NewReader(b), dict.Default)
}
