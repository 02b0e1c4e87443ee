package ifc

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/gocscf/gocscf/ims/profile"
)

// keyOf tells service profiles with other criteria, or other shared sets, apart.
// Every field is in it, each string and list behind its length.
func keyOf(sp *profile.ServiceProfile) [sha256.Size]byte {
	var buf [2048]byte
	b := binary.AppendUvarint(buf[:0], uint64(len(sp.InitialFilterCriteria)))
	for i := range sp.InitialFilterCriteria {
		b = appendCriterion(b, &sp.InitialFilterCriteria[i])
	}
	for _, id := range sp.SharedIFCSetIDs {
		b = binary.AppendVarint(b, int64(id))
	}
	return sha256.Sum256(b)
}

func appendCriterion(b []byte, c *profile.InitialFilterCriteria) []byte {
	b = append(binary.AppendVarint(b, int64(c.Priority)), byte(c.Part))
	as := &c.ApplicationServer
	b = appendString(appendString(b, as.ServerName), as.ServiceInfo)
	b = append(b, byte(as.DefaultHandling), bit(as.IncludeRegisterRequest), bit(as.IncludeRegisterResponse), bit(c.TriggerPoint != nil))
	if c.TriggerPoint == nil {
		return b
	}
	b = append(b, bit(c.TriggerPoint.CNF))
	b = binary.AppendUvarint(b, uint64(len(c.TriggerPoint.SPTs)))
	for i := range c.TriggerPoint.SPTs {
		s := &c.TriggerPoint.SPTs[i]
		b = append(b, byte(s.Kind), bit(s.Negated), bit(s.HasContent), byte(s.Case))
		b = appendString(appendString(b, s.Text), s.Content)
		b = binary.AppendUvarint(b, uint64(len(s.Groups)))
		for _, g := range s.Groups {
			b = binary.AppendVarint(b, int64(g))
		}
		b = binary.AppendUvarint(b, uint64(len(s.RegistrationTypes)))
		for _, r := range s.RegistrationTypes {
			b = append(b, byte(r))
		}
	}
	return b
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func bit(b bool) byte {
	if b {
		return 1
	}
	return 0
}
