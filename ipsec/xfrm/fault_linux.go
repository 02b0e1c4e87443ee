package xfrm

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gocscf/gocscf/ipsec"
)

// needsAdmin is the remedy for a refusal by privilege.
const needsAdmin = "it needs CAP_NET_ADMIN: run as root, with \"docker run --cap-add NET_ADMIN\", with systemd's AmbientCapabilities=CAP_NET_ADMIN, or set ipsec.backend to user"

// socketFault says why there is no socket to the kernel's XFRM.
func socketFault(err error) error {
	const doing = "open netlink's XFRM"
	switch {
	case errors.Is(err, unix.EPROTONOSUPPORT):
		return fmt.Errorf("%s: %w: this kernel has no CONFIG_XFRM_USER, or its module is not loaded: run \"modprobe xfrm_user\", or set ipsec.backend to user", doing, err)
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("%s: %w: %s", doing, err, needsAdmin)
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// stateFault says why the kernel refuses an association protected by p.
func stateFault(doing string, p ipsec.Pair, v4 bool, err error) error {
	esp, option := "esp6", "CONFIG_INET6_ESP"
	if v4 {
		esp, option = "esp4", "CONFIG_INET_ESP"
	}
	switch {
	case errors.Is(err, unix.EPROTONOSUPPORT):
		return fmt.Errorf("%s: %w: this kernel has no ESP (%s), or its module is not loaded: run \"modprobe %s\", or set ipsec.backend to user", doing, err, option, esp)
	case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.ENOENT):
		return fmt.Errorf("%s: %w: one of the algorithms %s is not in this kernel: run \"modprobe -a %s\", or take %v out of ipsec.algorithms",
			doing, err, strings.Join(names(p), ", "), strings.Join(modules(p), " "), p)
	case errors.Is(err, unix.EEXIST):
		return fmt.Errorf("%s: %w: another program, or another instance at this address, has taken this SPI; \"ip xfrm state\" shows it", doing, err)
	}
	return fault(doing, err)
}

// policyFault says why the kernel refuses a policy.
func policyFault(doing string, err error) error {
	if errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("%s: %w: another program has a policy for the same addresses and ports; \"ip xfrm policy\" shows it", doing, err)
	}
	return fault(doing, err)
}

func fault(doing string, err error) error {
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("%s: %w: %s", doing, err, needsAdmin)
	case errors.Is(err, unix.ENOMEM), errors.Is(err, unix.ENOBUFS):
		return fmt.Errorf("%s: %w: the kernel has no memory left for it; a container's limit on memory counts associations", doing, err)
	case errors.Is(err, unix.EAGAIN):
		return fmt.Errorf("%s: the kernel has not acknowledged it in %d s", doing, answerTime.Sec)
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// modules are what a kernel loads for a pair. Where one is built in, modprobe does nothing.
func modules(p ipsec.Pair) []string {
	switch {
	case p.EAlg == ipsec.AESGCM, p.Alg == ipsec.AESGMAC:
		return []string{"gcm", "seqiv", "aes"}
	}
	list := []string{"authenc", "hmac", "md5"}
	if p.Alg == ipsec.HMACSHA1 {
		list[2] = "sha1"
	}
	switch p.EAlg {
	case ipsec.AESCBC:
		return append(list, "cbc", "aes", "echainiv")
	case ipsec.DESEDE3CBC:
		return append(list, "cbc", "des3_ede", "echainiv")
	}
	return append(list, "crypto_null")
}

// gone reports whether a deletion failed because there is nothing to delete.
func gone(err error) bool { return errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENOENT) }

// unknown reports whether a request may have been carried out although it failed: the
// kernel has not said in time what became of it, or had no memory to say so.
func unknown(err error) bool { return errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.ENOBUFS) }
