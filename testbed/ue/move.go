package ue

import (
	"context"
	"fmt"
	"net/netip"
)

// Reset has the phone forget its registration, associations and credentials, as if its
// battery had been taken out: the network is not told. Its SIM keeps what it has
// accepted. The next Register is in clear.
func (p *Phone) Reset() error {
	return p.onShard(func() error {
		p.reg.gone()
		return nil
	})
}

// Move gives the phone another address, as a change of access does: what was bound to
// the old one is gone, and the network is not told. The next Register is in clear.
func (p *Phone) Move(to netip.Addr) error {
	if p.guard != nil && p.guard.stack.Name() == ipsecKernel {
		return fmt.Errorf("moving phone %q: the kernel protects %v alone; use IPsec in user space", p.cfg.Name, p.Addr().Addr())
	}
	return p.onShard(func() error {
		p.reg.gone()
		old := p.Addr()
		if err := p.listen(to, p.cfg.Port); err != nil {
			return fmt.Errorf("moving phone %q from %v to %v: %w", p.cfg.Name, old.Addr(), to, err)
		}
		p.core.Unlisten(old)
		return nil
	})
}

// Bindings asks the registrar which contacts are bound to the phone's identity (TS
// 24.229 5.1.1.4.1). An error is an *Error.
func (p *Phone) Bindings(ctx context.Context) ([]string, error) {
	op := &procedure{fetch: true, expires: p.cfg.Expires}
	if _, err := p.procedure(ctx, op); err != nil {
		return nil, err
	}
	return op.bindings, nil
}

// onShard runs f where the registration is.
func (p *Phone) onShard(f func() error) error {
	done := make(chan error, 1)
	p.shard().Post(func() { done <- f() })
	err, werr := wait(context.Background(), p, done)
	if werr != nil {
		return werr
	}
	return err
}
