package guest

import (
	"bytes"
	"fmt"
	"io"
	"path"
	"strings"
)

// archive writes an initial RAM disk: cpio in its "newc" form
// (Documentation/driver-api/early-userspace/buffer-format.rst of Linux).
type archive struct {
	w     io.Writer
	inode int
	dirs  map[string]bool
	err   error
}

// The types of a file, and the permissions here: everyone may do everything.
const (
	modeDir  = 0o040755
	modeFile = 0o100755
)

func newArchive(w io.Writer) *archive { return &archive{w: w, dirs: map[string]bool{"": true}} }

// file adds a file, and the directories above it.
func (a *archive) file(name string, data []byte) {
	name = strings.TrimPrefix(path.Clean(name), "/")
	a.dir(path.Dir(name))
	a.entry(name, modeFile, data)
}

func (a *archive) dir(name string) {
	name = strings.TrimPrefix(path.Clean(name), "/")
	if name == "." || a.dirs[name] {
		return
	}
	a.dir(path.Dir(name))
	a.dirs[name] = true
	a.entry(name, modeDir, nil)
}

func (a *archive) entry(name string, mode int, data []byte) {
	a.inode++
	a.write(fmt.Appendf(nil, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
		a.inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name)+1, 0, name))
	a.write(data)
}

// write pads to four octets, as every part of the archive is.
func (a *archive) write(b []byte) {
	if a.err != nil {
		return
	}
	if pad := -len(b) & 3; pad != 0 {
		b = append(bytes.Clone(b), make([]byte, pad)...)
	}
	_, a.err = a.w.Write(b)
}

// close ends the archive.
func (a *archive) close() error {
	a.entry("TRAILER!!!", 0, nil)
	return a.err
}
