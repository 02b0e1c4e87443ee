package node

import (
	"time"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/transaction"
)

// MaxRinging is how long a call may ring in the core, however often the callee says that
// it does: a minute more than at the P-CSCF, which ends a call of its phones first, and
// says so.
const MaxRinging = 11 * time.Minute

// Ringing is how long a request may ring (proxy.Target): an emergency call for as long as
// the emergency centre lets it. Within a dialog its URN makes no emergency call.
func Ringing(m *sip.Message) time.Duration {
	if transaction.Emergency(m) && m.ToTag() == "" {
		return 0
	}
	return MaxRinging
}
