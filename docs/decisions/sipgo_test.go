package decisions_test

import (
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emiago/sipgo"
	"github.com/emiago/sipgo/sip"
)

// mended ends a test whose fault is gone.
func mended(t *testing.T, decision, what string) {
	t.Helper()
	t.Errorf("%s: this release no longer shows the fault; look at decision %s again", what, decision)
}

const invite = "INVITE sip:bob@example.com SIP/2.0\r\n" +
	"Via: SIP/2.0/UDP proxy.example.com;branch=z9hG4bKproxy\r\n" +
	"Via: SIP/2.0/UDP phone.example.com;branch=z9hG4bKphone\r\n" +
	"Route: <sip:scscf.example.com;lr>;token=7\r\n" +
	"From: <sip:alice@example.com>;tag=a\r\n" +
	"To: <sip:bob@example.com>\r\n" +
	"Call-ID: first\r\n" +
	"CSeq: 1 INVITE\r\n" +
	"Max-Forwards: 0\r\n" +
	"Content-Length: 0\r\n\r\n"

func parseRequest(t *testing.T, text string) *sip.Request {
	t.Helper()
	msg, err := sip.ParseMessage([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	req := msg.(*sip.Request)
	req.SetTransport("UDP")
	return req
}

// wire is a sip.Connection that keeps what is written to it.
type wire struct {
	mu   sync.Mutex
	sent []sip.Message
}

func (w *wire) WriteMsg(m sip.Message) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sent = append(w.sent, m)
	return nil
}
func (w *wire) LocalAddr() net.Addr    { return &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 5060} }
func (w *wire) Ref(int) int            { return 1 }
func (w *wire) TryClose() (int, error) { return 1, nil }
func (w *wire) Close() error           { return nil }

func (w *wire) messages() []sip.Message {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]sip.Message(nil), w.sent...)
}

func TestSipgoSendsSecondPhonesRequestOnFirstPhonesConnection(t *testing.T) {
	listen := func() net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		return l
	}
	first, second := listen(), listen()
	spare := listen()
	port := spare.Addr().(*net.TCPAddr).Port // the fixed local port, as port_pc would be
	spare.Close()

	layer := sip.NewTransportLayer(net.DefaultResolver, sip.NewParser(), nil)
	defer layer.Close()
	send := func(callID string, to net.Listener) {
		req := parseRequest(t, strings.Replace(invite, "Call-ID: first", "Call-ID: "+callID, 1))
		req.SetTransport("TCP")
		req.SetDestination(to.Addr().String())
		req.Laddr = sip.Addr{IP: net.IPv4(127, 0, 0, 1), Port: port}
		if err := layer.WriteMsg(req); err != nil {
			t.Fatal(err)
		}
	}
	send("first", first)
	conn, err := first.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	send("second", second)

	_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	var got []byte
	for buf := make([]byte, 4096); !strings.Contains(string(got), "Call-ID: second"); {
		n, err := conn.Read(buf)
		if err != nil {
			mended(t, "0001", "two phones and one fixed local TCP port")
			return
		}
		got = append(got, buf[:n]...)
	}
}

func TestSipgoRetransmits200AfterThe487(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w wire
		req := parseRequest(t, invite)
		tx := sip.NewServerTx("key", req, &w, slog.New(slog.DiscardHandler))
		if err := tx.Init(); err != nil {
			t.Fatal(err)
		}
		defer tx.Terminate()
		cancel := parseRequest(t, strings.ReplaceAll(invite, "INVITE", "CANCEL"))
		if err := tx.Receive(cancel); err != nil {
			t.Fatal(err)
		}
		// The 200 of the called phone was under way when the CANCEL came.
		_ = tx.Respond(sip.NewResponseFromRequest(req, 200, "OK", nil))
		time.Sleep(2 * time.Second) // Timer G of the 487
		synctest.Wait()

		after487 := false
		for _, m := range w.messages() {
			switch m.(*sip.Response).StatusCode {
			case 487:
				after487 = true
			case 200:
				if after487 {
					return
				}
			}
		}
		mended(t, "0001", "a 200 that crosses a CANCEL")
	})
}

func TestSipgoAcknowledgesWithEveryVia(t *testing.T) {
	var w wire
	req := parseRequest(t, invite)
	tx := sip.NewClientTx("key", req, &w, slog.New(slog.DiscardHandler))
	if err := tx.Init(); err != nil {
		t.Fatal(err)
	}
	defer tx.Terminate()
	go func() { // the transaction hands the response up before it returns
		select {
		case <-tx.Responses():
		case <-tx.Done():
		}
	}()
	tx.Receive(sip.NewResponseFromRequest(req, 486, "Busy Here", nil))
	for _, m := range w.messages() {
		if ack, ok := m.(*sip.Request); ok && ack.IsAck() {
			if n := len(ack.GetHeaders("Via")); n != 2 {
				mended(t, "0001", "every Via in the ACK to a 486")
			}
			return
		}
	}
	t.Fatal("no ACK was sent")
}

func TestSipgoWrapsMaxForwards(t *testing.T) {
	req := parseRequest(t, invite)
	err := sipgo.ClientRequestDecreaseMaxForward(nil, req)
	if err != nil || req.MaxForwards().Val() != 4294967295 {
		mended(t, "0001", "Max-Forwards 0 forwarded as 4294967295")
	}
}

func TestSipgoDropsRouteParameters(t *testing.T) {
	req := parseRequest(t, invite)
	req.Route() // reading it is enough: what was read is written anew
	if strings.Contains(req.String(), "token=7") {
		mended(t, "0001", "parameters of Route")
	}
}

func TestSipgoTimersArePerProcess(t *testing.T) {
	t1, t2, t4 := sip.T1, sip.T2, sip.T4
	defer sip.SetTimers(t1, t2, t4)
	synctest.Test(t, func(t *testing.T) {
		// One leg wants the 2 s of the radio side; the other leg has no say.
		sip.SetTimers(2*time.Second, 16*time.Second, 17*time.Second)
		var w wire
		tx := sip.NewClientTx("core", parseRequest(t, invite), &w, slog.New(slog.DiscardHandler))
		if err := tx.Init(); err != nil {
			t.Fatal(err)
		}
		defer tx.Terminate()
		time.Sleep(time.Second)
		synctest.Wait()
		if len(w.messages()) > 1 {
			mended(t, "0001", "timers by process")
		}
	})
}

func TestSipgoDoesNotKnowWhereARequestArrived(t *testing.T) {
	layer := sip.NewTransportLayer(net.DefaultResolver, sip.NewParser(), nil)
	got := make(chan *sip.Request, 2)
	layer.OnMessage(func(m sip.Message) { got <- m.(*sip.Request) })
	var served sync.WaitGroup
	defer served.Wait()
	defer layer.Close()

	phone, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer phone.Close()
	var requests []*sip.Request
	for range 2 { // the open port and the protected one
		port, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer port.Close()
		served.Go(func() { _ = layer.ServeUDP(port) })
		if _, err := phone.WriteTo([]byte(invite), port.LocalAddr()); err != nil {
			t.Fatal(err)
		}
		requests = append(requests, <-got)
	}
	open, protected := requests[0], requests[1]
	if open.Laddr.String() != protected.Laddr.String() || open.Destination() != protected.Destination() {
		mended(t, "0001", "the local port of a received request")
	}
}

func TestSipgoHandlesMessagesSideBySide(t *testing.T) {
	layer := sip.NewTransportLayer(net.DefaultResolver, sip.NewParser(), nil)
	transactions := sip.NewTransactionLayer(layer)
	second, done := make(chan struct{}), make(chan bool, 1)
	transactions.OnRequest(func(req *sip.Request, tx *sip.ServerTx) {
		defer tx.Terminate()
		if req.CallID().Value() == "second" {
			close(second)
			return
		}
		select { // the handler of the first request waits for the one behind it
		case <-second:
			done <- true
		case <-time.After(5 * time.Second):
			done <- false
		}
	})
	port, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var served sync.WaitGroup
	defer served.Wait()
	defer layer.Close()
	defer port.Close()
	served.Go(func() { _ = layer.ServeUDP(port) })
	phone, err := net.Dial("udp", port.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer phone.Close()
	for _, callID := range []string{"first", "second"} {
		text := strings.NewReplacer("Call-ID: first", "Call-ID: "+callID, "z9hG4bKproxy", "z9hG4bK"+callID).Replace(invite)
		if _, err := phone.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if !<-done {
		mended(t, "0001", "one goroutine a message, so that 183 and 200 may swap")
	}
}
