package transaction

// nonInviteServer is the non-INVITE server transaction: RFC 3261 §17.2.2, figure
// 8, with RFC 4320: no provisional but 100, that one not before a client would
// have slowed down to T2 (on datagrams) and always then, and no answer at all
// once the client has given up. Transport errors as in inviteServer.
func (m *machine) nonInviteServer(ev event, t *Timers) (a actions) {
	switch m.state {
	case initial:
		if ev == evStart {
			m.state = trying
			a.do = doDeliver
			a.setRetransmit(timer100, t.trying())
			a.setEnd(timerAnswer, t.timeout())
		}

	case trying:
		switch ev {
		case evTrying:
			if m.reliable {
				m.state = proceeding
				a.do = doSendNew | doStopRetransmit
			}
		case evRetransmit: // Timer 100
			m.state = proceeding
			a.do = doSend100
		default:
			return m.nonInviteUnanswered(ev, t)
		}

	case proceeding:
		switch ev {
		case evRequest:
			a.do = doSend
		case evTransportError:
			a.do = doError
		default:
			return m.nonInviteUnanswered(ev, t)
		}

	case completed:
		switch ev {
		case evRequest:
			a.do = doSend
		case evTransportError:
			a.do = doError
		case evEnd: // Timer J
			return m.terminate(0)
		}
	}
	return a
}

// nonInviteUnanswered is what Trying and Proceeding have in common.
func (m *machine) nonInviteUnanswered(ev event, t *Timers) actions {
	switch ev {
	case evSuccess, evFailure:
		return m.linger(completed, timerJ, m.unreliable(t.timeout()), doSendNew)
	case evEnd:
		return m.terminate(doTimeout)
	case evAbandon:
		return m.terminate(0)
	}
	return actions{}
}
