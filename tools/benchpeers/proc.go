package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// pss is the proportional set size of the services and their children, in KiB.
func (c *core) pss() (sum float64, err error) {
	pids, err := c.pids()
	for _, pid := range pids {
		kib, err := pssOf(pid)
		if err != nil {
			return 0, err
		}
		sum += kib
	}
	return sum, err
}

// ran is the processor time that the threads of the services and their children have
// taken, in seconds, by the scheduler's account.
func (c *core) ran() (sum float64, err error) {
	pids, err := c.pids()
	if err != nil {
		return 0, err
	}
	for _, pid := range pids {
		files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
		if err != nil {
			return 0, err
		}
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				continue // the thread has ended
			}
			first, _, _ := bytes.Cut(b, []byte(" "))
			n, err := strconv.ParseFloat(string(first), 64)
			if err != nil {
				return 0, fmt.Errorf("reading %s: %w", f, err)
			}
			sum += n / 1e9
		}
	}
	return sum, nil
}

// pids are the services and their children.
func (c *core) pids() (list []int, err error) {
	children := map[int][]int{}
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	for _, f := range stats {
		b, err := os.ReadFile(f)
		fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
		if err != nil || len(fields) < 2 { // it has ended
			continue
		}
		parent, _ := strconv.Atoi(string(fields[1]))
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(f)))
		children[parent] = append(children[parent], pid)
	}
	for _, w := range c.watch {
		_, file, _ := strings.Cut(w, "=")
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		root, err := strconv.Atoi(string(bytes.TrimSpace(b)))
		if err != nil {
			return nil, err
		}
		list = append(list, root)
	}
	for i := 0; i < len(list); i++ {
		list = append(list, children[list[i]]...)
	}
	return list, nil
}

func pssOf(pid int) (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(b) {
		if f := bytes.Fields(line); len(f) == 3 && string(f[0]) == "Pss:" {
			return strconv.ParseFloat(string(f[1]), 64)
		}
	}
	return 0, errors.New("smaps_rollup has no Pss")
}
