// Command notices writes the licences of every module that the programs of a
// release contain, and of Go itself.
package main

import (
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("notices: ")
	dir := flag.String("C", ".", "directory of the module whose programs are released")
	check := flag.Bool("check", false, "write nothing, only fail where a licence is missing")
	flag.Parse()
	var out io.Writer = os.Stdout
	if *check {
		out = io.Discard
	}
	if err := write(out, *dir); err != nil {
		log.Fatal(err)
	}
}

func write(out io.Writer, dir string) error {
	root, err := goOutput(dir, "env", "GOROOT")
	if err != nil {
		return err
	}
	// The standard library and the runtime are in every program.
	modules := []string{"Go (https://go.dev)|" + strings.TrimSpace(root)}
	list, err := goOutput(dir, "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}}|{{.Dir}}{{end}}{{end}}", "./cmd/...", "./testbed/...")
	if err != nil {
		return err
	}
	modules = append(modules, strings.Fields(strings.ReplaceAll(list, " ", "@"))...)
	slices.Sort(modules)
	for _, m := range slices.Compact(modules) {
		name, dir, _ := strings.Cut(m, "|")
		if err := one(out, name, dir); err != nil {
			return err
		}
	}
	return nil
}

// one writes the licence files of the module in dir.
func one(out io.Writer, name, dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("looking for the licence of %s: %w", name, err)
	}
	found := 0
	for _, e := range entries {
		upper := strings.ToUpper(e.Name())
		if !e.Type().IsRegular() || !(strings.HasPrefix(upper, "LICEN") || strings.HasPrefix(upper, "COPYING") || strings.HasPrefix(upper, "NOTICE")) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return fmt.Errorf("reading the licence of %s: %w", name, err)
		}
		found++
		fmt.Fprintf(out, "%[1]s\n%[2]s: %[3]s\n%[1]s\n\n%[4]s\n\n", strings.Repeat("=", 78), name, e.Name(), strings.TrimSpace(string(text)))
	}
	if found == 0 {
		return fmt.Errorf("%s has no licence file in %s: find out its terms before it is released", name, dir)
	}
	return nil
}

func goOutput(dir string, args ...string) (string, error) {
	cmd := exec.Command("go", args...)
	cmd.Dir = dir
	cmd.Stderr = os.Stderr
	b, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go %s: %w", strings.Join(args, " "), err)
	}
	return string(b), nil
}
