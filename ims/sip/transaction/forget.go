package transaction

// RespondAndForget sends a final response and keeps nothing of the request (RFC 3261
// 8.2.7): for datagrams of somebody who has not shown that he is where they seem to
// come from. Sent again until an ACK comes, as a refused INVITE's answer is, it would
// turn one forged datagram into eleven for whoever it names. Config.RejectRate bounds
// these answers too; beyond it there is none. The To tag should be StatelessTag's, so
// that a retransmission gets the same answer, and the ACK to it is known. On a stream,
// where a connection has shown who is there, it is Respond.
func (s *Server) RespondAndForget(status int, data []byte) {
	t := s.tx
	if t == nil {
		return
	}
	if t.reliable {
		s.Respond(status, data)
		return
	}
	l := s.Shard.layer
	if l.rejects.Allow(l.Now()) {
		s.status = status
		l.cfg.Sender.Send(t.to, data, nil)
	} else {
		l.drop(&l.count.rateLimited, s.Flow, s.msg.Raw(), "rate limit of answers to strangers")
	}
	t.serverEvent(evAbandon, reply{}, nil)
}

// StatelessTag is a To tag that follows from the request alone.
func (s *Server) StatelessTag() string { return s.Shard.layer.statelessTag(s) }
