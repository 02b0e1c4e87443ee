package node

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// In a process of its own, because a policy once given is not taken back.
func inOwnProcess(t *testing.T) bool {
	t.Helper()
	if os.Getenv("GOCSCF_TEST_BATCH") != "" {
		return true
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), "GOCSCF_TEST_BATCH=1")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Fatalf("in a process of its own: %v\n%s", err, out)
	}
	return false
}

// refused reports whether the kernel, or a sandbox, lets nobody choose: not even what is so
// already.
func refused() bool {
	attr, err := unix.SchedGetAttr(0, 0)
	if err == nil {
		err = unix.SchedSetAttr(0, attr, 0)
	}
	return errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM)
}

// TestEveryThreadIsABatch: those that were there, and those that begin afterwards; none
// where the kernel refuses.
func TestEveryThreadIsABatch(t *testing.T) {
	if !inOwnProcess(t) {
		return
	}
	want, sandbox := uint32(schedBatch), refused()
	if sandbox {
		want = schedOther
	}
	if err := batch(); (err != nil) != sandbox {
		t.Fatalf("in a sandbox that refuses: %v; error: %v", sandbox, err)
	}
	var held, done sync.WaitGroup
	release := make(chan struct{})
	for range 8 {
		held.Add(1)
		done.Go(func() {
			// A thread that waits in the kernel makes the runtime begin another one.
			var pipe [2]int
			if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
				panic(err)
			}
			go func() { <-release; unix.Close(pipe[1]) }()
			held.Done()
			_, _ = unix.Read(pipe[0], make([]byte, 1))
			unix.Close(pipe[0])
		})
	}
	held.Wait()
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		id, _ := strconv.Atoi(task.Name())
		attr, err := unix.SchedGetAttr(id, 0)
		if sandbox && errors.Is(err, unix.ENOSYS) {
			continue // it does not tell either
		}
		if err != nil {
			t.Fatalf("thread %d: %v", id, err)
		}
		if attr.Policy != want {
			t.Errorf("thread %d of %d has policy %d, want %d", id, len(tasks), attr.Policy, want)
		}
	}
	close(release)
	done.Wait()
}

// TestNoBatch: who says so in the configuration has the service scheduled as anything else,
// until another one in the process does not say so.
func TestNoBatch(t *testing.T) {
	if !inOwnProcess(t) {
		return
	}
	runtime.LockOSThread()
	was, err := unix.SchedGetAttr(0, 0)
	if errors.Is(err, unix.ENOSYS) {
		return // a sandbox that does not tell
	}
	if err != nil {
		t.Fatal(err)
	}
	batched := was.Policy
	if batched == schedOther && !refused() {
		batched = schedBatch
	}
	for _, tt := range []struct {
		config string
		policy uint32
		says   bool
	}{{"domain: a\nno_batch: true\n", was.Policy, true}, {"domain: a\n", batched, false}} {
		var admin atomic.Pointer[Admin]
		var out bytes.Buffer
		p := program(&fake{runErr: errors.New("enough"), started: make(chan struct{})}, &admin)
		p.Main([]string{"--config", writeConfig(t, tt.config)}, &out, &out)
		attr, err := unix.SchedGetAttr(0, 0)
		if err != nil || attr.Policy != tt.policy || strings.Contains(out.String(), "no_batch is set") != tt.says {
			t.Errorf("%q: policy %d, want %d; %v\n%s", tt.config, attr.Policy, tt.policy, err, &out)
		}
	}
}

// TestAChosenPolicyStays: who has started the service as idle wants it so.
func TestAChosenPolicyStays(t *testing.T) {
	if !inOwnProcess(t) {
		return
	}
	const schedIdle = 5
	runtime.LockOSThread()
	id := unix.Gettid()
	if refused() { // then nobody is there to have chosen
		if changed, err := batchThread(id, time.Millisecond); changed || err == nil {
			t.Fatalf("refused, and yet changed %t, %v", changed, err)
		}
		return
	}
	attr, err := unix.SchedGetAttr(id, 0)
	if err != nil {
		t.Fatal(err)
	}
	attr.Policy, attr.Runtime = schedIdle, 0
	if err := unix.SchedSetAttr(id, attr, 0); err != nil {
		t.Fatal(err)
	}
	if changed, err := batchThread(id, time.Millisecond); changed || err != nil {
		t.Fatalf("changed %t, %v", changed, err)
	}
	if attr, err = unix.SchedGetAttr(id, 0); err != nil || attr.Policy != schedIdle {
		t.Fatalf("policy %d, %v; want %d as it was", attr.Policy, err, schedIdle)
	}
}
