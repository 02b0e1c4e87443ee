package transaction

import (
	"strconv"

	"github.com/gocscf/gocscf/ims/sip"
)

// makeAck builds the ACK to a non-2xx final response (RFC 3261 §17.1.1.3): the
// request's top Via alone, its Route, the To of the response.
func makeAck(request []byte, response *sip.Message) []byte {
	return derive(request, "ACK", response.Get(sip.HTo), nil)
}

// makeCancel builds the CANCEL of a request (RFC 3261 §9.1).
func makeCancel(request []byte, fields []sip.Field) []byte {
	return derive(request, "CANCEL", "", fields)
}

// derive builds a request that goes the way of another one, hop by hop. It
// returns nil if that cannot be read, which only a broken Render brings about.
func derive(request []byte, method, to string, fields []sip.Field) []byte {
	m, err := sip.Parse(string(request))
	if err != nil {
		return nil
	}
	cseq, err := m.CSeq()
	if err != nil {
		return nil
	}
	if to == "" {
		to = m.Get(sip.HTo)
	}
	b := sip.NewRequest(method, m.RequestURI())
	b.Add(sip.HVia, m.First(sip.HVia))
	b.Add(sip.HMaxForwards, "70")
	for route := range m.Lines(sip.HRoute) {
		b.Add(sip.HRoute, route)
	}
	b.Add(sip.HFrom, m.Get(sip.HFrom))
	b.Add(sip.HTo, to)
	b.Add(sip.HCallID, m.CallID())
	b.Add(sip.HCSeq, strconv.FormatUint(uint64(cseq.Seq), 10)+" "+method)
	b.AddFields(fields...)
	return b.Bytes()
}
