//go:build integration

package kamailio

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// process is the main process of a role. Those that it forks stay in its group.
type process struct {
	role Role
	cmd  *exec.Cmd
	log  string
	done chan struct{} // closed when it has ended
	err  error         // how, valid after done
}

// sizes are MiB of shared memory and its allocator. The I-CSCF's tlsf may not be
// used elsewhere, see README.md.
var sizes = map[Role]struct{ shared, allocator string }{
	PCSCF: {"64", "fm"}, ICSCF: {"64", "tlsf"}, SCSCF: {"128", "fm"},
}

func (s *Set) start(binary string, r Role) *process {
	s.t.Helper()
	p := &process{role: r, log: filepath.Join(s.dir, string(r)+".log"), done: make(chan struct{})}
	log, err := os.Create(p.log)
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close()
	p.cmd = exec.Command(binary, "-f", filepath.Join(s.dir, string(r)+".cfg"), "-x", sizes[r].allocator, "-X", "fm",
		"-m", sizes[r].shared, "-M", "8", "-Y", s.dir, "-DD", "-E")
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = s.dir, log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{
		Credential: account(s.t),
		Setpgid:    true,
		// Should this test be killed, the main process ends, and takes its children along.
		Pdeathsig: syscall.SIGTERM,
	}
	if err := p.cmd.Start(); err != nil {
		s.t.Fatalf("starting Kamailio's %s: %v", r, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	return p
}

// stop ends all processes, and says what they wrote if the test has failed.
func (s *Set) stop() {
	var wg sync.WaitGroup
	for _, p := range s.procs {
		wg.Go(func() {
			if err := p.stop(); err != nil {
				s.t.Errorf("stopping Kamailio's %s: %v", p.role, err)
			}
		})
	}
	wg.Wait()
	for _, p := range s.procs {
		if text, err := os.ReadFile(p.log); err == nil && s.t.Failed() {
			s.t.Logf("log of Kamailio's %s:\n%s", p.role, text[max(0, len(text)-4000):])
		}
	}
}

// stop ends the main process, which ends its children, and sees to it that none
// is left.
func (p *process) stop() error {
	group := p.cmd.Process.Pid
	pipes := p.pipes()
	defer func() {
		for _, f := range pipes {
			_ = os.Remove(f)
		}
	}()
	var problems []error
	select {
	case <-p.done:
		problems = append(problems, fmt.Errorf("it had ended before: %w", p.err))
	default:
		// A signal to whom this fails for has ended meanwhile.
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-p.done:
		case <-time.After(10 * time.Second):
			problems = append(problems, errors.New("it did not end within 10 s of SIGTERM and was killed"))
		}
	}
	// A group without members is gone.
	if err := syscall.Kill(-group, syscall.SIGKILL); err == nil && len(problems) == 0 {
		problems = append(problems, errors.New("children outlived the main process and were killed"))
	}
	<-p.done
	return errors.Join(problems...)
}

// pipes are the files that the cdp module makes in /tmp, by process, and forgets.
func (p *process) pipes() []string {
	pid := p.cmd.Process.Pid
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return nil
	}
	var list []string
	for _, child := range strings.Fields(string(children)) {
		found, _ := filepath.Glob("/tmp/cdp_send_" + child + "_*")
		list = append(list, found...)
	}
	return list
}
