package guest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// inGuest is set in the environment of the tests.
const inGuest = "GOCSCF_GUEST=1"

// The main thread stays in the namespace it began in, which is that of /proc/self:
// without this, it could be the one that a test takes to another.
func init() {
	if os.Getenv("GOCSCF_GUEST") != "" {
		runtime.LockOSThread()
	}
}

// Main is for TestMain, and does not return: on the host it boots a guest and shows
// what the tests print there.
func Main(m *testing.M, o Options) {
	switch {
	case os.Getpid() == 1:
		initGuest()
	case os.Getenv("GOCSCF_GUEST") != "":
		os.Exit(m.Run())
	}
	code, err := onHost(o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "run the tests in a guest:", err)
		code = 1
	}
	os.Exit(code)
}

func onHost(o Options) (int, error) {
	dir, err := os.MkdirTemp("", "guest")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, "test")
	if err := goBuild("test", binary, "."); err != nil {
		return 0, err
	}
	// What the go command passes for itself, files of the host's, stays here.
	var args []string
	for _, a := range os.Args[1:] {
		name := strings.TrimLeft(strings.SplitN(a, "=", 2)[0], "-")
		switch name {
		case "test.testlogfile", "test.paniconexit0", "test.gocoverdir", "test.coverprofile", "test.outputdir", "test.cpuprofile", "test.memprofile", "test.trace":
		default:
			args = append(args, a)
		}
	}
	return boot(o, binary, args, os.Stdout)
}

// initGuest is what the kernel starts: process 1.
func initGuest() {
	fmt.Println()
	fmt.Println(beginMark)
	code := 1
	if err := prepare(); err != nil {
		fmt.Println("prepare the guest:", err)
	} else {
		code = runTests()
	}
	fmt.Printf("\n%s%d\n", exitMark, code)
	unix.Sync()
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	select {}
}

func prepare() error {
	for _, m := range [][3]string{{"proc", "/proc", "proc"}, {"sysfs", "/sys", "sysfs"}, {"dev", "/dev", "devtmpfs"}, {"tmp", "/tmp", "tmpfs"}, {"run", "/run", "tmpfs"}} {
		if err := unix.Mount(m[0], m[1], m[2], 0, ""); err != nil {
			return fmt.Errorf("mount %s: %w", m[1], err)
		}
	}
	modules, err := filepath.Glob("/modules/*")
	if err != nil {
		return err
	}
	for _, m := range modules {
		b, err := os.ReadFile(m)
		if err != nil {
			return err
		}
		if err := unix.InitModule(b, ""); err != nil && err != unix.EEXIST {
			return fmt.Errorf("load %s: %w", m, err)
		}
	}
	return up("lo")
}

func up(name string) error {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find %s: %w", name, err)
	}
	return netlink.LinkSetUp(l)
}

func runTests() int {
	args, err := os.ReadFile("/args")
	if err != nil {
		fmt.Println("read the tests' arguments:", err)
		return 1
	}
	cmd := exec.Command("/init")
	if len(args) > 0 {
		cmd.Args = append(cmd.Args, strings.Split(string(args), "\x00")...)
	}
	cmd.Env = []string{"PATH=/bin", "HOME=/tmp", "TMPDIR=/tmp", inGuest}
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stdout
	err = cmd.Run()
	if cmd.ProcessState == nil {
		fmt.Println("start the tests:", err)
		return 1
	}
	return cmd.ProcessState.ExitCode()
}
