package ue

import "github.com/gocscf/gocscf/ipsec"

// unremoved tells of a set that the stack did not let go.
func (g *guard) unremoved(s *ipsec.Set) func(error) {
	return func(err error) {
		if err != nil {
			g.phone.failed(g.phone.reg.callID, &Error{Doing: "taking " + s.String() + " out", Err: err}, "TS 33.203 7.4")
		}
	}
}

// aside has the stack do something, after all that it was asked to do before: a set
// may take the place of one that is going.
func (g *guard) aside(work func() error, then func(error)) {
	before, done := g.queued, make(chan struct{})
	g.queued = done
	g.phone.aside(func() error {
		if before != nil {
			<-before
		}
		defer close(done)
		return work()
	}, then)
}

// install puts a set into the stack, aside: the kernel may take its time.
func (g *guard) install(s *ipsec.Set, then func(error)) {
	g.aside(func() error {
		g.mu.Lock()
		g.installed[s.ID] = true
		g.mu.Unlock()
		err := g.stack.Install(s)
		if err != nil {
			g.mu.Lock()
			delete(g.installed, s.ID)
			g.mu.Unlock()
		}
		return err
	}, then)
}

func (g *guard) uninstall(id ipsec.SetID) error {
	g.mu.Lock()
	delete(g.installed, id)
	g.mu.Unlock()
	return g.stack.Remove(id)
}

// close takes everything out. The phone's sockets are closed by then.
func (g *guard) close() {
	for id := range g.installed { // nobody else is left
		_ = g.stack.Remove(id)
	}
	if g.own {
		_ = g.stack.Close()
	}
}
