package aka_test

import (
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/gocscf/gocscf/aka"
)

// A registration between the three parties. The USIM has seen a higher sequence
// number than the HSS has used, so the first challenge ends in a resynchronisation.
func Example() {
	// K and OP of TS 35.208 set 1, on both sides.
	k, err := aka.ParseSecret("465b5ce8b199b49faa5f0a2ee238a6bc")
	if err != nil {
		log.Fatal(err)
	}
	op, err := aka.ParseSecret("cdc202d5123e20f62b6d676ac72cb318")
	if err != nil {
		log.Fatal(err)
	}
	opc, err := aka.MilenageOPc(k, op)
	if err != nil {
		log.Fatal(err)
	}
	alg, err := aka.NewMilenage(k, opc)
	if err != nil {
		log.Fatal(err)
	}

	// HSS: what it keeps of the subscriber beside the algorithm.
	var profile aka.SQNProfile // Profile 2 of TS 33.102 C.3
	state := aka.SQNState{SQN: 0x000000000100}
	// Phone.
	seen, err := aka.NewSQNArray(0x000000009000, aka.SQNArrayOptions{})
	if err != nil {
		log.Fatal(err)
	}
	usim := aka.USIM{Algorithm: alg, SQN: seen}

	for range 2 {
		// HSS: the vector of a MAA.
		sqn, err := profile.Next(&state, time.Now())
		if err != nil {
			log.Fatal(err)
		}
		vector, err := aka.NewVector(alg, aka.NewRAND(), sqn, aka.AMFSeparation)
		if err != nil {
			log.Fatal(err)
		}
		// S-CSCF: the nonce of the 401.
		nonce := vector.Nonce(nil).String()

		// Phone: the answer in Authorization.
		challenge, err := aka.ParseNonce(nonce)
		if err != nil {
			log.Fatal(err)
		}
		d := aka.Digest{
			Algorithm: aka.AKAv1MD5, Method: "REGISTER", Username: "alice@ims.example", Realm: "ims.example",
			URI: "sip:ims.example", Nonce: nonce, QOP: aka.QOPAuth, NC: "00000001", CNonce: "0a4f113b",
		}
		answer, err := usim.Authenticate(challenge.RAND, challenge.AUTN)
		var sync *aka.SyncFailureError
		if errors.As(err, &sync) {
			fmt.Println("phone:", err)
			// S-CSCF and HSS: auts arrives, its RAND is the challenge's.
			auts, err := aka.ParseAUTS(sync.AUTS.Base64())
			if err != nil {
				log.Fatal(err)
			}
			sqnMS, err := aka.VerifyAUTS(alg, vector.RAND, auts)
			if err != nil {
				log.Fatal(err)
			}
			changed, err := profile.Resynchronise(&state, sqnMS, time.Now())
			fmt.Println("HSS: SQN_MS is", sqnMS, "taken over:", changed, err)
			continue
		}
		if err != nil {
			log.Fatal(err)
		}
		response, err := d.Response(d.Algorithm.Password(answer.RES, answer.CK, answer.IK))
		if err != nil {
			log.Fatal(err)
		}

		// S-CSCF: the same computation with XRES.
		password := d.Algorithm.Password(vector.XRES, vector.CK, vector.IK)
		fmt.Println("S-CSCF: SQN", answer.SQN, "verified:", d.Verify(password, response) == nil)
		fmt.Println("logs show XRES as", vector.XRES)
	}
	// Output:
	// phone: aka: synchronisation failure: SQN 000000000121 is not fresh: used before, or older than the last with the same IND (SQN_MS 000000009000); send AUTS
	// HSS: SQN_MS is 000000009000 taken over: true <nil>
	// S-CSCF: SQN 000000009021 verified: true
	// logs show XRES as [hidden, 8 octets]
}
