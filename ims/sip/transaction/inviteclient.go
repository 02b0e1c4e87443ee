package transaction

// inviteClient is the INVITE client transaction: RFC 3261 §17.1.1, figure 5, as
// replaced by RFC 6026 figure 2 (Accepted).
func (m *machine) inviteClient(ev event, t *Timers) (a actions) {
	switch m.state {
	case initial:
		if ev == evStart {
			m.state = calling
			a.do = doSend
			if !m.reliable {
				m.interval = t.T1
				a.setRetransmit(timerA, m.interval)
			}
			a.setEnd(timerB, t.b())
		}

	case calling, proceeding:
		switch ev {
		case evRetransmit:
			if m.state == calling {
				m.interval *= 2 // Timer A has no ceiling
				a.do = doSend
				a.setRetransmit(timerA, m.interval)
			}
		case evEnd: // Timer B, or 64·T1 after a CANCEL that nobody answered
			return m.terminate(doTimeout)
		case evTransportError:
			return m.terminate(doError)
		case evTrying, evProvisional:
			a.do = doDeliver
			if m.state == calling {
				m.state = proceeding
				a.do |= doStopRetransmit | doStopEnd
			}
		case evSuccess:
			return m.linger(accepted, timerM, t.timeout(), doDeliver)
		case evFailure:
			return m.linger(completed, timerD, m.unreliable(t.d()), doAck|doDeliver)
		case evCancel:
			if m.state == proceeding {
				a.setEnd(timerCancel, t.timeout())
			}
		}

	case completed:
		switch ev {
		case evFailure:
			a.do = doAck // the ACK was lost
		case evTransportError:
			return m.terminate(doError)
		case evEnd: // Timer D
			return m.terminate(0)
		}

	case accepted:
		switch ev {
		case evSuccess: // a retransmission, or a fork that also answered
			a.do = doDeliver
		case evEnd: // Timer M
			return m.terminate(0)
		}
	}
	return a
}
