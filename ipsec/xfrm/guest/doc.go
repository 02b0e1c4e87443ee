// Package guest runs a test binary on a kernel that has IPsec: that of a Debian
// package, booted by QEMU with nothing but its modules and the binary in an initial
// RAM disk. It needs neither root nor hardware virtualization, and nothing of it
// touches the host's network.
//
// A test package hands its TestMain over to [Main]. On the host that builds the
// package once more, without cgo, boots, and shows what the guest's tests print; in
// the guest it runs the tests as process 2. So "go test -tags integration" and its
// flags -run, -v and -count mean what they always do. What is missing on the host
// is a failure that says what to install.
//
// In the guest, [Net] makes network namespaces, and wires between them.
package guest
