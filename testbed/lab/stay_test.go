package lab

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

// The lab that stays up says where its ESP goes, and what Wireshark has to be told.
func TestTheLabSaysWhereItsESPGoes(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	c := Cmd{Domain: DefaultDomain, LogLevel: "error", IPsec: "required", Profile: "generic", NoLadder: true}
	out, in := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := c.demo(ctx, in, in)
		in.Close()
		done <- err
	}()
	var esp, wireshark uint16
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if _, rest, found := strings.Cut(lines.Text(), "The ESP goes over UDP to "+Loopback.String()+":"); found {
			_, _ = fmt.Sscanf(rest, "%d", &esp)
		}
		if _, rest, found := strings.Cut(lines.Text(), "\"Decode As…\" UDP port "); found {
			_, _ = fmt.Sscanf(rest, "%d as UDPENCAP", &wireshark)
		}
		if strings.Contains(lines.Text(), "Ctrl-C") {
			cancel()
		}
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if esp == 0 || wireshark != esp {
		t.Errorf("ESP goes to port %d, Wireshark is told of %d", esp, wireshark)
	}
}

// The log says which back end protects, and why it is that one.
func TestTheBackEndIsNamed(t *testing.T) {
	t.Parallel()
	b := startSecure(t, nil, func(c *Configs) { c.P.IPsec.Backend = "auto" })
	want := "IPsec by the user back end: listen.gm is at 127.0.0.1, and the kernel protects nothing on loopback"
	for _, e := range b.logs.All() {
		if strings.Contains(e.Message, want) {
			return
		}
	}
	t.Errorf("the back end is %q, and no log line says %q", b.P.IPsecBackend(), want)
}
