package lab

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ims/profile"
	"github.com/gocscf/gocscf/ims/trace"
	"github.com/gocscf/gocscf/testbed/as"
)

// serverPrefix begins the node names of application servers.
const serverPrefix = "as:"

// servers are the application servers of the demonstration: one proxy that
// alice's calls visit.
type servers struct {
	proxy *as.Server
	end   context.CancelFunc
	done  chan error
}

// startServers starts them on free ports.
func startServers(log *zap.Logger, stream *trace.Stream) (*servers, error) {
	cfg := as.DefaultConfig()
	cfg.Name, cfg.RecordRoute = "alice-services", true
	s, err := as.New(cfg, node.Deps{Log: log.Named("as"), Trace: trace.Node{Stream: stream, Name: serverPrefix + "proxy"}})
	if err != nil {
		return nil, fmt.Errorf("starting the application server: %w", err)
	}
	ctx, end := context.WithCancel(context.Background())
	out := &servers{proxy: s, end: end, done: make(chan error, 1)}
	go func() { out.done <- s.Run(ctx) }()
	return out, nil
}

// addr is where they listen.
func (s *servers) addr() string { return s.proxy.Addr().String() }

// criterion sends the calls that a registered user makes to the proxy, and goes
// on without it when it does not answer (TS 29.228 B.2.2).
func (s *servers) criterion() string {
	return as.XML(as.INVITECriterion("sip:"+s.addr()+";lr", 10, profile.OriginatingRegistered))
}

// calls is how many INVITEs have visited.
func (s *servers) calls() int { return s.proxy.Counts().Requests["INVITE"] }

// stopTime bounds the servers' end.
const stopTime = 5 * time.Second

func (s *servers) stop() error {
	s.end()
	select {
	case err := <-s.done:
		return err
	case <-time.After(stopTime):
		return fmt.Errorf("the application server has not ended in %v", stopTime)
	}
}
