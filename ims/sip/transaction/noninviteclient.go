package transaction

// nonInviteClient is the non-INVITE client transaction: RFC 3261 §17.1.2, figure 6.
func (m *machine) nonInviteClient(ev event, t *Timers) (a actions) {
	switch m.state {
	case initial:
		if ev == evStart {
			m.state = trying
			a.do = doSend
			if !m.reliable {
				m.interval = t.T1
				a.setRetransmit(timerE, m.interval)
			}
			a.setEnd(timerF, t.f())
		}

	case trying, proceeding:
		switch ev {
		case evRetransmit:
			// A provisional slows Timer E down to T2 but does not stop it.
			m.interval = min(2*m.interval, t.T2)
			if m.state == proceeding {
				m.interval = t.T2
			}
			a.do = doSend
			a.setRetransmit(timerE, m.interval)
		case evEnd: // Timer F
			return m.terminate(doTimeout)
		case evTransportError:
			return m.terminate(doError)
		case evTrying, evProvisional:
			m.state = proceeding
			a.do = doDeliver
		case evSuccess, evFailure:
			return m.linger(completed, timerK, m.unreliable(t.T4), doDeliver)
		}

	case completed:
		if ev == evEnd { // Timer K
			return m.terminate(0)
		}
	}
	return a
}
