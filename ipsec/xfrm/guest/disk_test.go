package guest

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestArchiveIsNewcCpio(t *testing.T) {
	var b bytes.Buffer
	a := newArchive(&b)
	a.file("/bin/sh", []byte("12345"))
	a.file("bin/sh2", nil)
	if err := a.close(); err != nil {
		t.Fatal(err)
	}
	// What "printf 'bin\nbin/sh\nbin/sh2\n' | cpio -o -H newc" has, but for times and owners.
	want := "070701" + "00000001" + "000041ed" + strings.Repeat("0", 16) + "00000001" + strings.Repeat("0", 48) + "00000004" + "00000000" + "bin\x00\x00\x00" +
		"070701" + "00000002" + "000081ed" + strings.Repeat("0", 16) + "00000001" + "00000000" + "00000005" + strings.Repeat("0", 32) + "00000007" + "00000000" + "bin/sh\x00\x00\x00\x00" +
		"12345\x00\x00\x00"
	if got := b.String(); !strings.HasPrefix(got, want) {
		t.Errorf("the archive begins\n%q\nwant\n%q", got[:min(len(got), len(want))], want)
	}
	if n := strings.Count(b.String(), "070701"); n != 4 || !strings.Contains(b.String(), "TRAILER!!!\x00") || b.Len()%4 != 0 {
		t.Errorf("%d entries in %d octets, want 4: a directory, two files, the end", n, b.Len())
	}
}

// kernelTree is a root with two kernels, of which the newer has no modules.
func kernelTree(t *testing.T) string {
	root := t.TempDir()
	for name, text := range map[string]string{
		"boot/vmlinuz-6.1.0-56-amd64":                  "",
		"boot/vmlinuz-6.9.0-1-amd64":                   "",
		"lib/modules/6.1.0-56-amd64/modules.builtin":   "kernel/crypto/hmac.ko\nkernel/crypto/sha1_generic.ko\n",
		"lib/modules/6.1.0-56-amd64/modules.dep":       "kernel/net/ipv4/esp4.ko: kernel/net/xfrm/xfrm_algo.ko\nkernel/net/xfrm/xfrm_algo.ko:\nkernel/net/xfrm/xfrm_user.ko.xz: kernel/net/xfrm/xfrm_algo.ko\nkernel/crypto/ghash-generic.ko: kernel/crypto/gf128mul.ko\nkernel/crypto/gf128mul.ko:\n",
		"lib/modules/6.1.0-56-amd64/kernel/net/a.ko":   "plain",
		"lib/modules/6.1.0-56-amd64/kernel/net/b.ko.x": "",
	} {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestModulesAreLoadedAfterWhatTheyNeed(t *testing.T) {
	k, err := findKernel(kernelTree(t))
	if err != nil || filepath.Base(k.image) != "vmlinuz-6.1.0-56-amd64" {
		t.Fatalf("boots %v, %v: want the newest with modules", k.image, err)
	}
	got, err := k.order([]string{"esp4", "hmac", "xfrm_user", "ghash-generic", "esp4"})
	want := []string{"kernel/net/xfrm/xfrm_algo.ko", "kernel/net/ipv4/esp4.ko", "kernel/net/xfrm/xfrm_user.ko.xz", "kernel/crypto/gf128mul.ko", "kernel/crypto/ghash-generic.ko"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("the order is %q, %v", got, err)
	}
	if _, err := k.order([]string{"esp9"}); err == nil || !strings.Contains(err.Error(), "esp9") {
		t.Errorf("a module that is not there: %v", err)
	}
	if b, err := k.read("kernel/net/a.ko"); err != nil || string(b) != "plain" {
		t.Errorf("read %q, %v", b, err)
	}
	if _, err := findKernel(t.TempDir()); err == nil || !strings.Contains(err.Error(), "apt-get install linux-image-amd64") {
		t.Errorf("without a kernel: %v", err)
	}
}

func TestTheConsoleIsRelayed(t *testing.T) {
	for _, c := range []struct {
		console, out string
		code         int
	}{
		{"SeaBIOS\r\n\x1b[2Jguest: begin\r\n=== RUN X\r\nok\r\nguest: exit 0\r\n[ 1.0] reboot\r\n", "=== RUN X\nok\n", 0},
		{"guest: begin\nFAIL\nguest: exit 1\n", "FAIL\n", 1},
		{"guest: begin\npanic: no\n", "panic: no\n", -1},
		{"Kernel panic - not syncing\n", "", -1},
	} {
		var out bytes.Buffer
		code, tail := relay(strings.NewReader(c.console), &out)
		if code != c.code || out.String() != c.out {
			t.Errorf("%q: exit %d, %q", c.console, code, out.String())
		}
		if c.code < 0 && !strings.Contains(tail, "panic") {
			t.Errorf("%q: the last lines are %q", c.console, tail)
		}
	}
}
