package guest

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// wanted are the modules that tests need, those of IPsec, of a NAT and of a bad wire, with
// the names of modprobe. What a kernel has built in is not loaded. jitterentropy_rng is not among them: its self
// test refuses an emulated clock, and drbg does without.
var wanted = []string{
	"xfrm_user", "xfrm_algo", "esp4", "esp6", "authenc", "cbc", "ctr", "ecb", "hmac", "md5", "sha1_generic",
	"sha256_generic", "sha512_generic", "aes_generic", "des_generic", "gcm", "ghash-generic", "seqiv", "echainiv",
	"drbg", "crypto_null", "crc32c_generic",
	"veth", "bridge", "af_packet", "nf_tables", "nf_nat", "nft_chain_nat", "nft_masq", "nft_nat", "sch_netem",
}

// kernel is one that can be booted.
type kernel struct {
	image   string // /boot/vmlinuz-…
	modules string // /lib/modules/…
}

// findKernel takes the newest kernel below root that has modules.
func findKernel(root string) (kernel, error) {
	images, _ := filepath.Glob(filepath.Join(root, "boot/vmlinuz-*"))
	slices.Reverse(images)
	for _, image := range images {
		version := strings.TrimPrefix(filepath.Base(image), "vmlinuz-")
		k := kernel{image, filepath.Join(root, "lib/modules", version)}
		if _, err := os.Stat(filepath.Join(k.modules, "modules.dep")); err != nil {
			continue
		}
		f, err := os.Open(image)
		if err != nil {
			return kernel{}, fmt.Errorf("read a kernel to boot: %w: it must be readable by this user", err)
		}
		return k, f.Close()
	}
	return kernel{}, fmt.Errorf("no kernel with modules in %s: apt-get install linux-image-amd64", filepath.Join(root, "boot"))
}

// module is a kernel module's path below the directory of the kernel's modules.
func moduleName(path string) string {
	base, _, _ := strings.Cut(filepath.Base(strings.TrimSpace(path)), ".ko")
	return strings.ReplaceAll(base, "-", "_")
}

// order lists the files of modules and of what they depend on, each after what it
// depends on.
func (k kernel) order(names []string) ([]string, error) {
	dep, err := os.ReadFile(filepath.Join(k.modules, "modules.dep"))
	if err != nil {
		return nil, err
	}
	builtin, err := os.ReadFile(filepath.Join(k.modules, "modules.builtin"))
	if err != nil {
		return nil, err
	}
	have := make(map[string]bool)
	for line := range strings.Lines(string(builtin)) {
		have[moduleName(line)] = true
	}
	needs := make(map[string][]string)
	files := make(map[string]string)
	lines := bufio.NewScanner(bytes.NewReader(dep))
	for lines.Scan() {
		file, rest, _ := strings.Cut(lines.Text(), ":")
		files[moduleName(file)] = file
		for _, d := range strings.Fields(rest) {
			needs[moduleName(file)] = append(needs[moduleName(file)], moduleName(d))
		}
	}
	var list []string
	var add func(string) error
	add = func(name string) error {
		name = moduleName(name)
		if have[name] {
			return nil
		}
		have[name] = true
		if files[name] == "" {
			return fmt.Errorf("the kernel in %s has no module %s", k.modules, name)
		}
		for _, d := range needs[name] {
			if err := add(d); err != nil {
				return err
			}
		}
		list = append(list, files[name])
		return nil
	}
	for _, name := range names {
		if err := add(name); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// read returns a module as the kernel loads it.
func (k kernel) read(file string) ([]byte, error) {
	b, err := os.ReadFile(filepath.Join(k.modules, file))
	if err != nil {
		return nil, err
	}
	unpack := func(program string) ([]byte, error) {
		cmd := exec.Command(program, "-dc")
		cmd.Stdin = bytes.NewReader(b)
		out, err := cmd.Output()
		if err != nil {
			return nil, fmt.Errorf("unpack %s with %s: %w", file, program, err)
		}
		return out, nil
	}
	switch filepath.Ext(file) {
	case ".gz":
		z, err := gzip.NewReader(bytes.NewReader(b))
		if err != nil {
			return nil, fmt.Errorf("unpack %s: %w", file, err)
		}
		return io.ReadAll(z)
	case ".xz":
		return unpack("xz")
	case ".zst":
		return unpack("zstd")
	}
	return b, nil
}
