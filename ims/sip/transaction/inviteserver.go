package transaction

import "time"

// lateTrying is how long after its arrival the 100 to an INVITE waits for the next hop's at
// most: RFC 3261 17.2.1 gives it 200 ms, of which a busy machine may take some before it
// looks at its timers.
const lateTrying = 150 * time.Millisecond

// inviteServer is the INVITE server transaction: RFC 3261 §17.2.1, figure 7, as
// replaced by RFC 6026 figure 1 (Accepted). A transport error informs the TU and
// changes no state (RFC 6026's amendment of RFC 3261 §17.2.4): the response is
// tried again with the next retransmission.
func (m *machine) inviteServer(ev event, t *Timers) (a actions) {
	switch m.state {
	case initial:
		if ev == evStart {
			m.state = proceeding
			a.do = doDeliver
			if m.late > 0 {
				a.setRetransmit(timer100, m.late)
			}
		}

	case proceeding:
		switch ev {
		case evRequest:
			if a.do = doSend; m.late > 0 {
				a.do = doSend100 | m.promptly()
			}
		case evRetransmit: // Timer 100
			m.late = 0
			a.do = doSend100
		case evTrying, evProvisional:
			a.do = doSendNew | m.promptly()
		case evSuccess:
			// Retransmitting the 2xx is its maker's business, on any transport;
			// this state is here so that the INVITE is not taken for a new one.
			return m.linger(accepted, timerL, t.timeout(), doSendNew|m.promptly())
		case evFailure:
			m.state = completed
			a.do = doSendNew | m.promptly()
			if !m.reliable {
				m.interval = t.T1
				a.setRetransmit(timerG, m.interval)
			}
			a.setEnd(timerH, t.timeout())
		case evTransportError:
			a.do = doError
		case evAbandon:
			return m.terminate(0)
		}

	case completed:
		switch ev {
		case evRequest:
			a.do = doSend
		case evRetransmit:
			m.interval = min(2*m.interval, t.T2)
			a.do = doSend
			a.setRetransmit(timerG, m.interval)
		case evAck:
			return m.linger(confirmed, timerI, m.unreliable(t.T4), 0)
		case evEnd: // Timer H
			return m.terminate(doTimeout)
		case evTransportError:
			a.do = doError
		}

	case confirmed:
		if ev == evEnd { // Timer I
			return m.terminate(0)
		}

	case accepted:
		switch ev {
		case evSuccess: // retransmitted by the UAS core, or from another fork
			a.do = doSendNew
		case evAck:
			a.do = doDeliver
		case evTransportError:
			a.do = doError
		case evEnd: // Timer L
			return m.terminate(0)
		}
	}
	return a
}
