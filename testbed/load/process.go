package load

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Process is one to watch, with all its descendants: by its id, or by the file that
// holds that.
type Process struct {
	Name    string
	PID     int
	PIDFile string
}

// ParseProcess reads "pcscf=1234" or "pcscf=/run/pcscf.pid".
func ParseProcess(s string) (Process, error) {
	name, where, ok := strings.Cut(s, "=")
	if !ok || name == "" || where == "" {
		return Process{}, fmt.Errorf("%q names no process: want NAME=PID or NAME=FILE", s)
	}
	if pid, err := strconv.Atoi(where); err == nil {
		return Process{Name: name, PID: pid}, nil
	}
	return Process{Name: name, PIDFile: where}, nil
}

func (p Process) pid() (int, error) {
	if p.PIDFile == "" {
		return p.PID, nil
	}
	b, err := os.ReadFile(p.PIDFile)
	if err != nil {
		return 0, fmt.Errorf("reading the process id of %s: %w", p.Name, err)
	}
	pid, err := strconv.Atoi(string(bytes.TrimSpace(b)))
	if err != nil {
		return 0, fmt.Errorf("%s holds no process id", p.PIDFile)
	}
	return pid, nil
}

// CPU is the processor time of a process and its descendants, in seconds, and for each
// operation that succeeded meanwhile, in milliseconds.
type CPU struct {
	Name         string  `json:"name"`
	Total        float64 `json:"seconds"`
	User         float64 `json:"user_s"`
	System       float64 `json:"system_s"`
	PerOperation float64 `json:"ms_per_operation"`
}

// Memory is the proportional set size (PSS) of a process and its descendants, in KiB:
// before phones registered, when those of the pre-registration had, and at the end.
type Memory struct {
	Name          string  `json:"name"`
	Before        float64 `json:"before_kib"`
	Registered    float64 `json:"registered_kib"`
	After         float64 `json:"after_kib"`
	PerSubscriber float64 `json:"kib_per_subscriber"` // of the pre-registration
}

// processes are those that are watched.
type processes []Process

// watch checks that all are there.
func watch(list []Process) (processes, error) {
	for _, p := range list {
		pid, err := p.pid()
		if err != nil {
			return nil, err
		}
		if _, err := readStat(pid); err != nil {
			return nil, fmt.Errorf("watching %s: %w", p.Name, err)
		}
	}
	return list, nil
}

// stat is what /proc/PID/stat tells, times in clock ticks (proc(5)).
type stat struct {
	ppid         int
	user, system uint64 // with those of children that were waited for
	ran          uint64 // nanoseconds of its threads, by /proc/PID/task/*/schedstat
}

// ticksASecond is USER_HZ, which is 100 wherever Linux runs.
const ticksASecond = 100

func readStat(pid int) (stat, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return stat{}, err
	}
	return parseStat(b)
}

// parseStat reads a line whose second field, the name in parentheses, may hold
// anything.
func parseStat(b []byte) (stat, error) {
	i := bytes.LastIndexByte(b, ')')
	fields := bytes.Fields(b[i+1:])
	if i < 0 || len(fields) < 15 {
		return stat{}, fmt.Errorf("%.40q is no line of /proc/PID/stat", b)
	}
	var s stat
	var n [5]uint64
	for j, at := range [...]int{1, 11, 12, 13, 14} {
		v, err := strconv.ParseInt(string(fields[at]), 10, 64)
		if err != nil {
			return stat{}, fmt.Errorf("%.40q is no line of /proc/PID/stat: %w", b, err)
		}
		n[j] = uint64(v)
	}
	s.ppid, s.user, s.system = int(n[0]), n[1]+n[3], n[2]+n[4]
	return s, nil
}

// ran is how long the threads of a process have run, in nanoseconds.
func ran(pid int) (sum uint64) {
	files, err := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/schedstat")
	if err != nil {
		return 0
	}
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil {
			sum += parseSchedstat(b)
		}
	}
	return sum
}

// parseSchedstat reads the first of three numbers.
func parseSchedstat(b []byte) uint64 {
	first, _, _ := bytes.Cut(b, []byte(" "))
	n, err := strconv.ParseUint(string(first), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// all reads every process there is.
func all() map[int]stat {
	out := make(map[int]stat)
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil
	}
	for _, d := range dirs {
		pid, err := strconv.Atoi(filepath.Base(d))
		if err != nil {
			continue
		}
		if s, err := readStat(pid); err == nil {
			out[pid] = s
		}
	}
	return out
}

// tree gives the process ids of a process and its descendants.
func tree(procs map[int]stat, root int) []int {
	children := make(map[int][]int)
	for pid, s := range procs {
		children[s.ppid] = append(children[s.ppid], pid)
	}
	list := []int{root}
	for i := 0; i < len(list); i++ {
		list = append(list, children[list[i]]...)
	}
	return list
}

// each adds something up over the trees of all watched processes. One that is gone has
// nothing.
func (p processes) each(add func(name string, pid int, s stat)) {
	if len(p) == 0 {
		return
	}
	procs := all()
	for _, x := range p {
		root, err := x.pid()
		if err != nil {
			continue
		}
		for _, pid := range tree(procs, root) {
			add(x.Name, pid, procs[pid])
		}
	}
}

// cpu gives the processor time of each by now.
func (p processes) cpu() map[string]stat {
	out := make(map[string]stat)
	p.each(func(name string, pid int, s stat) {
		t := out[name]
		out[name] = stat{user: t.user + s.user, system: t.system + s.system, ran: t.ran + ran(pid)}
	})
	return out
}

// used gives what was used between two times, by operations.
func (p processes) used(before, now map[string]stat, operations uint64) (list []CPU) {
	used := func(a, b uint64, unit float64) float64 { // a process that was started anew counts from there
		if b < a {
			a = 0
		}
		return float64(b-a) / unit
	}
	for _, x := range p {
		a, b := before[x.Name], now[x.Name]
		c := CPU{Name: x.Name, User: used(a.user, b.user, ticksASecond), System: used(a.system, b.system, ticksASecond)}
		// Ticks are coarse where many processes share a little work; the other clock
		// forgets threads that have ended.
		c.Total = used(a.ran, b.ran, 1e9)
		if ticks := c.User + c.System; c.Total < 0.9*ticks-0.1 {
			c.Total = ticks
		}
		if operations > 0 {
			c.PerOperation = c.Total * 1000 / float64(operations)
		}
		list = append(list, c)
	}
	return list
}

// pss gives the proportional set size of each, in KiB.
func (p processes) pss() map[string]float64 {
	out := make(map[string]float64)
	p.each(func(name string, pid int, _ stat) {
		if b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/smaps_rollup"); err == nil {
			out[name] += parsePSS(b)
		}
	})
	return out
}

// PSS is the proportional set size of a process and its descendants, in KiB; 0 if it
// is not there, or somebody else's.
func PSS(pid int) float64 {
	return processes{{Name: "it", PID: pid}}.pss()["it"]
}

// parsePSS finds the line "Pss:  1234 kB".
func parsePSS(b []byte) float64 {
	for line := range bytes.Lines(b) {
		f := bytes.Fields(line)
		if len(f) == 3 && string(f[0]) == "Pss:" {
			kib, err := strconv.ParseFloat(string(f[1]), 64)
			if err == nil {
				return kib
			}
		}
	}
	return 0
}

// memory notes the set sizes at one of three times.
func (r *Report) memory(p processes, when int) {
	if len(p) == 0 {
		return
	}
	if r.Memory == nil {
		r.Memory = make([]Memory, len(p))
	}
	for i, x := range p {
		m := &r.Memory[i]
		m.Name = x.Name
		*[...]*float64{&m.Before, &m.Registered, &m.After}[when] = p.pss()[x.Name]
	}
}

func (r *Report) perSubscriber() {
	if r.PreRegistration == nil || r.PreRegistration.Succeeded == 0 {
		return
	}
	for i := range r.Memory {
		m := &r.Memory[i]
		m.PerSubscriber = (m.Registered - m.Before) / float64(r.PreRegistration.Succeeded)
	}
}

// ownCPU is this process's processor time.
func ownCPU() time.Duration {
	var r syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &r) != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// drops finds how many datagrams UDP sockets of IPv4 have lost, in the text of
// /proc/net/udp.
func drops(table []byte, sockets ...netip.AddrPort) (sum uint64) {
	var local []string
	for _, s := range sockets {
		a := s.Addr().As4() // as the kernel has it in memory, read as one number
		local = append(local, fmt.Sprintf("%08X:%04X", binary.NativeEndian.Uint32(a[:]), s.Port()))
	}
	for line := range bytes.Lines(table) {
		f := bytes.Fields(line)
		if len(f) >= 13 && slices.Contains(local, string(f[1])) {
			n, err := strconv.ParseUint(string(f[len(f)-1]), 10, 64)
			if err == nil {
				sum += n
			}
		}
	}
	return sum
}
