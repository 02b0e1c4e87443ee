package main

import (
	_ "embed"
	"encoding/binary"
	"encoding/json"
	"fmt"
)

//go:embed messages.json
var messagesJSON []byte

// The roles, as messages.json names them.
const (
	pcscf  = "pcscf"
	icscf  = "icscf"
	scscf  = "scscf"
	hss    = "hss"
	phones = "phones"
)

// Transports.
const (
	overUDP      = "udp"
	overTCP      = "tcp"
	overDiameter = "diameter"
)

// message is one hop of a procedure.
type message struct {
	What   string `json:"what"`
	From   string `json:"from"`
	To     string `json:"to"`
	Over   string `json:"over"`
	Octets int    `json:"octets"`
	After  int    `json:"after"` // the place of the message that it is sent because of
}

// answer reports whether the message goes back over the connection that its request
// came on.
func (m *message) answer() bool {
	if m.Over == overDiameter {
		return m.What[len(m.What)-1] == 'A'
	}
	return m.What[0] >= '0' && m.What[0] <= '9'
}

// script is all messages of a procedure, and what follows each.
type script struct {
	messages []message
	next     [][]uint32
	first    uint32
	last     uint32 // the one to the phones that ends it
}

func loadScript(what string) (*script, error) {
	var all map[string][]message
	if err := json.Unmarshal(messagesJSON, &all); err != nil {
		return nil, fmt.Errorf("reading messages.json: %w", err)
	}
	s := &script{messages: all[what]}
	if len(s.messages) == 0 {
		return nil, fmt.Errorf("there is no %q: registration, reregistration, call or message", what)
	}
	s.next = make([][]uint32, len(s.messages))
	for i, m := range s.messages {
		switch {
		case m.Octets < headLen:
			return nil, fmt.Errorf("message %d of %s is too short", i, what)
		case m.After < 0:
			s.first = uint32(i)
		default:
			s.next[m.After] = append(s.next[m.After], uint32(i))
		}
		if m.To == phones {
			s.last = uint32(i)
		}
	}
	return s, nil
}

// A message begins with its length, its place in the script, and the operation's
// number; the rest is padding.
const headLen = 16

// hello is the place in a connection's first message, whose operation is the number
// of the role that has dialled.
const hello = 1<<32 - 1

func putHead(b []byte, place uint32, op uint64) {
	binary.BigEndian.PutUint32(b, uint32(len(b)))
	binary.BigEndian.PutUint32(b[4:], place)
	binary.BigEndian.PutUint64(b[8:], op)
}

func head(b []byte) (length int, place uint32, op uint64) {
	return int(binary.BigEndian.Uint32(b)), binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint64(b[8:])
}
