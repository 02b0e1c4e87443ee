package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

const syscallTerm = syscall.SIGTERM

// pss is the proportional set size of the services and their children, in KiB.
func (c *core) pss() (float64, error) {
	children := map[int][]int{}
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, err
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
	sum := 0.0
	for _, w := range c.watch {
		_, file, _ := strings.Cut(w, "=")
		b, err := os.ReadFile(file)
		if err != nil {
			return 0, err
		}
		root, err := strconv.Atoi(string(bytes.TrimSpace(b)))
		if err != nil {
			return 0, err
		}
		list := []int{root}
		for i := 0; i < len(list); i++ {
			list = append(list, children[list[i]]...)
			kib, err := pssOf(list[i])
			if err != nil {
				return 0, err
			}
			sum += kib
		}
	}
	return sum, nil
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
