package guest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Options say what a guest has beside the test binary.
type Options struct {
	// Programs are of the host, by name or path, with the libraries they need: /bin in
	// the guest.
	Programs []string
	// Build are packages of commands, compiled without cgo: /bin in the guest.
	Build []string
	// Limit bounds a run, the boot included; 0 is 5 minutes.
	Limit time.Duration
	// Memory of the guest in MiB; 0 is 1024.
	Memory int
}

// exitMark precedes the tests' exit code on the console, on a line of its own.
const exitMark = "guest: exit "

// boot runs a test binary with its arguments in a guest, and returns its exit code.
func boot(o Options, binary string, args []string, out io.Writer) (int, error) {
	qemu, err := exec.LookPath("qemu-system-x86_64")
	if err != nil {
		return 0, errors.New("no qemu-system-x86_64: apt-get install qemu-system-x86")
	}
	k, err := findKernel("/")
	if err != nil {
		return 0, err
	}
	dir, err := os.MkdirTemp("", "guest")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	disk := filepath.Join(dir, "initrd")
	if err := o.disk(k, disk, binary, args, dir); err != nil {
		return 0, fmt.Errorf("make the guest's RAM disk: %w", err)
	}
	limit, memory := o.Limit, o.Memory
	if limit == 0 {
		limit = 5 * time.Minute
	}
	if memory == 0 {
		memory = 1024
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	// One plain processor: under emulation a second one, or vector instructions, cost
	// more than they bring.
	cmd := exec.CommandContext(ctx, qemu,
		"-accel", "tcg", "-cpu", "qemu64", "-smp", "1", "-m", strconv.Itoa(memory),
		"-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", "-no-reboot", "-net", "none",
		"-kernel", k.image, "-initrd", disk,
		"-append", "console=ttyS0 quiet panic=-1 loglevel=4 mitigations=off")
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	console, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	code, tail := relay(console, out)
	err = cmd.Wait()
	switch {
	case code >= 0:
		return code, nil
	case ctx.Err() != nil:
		return 0, fmt.Errorf("the guest has not ended within %v; its last lines:\n%s", limit, tail)
	}
	if err == nil {
		err = errors.New("without a result")
	}
	return 0, fmt.Errorf("the guest ended: %w %s; its last lines:\n%s", err, complaint.Bytes(), tail)
}

// tailLines is how many lines of a guest that fails are shown.
const tailLines = 30

// relay copies the tests' lines to out, until the console ends. It returns their exit
// code, -1 when there is none, and the last lines.
func relay(console io.Reader, out io.Writer) (code int, tail string) {
	code = -1
	var last []string
	lines := bufio.NewScanner(console)
	lines.Buffer(nil, 1<<20)
	begun := false
	for lines.Scan() {
		line := strings.TrimRight(lines.Text(), "\r")
		if last = append(last, line); len(last) > tailLines {
			last = last[1:]
		}
		// What the firmware has written stands before it on the same line.
		if _, _, found := strings.Cut(line, beginMark); found {
			begun = true
			continue
		}
		if rest, found := strings.CutPrefix(line, exitMark); found {
			if n, err := strconv.Atoi(rest); err == nil {
				code = n
			}
			continue
		}
		if begun && code < 0 {
			fmt.Fprintln(out, line)
		}
	}
	return code, strings.Join(last, "\n")
}

// beginMark is the first line of init's.
const beginMark = "guest: begin"

// disk writes the RAM disk.
func (o Options) disk(k kernel, file, binary string, args []string, dir string) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer f.Close()
	w := bufio.NewWriterSize(f, 1<<20)
	a := newArchive(w)
	for _, d := range []string{"dev", "proc", "sys", "tmp", "run", "etc", "bin"} {
		a.dir(d)
	}
	add := func(name, from string) error {
		b, err := os.ReadFile(from)
		if err == nil {
			a.file(name, b)
		}
		return err
	}
	if err := add("init", binary); err != nil {
		return err
	}
	a.file("args", []byte(strings.Join(args, "\x00")))
	order, err := k.order(wanted)
	if err != nil {
		return err
	}
	for i, m := range order {
		b, err := k.read(m)
		if err != nil {
			return err
		}
		a.file(fmt.Sprintf("modules/%03d-%s", i, moduleName(m)), b)
	}
	for _, p := range o.Programs {
		if err := program(p, add); err != nil {
			return err
		}
	}
	for _, p := range o.Build {
		bin := filepath.Join(dir, filepath.Base(p))
		if err := goBuild("build", bin, p); err != nil {
			return err
		}
		if err := add("bin/"+filepath.Base(p), bin); err != nil {
			return err
		}
	}
	return errors.Join(a.close(), w.Flush())
}

// program adds a program of the host, and the libraries that ldd names.
func program(name string, add func(name, from string) error) error {
	path, err := exec.LookPath(name)
	if err != nil {
		if path, err = exec.LookPath("/usr/sbin/" + name); err != nil {
			return fmt.Errorf("no %s: install its package, .ci/packages lists it", name)
		}
	}
	out, err := exec.Command("ldd", path).Output()
	if err != nil {
		return fmt.Errorf("ldd %s: %w", path, err)
	}
	for _, word := range strings.Fields(string(out)) {
		if !filepath.IsAbs(word) {
			continue
		}
		if err := add(word, word); err != nil {
			return err
		}
	}
	return add("bin/"+filepath.Base(name), path)
}

// goBuild runs "go build" or "go test -c" without cgo: the guest has no libraries.
func goBuild(how, out, pkg string) error {
	args := []string{"build"}
	if how == "test" {
		args = []string{"test", "-c", "-tags", "integration"}
	}
	args = append(args, "-ldflags", "-s -w", "-o", out, pkg)
	cmd := exec.Command("go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if b, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, b)
	}
	return nil
}
