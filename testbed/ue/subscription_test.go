package ue

import (
	"errors"
	"testing"
	"time"

	"github.com/gocscf/gocscf/ims/reginfo"
	"github.com/gocscf/gocscf/ims/sip/dialog"
)

// With the registration ends the subscription to it, whether or not the network
// says so in a NOTIFY, and the next registration has one of its own.
func TestSubscriptionEndsWithRegistration(t *testing.T) {
	t.Run("deregistered", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			p := w.registeredPhone(aliceConfig())
			w.requests()
			must(0, p.Deregister(w.ctx()))
			w.tell("alice", reginfo.Registered, 3600) // the last NOTIFY, late
			time.Sleep(time.Second)
			if p.Registration() != nil {
				t.Error("a late NOTIFY has revived the registration")
			}
			must(p.Register(w.ctx()))
			time.Sleep(time.Second)
			if ms := w.requests(); len(ms) != 1 || ms[0].Method() != "SUBSCRIBE" {
				t.Errorf("after the second registration: %v", ms)
			}
			time.Sleep(10 * time.Minute) // what has lapsed stays quiet
			if ms := w.requests(); len(ms) != 0 {
				t.Errorf("more requests: %v", ms)
			}
		})
	})
	t.Run("the network ends it without naming contacts", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			p := w.registeredPhone(aliceConfig())
			doc := reginfo.Document{Version: 7, Registrations: []reginfo.Registration{
				{AOR: "sip:alice@" + domain, ID: "a", State: reginfo.Terminated}, {AOR: "tel:+49123", ID: "b", State: reginfo.Terminated},
			}}
			w.mu.Lock()
			n := w.notifiers["alice"]
			w.mu.Unlock()
			n.Post(func() { _ = n.Notify(dialog.Part{Type: reginfo.ContentType, Body: string(doc.Append(nil))}) })
			time.Sleep(time.Second)
			if p.Registration() != nil {
				t.Error("still registered")
			}
			if n := len(w.registered()); n != 0 {
				t.Errorf("%d REGISTERs: an end for no reason is final", n)
			}
		})
	})
}

// Subscribe waits for acceptance and NOTIFY, refreshes what is there, and says when it
// is refused; a refusal that does not end the subscription leaves it.
func TestSubscribe(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		cfg := aliceConfig()
		cfg.NoSubscribe = true
		p := w.phone(cfg)
		var e *Error
		if err := p.Subscribe(w.ctx()); !errors.As(err, &e) || !errors.Is(err, ErrNotRegistered) {
			t.Errorf("without a registration: %v", err)
		}
		must(p.Register(w.ctx()))
		w.requests()
		must(0, p.Subscribe(w.ctx()))
		time.Sleep(time.Second)
		must(0, p.Subscribe(w.ctx()))
		if ms := w.requests(); len(ms) != 1 || ms[0].Method() != "SUBSCRIBE" { // a refresh is within its dialog
			t.Fatalf("want one subscription: %v", ms)
		}
		for _, status := range []int32{503, 481} {
			w.refuse.Store(status)
			if err := p.Subscribe(w.ctx()); !errors.As(err, &e) || e.Status != int(status) {
				t.Errorf("refused with %d: %v", status, err)
			}
		}
		w.refuse.Store(0)
		w.requests()
		must(0, p.Subscribe(w.ctx()))
		if ms := w.requests(); len(ms) != 1 || ms[0].ToTag() != "" {
			t.Errorf("after 481 a new one: %v", ms)
		}
	})
}

// Why a SUBSCRIBE could not even be sent is what Subscribe says.
func TestSubscribeThatCannotBegin(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		cfg := aliceConfig()
		cfg.NoSubscribe = true
		p := w.registeredPhone(cfg)
		bound := p.agent
		p.agent = dialog.New(dialog.Config{}) // of no core
		var e *Error
		if err := p.Subscribe(w.ctx()); !errors.As(err, &e) || !errors.Is(err, dialog.ErrUnbound) {
			t.Errorf("without a core: %v", err)
		}
		p.agent = bound
		must(0, p.Subscribe(w.ctx()))
	})
}
