package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime/debug"
)

// role is a process of the core: it reads the addresses, says that it listens, dials
// when told to, and works until its standard input ends.
func role(args []string) error {
	debug.SetGCPercent(-1) // it makes no garbage
	in := json.NewDecoder(os.Stdin)
	var at addresses
	if len(args) != 2 {
		return errors.New("role: give a name and a procedure")
	}
	if err := in.Decode(&at); err != nil {
		return err
	}
	s, err := loadScript(args[1])
	if err != nil {
		return err
	}
	r, err := open(args[0], s, at)
	if err != nil {
		return err
	}
	fmt.Println("listening")
	var word string
	if err := in.Decode(&word); err != nil {
		return err
	}
	if err := r.dial(); err != nil {
		return err
	}
	r.await()
	fmt.Println("ready")
	_, err = io.Copy(io.Discard, in.Buffered())
	_, _ = io.Copy(io.Discard, os.Stdin)
	return err
}

// child is a role in its process.
type child struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func (c *child) tell(v any) error { return json.NewEncoder(c.in).Encode(v) }

func (c *child) hear(want string) error {
	line, err := c.out.ReadString('\n')
	if err == nil && line != want+"\n" {
		err = fmt.Errorf("it says %q", line)
	}
	if err != nil {
		return fmt.Errorf("waiting for a role to be %s: %w", want, err)
	}
	return nil
}
